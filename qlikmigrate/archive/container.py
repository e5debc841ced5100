"""The ZIP around the frames: stored members without gaps, every field fixed, sealed by a SHA-256 in the comment.

Written record by record instead of with `zipfile`, so that each byte is known: a reader rebuilds what must stand there
and compares. Only what this module writes is accepted; overlapping, doubled or unsafe names cannot occur in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from attrs import frozen

MAJOR = 1
MAX_MEMBERS = 4_000_000
MAX_STORED_BYTES = 1 << 30

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_DATE = 0x0021  # 1980-01-01, the first day that ZIP knows
_MADE_BY_UNIX = 3 << 8
_MODE = 0o100600 << 16
_U16 = 0xFFFF
_U32 = 0xFFFFFFFF

_NAME = re.compile(rb"README\.txt|[a-z0-9_%~-]+(?:\.[a-z0-9]+)*(?:/[a-z0-9_%~-]+(?:\.[a-z0-9]+)*)?")
_SEAL = re.compile(rb"qma/([0-9]{1,4}) sha256=([0-9a-f]{64})")
_HASH_BYTES = 64
_SEAL_BYTES = len(f"qma/{MAJOR} sha256=") + _HASH_BYTES
_WINDOW = 1 << 20


class ContainerError(ValueError):
    """The container is not as this module writes it."""


class NewerContainerError(ContainerError):
    """The container is of a newer major version."""


@frozen
class Member:
    """One member. `offset` is where its header begins, `size` the bytes it stores."""

    name: str
    offset: int
    size: int
    crc: int

    @property
    def data_offset(self) -> int:
        """Where its stored bytes begin."""
        return self.offset + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.data_offset + self.size


def _local(name: bytes, size: int, crc: int) -> bytes:
    return _LOCAL.pack(_LOCAL_SIGNATURE, 20, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name


def _central(member: Member) -> bytes:
    name = member.name.encode("ascii")
    extra = b""
    version, offset = 20, member.offset
    if offset >= _U32:
        extra = struct.pack("<2HQ", 1, 8, offset)
        version, offset = 45, _U32
    return (
        _CENTRAL.pack(
            _CENTRAL_SIGNATURE, _MADE_BY_UNIX | version, version, 0, 0, 0, _DATE, member.crc, member.size, member.size,
            len(name), len(extra), 0, 0, 0, _MODE, offset,
        )
        + name
        + extra
    )  # fmt: skip


def _end(count: int, start: int, size: int) -> bytes:
    """The end records of a directory of `count` entries and `size` bytes at `start`, up to the comment."""
    wide = b""
    if count >= _U16 or start >= _U32 or size >= _U32:
        wide = _END64.pack(b"PK\x06\x06", 44, _MADE_BY_UNIX | 45, 45, 0, 0, count, count, size, start)
        wide += _LOCATOR64.pack(b"PK\x06\x07", 0, start + size, 1)
    short = min(count, _U16)
    return wide + _END.pack(b"PK\x05\x06", 0, 0, short, short, min(size, _U32), min(start, _U32), _SEAL_BYTES)


def tail(members: Sequence[Member]) -> bytes:
    """Everything that follows the members, but for the seal."""
    directory = b"".join(map(_central, members))
    start = members[-1].end if members else 0
    return directory + _end(len(members), start, len(directory))


def seal_prefix(major: int = MAJOR) -> bytes:
    """The ZIP comment up to the hash. The SHA-256 after it, in hex, is of all bytes before, this prefix included."""
    return f"qma/{major} sha256=".encode("ascii")


class ContainerWriter:
    """Writes members one after the other. Nothing is kept but their names and places."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: list[Member] = []
        self._hash = hashlib.sha256()
        self._offset = 0

    def add(self, name: str, data: bytes) -> None:
        """Write one member."""
        encoded = name.encode("ascii")
        if not _NAME.fullmatch(encoded) or len(data) > MAX_STORED_BYTES:
            raise ContainerError(f"member `{name}` cannot be stored")
        member = Member(name, self._offset, len(data), zlib.crc32(data))
        self._write(_local(encoded, member.size, member.crc))
        self._write(data)
        self._members.append(member)

    def finish(self) -> None:
        """Write directory and seal."""
        self._write(tail(self._members) + seal_prefix())
        self._file.write(self._hash.hexdigest().encode("ascii"))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._offset += len(data)


