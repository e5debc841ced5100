"""A pack: pieces of content as zstd frames, one behind the other, and an index of them at the end. Never changed.

The whole is a sequence of zstd frames; what stands around the content lies in skippable ones (RFC 8878, 3.1.2). The
index is a table of lines with tabs, so that `cut` and `grep` read it, too. Before each piece stands what is needed to
read it without the index, should the end of the pack be lost.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from urllib.parse import quote, unquote

from attrs import field, frozen

from qlikmigrate.archive.codec import Codec, FrameError, declared_size
from qlikmigrate.archive.reader import own_content
from qlikmigrate.vault.name import Ref, sha256

MAX_PACK_BYTES = 8 * 1024 * 1024
"""A pack that has grown to this size is closed: one piece may make it larger."""

_SKIPPABLE = struct.Struct("<II")
_HEAD_MAGIC = 0x184D2A50
_TAIL_MAGIC = 0x184D2A51
_PIECE_MAGIC = 0x184D2A52
_TAIL = struct.Struct("<IIQQ")
_PIECE = struct.Struct("<IIBHIII")
_PIECE_START = struct.pack("<II", _PIECE_MAGIC, _PIECE.size - _SKIPPABLE.size)
_NO_BASE = 0
_MAX_PREAMBLE = 256
TAIL_BYTES = _TAIL.size
_FORMAT = "qlikmigrate-pack 1"
_COLUMNS = 9


class What(StrEnum):
    """What a piece of content is."""

    DOCUMENT = "document"
    ROWS = "rows"
    RUN = "run"
    MANIFEST = "manifest"
    DICTIONARY = "dictionary"


@frozen(kw_only=True)
class Piece:
    """One piece: where its frame lies in the pack, and what it holds.

    `size` and `sha256` (hex) are of the content. `base`: what the frame was made with, a trained dictionary or an
    earlier version; `version`: how many there were before it since the last whole one. `kind`, `id` as `what` has them.
    """

    what: What
    kind: str = ""
    id: str = ""
    offset: int
    length: int
    size: int
    sha256: str
    base: Ref | None = None
    version: int = 0


def preamble(vault_id: str) -> bytes:
    """What every pack of a vault begins with."""
    text = f"{_FORMAT} vault {vault_id}\n".encode("ascii")
    return _SKIPPABLE.pack(_HEAD_MAGIC, len(text)) + text


def vault_of(start: bytes) -> str:
    """The vault that a pack with this beginning is of; empty where it does not say."""
    found = re.match(_FORMAT.encode("ascii") + rb" vault ([0-9a-f]{16})\n", start[_SKIPPABLE.size :])
    return found[1].decode("ascii") if found else ""


class PackBuilder:
    """A pack in the making, in memory. Its sequence number is known beforehand: pieces refer to each other by it."""

    def __init__(self, vault_id: str, sequence: int) -> None:
        self.sequence = sequence
        self._frames = [preamble(vault_id)]
        self._end = len(self._frames[0])
        self.pieces: list[Piece] = []

    @property
    def size_bytes(self) -> int:
        """Its size so far."""
        return self._end

    def add(
        self,
        what: What,
        frame: bytes,
        *,
        size: int,
        sha256: str,
        kind: str = "",
        id: str = "",  # noqa: A002 - it is what the index calls it
        base: Ref | None = None,
        version: int = 0,
    ) -> Ref:
        """Take a frame; where it is to be found from now on."""
        head = _piece_head(what, len(frame), base, version)
        self.pieces.append(
            Piece(
                what=what, kind=kind, id=id, offset=self._end + len(head), length=len(frame), size=size, sha256=sha256,
                base=base, version=version,
            )
        )  # fmt: skip
        self._frames += (head, frame)
        self._end += len(head) + len(frame)
        return Ref(self.sequence, len(self.pieces) - 1)

    def finish(self) -> bytes:
        """The whole pack."""
        index = Codec().compress(write_index(self.pieces))
        tail = _TAIL.pack(_TAIL_MAGIC, _TAIL.size - _SKIPPABLE.size, self._end, len(index))
        return b"".join((*self._frames, index, tail))


def _piece_head(what: What, length: int, base: Ref | None, version: int) -> bytes:
    """What stands before a frame: sequence numbers begin at 1, so that 0 is no base."""
    pack, number = (base.pack, base.number) if base else (_NO_BASE, 0)
    return _PIECE_START + struct.pack("<BHIII", list(What).index(what), version, pack, number, length)


def scan(data: bytes) -> Iterator[tuple[int, Piece]]:
    """The pieces of a damaged pack in its plain form, by what stands before each, with their numbers.

    `sha256` is empty and `size` what the frame declares: only its own checksum tells whether it is whole. Behind bytes
    that are no piece the numbers are no longer known, and nothing more is given.
    """
    skipped = _SKIPPABLE.unpack_from(data)[1] if len(data) >= _SKIPPABLE.size else 0
    end = _SKIPPABLE.size + skipped if skipped <= _MAX_PREAMBLE else data.find(_PIECE_START)
    number = 0
    while data.startswith(_PIECE_START, end) and end + _PIECE.size <= len(data):
        _, _, what, version, pack, base, length = _PIECE.unpack_from(data, end)
        offset = end + _PIECE.size
        frame = data[offset : offset + length]
        end = offset + length
        try:
            piece = Piece(
                what=list(What)[what],
                offset=offset,
                length=length,
                size=declared_size(frame),
                sha256="",
                base=Ref(pack, base) if pack != _NO_BASE else None,
                version=version,
            )
        except (FrameError, IndexError):
            piece = None
        if piece is not None and len(frame) == length:
            yield number, piece
        number += 1


def write_index(pieces: Sequence[Piece]) -> bytes:
    """The index as lines: offset, length, size, SHA-256, base, version, what, kind, id (percent-encoded)."""
    lines = [_FORMAT]
    for one in pieces:
        ident = quote(one.id, safe="")
        base = str(one.base) if one.base else "-"
        columns = (
            one.offset,
            one.length,
            one.size,
            one.sha256,
            base,
            one.version,
            one.what,
            one.kind or "-",
            ident or "%",
        )
        lines.append("\t".join(map(str, columns)))
    return "\n".join(lines).encode("ascii") + b"\n"


def read_index(text: bytes) -> tuple[Piece, ...]:
    """The inverse of `write_index`.

    Raises:
        ValueError: it is none.
    """
    lines = text.decode("ascii").split("\n")
    if lines[0] != _FORMAT or lines[-1] != "":
        raise ValueError("is no index")
    pieces = []
    for line in lines[1:-1]:
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            raise ValueError("a line of the index is malformed")
        offset, length, size, digest, base, version, what, kind, ident = columns
        pieces.append(
            Piece(
                what=What(what),
                kind="" if kind == "-" else kind,
                id="" if ident == "%" else unquote(ident, errors="strict"),
                offset=int(offset),
                length=int(length),
                size=int(size),
                sha256=digest,
                base=None if base == "-" else Ref.parse(base),
                version=int(version),
            )
        )
    return tuple(pieces)


@frozen
class OpenPack:
    """A pack as it can be read: `read` gives bytes of its plain form by offset and length."""

    pieces: tuple[Piece, ...]
    read: Callable[[int, int], bytes] = field(repr=False)

    @classmethod
    def load(cls, vault_id: str, size_bytes: int, read: Callable[[int, int], bytes]) -> OpenPack:
        """Open the pack of a vault that has `size_bytes` in its plain form.

        Raises:
            ValueError: it is damaged, or no pack of that vault.
        """
        head = preamble(vault_id)
        if size_bytes < len(head) + TAIL_BYTES:
            raise ValueError("is too short")
        magic, length, at, size = _TAIL.unpack(_exact(read, size_bytes - TAIL_BYTES, TAIL_BYTES))
        if (magic, length) != (_TAIL_MAGIC, _TAIL.size - _SKIPPABLE.size) or at + size + TAIL_BYTES != size_bytes:
            raise ValueError("its end is damaged")
        if _exact(read, 0, len(head)) != head:
            raise ValueError("its beginning is damaged, or it is of another vault")
        pieces = read_index(own_content(_exact(read, at, size)))
        end = len(head)
        for one in pieces:
            if one.offset != end + _PIECE.size or one.length < 0:
                raise ValueError("its index is damaged")
            end = one.offset + one.length
        if end != at:
            raise ValueError("its index is damaged")
        return cls(pieces, read)

    def piece(self, number: int) -> Piece:
        """What the index says of a piece.

        Raises:
            ValueError: there is none of that number.
        """
        if not 0 <= number < len(self.pieces):
            raise ValueError(f"it has no piece {number}")
        return self.pieces[number]

    def frame(self, number: int) -> bytes:
        """The frame of a piece.

        Raises:
            ValueError: it is not there.
        """
        one = self.piece(number)
        return _exact(self.read, one.offset, one.length)


def check_content(piece: Piece, content: bytes) -> bytes:
    """`content`, which must be what the index says, if there is an index.

    Raises:
        FrameError: it is not.
    """
    if piece.sha256 and sha256(content) != piece.sha256:
        raise FrameError("hash differs")
    return content


def _exact(read: Callable[[int, int], bytes], offset: int, length: int) -> bytes:
    data = read(offset, length)
    if len(data) != length:
        raise ValueError("is too short")
    return data
