"""Files written whole or not at all: what keeps them from being written is told as what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from qlikmigrate.kernel.error import FailedError, UsageError
from qlikmigrate.kernel.file import write_atomic


def test_a_full_disk_is_no_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that the disk fills up under has failed (exit 1), whatever file it was; the old one stays as it was."""
    path = tmp_path / "report.json"
    write_atomic(path, b"old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FailedError, match="No space left") as told:
        write_atomic(path, b"new")
    assert told.value.code == "cannot-write"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one(tmp_path: Path) -> None:
    """A place that cannot be written to is the caller's to change: exit 2."""
    with pytest.raises(UsageError, match="cannot write"):
        write_atomic(tmp_path / "none" / "report.json", b"x")
