"""A snapshot of a vault: its manifest, and behind it documents that it may share with others. Implements `Snapshot`."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property

from qlikmigrate.archive.layout import RunEntry, RunForm, dump, join_cuts, load, split_rows
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import (
    DocumentLine,
    DocumentMeta,
    LastGood,
    Manifested,
    RowsLine,
    RowsMeta,
    read_manifest,
    split_record,
)
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.shelf import PieceError, Shelf

_RUNS_KEPT = 8


class VaultSnapshot:
    """An opened snapshot. Methods raise `CorruptError` where what is stored is damaged."""

    def __init__(self, info: SnapshotInfo, shelf: Shelf) -> None:
        self.info = info
        self.shelf = shelf
        shelf.fetch(info.packs)
        self.manifested = self._read_manifest()
        self._lines = {(line.kind, line.id): line for line in self.manifested.documents}
        self._runs: OrderedDict[Ref, tuple[RunEntry, ...]] = OrderedDict()

    def __enter__(self) -> VaultSnapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def manifest(self) -> Manifest:
        """Its head."""
        return self.manifested.head

    @property
    def capture(self) -> Capture:
        """When it was taken."""
        return self.manifested.capture

    @property
    def last_good(self) -> tuple[LastGood, ...]:
        """What could not be read, and where its last good version is."""
        return self.manifested.last_good

    @cached_property
    def digest(self) -> str:
        """SHA-256 hex over its head and the hashes of all it holds; the same wherever the pieces lie."""
        digest = hashlib.sha256(dump(self.manifest))
        try:
            for doc in self.manifested.documents:
                digest.update(f"\n{doc.kind} {doc.id} {self.shelf.piece(doc.ref).sha256}".encode())
            for rows in self.manifested.rows:
                digest.update(f"\n{rows.kind} {rows.first} {self.shelf.piece(rows.ref).sha256}".encode())
        except PieceError as error:
            raise self.shelf.corrupt(error) from None
        return digest.hexdigest()

    def ids(self, kind: Kind) -> Sequence[str]:
        """Ids of the objects whose own document it holds, sorted."""
        return [line.id for line in self.manifested.documents if line.kind is kind]

    def content_key(self, kind: Kind, ident: str) -> Ref | None:
        """What is equal in two snapshots of one vault whose document of that object was stored once; None: no such."""
        line = self._lines.get((kind, ident))
        return line.ref if line else None

    def detail(self, kind: Kind, ident: str) -> Document:
        """One object's own document.

        Raises:
            KeyError: it holds none.
        """
        return self.document(self._lines[kind, ident])

    def document(self, line: DocumentLine) -> Document:
        """The document of a line of the manifest."""
        try:
            meta_line, raw = split_record(self.shelf.content(line.ref))
            meta = load(DocumentMeta, meta_line)
            if (meta.kind, meta.id) != (line.kind, line.id):
                raise PieceError(line.ref.pack, f"it holds another object than {line.kind} `{line.id}`")
            run = RunEntry() if line.run is None else self._run(line.run[0])[line.run[1]]
            return Document(
                kind=line.kind,
                id=line.id,
                part=Part.DETAIL,
                raw=raw,
                cuts=join_cuts(meta.cuts, run.cuts),
                read_at=line.read_at,
            )
        except PieceError as error:
            raise self.shelf.corrupt(error) from None
        except (ValueError, IndexError) as error:
            raise self._corrupt(f"{line.kind} `{line.id}`: {error}") from None

    def rows(self, kind: Kind) -> Iterator[Document]:
        """The list rows of a kind, in id order."""
        for line in self.manifested.rows:
            if line.kind is kind:
                yield from self.rows_of(line)

    def rows_of(self, line: RowsLine) -> list[Document]:
        """The rows of a line of the manifest."""
        try:
            meta_line, text = split_record(self.shelf.content(line.ref))
            meta = load(RowsMeta, meta_line)
            raws = split_rows(text, [row.size for row in meta.rows])
            runs = (RunEntry(),) * len(raws) if line.run is None else self._run(line.run)
            if meta.kind is not line.kind or len(runs) != len(raws):
                raise PieceError(line.ref.pack, f"it holds other rows than those of {line.kind}s")
            return [
                Document(
                    kind=line.kind,
                    id=row.id,
                    part=Part.ROW,
                    raw=raw,
                    cuts=join_cuts(row.cuts, run.cuts),
                    read_at=line.read_at,
                )
                for row, raw, run in zip(meta.rows, raws, runs, strict=True)
            ]
        except PieceError as error:
            raise self.shelf.corrupt(error) from None
        except ValueError as error:
            raise self._corrupt(f"rows of {line.kind}s: {error}") from None

    def refs(self) -> Iterator[Ref]:
        """Every piece that it needs, without what those build on; its manifest is the first."""
        yield self.info.manifest
        yield from self.manifested.refs()

    def _run(self, ref: Ref) -> tuple[RunEntry, ...]:
        found = self._runs.get(ref)
        if found is None:
            found = self._runs[ref] = load(RunForm, self.shelf.content(ref)).documents
            if len(self._runs) > _RUNS_KEPT:
                self._runs.popitem(last=False)
        return found

    def _read_manifest(self) -> Manifested:
        try:
            found = read_manifest(self.shelf.content(self.info.manifest))
        except PieceError as error:
            raise self.shelf.corrupt(error) from None
        except ValueError as error:
            raise self._corrupt(f"its manifest: {error}") from None
        info = self.info
        if found.id != info.id:
            raise self._corrupt("its manifest belongs to another snapshot")
        if _claims(found) != (info.tenant, info.started_at, info.taken_at, info.complete, info.partial):
            # A head lies in clear: whoever can write to the store can make one, and in an encrypted vault no manifest.
            raise self._corrupt("its head says something else than its manifest")
        return found

    def _corrupt(self, why: object) -> CorruptError:
        return CorruptError(f"snapshot {self.info.id} is damaged: {why}", hint="`verify` tells what is damaged")


def _claims(found: Manifested) -> tuple[object, ...]:
    """What a head says of its manifest."""
    head, capture = found.head, found.capture
    return found.tenant, capture.started_at, capture.finished_at, head.complete, head.selection is not None
