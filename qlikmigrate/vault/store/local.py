"""Objects as files of a real folder, for their owner only.

An object is written aside, synced, and then linked to its name: a link cannot replace, so one creator wins and nobody
sees a part. A name is durable when `create` returns.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from qlikmigrate.kernel.clock import Clock, SystemClock
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.kernel.file import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder
from qlikmigrate.vault.store.error import ImmutableError, ObjectExistsError, ObjectMissingError
from qlikmigrate.vault.store.interface import Entry, check_folder, check_name, check_range, is_name

_TEMPORARY = ".tmp-"
# Nothing takes a day to be written: whoever began it is gone.
_LEFT_BEHIND_S = 86_400
# What file systems without hard links answer.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
# What those answer that cannot sync a folder.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
# A file that may not even be removed by its owner: the system keeps it so, or the whole file system is read-only.
_KEPT = {errno.EPERM, errno.EROFS}
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class LocalStore:
    """The store in the folder `path`, which is made with the first object."""

    reads_at_once = 1

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None) -> None:
        self.path = Path(path)
        self._clock = clock or SystemClock()

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return str(self.path)

    def entries(self, folder: str) -> list[Entry]:
        """The objects of a folder, by name."""
        check_folder(folder)
        found = []
        with self._one_line("read", self.path / folder, "cannot-read"):
            try:
                files = os.scandir(self.path / folder)
            except (FileNotFoundError, NotADirectoryError):
                return []
            with files:
                for file in files:
                    name = f"{folder}/{file.name}" if folder else file.name
                    # It may be deleted while this looks.
                    with contextlib.suppress(FileNotFoundError):
                        if is_name(name) and file.is_file():
                            found.append(Entry(name, file.stat().st_size))
        return sorted(found, key=lambda entry: entry.name)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Up to `size` bytes at `offset`.

        Raises:
            ObjectMissingError: there is no such object.
        """
        check_range(offset, size)
        path = self.path / check_name(name)
        with self._one_line("read", path, "cannot-read"):
            try:
                # Opened without waiting: a pipe in the place of a file must not hold everything up.
                descriptor = os.open(path, _READING)
            except (FileNotFoundError, NotADirectoryError):
                raise self._missing(name) from None
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self._missing(name)
                return _read(descriptor, offset, size)
            finally:
                os.close(descriptor)

    def create(self, name: str, data: bytes) -> None:
        """Write an object.

        Raises:
            ObjectExistsError: the name is taken.
        """
        path = self.path / check_name(name)
        with self._one_line("write", path, "cannot-write"):
            self._make_folder(path.parent)
            if os.path.lexists(path):
                raise self._exists(name)
            temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
            try:
                self._write(temporary, data)
                self._publish(temporary, path, name)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
            self._sync(path.parent)

    def delete(self, name: str) -> None:
        """Delete an object. It is not synced: one that comes back after a power cut is deleted again.

        Raises:
            ImmutableError: the system forbids it.
        """
        path = self.path / check_name(name)
        with self._one_line("delete", path, "cannot-write"):
            try:
                path.unlink(missing_ok=True)
            except NotADirectoryError:
                return
            except OSError as error:
                if error.errno in _KEPT:
                    raise ImmutableError(f"{path} may not be deleted: {error.strerror}") from None
                raise

    def is_immutable(self) -> bool:
        """Deleting a file frees its space."""
        return False

    def sweep(self) -> None:
        """Remove unfinished files that are older than a day."""
        before = self._clock.now().timestamp() - _LEFT_BEHIND_S
        with contextlib.suppress(OSError):
            for folder in (self.path, *(one for one in self.path.iterdir() if one.is_dir() and is_name(one.name))):
                for file in folder.glob(f"{_TEMPORARY}*"):
                    # Another process may sweep as well.
                    with contextlib.suppress(OSError):
                        if file.lstat().st_mtime < before:
                            file.unlink()

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            self._sync(one.parent)

    def _write(self, path: Path, data: bytes) -> None:
        with os.fdopen(os.open(path, _WRITING, PRIVATE_FILE), "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())

    def _publish(self, temporary: Path, path: Path, name: str) -> None:
        try:
            os.link(temporary, path)
        except FileExistsError:
            # Over a network the answer to a link that was made may be lost, and what is sent again finds it made.
            if not _is_link_of(path, temporary):
                raise self._exists(name) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._publish_without_links(temporary, path, name)

    def _publish_without_links(self, temporary: Path, path: Path, name: str) -> None:
        """An empty file claims the name, then the whole one takes its place: an instant in which it is seen empty."""
        try:
            os.close(os.open(path, _WRITING, PRIVATE_FILE))
        except FileExistsError:
            raise self._exists(name) from None
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise

    def _sync(self, folder: Path) -> None:
        try:
            sync_folder(folder)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise

    def _exists(self, name: str) -> ObjectExistsError:
        return ObjectExistsError(f"`{name}` exists in {self.location}")

    def _missing(self, name: str) -> ObjectMissingError:
        return ObjectMissingError(f"`{name}` is missing from {self.location}")

    @contextlib.contextmanager
    def _one_line(self, verb: str, path: Path, code: str) -> Iterator[None]:
        """Errors of the system as one line each."""
        try:
            yield
        except PermissionError as error:
            raise FailedError(f"cannot {verb} {path}: {error.strerror}", code="no-access") from None
        except OSError as error:
            raise FailedError(f"cannot {verb} {path}: {error.strerror}", code=code) from None


def _read(descriptor: int, offset: int, size: int | None) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        file.seek(offset)
        return file.read(size)


def _is_link_of(path: Path, other: Path) -> bool:
    try:
        return os.path.samestat(path.lstat(), other.lstat())
    except FileNotFoundError:
        return False
