"""Where words go: people's on stderr with progress bars, data on stdout, one JSON object a line with `--json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from attrs import asdict, define, field

from qlikmigrate.kernel.event import Event, Log, Outcome, Problem, Progress, Severity

FORMAT_VERSION = "1.0"
_PROGRESS_EVERY_S = 0.5


@define
class Output:
    """The sink of a command. `problems` counts what was told; the same problem is told once."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    bars: bool = False
    told: set[Problem] = field(factory=set)
    _bar: Any = None
    _phase: str = ""
    _last: float = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case Log():
                if self.verbose or event.level == "warning":
                    self.say(event.message, kind="log", level=event.level)
            case Progress():
                self._progress(event)
            case Problem():
                if event not in self.told:
                    self.told.add(event)
                    self.problem(event)
            case Outcome():
                if self.json:
                    self.line("outcome", asdict(event))
                elif self.verbose or event.status == "failed":
                    self.say(
                        f"{event.status} {event.action} {event.name}" + (f": {event.reason}" if event.reason else "")
                    )

    def item(self, row: Mapping[str, Any], text: str) -> None:
        """A row of data: an object with `--json`, else `text` on stdout."""
        self.clear()
        if self.json:
            self.line("item", row)
        else:
            print(text)

    def say(self, text: str, *, kind: str = "log", level: str = "info") -> None:
        """A word to people; with `--json` a log line."""
        self.clear()
        if self.json:
            self.line("log", {"level": level, "message": text})
        elif not self.quiet or level in ("warning", "error"):
            print(text, file=sys.stderr)

    def line(self, kind: str, value: Mapping[str, Any]) -> None:
        """One JSON line on stdout."""
        import orjson

        data = orjson.dumps({"type": kind, "format_version": FORMAT_VERSION, **value}, default=str)
        sys.stdout.write(data.decode() + "\n")
        sys.stdout.flush()

    def clear(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._phase = ""

    def problem(self, problem: Problem) -> None:
        """Tell one problem, whether or not it was told before."""
        if self.json:
            self.line("problem", asdict(problem))
            return
        if problem.severity is Severity.INFO and not self.verbose:
            return
        if self.quiet and problem.severity is not Severity.ERROR:
            return
        self.clear()
        place = f" ({problem.where})" if problem.where else ""
        print(f"{problem.severity.value}: {problem.message}{place} [{problem.code}]", file=sys.stderr)
        if problem.hint:
            print(f"  hint: {problem.hint}", file=sys.stderr)

    def _progress(self, event: Progress) -> None:
        import time

        now = time.monotonic()
        ends = event.total is not None and event.done >= event.total
        if self.json:
            if self.bars and (ends or event.phase != self._phase or now - self._last >= _PROGRESS_EVERY_S):
                self._phase, self._last = event.phase, now
                self.line("progress", asdict(event))
            return
        if not self.bars or self.quiet:
            return
        if self._bar is None or event.phase != self._phase:
            from tqdm import tqdm

            self.clear()
            self._phase = event.phase
            self._bar = tqdm(
                total=event.total, desc=event.phase, unit="", leave=False, file=sys.stderr, dynamic_ncols=True
            )
        self._bar.total = event.total
        self._bar.update(event.done - self._bar.n)
