"""Where words go: people's on stderr with progress bars, data on stdout, one JSON object a line with `--json`.

A reader who goes away stops nothing: what is written then is dropped, and the work goes on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any

from attrs import asdict, define, field

from qlikmigrate.kernel.event import Event, Log, Outcome, Problem, Progress, Severity

FORMAT_VERSION = "1.0"
_PROGRESS_EVERY_S = 0.5
_BAR_AFTER_S = 0.3
_ROWS_AT_MOST = 50

Row = tuple[Mapping[str, Any], str]

# Names come from tenants: what moves a cursor or turns the direction of reading is shown, not obeyed.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal would obey."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def encode(value: Mapping[str, Any]) -> str:
    """`value` as one line of JSON."""
    import orjson

    try:
        return orjson.dumps(value, default=_plain).decode()
    except TypeError:
        # A name may hold half of a surrogate pair, which orjson refuses.
        return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


@define
class Output:
    """The sink of a command. `told`: the problems told so far, each once. `lost`: why stdout could not be written.

    `target`: which of many targets speaks here, and `above` the output of them all, whose streams these are.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    bars: bool = False
    told: set[Problem] = field(factory=set)
    lost: str = ""
    target: str = ""
    above: Output | None = None
    _beside: list[Output] = field(factory=list)
    _dead: set[str] = field(factory=set)
    _bar: Any = None
    _phase: str = ""
    _last: dict[str, float] = field(factory=dict)

    @property
    def problems(self) -> int:
        """How many problems were told that are more than information."""
        mine = sum(1 for one in self.told if one.severity is not Severity.INFO)
        return mine + sum(one.problems for one in self._beside)

    def beside(self, target: str) -> Output:
        """What one of many targets speaks through: every line says which it is of. People are told errors only, unless
        they say `--verbose`, and see the bar of the whole instead of those of its parts.
        """
        made = Output(
            json=self.json,
            quiet=self.quiet,
            verbose=self.verbose,
            bars=self.bars and self.json,
            target=target,
            above=self,
            dead=self._dead,
        )
        self._beside.append(made)
        return made

    def __call__(self, event: Event) -> None:
        match event:
            case Log():
                if self.verbose or event.level in ("warning", "error"):
                    self.say(event.message, level=event.level)
            case Progress():
                self._progress(event)
            case Problem():
                if event not in self.told:
                    self.told.add(event)
                    self.problem(event)
            case Outcome():
                self._outcome(event)

    def item(self, row: Mapping[str, Any], *lines: str) -> None:
        """A row of data: an object with `--json`, else `lines` on stdout."""
        if self.json:
            self.line("item", row)
            return
        self.clear()
        for text in lines:
            self._write("stdout", one_line(self._own(text)) + "\n")

    def rows(self, rows: Iterable[Row], *, hint: str) -> None:
        """Rows told on the way, of which people see no more than fit on a few screens, unless they say `--verbose`."""
        if not self.json and (self.quiet or (self.target and not self.verbose)):
            return
        everything = self.json or self.verbose
        left = 0
        for number, (row, text) in enumerate(rows):
            if everything or number < _ROWS_AT_MOST:
                self.item(row, text)
            else:
                left += 1
        if left:
            self.say(f"and {left} more: {hint}")

    def data(self, raw: bytes) -> None:
        """Bytes on stdout as they are."""
        self._write("stdout", "")
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is not None and "stdout" not in self._dead:
            self._guarded("stdout", lambda: (sys.stdout.flush(), buffer.write(raw), buffer.flush()))

    def text(self, text: str) -> None:
        """Text on stdout at once, as it is."""
        self.clear()
        self._write("stdout", text)
        self.flush()

    def say(self, text: str, *, level: str = "info") -> None:
        """A word to people; with `--json` a log line. `--quiet` leaves errors."""
        if self.quiet and level != "error":
            return
        if self.json:
            self.line("log", {"level": level, "message": text})
            return
        self.clear()
        for line in self._own(text).split("\n"):
            self._write("stderr", one_line(line) + "\n")

    def line(self, kind: str, value: Mapping[str, Any]) -> None:
        """One JSON line on stdout."""
        whose = {"target": self.target} if self.target else {}
        self._write("stdout", encode({"type": kind, "format_version": FORMAT_VERSION, **value, **whose}) + "\n")
        self.flush()

    def clear(self) -> None:
        """Take the progress bar away."""
        if self.above is not None:
            self.above.clear()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._phase = ""

    def problem(self, problem: Problem) -> None:
        """Tell one problem, whether or not it was told before."""
        if self.json:
            self.line("problem", asdict(problem))
        elif self.shows(problem):
            place = f" ({problem.where})" if problem.where else ""
            hint = f"\n  hint: {one_line(problem.hint)}" if problem.hint else ""
            text = one_line(f"{problem.severity.value}: {problem.message}{place} [{problem.code}]")
            self.say(text + hint, level="error")

    def shows(self, problem: Problem) -> bool:
        """Whether people are told of a problem like this one."""
        if self.quiet or (self.target and not self.json and not self.verbose):
            return problem.severity is Severity.ERROR
        return self.json or self.verbose or problem.severity is not Severity.INFO

    def flush(self) -> None:
        """Hand over what was written."""
        for name in ("stdout", "stderr"):
            stream: IO[str] | None = getattr(sys, name)
            if stream is not None:
                self._guarded(name, stream.flush)

    @property
    def _top(self) -> Output:
        return self.above or self

    def _own(self, text: str) -> str:
        return f"{self.target}: {text}" if self.target else text

    def _outcome(self, event: Outcome) -> None:
        if self.json:
            self.line("outcome", asdict(event))
        elif self.verbose or (event.status == "failed" and not self._is_told(event)):
            reason = f": {event.reason}" if event.reason else ""
            level = "error" if event.status == "failed" else "info"
            self.say(one_line(f"{event.status} {event.action} {event.name}{reason}"), level=level)

    def _is_told(self, event: Outcome) -> bool:
        """Whether a problem said already that this object failed, and why."""
        return any(
            one.severity is Severity.ERROR and one.code == event.code and event.reason and event.reason in one.message
            for one in self.told
        )

    def _progress(self, event: Progress) -> None:
        if not self.bars or self.quiet:
            return
        if self.json:
            import time

            now = time.monotonic()
            ends = event.total is not None and event.done >= event.total
            if ends or now - self._last.get(event.phase, -_PROGRESS_EVERY_S) >= _PROGRESS_EVERY_S:
                self._last[event.phase] = now
                self.line("progress", asdict(event))
            return
        if self._bar is None or event.phase != self._phase:
            from tqdm import tqdm

            self.clear()
            self._phase = event.phase
            self._bar = tqdm(
                total=event.total,
                desc=event.phase,
                unit="",
                leave=False,
                file=sys.stderr,
                dynamic_ncols=True,
                delay=_BAR_AFTER_S,
            )
        self._bar.total = event.total
        self._bar.update(event.done - self._bar.n)

    def _write(self, name: str, text: str) -> None:
        stream: IO[str] | None = getattr(sys, name)
        if stream is not None and name not in self._dead:
            self._guarded(name, lambda: stream.write(text))

    def _guarded(self, name: str, write: Any) -> None:
        """Write; a stream that fails is given up, so that neither the work nor Python's own exit stumbles over it."""
        try:
            write()
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and name == "stdout":
                self._top.lost = error.strerror or type(error).__name__
            self._dead.add(name)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, getattr(sys, name).fileno())
            os.close(nowhere)
