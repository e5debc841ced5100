"""One source, many targets: which of them may be started now, and what became of each. Pure, beside one executor.

Nothing is started that the canaries or too many failures forbid, and no target is started twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from attrs import evolve, field, frozen

Counts = Mapping[str, Mapping[str, int]]


class Standing(StrEnum):
    """What became of one target. `REFUSED`: nothing was written there; `STOPPED`: begun, and cut short."""

    NOT_STARTED = "not-started"
    UNDER_WAY = "under-way"
    DONE = "done"
    PLANNED = "planned"
    FAILED = "failed"
    REFUSED = "refused"
    STOPPED = "stopped"


_WELL = (Standing.DONE, Standing.PLANNED)
_BADLY = (Standing.FAILED, Standing.REFUSED)


@frozen(kw_only=True)
class Ending:
    """How one target stands. `code`, `reason`: why it is not well. `counts`: by kind, as in its own report.

    `windows`: how many automations were installed in an account, and `longest_window_s` for how long one of them may
    have been on.
    """

    standing: Standing = Standing.NOT_STARTED
    code: str = ""
    reason: str = ""
    counts: Counts = field(factory=dict)
    seconds: float = 0.0
    windows: int = 0
    longest_window_s: float = 0.0


@frozen(kw_only=True)
class Rules:
    """`canary`: so many targets first, all of which must end well. `stop_above`: per cent of failures among those that
    ended, above which nothing new is started. `parallel`: so many at a time. `abort`: the first failure stops.
    """

    canary: int = 0
    stop_above: float | None = None
    parallel: int = 1
    abort: bool = False

    def dry(self) -> Rules:
        """Those of a rehearsal, which begins everything: there is nothing to be stopped."""
        return Rules(parallel=self.parallel)


class Fleet:
    """The targets in their order, and how each stands.

    `known`: how an earlier process left them. What is done is not started again; what was left otherwise is, and until
    then keeps that standing without counting as a failure of now.
    """

    def __init__(self, names: Sequence[str], rules: Rules, known: Mapping[str, Ending] | None = None) -> None:
        self._rules = rules
        self._endings = {name: _left_by_another(known, name) for name in names}
        self._waiting = [name for name in names if self._endings[name].standing is not Standing.DONE]
        self._tried: set[str] = set()

    @property
    def endings(self) -> Mapping[str, Ending]:
        """Every target in the order of the table."""
        return self._endings

    @property
    def stopped(self) -> str:
        """Why nothing new is started, though there is something left: canary, stop-above or abort; else empty."""
        failed = [name for name in self._tried if self._endings[name].standing in _BADLY]
        if not failed:
            return ""
        if any(name in self._canaries for name in failed):
            return "canary"
        if self._rules.abort:
            return "abort"
        well = sum(1 for one in self._endings.values() if one.standing in _WELL)
        limit = self._rules.stop_above
        return "stop-above" if limit is not None and len(failed) * 100 > limit * (len(failed) + well) else ""

    def next(self) -> str | None:
        """The target to start now; None while none may be."""
        if not self._waiting or self.stopped or self._under_way >= self._rules.parallel:
            return None
        name = self._waiting[0]
        canaries_are_well = all(self._endings[one].standing in _WELL for one in self._canaries)
        return name if name in self._canaries or canaries_are_well else None

    def begin(self, name: str) -> None:
        """It is started now."""
        self._waiting.remove(name)
        self._endings[name] = Ending(standing=Standing.UNDER_WAY)

    def end(self, name: str, ending: Ending) -> None:
        """It ended."""
        self._endings[name] = ending
        self._tried.add(name)

    def left(self, standing: Standing) -> int:
        """How many stand so."""
        return sum(1 for one in self._endings.values() if one.standing is standing)

    @property
    def well(self) -> int:
        """How many ended well."""
        return sum(1 for one in self._endings.values() if one.standing in _WELL)

    @property
    def untouched(self) -> bool:
        """Whether nothing was written anywhere, because whatever was started was refused."""
        return self.left(Standing.REFUSED) + self.left(Standing.NOT_STARTED) == len(self._endings)

    @property
    def _canaries(self) -> list[str]:
        return list(self._endings)[: self._rules.canary]

    @property
    def _under_way(self) -> int:
        return self.left(Standing.UNDER_WAY)


def _left_by_another(known: Mapping[str, Ending] | None, name: str) -> Ending:
    ending = (known or {}).get(name, Ending())
    # What a process that was killed had under way is under way no more.
    return evolve(ending, standing=Standing.STOPPED) if ending.standing is Standing.UNDER_WAY else ending


async def sail(
    fleet: Fleet, work: Callable[[str], Awaitable[Ending]], *, tell: Callable[[str], None] | None = None
) -> None:
    """Bring every target of `fleet` to its end by `work`, as far as its rules let it; `tell` hears of each change.

    Raises:
        Exception: whatever `work` raised; those under way are cancelled, and have ended when this returns.
    """
    tasks: dict[asyncio.Future[Ending], str] = {}

    def told(name: str) -> None:
        if tell is not None:
            tell(name)

    try:
        while True:
            while (name := fleet.next()) is not None:
                fleet.begin(name)
                told(name)
                tasks[asyncio.ensure_future(work(name))] = name
            if not tasks:
                return
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in [one for one in tasks if one.done()]:
                ending = task.result()
                name = tasks.pop(task)
                fleet.end(name, ending)
                told(name)
    finally:
        for task in tasks:
            task.cancel()
        await _ended(tasks)
        for task, name in tasks.items():
            ended = not task.cancelled() and task.exception() is None
            fleet.end(name, task.result() if ended else Ending(standing=Standing.STOPPED, code="interrupted"))
            told(name)


async def _ended(tasks: Iterable[asyncio.Future[Ending]]) -> None:
    """Each is let come to its own end, however often somebody asks to stop: what must not stay open is closed then."""
    left = {one for one in tasks if not one.done()}
    while left:
        try:
            _, left = await asyncio.wait(left)
        except asyncio.CancelledError:
            left = {one for one in left if not one.done()}


def total(endings: Iterable[Ending]) -> dict[str, dict[str, int]]:
    """The counts of all targets, added up."""
    found: dict[str, dict[str, int]] = {}
    for ending in endings:
        for kind, counts in ending.counts.items():
            sums = found.setdefault(kind, {})
            for word, number in counts.items():
                sums[word] = sums.get(word, 0) + number
    return found
