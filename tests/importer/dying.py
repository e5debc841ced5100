"""A process that dies while it writes its journal or ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qlikmigrate.importer.line_log import LineLog

_PLAIN = LineLog.append


class Killed(BaseException):
    """The process is gone."""


def dying(doomed: int, *, after: bool) -> Callable[[LineLog, Mapping[str, Any]], None]:
    """In place of `LineLog.append`: the process dies before or after the line of that number, counted from here."""
    count = 0

    def append(self: LineLog, line: Mapping[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == doomed and not after:
            raise Killed
        _PLAIN(self, line)
        if count == doomed:
            raise Killed

    return append
