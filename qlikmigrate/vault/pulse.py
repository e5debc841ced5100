"""A sign of life of whoever holds a lock, for others on the same machine: a file that the system unlocks when he dies.

It lies in the user's state folder, never in the vault. Its name tells the lock's token, and by hashes which machine it
is on and which start of it.
"""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path
from typing import Self

import platformdirs
from filelock import FileLock, Timeout

from qlikmigrate.kernel.clock import SystemClock
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.kernel.file import private_folder
from qlikmigrate.vault.name import sha256

_TOKEN = re.compile(r"[0-9a-f]{32}")
_UNKNOWN = "unknown"
# Longer than any lease lasts without its holder.
_LEFT_BEHIND_S = 8 * 86_400


class Pulse:
    """A sign of life under a token. It ends with `end`, or with the process."""

    def __init__(self, path: Path | None, lock: FileLock | None) -> None:
        self._path = path
        self._lock = lock

    @classmethod
    def start(cls, token: str) -> Self:
        """Give one. Where there is no state folder to write to there is none: then a lock ends by its age alone."""
        folder = _folder()
        path = folder / f"{token}-{_machine()}-{_boot()}"
        with contextlib.suppress(QlikmigrateError, OSError):
            private_folder(folder)
            _sweep(folder)
            lock = FileLock(path, thread_local=False, mode=0o600)
            lock.acquire(timeout=0)
            return cls(path, lock)
        return cls(None, None)

    def end(self, *, forget: bool) -> None:
        """Stop. `forget`: nothing is left that anybody could ask about; else whoever asks learns that it has ended."""
        if self._lock is None or self._path is None:
            return
        with contextlib.suppress(OSError):
            if forget:
                self._path.unlink(missing_ok=True)
            self._lock.release()
        self._lock = None


def beats(token: str) -> bool | None:
    """Whether the process that started a pulse lives. None: that cannot be told, as on another machine or by others."""
    path = _found(token)
    if path is None:
        return None
    _, machine, boot = path.name.split("-")
    if machine != _machine():
        return None
    if boot != _boot():
        # The machine was started again since, and nothing lives on through that.
        return False if _UNKNOWN not in (boot, _boot()) and _machine_id() else None
    try:
        with FileLock(path, thread_local=False, mode=0o600).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return None


def forget(token: str) -> None:
    """Clear away what a dead process left."""
    path = _found(token)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _found(token: str) -> Path | None:
    # A token comes out of the store: it must not lead anywhere else.
    if not _TOKEN.fullmatch(token):
        return None
    with contextlib.suppress(OSError):
        return next((one for one in _folder().glob(f"{token}-*-*") if one.name.count("-") == 2), None)
    return None


def _folder() -> Path:
    return Path(platformdirs.user_state_dir("qlikmigrate")) / "vault-locks"


def _machine() -> str:
    """Which machine this is, as a hash. A state folder may be shared by several."""
    return sha256(f"{_machine_id()}\n{platform.node()}".encode())[:16]


def _machine_id() -> str:
    return _first_line("/etc/machine-id")


def _boot() -> str:
    """Which start of the machine this is, as a hash, where the system tells."""
    ident = _first_line("/proc/sys/kernel/random/boot_id")
    return sha256(ident.encode())[:16] if ident else _UNKNOWN


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    return ""


def _sweep(folder: Path) -> None:
    """What was left behind by processes that nobody asked about."""
    before = SystemClock().now().timestamp() - _LEFT_BEHIND_S
    for path in folder.iterdir():
        with contextlib.suppress(OSError, Timeout):
            if path.stat().st_mtime < before:
                with FileLock(path, thread_local=False, mode=0o600).acquire(timeout=0):
                    path.unlink()
