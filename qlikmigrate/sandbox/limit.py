"""The service's rate limits: per identity and tier, judged over a window, so that bursts pass until it is full.

Source: Qlik's page on rate limiting.
"""

from __future__ import annotations

import math
from collections import deque

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox.switches import RateLimits
from qlikmigrate.sandbox.wire import ApiError


class Limiter:
    """Counts calls and refuses what is too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: dict[tuple[str, int], deque[float]] = {}

    def count(self, limits: RateLimits, identity: str, tier: int) -> None:
        """Count a call.

        Raises:
            ApiError: 429, with the seconds to wait.
        """
        if tier not in (1, 2):
            return
        per_minute = limits.tier1_per_minute if tier == 1 else limits.tier2_per_minute
        allowed = max(1, int(per_minute * limits.window_s / 60))
        calls = self._calls.setdefault((identity, tier), deque())
        now = self._clock.monotonic()
        while calls and calls[0] <= now - limits.window_s:
            calls.popleft()
        if len(calls) >= allowed:
            wait_s = max(1, math.ceil(calls[0] + limits.window_s - now))
            raise ApiError(
                429,
                "HTTP-429",
                "API rate limit reached.",
                f"You need to wait {wait_s} seconds until limit is lifted.",
                headers={"retry-after": str(wait_s)},
            )
        calls.append(now)
