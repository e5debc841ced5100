"""A snapshot's way into an archive: nothing is visible under the final name until all of it is on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from attrs import evolve, frozen

from qlikmigrate.archive import layout
from qlikmigrate.archive.age import Sealer
from qlikmigrate.archive.codec import DICTIONARY_MAX_DOCUMENTS, Codec, library_version, train
from qlikmigrate.archive.container import ContainerWriter
from qlikmigrate.archive.reader import open_archive
from qlikmigrate.archive.spool import Key, Slot, Spool
from qlikmigrate.kernel.ahead import ahead
from qlikmigrate.kernel.error import (
    CorruptError,
    FailedError,
    NotFoundError,
    PartialError,
    QlikmigrateError,
    UsageError,
    WrongKeyError,
)
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest

_THREADS = 2
# Frames made ahead of the one being written: memory for that many documents.
_AHEAD = 8
PARTIAL_PREFIX = ".qlikmigrate-"
PARTIAL_SUFFIX = ".partial"


@frozen
class _Chunk:
    """Rows of one kind that share a member."""

    kind: Kind
    member: str
    rows: tuple[tuple[str, Slot], ...]


class ArchiveWriter:
    """Writes one snapshot to the archive `path`. Implements `SnapshotWriter`.

    `sealer`: seals the whole archive; what is plain of it is in files without a name only.

    Memory grows with the number of documents by an index entry each, not with their size. As a context manager it
    abandons what was not finished.

    Raises:
        UsageError: `path` exists and `force` is not set, is no regular file, or its folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], *, force: bool = False, sealer: Sealer | None = None) -> None:
        self.path = Path(path)
        self._force = force
        self._sealer = sealer
        self._check_target()
        try:
            self._spool: Spool | None = Spool(self.path.parent)
        except OSError as error:
            raise UsageError(f"cannot write to the folder `{self.path.parent}`: {error.strerror}") from None

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abandon()

    def add(self, document: Document) -> None:
        """Take a document. A later one with the same kind, id and part takes its place.

        Raises:
            FailedError: the disk is full, or the document is too large or not storable.
        """
        if len(document.raw) > layout.MAX_DOCUMENT_BYTES:
            limit = layout.MAX_DOCUMENT_BYTES >> 20
            raise FailedError(f"{document.kind} `{document.id}` is larger than {limit} MiB", code="document-too-large")
        with self._one_line():
            self._open_spool().put(document)

    def discard(self, kind: Kind, ident: str, part: Part | None = None) -> None:
        """Forget one part of an object, or all of it."""
        for one in (part,) if part else Part:
            self._open_spool().drop((one, kind, ident))

    def abandon(self) -> None:
        """Leave nothing behind. After `finish` it does nothing."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def finish(self, manifest: Manifest, capture: Capture) -> None:
        """Write it all, sync it, and let it appear under its name.

        Raises:
            PartialError: an incomplete snapshot would replace a file that is not one; that file is left as it is.
            UsageError: the file has appeared meanwhile and `force` is not set.
            FailedError: the disk is full, or does not allow it.
        """
        partial = self.path.parent / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"
        with self._one_line():
            try:
                self._refuse_replacing(manifest)
                descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
                    self._write_sealed(file, manifest, capture)
                    file.flush()
                    os.fchmod(file.fileno(), 0o600)
                    os.fsync(file.fileno())
                self._refuse_replacing(manifest)
                self._publish(partial)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    partial.unlink()
                self.abandon()

    def _open_spool(self) -> Spool:
        if self._spool is None:
            raise RuntimeError("the archive is finished or abandoned")
        return self._spool

    def _check_target(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"cannot write `{self.path}`: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise UsageError(f"`{self.path}` is no regular file", code="output-not-a-file")
        if not self._force:
            raise UsageError(
                f"`{self.path}` exists", hint="give another name, or replace it with `--force`", code="output-exists"
            )

    def _refuse_replacing(self, manifest: Manifest) -> None:
        """An incomplete snapshot takes the place of nothing but another incomplete one."""
        if manifest.complete:
            return
        try:
            with open_archive(self.path) as old:
                replaceable = not old.manifest.complete
        except NotFoundError:
            return
        except (CorruptError, WrongKeyError):
            # Whatever it is, it may hold more than this one does. Who seals for others cannot open it.
            replaceable = False
        if not replaceable:
            raise PartialError(
                f"the snapshot is incomplete and does not replace `{self.path}`",
                hint="give another name to keep it",
                code="incomplete-not-replacing",
            )

    def _publish(self, partial: Path) -> None:
        if self._force:
            partial.replace(self.path)
        else:
            self._publish_new(partial)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _publish_new(self, partial: Path) -> None:
        """Without `force` nothing may be replaced, not even what appeared a moment ago: a link cannot replace."""
        try:
            os.link(partial, self.path)
        except FileExistsError:
            self._check_target()
        except OSError:
            # A file system without hard links.
            self._check_target()
            partial.replace(self.path)

    def _write_sealed(self, file: BinaryIO, manifest: Manifest, capture: Capture) -> None:
        """What is written first is in a file without a name, so that nothing plain outlives the process."""
        if self._sealer is None:
            self._write(file, manifest, capture)
            return
        with tempfile.TemporaryFile(dir=self.path.parent) as plain:
            self._write(plain, manifest, capture)
            self._open_spool().close()
            plain.seek(0)
            self._sealer.seal_stream(plain, file)

    def _write(self, file: BinaryIO, manifest: Manifest, capture: Capture) -> None:
        spool = self._open_spool()
        order: list[Key] = sorted(spool.slots)
        details = [(key, spool.slots[key]) for key in order if key[0] is Part.DETAIL]
        chunks = list(_chunks([(key, spool.slots[key]) for key in order if key[0] is Part.ROW]))
        plain = Codec()
        container = ContainerWriter(file)
        container.add(layout.README, layout.README_TEXT)
        form = layout.ManifestForm(
            snapshot=evolve(manifest, counts=dict(sorted(manifest.counts.items()))),
            documents=tuple(_document_entry(key, slot) for key, slot in details),
            lists=tuple(_list_entry(spool, chunk) for chunk in chunks),
        )
        container.add(layout.MANIFEST, plain.compress(layout.dump(form)))
        # In front of the documents, so that it is there when the end of the file is cut off.
        learned = [slot for _, slot in details[:DICTIONARY_MAX_DOCUMENTS]]
        dictionary = train(map(spool.content, learned), [slot.size for slot in learned])
        if dictionary is not None:
            container.add(layout.DICTIONARY, plain.compress(dictionary))
        frames = _frames(spool, [slot for _, slot in details], dictionary)
        for ((_, kind, ident), _slot), frame in zip(details, frames, strict=True):
            container.add(layout.document_member(kind, ident), frame)
        for chunk in chunks:
            container.add(chunk.member, plain.compress(_rows_text(spool, chunk)))
        # What follows differs from backup to backup.
        slots = [slot for _, slot in details] + [slot for chunk in chunks for _, slot in chunk.rows]
        for number, first in enumerate(range(0, len(slots), layout.RUN_CHUNK_DOCUMENTS), start=1):
            runs = tuple(spool.run(slot) for slot in slots[first : first + layout.RUN_CHUNK_DOCUMENTS])
            container.add(
                layout.run_member(number), plain.compress(layout.dump(layout.RunForm(first=first, documents=runs)))
            )
        taken = layout.CaptureForm(capture=capture, libzstd=library_version())
        container.add(layout.CAPTURE, plain.compress(layout.dump(taken)))
        container.finish()

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        """Errors of disk and encoding as one line each."""
        try:
            yield
        except QlikmigrateError:
            raise
        except PermissionError as error:
            raise UsageError(f"cannot write `{self.path}`: {error.strerror}") from None
        except OSError as error:
            raise FailedError(f"cannot write `{self.path}`: {error.strerror}", code="cannot-write") from None
        except UnicodeError:
            raise FailedError("a text is no Unicode", code="not-storable") from None
        except ValueError as error:
            raise FailedError(f"cannot write `{self.path}`: {error}", code="not-storable") from None


def _frames(spool: Spool, slots: Sequence[Slot], dictionary: bytes | None) -> Iterator[bytes]:
    """The documents as frames, in order, a few at a time on threads: libzstd works outside Python's lock."""
    codecs: queue.SimpleQueue[tuple[Codec, Codec]] = queue.SimpleQueue()
    for _ in range(_THREADS):
        codecs.put((Codec.spool(), Codec(dictionary)))

    def press(slot: Slot) -> bytes:
        reading, writing = pair = codecs.get()
        try:
            return writing.compress(spool.content(slot, reading))
        finally:
            codecs.put(pair)

    return ahead(press, slots, threads=_THREADS, depth=_AHEAD)


