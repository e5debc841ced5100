"""Errors and their order, clocks, secrets, many calls at once."""

from __future__ import annotations

import asyncio
import copy
import pickle
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from qlikmigrate.kernel import error
from qlikmigrate.kernel.clock import ManualClock, SystemClock, rfc3339
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.kernel.secret import Secret


def test_exit_codes() -> None:
    """Each error has the contract's code, and every code has its place in the order."""
    kinds = [one for one in vars(error).values() if isinstance(one, type) and issubclass(one, error.QlikmigrateError)]
    codes = {one.exit_code for one in kinds}
    assert codes == {1, 2, 3, 5, 6, 7, 10, 11, 12, 13, 20, 21, 130}
    assert codes | {0, 4} == set(error.EXIT_ORDER)
    words = [one.default_code for one in kinds if one is not error.QlikmigrateError and one is not error.FailedError]
    assert len(words) == len(set(words))


def test_first_exit_code() -> None:
    """130, 21, 20, 10–13, 7, 6, 2, 1, 3, 5, 4, 0: whatever the order they come in."""
    order = [130, 21, 20, 10, 11, 12, 13, 7, 6, 2, 1, 3, 5, 4, 0]
    chance = random.Random(7)
    for start in range(len(order)):
        rest = order[start:]
        chance.shuffle(rest)
        assert error.first_exit_code(rest) == order[start]
    assert error.first_exit_code([]) == 0


def test_error_code_and_hint() -> None:
    """The word of the kind unless another is given."""
    assert (error.UsageError("m").code, error.UsageError("m", code="x", hint="h").hint) == ("usage", "h")
    assert str(error.UsageError("message", hint="h")) == "message"


def test_secret_does_not_show() -> None:
    """Not by any way of making it a text, nor by storing it."""
    secret = Secret("hunter2")
    shown = f"{secret}{secret!r}{secret!s}{secret:>20}%s" % secret + repr([secret]) + repr(vars(Secret))
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert (secret == Secret("hunter2"), secret == Secret("x"), secret == "hunter2") == (True, False, False)
    assert len({secret, Secret("hunter2")}) == 1
    for store in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            store(secret)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2026-01-02T03:04:05.000600Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05Z"),
    ],
)
def test_rfc3339(moment: datetime, text: str) -> None:
    """UTC with a Z, and back again."""
    assert rfc3339(moment) == text
    assert datetime.fromisoformat(text) == moment


async def test_manual_clock() -> None:
    """It moves when told to and when slept on, never back."""
    clock = ManualClock()
    start = clock.now()
    await clock.sleep(5)
    await clock.sleep(-3)
    clock.advance(2.5)
    clock.pause(1)
    clock.pause(-1)
    assert (clock.monotonic(), clock.now() - start) == (8.5, timedelta(seconds=8.5))


async def test_system_clock() -> None:
    """Aware, UTC, and it runs forward."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    clock.pause(-1)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before


@pytest.mark.parametrize("width", [1, 3, 20])
async def test_fan_out_is_whole_and_bounded(width: int) -> None:
    """Each item once, begun in order, never more at a time than stated."""
    begun: list[int] = []
    at_work = most = 0

    async def work(item: int) -> None:
        nonlocal at_work, most
        begun.append(item)
        at_work += 1
        most = max(most, at_work)
        for _ in range(item % 4):
            await asyncio.sleep(0)
        at_work -= 1

    await fan_out(range(12), work, width=width)
    assert begun == list(range(12))
    assert most <= width


async def test_fan_out_stops_at_the_first_error() -> None:
    """The error comes out; what was under way is cancelled, nothing new begins."""
    ended: list[str] = []

    async def work(item: int) -> None:
        if item == 2:
            raise ValueError("two")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(f"cancelled {item}")
            raise

    with pytest.raises(ValueError, match="two"):
        await fan_out(range(100), work, width=3)
    assert sorted(ended) == ["cancelled 0", "cancelled 1"]
