"""Time, and waiting: the one place they come from, so that tests never wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the product knows of time."""

    def now(self) -> datetime:
        """Wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def pause(self, seconds: float) -> None:
        """Wait, in code that is not async: the whole thread does."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0))


class ManualClock:
    """A clock that moves only when told to, or when somebody sleeps on it."""

    def __init__(self, start: datetime = datetime(2026, 11, 1, 12, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._now += timedelta(seconds=seconds)
        self._elapsed_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)

    def pause(self, seconds: float) -> None:
        self.advance(max(seconds, 0.0))


def to_the_second(moment: datetime) -> str:
    """`moment` as people are shown it: the same without parts of a second."""
    return rfc3339(moment.replace(microsecond=0))


def rfc3339(moment: datetime) -> str:
    """`moment` as our files write it: UTC, whole seconds unless it has parts of one, `Z`."""
    text = moment.astimezone(UTC).isoformat()
    return text.replace("+00:00", "Z")
