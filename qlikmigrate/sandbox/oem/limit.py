"""The rate limit of the OEM API: so many calls in each minute of the clock.

Source: the overview page (300 a minute, `x-ratelimit-limit`, `x-ratelimit-remaining`, 429). Assumed: fixed minutes.
"""

from __future__ import annotations

from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.wire import RefusalError


class MinuteLimiter:
    """Counts calls and refuses what is too many."""

    def __init__(self, realm: OemRealm) -> None:
        self._realm = realm
        self._minute = -1
        self._counts: dict[str, int] = {}
        self.refused = 0

    def count(self, account: str) -> dict[str, str]:
        """Count a call; returns the headers of its answer.

        Raises:
            RefusalError: 429.
        """
        switches = self._realm.switches
        if switches.per_minute is None:
            return {}
        now_s = self._realm.now().timestamp()
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        who = account if switches.limit_per_account else ""
        used = self._counts.get(who, 0)
        left = max(0, switches.per_minute - used - 1)
        headers = {"x-ratelimit-limit": str(switches.per_minute), "x-ratelimit-remaining": str(left)}
        if not switches.limit_headers:
            headers = {}
        if used >= switches.per_minute:
            self.refused += 1
            if switches.retry_after:
                headers["retry-after"] = str(max(1, int((minute + 1) * 60 - now_s)))
            raise RefusalError("too many calls", 429, headers=headers)
        self._counts[who] = used + 1
        return headers
