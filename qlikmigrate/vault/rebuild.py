"""A manifest made again from what packs hold, where damage took it.

What is put into it is either a snapshot's own, or vouched for by the snapshot's own list rows: no version is ever
passed off as one of another time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from attrs import define, evolve, field

from qlikmigrate import __version__
from qlikmigrate.archive.layout import load, split_rows
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest, Restorable, Scope, Selection
from qlikmigrate.model.snapshot import parse
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import (
    SETTLED,
    DocumentLine,
    DocumentMeta,
    Manifested,
    RowsLine,
    RowsMeta,
    Shown,
    split_record,
)
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
        """A manifest made from what packs hold; None where it cannot be told what this snapshot brought.

        `info`: its first head. Its own pieces are in the manifest. What it shares with the snapshot before it is in it
        only where its list rows, all of them there, say that nothing changed.
        """
        if info.name.generation:
            # Packs that were written anew hold versions of many snapshots.
            return None
        documents: dict[tuple[Kind, str], DocumentLine] = {}
        rows: dict[tuple[Kind, str], RowsLine] = {}
        own, whole = self._own(info)
        for sequence in own:
            whole = whole and self._is_whole(sequence)
            for number, piece in enumerate(pieces_of(self.shelf, sequence)):
                self._take(Ref(sequence, number), piece.what, info, documents, rows)
        before = self._predecessor(info, own[0]) if whole else None
        if before is not None:
            whole = self._add_shared(before, info.packs, documents, rows)
        if not documents and not rows:
            self._doubtful.add(info.tenant)
            return None
        # What the one before has lost of rows cannot be told from what had not changed.
        same = whole and info.tenant not in self._doubtful and (before is not None or info.packs <= set(own))
        return self._manifest(info, before, documents, rows, may_be_complete=same)

    def _own(self, info: SnapshotInfo) -> tuple[list[int], bool]:
        """The packs that were written for a snapshot, and whether those are all.

        They reach down to the one in which the manifest before it lies. Where the end of a pack is lost nobody knows
        what lay there.
        """
        found = [info.manifest.pack]
        ends = {one.manifest.pack for one in self.snapshots}
        while (below := found[0] - 1) in info.packs and below not in ends:
            pieces = pieces_of(self.shelf, below)
            if any(piece.what is What.MANIFEST for piece in pieces):
                break
            if not pieces or not pieces[-1].sha256:
                return found, False
            found.insert(0, below)
        return found, True

    def _predecessor(self, info: SnapshotInfo, first: int) -> Manifested | None:
        """The manifest of the snapshot that was stored right before, of the same tenant, and is the one before in time:
        what one shares is what that one has. `first`: the first of the own packs.

        None where that is not certain: it was let go, say, or this one was taken in later than it was taken.
        """
        before = self._before.get(info.tenant)
        if before is None or info.partial:
            return None
        # Nothing builds on one of a selection.
        tenants = {one.id: "" if one.partial else one.tenant for one in self.snapshots}
        for sequence in range(first - 1, 0, -1):
            pieces = pieces_of(self.shelf, sequence)
            if not pieces or not pieces[-1].sha256:
                return None
            ids = {piece.id for piece in pieces if piece.what is What.MANIFEST}
            if before.id in ids:
                return before
            if any(tenants.get(ident, info.tenant) == info.tenant for ident in ids):
                return None
        return None

    def _manifest(
        self,
        info: SnapshotInfo,
        before: Manifested | None,
        documents: Mapping[tuple[Kind, str], DocumentLine],
        rows: Mapping[tuple[Kind, str], RowsLine],
        *,
        may_be_complete: bool,
    ) -> Manifested:
        shown = info.shown or Shown()
        captured = sum(kind is Kind.AUTOMATION for kind, _ in documents)
        same = may_be_complete and captured == shown.automations
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
                scope=_known(Scope, shown.scope, Scope.IDENTITY),
                restorable=_known(Restorable, shown.restorable, Restorable.PARTIAL),
                selection=Selection(include=("lost",)) if info.partial else None,
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
        packs: frozenset[int],
        documents: dict[tuple[Kind, str], DocumentLine],
        rows: dict[tuple[Kind, str], RowsLine],
    ) -> bool:
        """What the snapshot before has and no new piece replaces, as far as the rows vouch for it; whether that is all.

        `packs`: those that the head speaks of; what lies elsewhere is none of its.
        """
        every = True
        listed: dict[tuple[Kind, str], str] = {}
        spans = []
        for line in rows.values():
            found = self._rows(line)
            listed |= found
            spans.append((line.kind, line.first, max((ident for _, ident in found), default=line.first)))
        for line in before.rows:
            if line.ref.pack not in packs:
                every = False
                continue
            found = self._rows(line)
            last = max((ident for _, ident in found), default=line.first)
            if not any(kind is line.kind and first <= last and line.first <= end for kind, first, end in spans):
                rows[line.kind, line.first] = line
                listed |= found
        for key, saved_at in listed.items():
            versions = self._versions.get((before.tenant, *key), {}) if key not in documents else {}
            for doc in reversed(versions.values()):
                if doc.ref.pack in packs and self._updated(doc.ref) == saved_at:
                    # Nobody can tell any more which row it was read with.
                    documents[key] = evolve(doc, flags=doc.flags.replace(SETTLED, ""))
                    break
        for doc in before.documents:
            if doc.kind in _UNLISTED and doc.ref.pack in packs:
                documents.setdefault((doc.kind, doc.id), doc)
            every = every and (doc.kind not in _UNLISTED or (doc.kind, doc.id) in documents)
        return every

    def remember(self, found: Manifested, *, whole: bool) -> None:
        """What later snapshots whose manifest is lost may have shared. `whole`: it says all that it ever said."""
        if found.head.selection is not None:
            return
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


_Word = TypeVar("_Word", bound=StrEnum)


def _known(words: type[_Word], text: str, otherwise: _Word) -> _Word:
    """What a head says, where it says anything; else nothing is promised."""
    return next((one for one in words if one.value == text), otherwise)


def _saved_at(raw: bytes) -> str:
    value = parse(raw)
    return str(value.get("updatedAt")) if isinstance(value, Mapping) else ""
