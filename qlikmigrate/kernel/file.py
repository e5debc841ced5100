"""Files written whole or not at all, for their owner only."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from qlikmigrate.kernel.error import FailedError, QlikmigrateError, UsageError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
# Full, over quota, larger than a file may be, broken.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def write_atomic(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Put `data` at `path`: a reader sees the old file or the new one, never a part.

    Raises:
        UsageError: the folder is missing or may not be written to.
        FailedError: the disk is full or fails.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise _cannot_write(path, error) from None
    sync_folder(path.parent)


def _cannot_write(path: Path, error: OSError) -> QlikmigrateError:
    """A full disk is nobody's wrong word: it may fill up long after a command began."""
    words = f"cannot write {path}: {error.strerror}"
    return FailedError(words, code="cannot-write") if error.errno in _DISK else UsageError(words)


def is_left_over(name: str, path: Path) -> bool:
    """Whether a file of that name is what `write_atomic` left when it was killed before `path` was there."""
    return name.startswith(f".{path.name}.")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the system knows how."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(path: Path) -> None:
    """Make `path` with its parents; it is readable by its owner only.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror}") from None
