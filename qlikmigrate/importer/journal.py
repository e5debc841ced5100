"""What a run meant to do and what it did, line by line, on the disk before the next step.

An intent stands before each write and its outcome after, so that whoever reads it after a crash knows which single
write is in doubt.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from qlikmigrate.importer.comparison import Face
from qlikmigrate.importer.line_log import LineLog, read_lines
from qlikmigrate.importer.plan import Step
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.error import CorruptError

_FORMAT = "qlikmigrate-journal"


@define
class Done:
    """How far one object has come. `since`: the server's time right before the last write, `by`: who owns what it made.

    `sent`: the face of the last document sent, `stored`: of the answer to it; either is what we wrote last.
    `runs`: `maxConcurrentRuns` in that answer. `off`: it was off when the write in doubt was begun.
    `consent`: a connection that waits for a person's consent.
    Of OEM accounts: `before`: ids that were there before the first of the writes in doubt, `first` when that one was
    sent, `opened` the same even after it was done, `tries` how many there were; `answered`: the service said that it
    did it. `window_s`: how long an installed automation may have been on. `candidates`: what an ambiguous write may
    have made. `seen`: `updated_at` when it was last read back.
    """

    target_id: str | None = None
    steps: list[Step] = field(factory=list)
    in_doubt: Step | None = None
    since: datetime | None = None
    by: str = ""
    failed: str = ""
    consent: bool = False
    sent: Face | None = None
    stored: Face | None = None
    runs: int | None = None
    off: bool = False
    before: frozenset[str] = frozenset()
    first: datetime | None = None
    opened: datetime | None = None
    tries: int = 0
    answered: bool = False
    window_s: float | None = None
    candidates: tuple[str, ...] = ()
    seen: str = ""

    @property
    def window_is_open(self) -> bool:
        """Whether an install may have left something on: it was sent, and nothing says that it is off."""
        return self.in_doubt is Step.INSTALL or (Step.INSTALL in self.steps and Step.DISABLE not in self.steps)

    @property
    def faces(self) -> tuple[Face, ...]:
        """What it may look like if nobody but us wrote it."""
        return tuple(face for face in (self.stored, self.sent) if face is not None)

    def may_be(self, before: str | None) -> set[str | None]:
        """Hashes of what it may hold if nobody but us wrote it: the version `before`, or one whose PUT is in doubt."""
        sent = self.sent.core if self.in_doubt is Step.PUT and self.sent is not None else before
        return {before, sent}


@define
class RunState:
    """What a journal says. `objects`: by key: an action's number, `space:SOURCE_ID`, `member:SPACE/ASSIGNEE`,
    `connection:SOURCE_ID`, `settings`, or `account`.

    `callers`: the users as whom it was run. `undone`: a rollback was begun.
    """

    started: bool = False
    finished: bool = False
    undone: bool = False
    callers: set[str] = field(factory=set)
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

    def intend(
        self,
        key: str,
        step: Step,
        *,
        since: datetime,
        by: str = "",
        face: Face | None = None,
        off: bool = False,
        before: Collection[str] | None = None,
    ) -> None:
        """A write is about to be sent; `since` is the server's time, `by` the user who will own what it writes.

        `face`: of the document that is sent. `off`: the automation is off, and must be off after it. `before`: ids of
        what is there, where what the write makes is found by what was not.
        """
        line: dict[str, Any] = {"event": "intent", "key": key, "step": step.value, "since": rfc3339(since), "by": by}
        if face is not None:
            line["face"] = face.as_json()
        if off:
            line["off"] = True
        if before is not None:
            line["before"] = sorted(before)
        self._take(line)

    def done(self, key: str, step: Step, target_id: str, *, face: Face | None = None, runs: int | None = None) -> None:
        """The write was carried out. `face`, `runs`: of the document in the answer."""
        line: dict[str, Any] = {"event": "done", "key": key, "step": step.value, "id": target_id}
        if face is not None:
            line["face"] = face.as_json()
        if runs is not None:
            line["runs"] = runs
        self._take(line)

    def fail(self, key: str, code: str, *, in_doubt: bool = False) -> None:
        """The write was not carried out; `in_doubt`: nobody can tell."""
        self._take({"event": "failed", "key": key, "code": code, "in_doubt": in_doubt})

    def answered(self, key: str) -> None:
        """The service said that it carried out the write in doubt."""
        self._take({"event": "answered", "key": key})

    def window(self, key: str, seconds: float) -> None:
        """What was installed is off; it may have been on for so long, and never longer than it says here."""
        self._take({"event": "window", "key": key, "seconds": math.ceil(seconds * 1000) / 1000})

    def candidates(self, key: str, idents: Collection[str]) -> None:
        """The write in doubt made one of these, and nobody can tell which."""
        self._take({"event": "candidates", "key": key, "ids": sorted(idents)})

    def seen(self, key: str, updated_at: str) -> None:
        """It was read back as it should be; `updated_at` as the service says it."""
        self._take({"event": "seen", "key": key, "updated_at": updated_at})

    def consent(self, key: str) -> None:
        """A connection waits for a person's consent."""
        self._take({"event": "consent", "key": key})

    def act_as(self, user_id: str) -> None:
        """Who writes from here on."""
        if user_id not in self.state.callers:
            self._take({"event": "caller", "id": user_id})

    def undo(self) -> None:
        """A rollback begins."""
        if not self.state.undone:
            self._take({"event": "undo"})

    def note(self, event: str, **facts: Any) -> None:
        """Anything else worth a line."""
        self._append({"event": event, **facts})

    def finish(self) -> None:
        """Everything is done and was read back."""
        self._take({"event": "finished"})

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def _take(self, line: Mapping[str, Any]) -> None:
        _read_line(self.state, line)
        self._append(line)

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
            one.by, one.off = str(line["by"]) or one.by, bool(line.get("off"))
            if "before" in line:
                one.tries += 1
            if "before" in line and one.first is None:
                # What a lost attempt made may show only after a later one was begun.
                one.before, one.first = frozenset(map(str, line["before"])), one.since
                one.opened = one.since
            one.answered = False
            if "face" in line:
                one.sent = Face.from_json(line["face"])
        case "done":
            one = state.of(line["key"])
            one.steps.append(Step(line["step"]))
            one.target_id, one.in_doubt, one.failed = str(line["id"]), None, ""
            one.before, one.answered, one.candidates = frozenset(), False, ()
            if line["step"] != Step.INSTALL:
                one.first = None
            if "face" in line:
                one.stored = Face.from_json(line["face"])
            one.runs = line.get("runs", one.runs)
        case "failed":
            one = state.of(line["key"])
            one.failed = str(line["code"])
            if not line["in_doubt"]:
                one.in_doubt, one.before, one.first, one.answered = None, frozenset(), None, False
        case "consent":
            state.of(line["key"]).consent = True
        case "answered":
            state.of(line["key"]).answered = True
        case "window":
            one = state.of(line["key"])
            one.window_s = max(one.window_s or 0.0, float(line["seconds"]))
        case "candidates":
            state.of(line["key"]).candidates = tuple(map(str, line["ids"]))
        case "seen":
            state.of(line["key"]).seen = str(line["updated_at"])
        case "finished":
            state.finished = True
        case "caller":
            state.callers.add(str(line["id"]))
        case "undo":
            state.undone = True
        case _:
            pass
