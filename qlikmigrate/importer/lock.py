"""One run at a time on one target. The lock covers one machine and one user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from qlikmigrate.kernel.error import LockedError
from qlikmigrate.kernel.file import private_folder


@contextmanager
def target_lock(tenant_id: str) -> Iterator[None]:
    """Hold the lock of a target tenant. It is freed when the process ends, however it ends.

    Raises:
        LockedError: another run holds it.
    """
    with _held(tenant_id, "another run is writing to this tenant"):
        yield


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a folder in which runs on many targets are kept.

    Raises:
        LockedError: another process works in it.
    """
    with _held(f"folder-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}", f"{path} is in use"):
        yield


@contextmanager
def _held(name: str, message: str) -> Iterator[None]:
    folder = Path(platformdirs.user_state_dir("qlikmigrate")) / "locks"
    private_folder(folder)
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    try:
        with FileLock(folder / f"{safe}.lock", timeout=0):
            yield
    except Timeout:
        raise LockedError(message, hint="wait until it has ended") from None
