"""No more requests than the quota's share, one bucket a tier and identity; a 429 stops the whole tier for a while.

The bucket is own arithmetic on the injected clock: aiolimiter measures with the event loop's time, so tests would wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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


class Gate:
    """A bucket of one minute's budget, filled evenly, first come first served.

    The quota is judged over five minutes: a full bucket and five minutes' filling are six budgets, which at the default
    share of 0.8 is less than five minutes' quota.
    """

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._capacity = max(per_minute, 1.0)
        self._per_second = per_minute / 60
        self._level = self._capacity
        self._filled_at = clock.monotonic()
        self._closed_until = self._filled_at
        self._clock = clock
        self._line = asyncio.Lock()

    async def enter(self) -> None:
        """Wait for a turn. Safe to cancel: a turn is taken only at the end."""
        if not self._line.locked() and self._wait_s() <= 0:
            self._level -= 1
            return
        async with self._line:
            while (wait_s := self._wait_s()) > 0:
                await self._clock.sleep(wait_s)
            self._level -= 1

    def pause(self, seconds: float) -> None:
        """Nobody enters for `seconds` from now."""
        self._closed_until = max(self._closed_until, self._clock.monotonic() + seconds)

    def _wait_s(self) -> float:
        now = self._clock.monotonic()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        # A turn that is a rounding error short is granted: sleeping for nothing would never end.
        missing = 1 - self._level
        filling_s = missing / self._per_second if missing > 1e-9 else 0.0
        return max(self._closed_until - now, filling_s)


def gates(limits: Limits, clock: Clock) -> Mapping[int, Gate]:
    """Fresh gates for one identity, by tier. Source: qlik.dev rate limiting: limits are per user and tenant."""
    rates = {1: limits.tier1_per_minute, 2: limits.tier2_per_minute}
    return {tier: Gate(rate * limits.share, clock) for tier, rate in rates.items()}


@frozen
class Limiter:
    """Sends a call when its tier's gate lets it, and closes the gate when the server says so."""

    inner: Transport
    gates: Mapping[int, Gate]
    counts: RequestCounts
    clock: Clock

    async def send(self, call: Call) -> Response:
        gate = self.gates[call.operation.tier]
        await gate.enter()
        response = await self.inner.send(call)
        if response.status in (429, 503):
            asked_s = retry_after_s(response.headers, self.clock.now())
            if response.status == 429:
                self.counts.throttled += 1
                gate.pause(DEFAULT_PAUSE_S if asked_s is None else asked_s)
            elif asked_s is not None:
                gate.pause(asked_s)
        return response
