"""The names of a vault's objects. A name tells what a listing has to know, and the SHA-256 of what the object holds.

So whoever lists a vault sees packs that are missing without opening one, and whoever reads an object can check it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import frozen

CONFIG = "vault.json"
PACKS = "packs"
SNAPSHOTS = "snapshots"
GONE = "gone"
MARKS = "marks"
CHECKS = "checks"
DRILLS = "drills"
MOVES = "moves"
BEGUN = "begun"
KEYS = "keys"
LOCKS = "locks"

_STAMP = r"(\d{8}T\d{6}Z)"
_ID = r"([0-9a-f]{16})"
_SEQUENCE = r"([0-9a-f]{8})"
_SHA256 = r"([0-9a-f]{64})"
_PACK = re.compile(rf"{PACKS}/{_SEQUENCE}-{_SHA256}")
_SNAPSHOT = re.compile(rf"{SNAPSHOTS}/{_STAMP}-{_ID}-(\d{{2,4}})-{_SHA256}")
_GONE = re.compile(rf"{GONE}/{_ID}-{_SEQUENCE}-{_STAMP}")
_MARK = re.compile(rf"{MARKS}/{_SEQUENCE}-{_STAMP}")
_CHECK = re.compile(rf"{CHECKS}/{_STAMP}-{_SHA256}")
_BEGUN = re.compile(rf"{BEGUN}/{_ID}-{_STAMP}")
_MOVES = re.compile(rf"{MOVES}/{_STAMP}-{_SHA256}")
_DRILL = re.compile(rf"{DRILLS}/{_ID}-{_STAMP}-{_SHA256}")
_RANGE = re.compile(r"([0-9a-f]+)(?:-([0-9a-f]+))?")


def sha256(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def stamp(moment: datetime) -> str:
    """A time in a name: UTC, whole seconds."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def moment_of(text: str) -> datetime:
    """The inverse of `stamp`.

    Raises:
        ValueError: it is none.
    """
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@frozen(order=True)
class Ref:
    """Where a piece of content lies: the sequence number of its pack, and its number in there."""

    pack: int
    number: int

    def __str__(self) -> str:
        return f"{self.pack:x}.{self.number:x}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """From what `str` gave.

        Raises:
            ValueError: it is none.
        """
        pack, _, number = text.partition(".")
        return cls(int(pack, 16), int(number, 16))


@frozen
class PackName:
    """A pack: its sequence number in the vault, and the hash of its stored bytes."""

    sequence: int
    sha256: str

    def __str__(self) -> str:
        return f"{PACKS}/{self.sequence:08x}-{self.sha256}"

    @classmethod
    def parse(cls, name: str) -> PackName | None:
        """From an object's name; None for another one."""
        found = _PACK.fullmatch(name)
        return cls(int(found[1], 16), found[2]) if found else None


@frozen
class SnapshotName:
    """The head of a snapshot: when it was taken, its id, and which writing of it this is."""

    taken_at: datetime
    id: str
    generation: int
    sha256: str

    def __str__(self) -> str:
        return f"{SNAPSHOTS}/{stamp(self.taken_at)}-{self.id}-{self.generation:02d}-{self.sha256}"

    @classmethod
    def parse(cls, name: str) -> SnapshotName | None:
        """From an object's name; None for another one."""
        found = _SNAPSHOT.fullmatch(name)
        try:
            return cls(moment_of(found[1]), found[2], int(found[3]), found[4]) if found else None
        except ValueError:
            return None


@frozen
class Tombstone:
    """Says since when a snapshot is gone. `pack`: of its manifest, which may outlive its head."""

    id: str
    pack: int
    at: datetime

    def __str__(self) -> str:
        return f"{GONE}/{self.id}-{self.pack:08x}-{stamp(self.at)}"

    @classmethod
    def parse(cls, name: str) -> Tombstone | None:
        """From an object's name; None for another one."""
        found = _GONE.fullmatch(name)
        try:
            return cls(found[1], int(found[2], 16), moment_of(found[3])) if found else None
        except ValueError:
            return None


@frozen
class Begun:
    """Says that a snapshot is being stored. Once it has its head this goes; after a kill it stays, and tells of it."""

    id: str
    at: datetime

    def __str__(self) -> str:
        return f"{BEGUN}/{self.id}-{stamp(self.at)}"

    @classmethod
    def parse(cls, name: str) -> Begun | None:
        """From an object's name; None for another one."""
        found = _BEGUN.fullmatch(name)
        try:
            return cls(found[1], moment_of(found[2])) if found else None
        except ValueError:
            return None


@frozen
class Mark:
    """Says since when no live snapshot needs a pack."""

    pack: int
    at: datetime

    def __str__(self) -> str:
        return f"{MARKS}/{self.pack:08x}-{stamp(self.at)}"

    @classmethod
    def parse(cls, name: str) -> Mark | None:
        """From an object's name; None for another one."""
        found = _MARK.fullmatch(name)
        try:
            return cls(int(found[1], 16), moment_of(found[2])) if found else None
        except ValueError:
            return None


@frozen
class CheckName:
    """The record of a verification."""

    at: datetime
    sha256: str

    def __str__(self) -> str:
        return f"{CHECKS}/{stamp(self.at)}-{self.sha256}"

    @classmethod
    def parse(cls, name: str) -> CheckName | None:
        """From an object's name; None for another one."""
        found = _CHECK.fullmatch(name)
        try:
            return cls(moment_of(found[1]), found[2]) if found else None
        except ValueError:
            return None


@frozen
class MovesName:
    """A list of pieces that lie elsewhere since a repack."""

    at: datetime
    sha256: str

    def __str__(self) -> str:
        return f"{MOVES}/{stamp(self.at)}-{self.sha256}"

    @classmethod
    def parse(cls, name: str) -> MovesName | None:
        """From an object's name; None for another one."""
        found = _MOVES.fullmatch(name)
        try:
            return cls(moment_of(found[1]), found[2]) if found else None
        except ValueError:
            return None


@frozen
class DrillName:
    """The evidence of a drill of a snapshot."""

    id: str
    at: datetime
    sha256: str

    def __str__(self) -> str:
        return f"{DRILLS}/{self.id}-{stamp(self.at)}-{self.sha256}"

    @classmethod
    def parse(cls, name: str) -> DrillName | None:
        """From an object's name; None for another one."""
        found = _DRILL.fullmatch(name)
        try:
            return cls(found[1], moment_of(found[2]), found[3]) if found else None
        except ValueError:
            return None


def write_ranges(numbers: Iterable[int]) -> str:
    """Sequence numbers as hexadecimal ranges, `1-5,7`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in parts)


def read_ranges(text: str, *, at_most: int = 4_000_000) -> frozenset[int]:
    """The inverse of `write_ranges`.

    Raises:
        ValueError: it is none, or names more than `at_most` numbers.
    """
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        found = _RANGE.fullmatch(part)
        if not found:
            raise ValueError(f"no range: {part}")
        first = int(found[1], 16)
        last = int(found[2], 16) if found[2] else first
        if last < first or last - first >= at_most - len(numbers):
            raise ValueError(f"no range: {part}")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)
