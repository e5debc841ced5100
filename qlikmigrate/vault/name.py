"""The names of a vault's objects. A name tells what a listing has to know, and the SHA-256 of what the object holds.

So whoever lists a vault sees packs that are missing without opening one, and whoever reads an object can check it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from attrs import field, fields, frozen

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
class _Part:
    """A part of a name: how it looks, and how a value becomes one and comes back."""

    pattern: re.Pattern[str]
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _part(pattern: str, write: Callable[[Any], str] = str, read: Callable[[str], Any] = str) -> dict[str, _Part]:
    return {"part": _Part(re.compile(pattern), write, read)}


_TIME = _part(r"\d{8}T\d{6}Z", stamp, moment_of)
_ID = _part(r"[0-9a-f]{16}")
_DIGEST = _part(r"[0-9a-f]{64}")
_SEQUENCE = _part(r"[0-9a-f]{8}", lambda number: f"{number:08x}", lambda text: int(text, 16))
_GENERATION = _part(r"\d{2,4}", lambda number: f"{number:02d}", int)


@frozen
class ObjectName:
    """The name of an object in a folder of a vault: its parts with dashes between, as `str` gives it."""

    folder: ClassVar[str]

    def __str__(self) -> str:
        parts = (one.metadata["part"].write(getattr(self, one.name)) for one in fields(type(self)))
        return f"{self.folder}/{'-'.join(parts)}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """From an object's name; None for one that is none of these."""
        folder, _, rest = name.partition("/")
        texts = rest.split("-")
        parts: list[_Part] = [one.metadata["part"] for one in fields(cls)]
        if folder != cls.folder or len(texts) != len(parts):
            return None
        if not all(part.pattern.fullmatch(text) for part, text in zip(parts, texts, strict=True)):
            return None
        try:
            return cls(*(part.read(text) for part, text in zip(parts, texts, strict=True)))
        except ValueError:  # a time that no calendar has
            return None


@frozen
class PackName(ObjectName):
    """A pack: its sequence number in the vault, and the hash of its stored bytes."""

    folder = PACKS
    sequence: int = field(metadata=_SEQUENCE)
    sha256: str = field(metadata=_DIGEST)


@frozen
class SnapshotName(ObjectName):
    """The head of a snapshot: when it was taken, its id, and which writing of it this is."""

    folder = SNAPSHOTS
    taken_at: datetime = field(metadata=_TIME)
    id: str = field(metadata=_ID)
    generation: int = field(metadata=_GENERATION)
    sha256: str = field(metadata=_DIGEST)


@frozen
class Tombstone(ObjectName):
    """Says since when a snapshot is gone. `pack`: of its manifest, which may outlive its head."""

    folder = GONE
    id: str = field(metadata=_ID)
    pack: int = field(metadata=_SEQUENCE)
    at: datetime = field(metadata=_TIME)


@frozen
class Begun(ObjectName):
    """Says that a snapshot is being stored. Once it has its head this goes; after a kill it stays, and tells of it."""

    folder = BEGUN
    id: str = field(metadata=_ID)
    at: datetime = field(metadata=_TIME)


@frozen
class Mark(ObjectName):
    """Says since when no live snapshot needs a pack."""

    folder = MARKS
    pack: int = field(metadata=_SEQUENCE)
    at: datetime = field(metadata=_TIME)


@frozen
class CheckName(ObjectName):
    """The record of a verification."""

    folder = CHECKS
    at: datetime = field(metadata=_TIME)
    sha256: str = field(metadata=_DIGEST)


@frozen
class MovesName(ObjectName):
    """A list of pieces that lie elsewhere since a repack."""

    folder = MOVES
    at: datetime = field(metadata=_TIME)
    sha256: str = field(metadata=_DIGEST)


@frozen
class DrillName(ObjectName):
    """The evidence of a drill of a snapshot."""

    folder = DRILLS
    id: str = field(metadata=_ID)
    at: datetime = field(metadata=_TIME)
    sha256: str = field(metadata=_DIGEST)


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
