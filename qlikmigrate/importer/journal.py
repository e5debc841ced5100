"""What a run meant to do and what it did, line by line, on the disk before the next step.

An intent stands before each write and its outcome after, so that whoever reads it after a crash knows which single
write is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from qlikmigrate.importer.line_log import LineLog, read_lines
from qlikmigrate.importer.plan import Step
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.error import CorruptError

_FORMAT = "qlikmigrate-journal"


@define
class Done:
    """How far one object has come. `since`: the server's time right before the write in doubt, `by`: who sent it.

    `consent`: a connection that waits for a person's consent.
    """

    target_id: str | None = None
    steps: list[Step] = field(factory=list)
    in_doubt: Step | None = None
    since: datetime | None = None
    by: str = ""
    failed: str = ""
    consent: bool = False


@define
class RunState:
    """What a journal says. `objects`: by key: an action's number, `space:SOURCE_ID`, `member:SPACE/ASSIGNEE`,
    `connection:SOURCE_ID`, or `settings`.
    """

    started: bool = False
    finished: bool = False
    run_id: str = ""
    objects: dict[str, Done] = field(factory=dict)

    def of(self, key: str) -> Done:
        """The state of one object."""
        return self.objects.setdefault(key, Done())


class Journal:
    """The open journal of a run, and the state it amounts to."""

    def __init__(self, path: Path, *, run_id: str, clock: Clock) -> None:
        self.state = read_state(path)
        self._clock = clock
        self._log = LineLog(path)
        if not self.state.started:
            self._append({"event": "start", "format": _FORMAT, "format_version": 1, "run": run_id})
            self.state.started, self.state.run_id = True, run_id

    @property
    def run_id(self) -> str:
        """The run's own name, in the markers of its shells."""
        return self.state.run_id

    def intend(self, key: str, step: Step, *, since: datetime, by: str = "") -> None:
        """A write is about to be sent; `since` is the server's time, `by` the user who will own what it creates."""
        one = self.state.of(key)
        one.in_doubt, one.since, one.by = step, since, by
        self._append({"event": "intent", "key": key, "step": step.value, "since": rfc3339(since), "by": by})

    def done(self, key: str, step: Step, target_id: str) -> None:
        """The write was carried out."""
        one = self.state.of(key)
        one.in_doubt, one.failed, one.target_id = None, "", target_id
        one.steps.append(step)
        self._append({"event": "done", "key": key, "step": step.value, "id": target_id})

    def fail(self, key: str, code: str, *, in_doubt: bool = False) -> None:
        """The write was not carried out; `in_doubt`: nobody can tell."""
        one = self.state.of(key)
        one.failed = code
        if not in_doubt:
            one.in_doubt = None
        self._append({"event": "failed", "key": key, "code": code, "in_doubt": in_doubt})

    def note(self, event: str, **facts: Any) -> None:
        """Anything else worth a line."""
        self._append({"event": event, **facts})

    def finish(self) -> None:
        """Everything is done and was read back."""
        self.state.finished = True
        self._append({"event": "finished"})

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        self._log.append({"at": rfc3339(self._clock.now()), **line})


def read_state(path: Path) -> RunState:
    """What the journal at `path` says; an empty state where there is none.

    Raises:
        CorruptError: it is damaged, or of a newer format.
    """
    lines, _ = read_lines(path)
    state = RunState()
    for number, line in enumerate(lines, start=1):
        try:
            _read_line(state, line)
        except (KeyError, ValueError, TypeError):
            raise CorruptError(f"line {number} of {path} is damaged") from None
    if lines and not state.started:
        raise CorruptError(f"no journal: {path}")
    return state


def _read_line(state: RunState, line: Mapping[str, Any]) -> None:
    match line["event"]:
        case "start":
            if line["format"] != _FORMAT or line["format_version"] != 1:
                raise ValueError("another format")
            state.started, state.run_id = True, str(line["run"])
        case "intent":
            one = state.of(line["key"])
            one.in_doubt, one.since = Step(line["step"]), datetime.fromisoformat(line["since"])
            one.by = str(line["by"])
        case "done":
            one = state.of(line["key"])
            one.steps.append(Step(line["step"]))
            one.target_id, one.in_doubt, one.failed = str(line["id"]), None, ""
        case "failed":
            one = state.of(line["key"])
            one.failed = str(line["code"])
            if not line["in_doubt"]:
                one.in_doubt = None
        case "consent":
            state.of(line["key"]).consent = True
        case "finished":
            state.finished = True
        case _:
            pass
