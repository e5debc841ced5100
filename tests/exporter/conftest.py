"""Fixtures of the exporter's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from motion import Motion
from stage import Stage

from qlikmigrate.kernel.clock import SystemClock


@pytest.fixture
def motion(stage: Stage) -> Motion:
    """A stage with the default answers, in motion."""
    return Motion(stage)


@pytest.fixture
def make_motion(make_stage: Callable[..., Stage]) -> Callable[..., Motion]:
    """Makes stages in motion whose tenants answer as the given switches say."""
    return lambda **switches: Motion(make_stage(**switches))


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries take no time."""

    async def sleep(self: SystemClock, seconds: float) -> None:
        await _SLEEP(min(seconds, 0.001))

    monkeypatch.setattr(SystemClock, "sleep", sleep)


_SLEEP: Any = asyncio.sleep