class ContainerFile:
    """A container opened for reading by position; several threads may read at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size_bytes = os.fstat(descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end of the file."""
        parts = []
        while size > 0:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def stored(self, member: Member) -> bytes:
        """What a member stores, its header and CRC checked.

        Raises:
            ContainerError: they are damaged.
        """
        header = _local(member.name.encode("ascii"), member.size, member.crc)
        data = self.read(member.offset, len(header) + member.size)
        if not data.startswith(header) or len(data) != len(header) + member.size:
            raise ContainerError(f"header of `{member.name}` is damaged")
        data = data[len(header) :]
        if zlib.crc32(data) != member.crc:
            raise ContainerError(f"`{member.name}` is damaged")
        return data

    def directory(self) -> tuple[Member, ...]:
        """All members by the central directory, which must be exactly what would be written for them.

        Raises:
            NewerContainerError: it is of a newer major version.
            ContainerError: it is damaged, or was made by another program.
        """
        self._check_seal()
        end_at = self.size_bytes - _SEAL_BYTES - _END.size
        count, size, start = self._end_fields(end_at)
        if count > MAX_MEMBERS or start + size > end_at:
            raise ContainerError("directory does not fit into the file")
        data = self.read(start, size)
        if self.read(start + size, end_at + _END.size - start - size) != _end(count, start, size):
            raise ContainerError("end of the directory is damaged")
        members = tuple(_entries(data, count))
        if b"".join(map(_central, members)) != data:
            raise ContainerError("directory is damaged")
        expected = 0
        for member in members:
            if member.offset != expected:
                raise ContainerError("members overlap or leave gaps")
            expected = member.end
        if expected != start or len({member.name for member in members}) != len(members):
            raise ContainerError("directory does not fit its members")
        return members

    def _check_seal(self) -> None:
        last = self.read(max(0, self.size_bytes - 256), 256)
        found = re.search(_SEAL.pattern + rb"\Z", last)
        # Every version ends like this, so a number that a damaged byte makes up does not pass for a newer version.
        if found and int(found[1]) > MAJOR and self.seal_is_sound(int(found[1])):
            raise NewerContainerError(f"format version {int(found[1])}")
        if not found or int(found[1]) != MAJOR:
            raise ContainerError("end of the file is missing or damaged")

    def _end_fields(self, end_at: int) -> tuple[int, int, int]:
        """Count, size and start of the directory."""
        fixed = self.read(end_at, _END.size)
        if end_at < 0 or fixed[:4] != b"PK\x05\x06":
            raise ContainerError("end of the directory is damaged")
        _, _, _, _, count, size, start, _ = _END.unpack(fixed)
        if count == _U16 or _U32 in (size, start):
            wide = self.read(end_at - _LOCATOR64.size - _END64.size, _END64.size)
            if len(wide) != _END64.size or wide[:4] != b"PK\x06\x06":
                raise ContainerError("end of the directory is damaged")
            *_, count, size, start = _END64.unpack(wide)
        return count, size, start

    def scan(self) -> Iterator[Member | Gap]:
        """Whole members by their own headers, front to back, without the directory; what lies between as gaps.

        Ends at the directory, or with a gap where none is found.
        """
        offset = 0
        while offset < self.size_bytes:
            member = self._member_at(offset)
            if member is not None:
                yield member
                offset = member.end
                continue
            if self.read(offset, 4) == _CENTRAL_SIGNATURE:
                return
            found = self._next_member(offset + 1)
            yield Gap(offset, self.size_bytes if found is None else found.offset, self._name_at(offset))
            if found is None:
                return
            offset = found.offset

    def _member_at(self, offset: int) -> Member | None:
        """The whole member whose header begins at `offset`."""
        fixed = self.read(offset, _LOCAL.size)
        if len(fixed) < _LOCAL.size or not fixed.startswith(_LOCAL_SIGNATURE):
            return None
        crc, size, _, name_size, _ = _LOCAL.unpack(fixed)[6:]
        name = self.read(offset + _LOCAL.size, name_size)
        if not _NAME.fullmatch(name) or fixed + name != _local(name, size, crc):
            return None
        member = Member(name.decode("ascii"), offset, size, crc)
        if member.end > self.size_bytes or size > MAX_STORED_BYTES:
            return None
        try:
            self.stored(member)
        except ContainerError:
            return None
        return member

    def _next_member(self, offset: int) -> Member | None:
        while offset < self.size_bytes:
            window = self.read(offset, _WINDOW)
            at = window.find(_LOCAL_SIGNATURE)
            while at >= 0:
                member = self._member_at(offset + at)
                if member is not None:
                    return member
                at = window.find(_LOCAL_SIGNATURE, at + 1)
            if len(window) < _WINDOW:
                return None
            offset += _WINDOW - len(_LOCAL_SIGNATURE) + 1
        return None

    def _name_at(self, offset: int) -> str:
        """The name in a header that is otherwise not sound; empty where none can be made out."""
        fixed = self.read(offset, _LOCAL.size)
        if len(fixed) < _LOCAL.size:
            return ""
        name = self.read(offset + _LOCAL.size, _LOCAL.unpack(fixed)[9])
        return name.decode("ascii") if _NAME.fullmatch(name) else ""

    def tail_is_sound(self, members: Sequence[Member]) -> bool:
        """Whether directory and end records are what belongs to `members`."""
        expected = tail(members)
        start = members[-1].end if members else 0
        return self.read(start, len(expected)) == expected and start + len(expected) + _SEAL_BYTES == self.size_bytes

    def has_end(self) -> bool:
        """Whether the file ends as a whole one does, damaged or not: with a seal, or an end record before its place."""
        last = self.read(max(0, self.size_bytes - _SEAL_BYTES - _END.size), _SEAL_BYTES + _END.size)
        return last.startswith(b"PK\x05\x06") or _SEAL.fullmatch(last[-_SEAL_BYTES:]) is not None

    def seal_is_sound(self, major: int = MAJOR) -> bool:
        """Whether the seal is the hash of every byte before it. Reads the whole file."""
        body = self.size_bytes - _HASH_BYTES
        prefix = seal_prefix(major)
        digest = hashlib.sha256()
        for offset in range(0, max(body, 0), _WINDOW):
            digest.update(self.read(offset, min(_WINDOW, body - offset)))
        last = self.read(max(0, body - len(prefix)), len(prefix) + _HASH_BYTES)
        return last == prefix + digest.hexdigest().encode("ascii")


@frozen
class Gap:
    """Bytes that belong to no whole member. `name`: of the member that began there, where it can be made out."""

    start: int
    end: int
    name: str


def _entries(data: bytes, count: int) -> Iterable[Member]:
    offset = 0
    for _ in range(count):
        if offset + _CENTRAL.size > len(data):
            raise ContainerError("directory is damaged")
        fields = _CENTRAL.unpack_from(data, offset)
        crc, size, name_size, extra_size, start = fields[7], fields[8], fields[10], fields[11], fields[16]
        offset += _CENTRAL.size
        name = data[offset : offset + name_size]
        extra = data[offset + name_size : offset + name_size + extra_size]
        offset += name_size + extra_size
        if not _NAME.fullmatch(name) or size > MAX_STORED_BYTES:
            raise ContainerError("directory names an unsafe member")
        if start == _U32 and len(extra) == 12:
            start = struct.unpack("<2HQ", extra)[2]
        yield Member(name.decode("ascii"), start, size, crc)
