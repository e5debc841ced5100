"""What a vault asks of the place it lies in: named bytes that are written once, whole or not at all.

Nothing is modified in place and nothing renamed, so a bucket that lets no object change serves as well as a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from attrs import frozen

from qlikmigrate.vault.store.error import ObjectMissingError, ObjectNameError

# No leading dot: `.` and `..` are no names, and a local store's unfinished files are none either.
_PART = r"[A-Za-z0-9_@~-][A-Za-z0-9._@~-]{0,199}"
_FOLDER = re.compile(_PART)
_NAME = re.compile(rf"(?:{_PART}/)?{_PART}")


@frozen
class Entry:
    """One object of a listing. `name` is whole, its folder included: what `read` takes."""

    name: str
    size_bytes: int


class Store(Protocol):
    """A place for objects. Names are relative, with `/` after a folder, of which there is at most one.

    Its methods may be called from several threads and processes at once. Any of them raises FailedError when disk or
    server fail, AuthError when a server refuses the credentials, NotFoundError when there is no such bucket, and
    ObjectNameError for what cannot be a name.
    """

    reads_at_once: int
    """How many reads at a time are faster than one after the other."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def entries(self, folder: str) -> list[Entry]:
        """The objects of a folder (empty: those in none), by name. A folder that does not exist is an empty one.

        What cannot be an object of a vault is left out.
        """

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Up to `size` bytes at `offset`, fewer at the end; without a size, all that follow.

        Raises:
            ObjectMissingError: there is no such object.
        """

    def create(self, name: str, data: bytes) -> None:
        """Write an object: durable when this returns; absent or whole whatever happens meanwhile.

        When several create one name at once, it is one of them who does.

        Raises:
            ObjectExistsError: the name is taken.
        """

    def delete(self, name: str) -> None:
        """Delete an object; one that is missing is no error.

        Raises:
            ImmutableError: the store forbids it.
        """

    def is_immutable(self) -> bool:
        """Whether deleting would free nothing: the store keeps what is deleted, or forbids it."""

    def sweep(self) -> None:
        """Clear away what processes that were killed left behind, unless one may still be at it."""


def read_all(store: Store, names: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Several whole objects in their order, None for one that is missing.

    A bucket answers each read some time later: so it is asked for many at once.
    """

    def read(name: str) -> bytes | None:
        try:
            return store.read(name)
        except ObjectMissingError:
            return None

    width = min(store.reads_at_once, len(names))
    if width <= 1:
        yield from ((name, read(name)) for name in names)
        return
    with ThreadPoolExecutor(width, thread_name_prefix="read") as pool:
        yield from zip(names, pool.map(read, names), strict=True)


def is_name(name: str) -> bool:
    """Whether an object can have that name."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """`name`, if an object can have it.

    Raises:
        ObjectNameError: it cannot.
    """
    if not is_name(name):
        raise ObjectNameError(f"no object of a vault is named {_shown(name)}")
    return name


def check_folder(folder: str) -> str:
    """`folder`, if objects can lie in it; empty: in none.

    Raises:
        ObjectNameError: they cannot.
    """
    if folder and not _FOLDER.fullmatch(folder):
        raise ObjectNameError(f"no folder of a vault is named {_shown(folder)}")
    return folder


def check_range(offset: int, size: int | None) -> None:
    """A range as `read` takes it. Whoever asks for another has a bug.

    Raises:
        ValueError: a part of it is negative.
    """
    if offset < 0 or (size is not None and size < 0):
        raise ValueError(f"no range: {size} bytes at {offset}")


def _shown(name: str) -> str:
    return f"`{ascii(name)[1:-1][:80]}`"