def _chunks(rows: Sequence[tuple[Key, Slot]]) -> Iterator[_Chunk]:
    """Rows, in order, by kind, as many to a chunk as the format allows."""
    gathered: list[tuple[str, Slot]] = []
    kind: Kind | None = None
    number = size = 0
    for (_, row_kind, ident), slot in rows:
        full = len(gathered) >= layout.LIST_CHUNK_ROWS or size + slot.size > layout.LIST_CHUNK_BYTES
        if kind is not None and gathered and (full or row_kind is not kind):
            yield _Chunk(kind, layout.list_member(kind, number), tuple(gathered))
            gathered = []
        if row_kind is not kind:
            kind, number = row_kind, 0
        if not gathered:
            number += 1
            size = 0
        gathered.append((ident, slot))
        size += slot.size
    if kind is not None and gathered:
        yield _Chunk(kind, layout.list_member(kind, number), tuple(gathered))


def _rows_text(spool: Spool, chunk: _Chunk) -> bytes:
    return layout.join_rows([spool.content(slot) for _, slot in chunk.rows])


def _document_entry(key: Key, slot: Slot) -> layout.DocumentEntry:
    _, kind, ident = key
    return layout.DocumentEntry(
        kind=kind,
        id=ident,
        member=layout.document_member(kind, ident),
        size=slot.size,
        sha256=slot.sha256.hex(),
        cuts=slot.cuts,
    )


def _list_entry(spool: Spool, chunk: _Chunk) -> layout.ListEntry:
    text = _rows_text(spool, chunk)
    return layout.ListEntry(
        kind=chunk.kind,
        member=chunk.member,
        size=len(text),
        sha256=hashlib.sha256(text).hexdigest(),
        rows=tuple(layout.RowEntry(id=ident, size=slot.size, cuts=slot.cuts) for ident, slot in chunk.rows),
    )
