"""No more requests a minute than the quota's share, and turns that are kept for what must not wait.

Source: "SaaS API overview": 300 calls a minute, 429 beyond, `x-ratelimit-limit` and `x-ratelimit-remaining` on answers;
no header says when the minute ends.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from qlikmigrate.api.oem.endpoint import OemLimits
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.api.transport.limiter import Gate
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Response

_MINUTE_S = 60.0
_JITTER_S = 2.0
_USUAL_TURNS = 8


@frozen(kw_only=True)
class Quota:
    """What the service last said: calls allowed a minute, and left in this one; None where it did not say."""

    limit: int | None
    remaining: int | None


def least_s(limits: OemLimits, calls: int) -> float:
    """Seconds that the rate makes so many calls last, however fast the answers: a full bucket, then its filling."""
    filling, burst = _bucket(limits)
    return max(0.0, calls - burst) / filling * _MINUTE_S


def _bucket(limits: OemLimits) -> tuple[float, float]:
    """What a minute fills in, and what it holds."""
    share = limits.per_minute * limits.share
    burst = max(share / 5, min(share / 2, _USUAL_TURNS), 1.0)
    return max(share - burst, share / 4), burst


class Pace(Gate):
    """The bucket of one key pair: in no 60 seconds do more calls go out than the share allows.

    A fifth of the share may go out at once, and the rest of it is what a minute fills in: together they are the share.
    """

    def __init__(self, limits: OemLimits, clock: Clock, *, jitter: Callable[[], float] = random.random) -> None:
        filling, burst = _bucket(limits)
        super().__init__(filling, clock, burst=burst)
        self._jitter = jitter
        self._under_way = 0
        self._remaining: int | None = None
        self._said_at = 0.0
        self.quota = Quota(limit=None, remaining=None)

    def pause_s(self) -> float:
        """To the end of the minute, and a little more, so that not all come back at once."""
        now = self._clock.now()
        return _MINUTE_S - (now.second + now.microsecond / 1e6) + self._jitter() * _JITTER_S

    def leaves(self) -> None:
        """A call goes out."""
        self._under_way += 1

    def returns(self, headers: Mapping[str, str]) -> None:
        """It came back, or was lost. `headers` of the answer, if any: where nothing is left, nobody enters."""
        self._under_way -= 1
        limit, remaining = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
        if limit is not None or remaining is not None:
            self.quota = Quota(limit=limit, remaining=remaining)
        if remaining is None:
            return
        # Those under way may or may not have been counted.
        self._remaining, self._said_at = remaining - self._under_way, self._clock.monotonic()
        if remaining <= 0:
            self.pause(self.pause_s())

    def _take(self) -> None:
        super()._take()
        if self._remaining is not None:
            self._remaining -= 1

    def _wait_s(self, turns: int) -> float:
        wait_s = super()._wait_s(turns)
        if self._remaining is None or (turns <= 1 and not self._held) or self._remaining - self._held >= turns:
            return wait_s
        # A minute after it was said it cannot be true any more, whenever the service's minute began.
        return max(wait_s, self._said_at + _MINUTE_S - self._clock.monotonic())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


@define
class Reservation:
    """Turns that were waited for beforehand: who enters here does not wait, until they are used up.

    Only a 429 that was given to its own calls makes it wait: what is halfway done is tried even while others pause.
    """

    pace: Pace
    clock: Clock
    left: int
    _closed_until: float = field(default=0.0)

    async def enter(self) -> None:
        """Take a turn; when none is left, wait as everybody does."""
        while (wait_s := self._closed_until - self.clock.monotonic()) > 0:
            await self.clock.sleep(wait_s)
        if self.left:
            self.left -= 1
            self.pace.use()
        else:
            await self.pace.enter()

    def pause(self, seconds: float) -> None:
        """The service has asked these very calls to wait, and so everybody."""
        self._closed_until = max(self._closed_until, self.clock.monotonic() + seconds)
        self.pace.pause(seconds)

    def end(self) -> None:
        """Give back what was not used."""
        self.pace.let_go(self.left)
        self.left = 0


@frozen
class Listener:
    """Tells the pace what answers say about the quota."""

    inner: Transport
    pace: Pace

    async def send(self, call: Call) -> Response:
        headers: Mapping[str, str] = {}
        self.pace.leaves()
        try:
            response = await self.inner.send(call)
            headers = response.headers
        finally:
            self.pace.returns(headers)
        return response
