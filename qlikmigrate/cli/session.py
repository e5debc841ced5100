"""One command's frame: its common flags, the event loop with signals and time budget, and the closing summary."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen

from qlikmigrate.cli.output import FORMAT_VERSION, Output
from qlikmigrate.kernel.clock import SystemClock
from qlikmigrate.kernel.error import BudgetSpentError, InterruptedRunError
from qlikmigrate.kernel.event import Severity

T = TypeVar("T")


@frozen
class Failure:
    """Why a command ends with another code than 0."""

    exit_code: int
    code: str
    message: str
    hint: str = ""
    usage: str = ""


@define
class Session:
    """What every command has. `report` is the summary in the making; `exit_code` what it ends with if nothing fails."""

    command: str
    output: Output
    config: str | None = None
    yes: bool = False
    time_budget_s: float | None = None
    on_error: str = "continue"
    clock: SystemClock = field(factory=SystemClock)
    started: float = field(factory=time.monotonic)
    exit_code: int = 0
    report: dict[str, Any] = field(factory=dict)
    closing: list[str] = field(factory=list)

    @property
    def environ(self) -> Mapping[str, str]:
        """The process's environment."""
        return os.environ

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in an event loop of its own.

        Raises:
            InterruptedRunError: SIGINT or SIGTERM came.
            BudgetSpentError: `--time-budget` ran out.
        """
        return asyncio.run(self._watched(work))

    async def _watched(self, work: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.ensure_future(work())
        stopped: list[str] = []

        def stop(why: str) -> None:
            stopped.append(why)
            task.cancel()

        loop = asyncio.get_running_loop()
        if os.name == "posix":
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, "signal")
        if self.time_budget_s is not None:
            left = self.time_budget_s - (time.monotonic() - self.started)
            loop.call_later(max(left, 0.0), stop, "budget")
        try:
            return await task
        except asyncio.CancelledError:
            if "signal" in stopped or not stopped:
                raise InterruptedRunError("interrupted; what was done is saved") from None
            raise BudgetSpentError("the time budget is spent; what was done is saved") from None


_current: list[Session] = []


def begin(session: Session) -> None:
    """Make `session` the one whose summary closes this process's command."""
    _current[:] = [session]


def is_verbose() -> bool:
    """Whether the current command was called with `--verbose`."""
    return bool(_current and _current[0].output.verbose)


def close_summary(arguments: Sequence[str], failure: Failure | None) -> int:
    """Say how the command ended, on stderr for people or as the last JSON line; the exit code."""
    session = _current[0] if _current else None
    _current.clear()
    code = failure.exit_code if failure else (session.exit_code if session else 0)
    as_json = session.output.json if session else "--json" in arguments
    if session:
        session.output.clear()
    if as_json:
        _json_summary(arguments, session, failure, code)
        return code
    if session is not None:
        for line in session.closing:
            if not session.output.quiet or failure:
                print(line, file=sys.stderr)
    if failure:
        if failure.usage:
            print(failure.usage, file=sys.stderr)
        print(f"error: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(f"  hint: {failure.hint}", file=sys.stderr)
    return code


def _json_summary(arguments: Sequence[str], session: Session | None, failure: Failure | None, code: int) -> None:
    report = session.report if session else {}
    known = [word for word in arguments if not word.startswith("-")]
    problems = sum(1 for one in session.output.told if one.severity is not Severity.INFO) if session else 0
    summary = {
        "command": session.command if session else (known[0] if known else ""),
        "exit_code": code,
        "complete": report.get("complete"),
        "restorable": report.get("restorable"),
        "archive": report.get("archive"),
        "run": report.get("run"),
        "counts": report.get("counts", {}),
        "problems": report.get("problems", problems),
        "requests": report.get("requests", dict.fromkeys(("tier1", "tier2", "token", "retried", "throttled"), 0)),
        "seconds": round(time.monotonic() - session.started, 3) if session else 0.0,
        "error": {"code": failure.code, "message": failure.message, "hint": failure.hint} if failure else None,
        **{key: value for key, value in report.items() if key in ("plan", "mapping", "ledger")},
    }
    import orjson

    line = {"type": "summary", "format_version": FORMAT_VERSION, **summary}
    sys.stdout.write(orjson.dumps(line, default=_plain).decode() + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
