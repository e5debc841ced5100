"""Append-only files of one JSON object a line, each synced before the next step, readable after any crash."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from qlikmigrate.kernel.error import CorruptError, UsageError
from qlikmigrate.kernel.file import PRIVATE_FILE, sync_folder


class LineLog:
    """An open line log. A torn last line, left by a crash, is cut off when it is opened for writing."""

    def __init__(self, path: Path) -> None:
        whole = read_lines(path)[1] if path.exists() else 0
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        os.ftruncate(self._handle, whole)
        os.lseek(self._handle, 0, os.SEEK_END)
        sync_folder(path.parent)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line; it is on the disk when this returns."""
        data = orjson.dumps(line) + b"\n"
        start = os.lseek(self._handle, 0, os.SEEK_CUR)
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError:
            # A full disk took a part of the line: what is written after it must not be torn with it.
            with suppress(OSError):
                os.ftruncate(self._handle, start)
            os.lseek(self._handle, start, os.SEEK_SET)
            raise
        os.fdatasync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a line log, and how many bytes they take. A torn last line does not count.

    Raises:
        CorruptError: a line before the last is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    lines: list[dict[str, Any]] = []
    good = 0
    while (end := data.find(b"\n", good)) >= 0:
        try:
            value = orjson.loads(data[good:end])
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            if data.find(b"\n", end + 1) >= 0:
                raise CorruptError(f"line {len(lines) + 1} of {path} is damaged")
            break
        lines.append(value)
        good = end + 1
    return lines, good
