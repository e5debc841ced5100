"""New ids in the shapes that Qlik Cloud uses, the same ones for the same seed and the same clock."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from qlikmigrate.kernel.clock import Clock

_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
_HEX = "0123456789abcdef"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Mint:
    """Makes ids; no two of one tenant are equal. `random` is its source of chance."""

    def __init__(self, seed: str, clock: Clock) -> None:
        self.random = random.Random(seed)
        self._clock = clock
        self._last_tick = 0
        self._sequence = self.random.getrandbits(14) | 0x8000
        self._node = self.random.getrandbits(48) | 0x010000000000

    def time_id(self) -> str:
        """A time-based UUID (version 1), lower case: automations, connections, runs, schedules."""
        since = self._clock.now() - _GREGORIAN
        tick = (since.days * 86_400 + since.seconds) * 10_000_000 + since.microseconds * 10
        self._last_tick = tick = max(tick, self._last_tick + 1)
        high = (tick >> 48) & 0x0FFF | 0x1000
        return f"{tick & 0xFFFFFFFF:08x}-{(tick >> 32) & 0xFFFF:04x}-{high:04x}-{self._sequence:04x}-{self._node:012x}"

    def hex_id(self) -> str:
        """24 hexadecimal digits: spaces, assignments, items, roles."""
        return "".join(self.random.choices(_HEX, k=24))

    def user_id(self) -> str:
        """32 characters: users and tenants."""
        return "".join(self.random.choices(_LETTERS, k=32))

    def token(self, length: int = 64) -> str:
        """A secret of letters and digits."""
        return "".join(self.random.choices(_LETTERS, k=length))


def stamp(moment: datetime) -> str:
    """A time as the automation API writes it. Source: openapi/workflows-automations.json, examples."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
