"""A manifest made again from what packs hold, where damage took it.

What is put into it is either a snapshot's own, or vouched for by the snapshot's own list rows: no version is ever
passed off as one of another time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from attrs import define, field

from qlikmigrate import __version__
from qlikmigrate.archive.layout import load, split_rows
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest
from qlikmigrate.model.snapshot import parse
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import DocumentLine, DocumentMeta, Manifested, RowsLine, RowsMeta, Shown, split_record
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import Piece, What
from qlikmigrate.vault.shelf import PieceError, Shelf

# No list has rows of these; they seldom change.
_UNLISTED = (Kind.SETTINGS, Kind.TENANT)


def pieces_of(shelf: Shelf, sequence: int) -> Sequence[Piece]:
    """The pieces of a pack; none where it cannot be opened."""
    try:
        return shelf.pack(sequence).pieces
    except PieceError:
        return ()


@define
class Rebuilder:
    """Makes manifests again, of one snapshot after the other in the order of time.

    `snapshots`: all heads, those that newer ones have replaced too: which packs a snapshot shared with earlier ones.
    """

    shelf: Shelf
    vault_id: str
    snapshots: Sequence[SnapshotInfo]
    _before: dict[str, Manifested] = field(factory=dict)
    _versions: dict[tuple[str, Kind, str], dict[Ref, DocumentLine]] = field(factory=dict)
    _doubtful: set[str] = field(factory=set)

    def rebuild(self, info: SnapshotInfo) -> Manifested | None:
        """A manifest made from what packs hold; None where nothing of what this snapshot brought is left.

        Its own pieces are in it. What it shares with the snapshot before it is in it only where its list rows, all of
        them there, say that nothing changed: no version is ever passed off as one of another time.
        """
        others = [one.packs for one in self.snapshots if one.taken_at < info.taken_at]
        own = sorted(info.packs - frozenset[int]().union(*others))
        documents: dict[tuple[Kind, str], DocumentLine] = {}
        rows: dict[tuple[Kind, str], RowsLine] = {}
        whole = True
        for sequence in own:
            whole = whole and self._is_whole(sequence)
            for number, piece in enumerate(pieces_of(self.shelf, sequence)):
                self._take(Ref(sequence, number), piece.what, info, documents, rows)
        before = self._before.get(info.tenant) if whole else None
        if before is not None:
            self._add_shared(before, documents, rows)
        if not documents and not rows:
            self._doubtful.add(info.tenant)
            return None
        shown = info.shown or Shown()
        captured = sum(kind is Kind.AUTOMATION for kind, _ in documents)
        # What the one before has lost of rows cannot be told from what had not changed.
        same = whole and info.tenant not in self._doubtful and captured == shown.automations
        problem = Problem(
            code="manifest-lost",
            severity=Severity.WARNING if same else Severity.ERROR,
            message="damage to the vault took the manifest: it was made again from what packs hold",
        )
        tenant = TenantFacts(id=shown.tenant_id, name=shown.tenant_name, host=shown.host)
        return Manifested(
            id=info.id,
            tenant=info.tenant,
            vault=self.vault_id,
            head=Manifest(
                tool_version=__version__,
                tenant=before.head.tenant if before else tenant,
                identity=before.head.identity if before else "",
                api=before.head.api if before else "",
                complete=info.complete and same,
                counts={"automations": Counts(listed=captured, captured=captured)},
                problems=(problem,),
            ),
            capture=Capture(started_at=info.started_at, finished_at=info.taken_at),
            dictionaries=before.dictionaries if before else (),
            documents=tuple(documents[key] for key in sorted(documents)),
            rows=tuple(rows[key] for key in sorted(rows)),
            last_good=before.last_good if before else (),
        )

    def _is_whole(self, sequence: int) -> bool:
        """Whether all documents and rows of a pack can be had."""
        pieces = pieces_of(self.shelf, sequence)
        for number, piece in enumerate(pieces):
            if piece.what in (What.DOCUMENT, What.ROWS):
                try:
                    self.shelf.content(Ref(sequence, number))
                except PieceError:
                    return False
        return bool(pieces) and all(piece.sha256 for piece in pieces)

    def _add_shared(
        self,
        before: Manifested,
        documents: dict[tuple[Kind, str], DocumentLine],
        rows: dict[tuple[Kind, str], RowsLine],
    ) -> None:
        """What the snapshot before has and no new piece replaces, as far as the rows vouch for it."""
        listed: dict[tuple[Kind, str], str] = {}
        spans = []
        for line in rows.values():
            found = self._rows(line)
            listed |= found
            spans.append((line.kind, line.first, max((ident for _, ident in found), default=line.first)))
        for line in before.rows:
            found = self._rows(line)
            last = max((ident for _, ident in found), default=line.first)
            if not any(kind is line.kind and first <= last and line.first <= end for kind, first, end in spans):
                rows[line.kind, line.first] = line
                listed |= found
        for key, saved_at in listed.items():
            versions = self._versions.get((before.tenant, *key), {}) if key not in documents else {}
            for doc in reversed(versions.values()):
                if self._updated(doc.ref) == saved_at:
                    documents[key] = doc
                    break
        for doc in before.documents:
            if doc.kind in _UNLISTED:
                documents.setdefault((doc.kind, doc.id), doc)

    def remember(self, found: Manifested, *, whole: bool) -> None:
        """What later snapshots whose manifest is lost may have shared. `whole`: it says all that it ever said."""
        self._before[found.tenant] = found
        (self._doubtful.discard if whole else self._doubtful.add)(found.tenant)
        for doc in found.documents:
            self._versions.setdefault((found.tenant, doc.kind, doc.id), {})[doc.ref] = doc

    def _rows(self, line: RowsLine) -> dict[tuple[Kind, str], str]:
        """Kind and id of rows that lie together → when they say they were saved."""
        try:
            first, text = split_record(self.shelf.content(line.ref))
            told = load(RowsMeta, first)
            raws = split_rows(text, [row.size for row in told.rows])
            return {(line.kind, row.id): _saved_at(raw) for row, raw in zip(told.rows, raws, strict=True)}
        except ValueError:
            return {}

    def _updated(self, ref: Ref) -> str:
        try:
            return _saved_at(split_record(self.shelf.content(ref))[1])
        except ValueError:
            return ""

    def _take(
        self,
        ref: Ref,
        what: What,
        info: SnapshotInfo,
        documents: dict[tuple[Kind, str], DocumentLine],
        rows: dict[tuple[Kind, str], RowsLine],
    ) -> None:
        """Put one piece into a manifest that is being made again."""
        with contextlib.suppress(ValueError):
            if what is What.DOCUMENT:
                meta = load(DocumentMeta, split_record(self.shelf.content(ref))[0])
                line = DocumentLine(kind=meta.kind, id=meta.id, ref=ref, run=None, read_at=info.taken_at)
                documents[meta.kind, meta.id] = line
            elif what is What.ROWS:
                told = load(RowsMeta, split_record(self.shelf.content(ref))[0])
                first = told.rows[0].id if told.rows else ""
                rows[told.kind, first] = RowsLine(kind=told.kind, first=first, ref=ref, run=None, read_at=info.taken_at)


def _saved_at(raw: bytes) -> str:
    value = parse(raw)
    return str(value.get("updatedAt")) if isinstance(value, Mapping) else ""
