"""One command's frame: its common flags, the event loop with signals and time budget, its clients and its summary."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, evolve, field

from qlikmigrate.cli.output import Output
from qlikmigrate.kernel.clock import SystemClock
from qlikmigrate.kernel.error import BudgetSpentError, InterruptedRunError

if TYPE_CHECKING:
    from qlikmigrate.api.cloud.client import CloudClient
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.api.oem.client import OemClient
    from qlikmigrate.api.oem.limiter import Pace
    from qlikmigrate.archive import Opener
    from qlikmigrate.config.key_source import KeySource
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.kernel.event import Event
    from qlikmigrate.kernel.row import Row

T = TypeVar("T")


@define
class Session:
    """What every command has. `report` is the summary in the making; `exit_code` what it ends with if nothing fails.

    `closing`: the last words to people. `requests`: sent so far, by all clients. `identities`, `passphrase`: where the
    keys are that open archives; nothing of them is read before it is needed. `tenant`: whose snapshots of a vault.
    `row`: the row of a clone to many that this is for.
    """

    command: str
    output: Output
    config: str | None = None
    yes: bool = False
    time_budget_s: float | None = None
    on_error: str = "continue"
    identities: tuple[KeySource, ...] = ()
    passphrase: KeySource | None = None
    tenant: str = ""
    row: Row | None = None
    clock: SystemClock = field(factory=SystemClock)
    started: float = field(factory=time.monotonic)
    exit_code: int = 0
    report: dict[str, Any] = field(factory=dict)
    closing: list[str] = field(factory=list)
    requests: Counter[str] = field(factory=Counter)
    _opener: Opener | None = None
    _paces: dict[tuple[str, str], Pace] = field(factory=dict)
    _stopped: list[str] = field(factory=list)

    @property
    def environ(self) -> Mapping[str, str]:
        """The process's environment."""
        return os.environ

    def opener(self) -> Opener:
        """What opens encrypted archives, with the keys that were named.

        Raises:
            UsageError: one of them cannot be read.
        """
        from qlikmigrate.config.key_source import read_opener

        if self._opener is None:
            self._opener = read_opener(self.identities, self.passphrase, self.environ)
        return self._opener

    def beside(self, target: str, row: Row) -> Session:
        """The session of one of many targets: it reports for itself, and shares all else."""
        return evolve(self, output=self.output.beside(target), row=row, exit_code=0, report={}, closing=[])

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in an event loop of its own.

        Raises:
            InterruptedRunError: SIGINT or SIGTERM came.
            BudgetSpentError: `--time-budget` ran out.
        """
        handlers = {number: signal.getsignal(number) for number in _signals()}
        try:
            return asyncio.run(self._watched(work))
        finally:
            # The loop leaves the system's own behind.
            for number, handler in handlers.items():
                signal.signal(number, handler)

    @asynccontextmanager
    async def connect(self, tenant: Tenant, access: Access) -> AsyncIterator[CloudClient]:
        """A client that may do what `access` says and no more; its requests are counted."""
        from qlikmigrate.api.cloud.client import CloudClient

        client = CloudClient.open(tenant.endpoint, access=access, clock=self.clock, sink=self.output)
        async with client:
            try:
                yield client
            finally:
                self.requests.update(client.counts.as_json())

    @asynccontextmanager
    async def connect_oem(self, tenant: OemTenant, access: Access) -> AsyncIterator[OemClient]:
        """A client of the OEM API that may do what `access` says and no more; its requests are counted.

        All clients of one key pair, in this command, keep to one rate.
        """
        from qlikmigrate.api.oem.client import OemClient
        from qlikmigrate.api.oem.limiter import Pace

        place = tenant.endpoint
        pair = (place.origin, place.credentials.app_id)
        pace = self._paces.setdefault(pair, Pace(place.limits, self.clock))
        client = OemClient.open(place, access=access, clock=self.clock, sink=self.output, pace=pace)
        async with client:
            try:
                yield client
            finally:
                self.requests.update(client.counts.as_json())

    def watch(self) -> None:
        """Asked now and then by work that has no event loop, or keeps it waiting: may it go on?

        Raises:
            InterruptedRunError: SIGINT or SIGTERM came.
            BudgetSpentError: `--time-budget` ran out.
        """
        if "signal" in self._stopped:
            raise InterruptedRunError("interrupted")
        if self._stopped or (self.time_budget_s is not None and self._left_s() <= 0):
            raise BudgetSpentError("the time budget is spent")

    def sink(self, event: Event) -> None:
        """Takes what long work without an event loop tells, and stops it in time.

        Raises:
            BudgetSpentError, InterruptedRunError: as `watch`.
        """
        self.watch()
        self.output(event)

    def _left_s(self) -> float:
        assert self.time_budget_s is not None
        return self.time_budget_s - (time.monotonic() - self.started)

    async def _watched(self, work: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.ensure_future(work())
        loop = asyncio.get_running_loop()

        def stop(why: str) -> None:
            self._stopped.append(why)
            # A signal may come when the loop has just ended.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

        for number in _signals():
            # The loop's own handlers would wait for whatever keeps the loop waiting: `watch` has to know at once.
            signal.signal(number, lambda *_: stop("signal"))
        if self.time_budget_s is not None:
            loop.call_later(max(self._left_s(), 0.0), stop, "budget")
        try:
            return await task
        except asyncio.CancelledError:
            if "signal" in self._stopped or not self._stopped:
                raise InterruptedRunError("interrupted") from None
            raise BudgetSpentError("the time budget is spent") from None


def _signals() -> tuple[signal.Signals, ...]:
    import threading

    mine = os.name == "posix" and threading.current_thread() is threading.main_thread()
    return (signal.SIGINT, signal.SIGTERM) if mine else ()
