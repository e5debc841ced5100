"""No more requests than the quota's share, one bucket a tier and identity; a 429 stops the whole tier for a while.

The bucket is own arithmetic on the injected clock: aiolimiter measures with the event loop's time, so tests would wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from attrs import frozen

from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import Limits
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Response

# Source: qlik.dev rate limiting: judged over five minutes, so no honest wait is longer.
LONGEST_PAUSE_S = 300.0
DEFAULT_PAUSE_S = 1.0


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `Retry-After` asks for, 0 to LONGEST_PAUSE_S; None where it is absent or unreadable.

    Whole seconds are what Qlik documents; proxies also send an HTTP date.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    if seconds != seconds:
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE_S)


class Turnstile(Protocol):
    """Where calls wait for their turn."""

    async def enter(self) -> None:
        """Wait for a turn."""

    def pause(self, seconds: float) -> None:
        """Nobody enters for `seconds` from now."""


class Gate:
    """A bucket of one minute's budget, filled evenly, first come first served.

    The quota is judged over five minutes: a full bucket and five minutes' filling are six budgets, which at the default
    share of 0.8 is less than five minutes' quota. Where it is judged otherwise, `burst` says what the bucket holds.
    """

    def __init__(self, per_minute: float, clock: Clock, *, burst: float | None = None) -> None:
        self._capacity = max(per_minute if burst is None else burst, 1.0)
        self._per_second = per_minute / 60
        self._level = self._capacity
        self._held = 0
        self._filled_at = clock.monotonic()
        self._closed_until = self._filled_at
        self._clock = clock
        self._line = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def enter(self) -> None:
        """Wait for a turn. Safe to cancel: a turn is taken only at the end."""
        line = self._queue()
        if not line.locked() and self._wait_s(1) <= 0:
            self._take()
            return
        async with line:
            while (wait_s := self._wait_s(1)) > 0:
                await self._clock.sleep(wait_s)
            self._take()

    async def hold(self, turns: int) -> int:
        """Wait until so many turns are free and keep them out of the others' reach; how many they are.

        They are less than `turns` only where the bucket does not hold more than that, besides what others hold. Who
        holds some gives each back with `use` or `let_go`.
        """
        async with self._queue():
            # Not waiting for the others' turns: they may be waiting in this very line.
            while (wait_s := self._wait_s(min(turns, self._most()))) > 0:
                await self._clock.sleep(wait_s)
            granted = min(turns, self._most())
            self._held += granted
            return granted

    def use(self) -> None:
        """Take a turn that is held."""
        self._fill()
        self._held -= 1
        self._take()

    def let_go(self, turns: int) -> None:
        """Give back turns that are held."""
        self._held -= turns

    def pause(self, seconds: float) -> None:
        """Nobody enters for `seconds` from now."""
        self._closed_until = max(self._closed_until, self._clock.monotonic() + seconds)

    def _queue(self) -> asyncio.Lock:
        """The line of those who wait. A gate may outlive an event loop: a command may run several."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._line = loop, asyncio.Lock()
        return self._line

    def _most(self) -> int:
        """How many may be held now. One is always left: who holds all the others may itself need it to go on."""
        return max(int(self._capacity) - 1 - self._held, 0)

    def _take(self) -> None:
        self._level -= 1

    def _fill(self) -> float:
        """Put in what the time since the last filling brings, as far as it goes in; gives the time."""
        now = self._clock.monotonic()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return now

    def _wait_s(self, turns: int) -> float:
        now = self._fill()
        # A turn that is a rounding error short is granted: sleeping for nothing would never end.
        missing = turns + self._held - self._level
        filling_s = missing / self._per_second if missing > 1e-9 else 0.0
        return max(self._closed_until - now, filling_s)


def gates(limits: Limits, clock: Clock) -> Mapping[int, Gate]:
    """Fresh gates for one identity, by tier. Source: qlik.dev rate limiting: limits are per user and tenant."""
    rates = {1: limits.tier1_per_minute, 2: limits.tier2_per_minute}
    return {tier: Gate(rate * limits.share, clock) for tier, rate in rates.items()}


@frozen
class Limiter:
    """Sends a call when its tier's gate lets it, and closes the gate when the server says so.

    `pause_s`: how long, where a 429 does not say it.
    """

    inner: Transport
    gates: Mapping[int, Turnstile]
    counts: RequestCounts
    clock: Clock
    pause_s: Callable[[], float] = lambda: DEFAULT_PAUSE_S

    async def send(self, call: Call) -> Response:
        gate = self.gates[call.operation.tier]
        await gate.enter()
        response = await self.inner.send(call)
        if response.status in (429, 503):
            asked_s = retry_after_s(response.headers, self.clock.now())
            if response.status == 429:
                self.counts.throttled += 1
                gate.pause(self.pause_s() if asked_s is None else asked_s)
            elif asked_s is not None:
                gate.pause(asked_s)
        return response
