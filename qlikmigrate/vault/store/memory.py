"""Objects in memory, for tests and for programs that embed a vault; gone with the process."""

from __future__ import annotations

import threading

from qlikmigrate.vault.store.error import ImmutableError, ObjectExistsError, ObjectMissingError
from qlikmigrate.vault.store.interface import Entry, check_folder, check_name, check_range


class MemoryStore:
    """A store in memory. `immutable`: it forbids deletions, as a bucket under object lock may."""

    reads_at_once = 1

    def __init__(self, *, immutable: bool = False) -> None:
        self._objects: dict[str, bytes] = {}
        self._immutable = immutable
        self._guard = threading.Lock()

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return "memory"

    def entries(self, folder: str) -> list[Entry]:
        """The objects of a folder, by name."""
        check_folder(folder)
        with self._guard:
            found = [(name, len(data)) for name, data in self._objects.items()]
        return [Entry(name, size) for name, size in sorted(found) if name.rpartition("/")[0] == folder]

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Up to `size` bytes at `offset`.

        Raises:
            ObjectMissingError: there is no such object.
        """
        check_range(offset, size)
        with self._guard:
            data = self._objects.get(check_name(name))
        if data is None:
            raise ObjectMissingError(f"`{name}` is missing from {self.location}")
        return data[offset:] if size is None else data[offset : offset + size]

    def create(self, name: str, data: bytes) -> None:
        """Write an object.

        Raises:
            ObjectExistsError: the name is taken.
        """
        with self._guard:
            if check_name(name) in self._objects:
                raise ObjectExistsError(f"`{name}` exists in {self.location}")
            self._objects[name] = bytes(data)

    def delete(self, name: str) -> None:
        """Delete an object.

        Raises:
            ImmutableError: the store was made immutable.
        """
        check_name(name)
        if self._immutable:
            raise ImmutableError(f"{self.location} does not let `{name}` be deleted")
        with self._guard:
            self._objects.pop(name, None)

    def is_immutable(self) -> bool:
        """Whether it was made so."""
        return self._immutable

    def sweep(self) -> None:
        """Nothing is ever left behind."""
