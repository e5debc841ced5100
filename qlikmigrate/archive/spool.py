"""Documents on their way into an archive: kept compressed in a file without a name, found by an index in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from qlikmigrate.archive.codec import Codec
from qlikmigrate.archive.layout import RunEntry, RunForm, SecretCut, dump, load, split_cuts
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind

Key = tuple[Part, Kind, str]


@frozen
class Slot:
    """Where a document lies in the spool. `sha256` of `size` bytes; `run_*`: its capture time and run data."""

    offset: int
    stored: int
    size: int
    sha256: bytes
    cuts: tuple[SecretCut, ...]
    run_stored: int
    run_size: int


class Spool:
    """Takes documents, gives them back by key. What it holds disappears with the process.

    Raises (all methods):
        OSError: the disk is full, or does not allow it.
    """

    def __init__(self, folder: Path) -> None:
        # Beside the target, since it needs room for as much as the target does; without a name from the start.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._codec = Codec.spool()
        self._slots: dict[Key, Slot] = {}
        self._end = 0

    @property
    def slots(self) -> Mapping[Key, Slot]:
        """All that is in it."""
        return self._slots

    def put(self, document: Document) -> None:
        """Take a document; a later one of the same key takes its place.

        Raises:
            ValueError: a text in it is no Unicode.
        """
        secrets, runs = split_cuts(document.cuts)
        run = dump(RunForm(first=0, documents=(RunEntry(read_at=document.read_at, cuts=runs),)))
        frame = self._codec.compress(document.raw)
        run_frame = self._codec.compress(run)
        document.id.encode()
        self._write(frame + run_frame)
        self._slots[document.part, document.kind, document.id] = Slot(
            self._end,
            len(frame),
            len(document.raw),
            hashlib.sha256(document.raw).digest(),
            secrets,
            len(run_frame),
            len(run),
        )
        self._end += len(frame) + len(run_frame)

    def drop(self, key: Key) -> None:
        """Forget a document."""
        self._slots.pop(key, None)

    def content(self, slot: Slot, codec: Codec | None = None) -> bytes:
        """The document's bytes. Each thread that reads brings its own `codec`."""
        return (codec or self._codec).decompress(self._read(slot.offset, slot.stored), size_bytes=slot.size)

    def run(self, slot: Slot) -> RunEntry:
        """Its capture time and run data."""
        frame = self._read(slot.offset + slot.stored, slot.run_stored)
        return load(RunForm, self._codec.decompress(frame, size_bytes=slot.run_size)).documents[0]

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        offset = self._end
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view = view[written:]
            offset += written

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)
