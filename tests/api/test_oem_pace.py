"""The rate of one key pair: never above the share in any minute, and turns kept for what must not wait."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_script import Script, says

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint, OemLimits
from qlikmigrate.api.oem.limiter import Pace, Reservation
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret

BLEND = {"account": "acme", "blend": "b1"}
GET = "GET /v1/accounts/acme/blends/b1"
PUT = "PUT /v1/accounts/acme/blends/b1"


def most_in_a_minute(times: list[float]) -> int:
    """The largest number of calls in any 60 seconds."""
    # A rounding error of the clock does not make it 61.
    return max((index + 1 - bisect_left(times, at - 60 + 1e-6) for index, at in enumerate(times)), default=0)


@given(
    per_minute=st.integers(3, 400),
    share=st.sampled_from([0.3, 0.8, 1.0]),
    steps=st.lists(st.tuples(st.sampled_from(["call", "wait", "hold", "use", "end"]), st.integers(1, 70)), max_size=40),
)
def test_never_more_than_the_share_in_any_minute(per_minute: int, share: float, steps: list[tuple[str, int]]) -> None:
    """Bursts, pauses and turns that are held and used late: in no 60 seconds do more go out than are ours."""

    async def run() -> list[float]:
        clock = ManualClock()
        pace = Pace(OemLimits(per_minute=per_minute, share=share), clock)
        times: list[float] = []
        kept: list[Reservation] = []
        for step, count in steps:
            match step:
                case "wait":
                    clock.advance(count)
                case "call":
                    for _ in range(count):
                        await pace.enter()
                        times.append(clock.monotonic())
                case "hold":
                    kept.append(Reservation(pace, clock, await pace.hold(count)))
                case "use" if kept:
                    for _ in range(min(count, kept[0].left)):
                        await kept[0].enter()
                        times.append(clock.monotonic())
                case "end" if kept:
                    kept.pop(0).end()
        return times

    assert most_in_a_minute(asyncio.run(run())) <= max(per_minute * share, 1)


async def test_the_share_is_used(reached: Any, script: Script) -> None:
    """At the defaults 48 calls go out at once, and 192 with each minute: 240 in the first, none of them too early."""
    script.on(GET, says(200, {}))
    client = reached()
    for _ in range(48 + 192):
        await client.call("blend.get", **BLEND)
    assert script.times[47] == 0
    assert script.clock.monotonic() == pytest.approx(60)


async def crowd(client: OemClient, calls: int) -> None:
    """So many ordinary calls, all at once."""
    await asyncio.gather(*(client.call("blend.get", **BLEND) for _ in range(calls)))


@pytest.mark.parametrize("ahead", [0, 10, 48, 300])
@pytest.mark.parametrize("turns", [1, 4, 40])
async def test_reserved_turns_do_not_wait(reached: Any, script: Script, ahead: int, turns: int) -> None:
    """Under load, too: among hundreds that wait they go out one after the other, and the share holds all the while."""
    script.on(GET, says(200, {}))
    script.on(PUT, says(200, {}))
    client = reached()
    before = asyncio.create_task(crowd(client, ahead))
    await asyncio.sleep(0)
    async with client.reserved(turns) as mine:
        behind = asyncio.create_task(crowd(client, 300))
        await asyncio.sleep(0)
        for _ in range(turns):
            await mine.call("blend.update", **BLEND, body={"state": "disabled"})
    await before
    await behind
    places = [place for place, method in enumerate(one.method for one in script.seen) if method == "PUT"]
    assert len(places) == turns
    # At most what the burst lets through beside them.
    assert places[-1] - places[0] < turns + 48
    assert most_in_a_minute(sorted(script.times)) <= 240


async def test_reserved_turns_overtake_those_who_wait() -> None:
    """With everything used up and hundreds waiting, the next call of a reservation goes out at the very moment."""
    clock = ManualClock()
    pace = Pace(OemLimits(), clock)
    reservation = Reservation(pace, clock, await pace.hold(4))
    for _ in range(44):
        await pace.enter()
    assert clock.monotonic() == 0

    class Stuck(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    pace._clock = Stuck()
    waiting = [asyncio.create_task(pace.enter()) for _ in range(300)]
    await asyncio.sleep(0)
    for _ in range(4):
        await asyncio.wait_for(reservation.enter(), timeout=5)
    assert not any(one.done() for one in waiting)
    for one in waiting:
        one.cancel()


async def test_a_reservation_waits_for_its_turns(reached: Any, script: Script) -> None:
    """After a burst it takes as long as the bucket needs to hold so many, and not longer."""
    script.on(GET, says(200, {}))
    client = reached()
    await crowd(client, 48)
    async with client.reserved(4):
        assert script.clock.monotonic() == pytest.approx(4 * 60 / 192)


async def test_what_is_not_used_is_given_back(reached: Any, script: Script) -> None:
    """Also where the work fails: the next burst is as large as ever."""
    script.on(GET, says(200, {}))
    client = reached()

    async def fail() -> None:
        async with client.reserved(40) as mine:
            await mine.call("blend.get", **BLEND)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await crowd(client, 47)
    assert script.clock.monotonic() == 0


async def test_calls_beyond_those_reserved_wait_as_usual(reached: Any, script: Script) -> None:
    """A reservation that was too small, or larger than the bucket, is slower, and neither stuck nor above the share."""
    script.on(GET, says(200, {}))
    client = reached()
    for turns in (1, 1000):
        async with client.reserved(turns) as mine:
            for _ in range(300):
                await mine.call("blend.get", **BLEND)
    assert most_in_a_minute(script.times) <= 240


async def test_who_holds_everything_is_not_stuck(reached: Any, script: Script) -> None:
    """One turn is never held, so an ordinary call inside of the largest reservation goes out."""
    script.on(GET, says(200, {}))
    client = reached(limits=OemLimits(per_minute=30))
    async with client.reserved(1000) as mine, client.reserved(1000):
        for _ in range(20):
            await asyncio.wait_for(client.call("blend.get", **BLEND), timeout=5)
            await asyncio.wait_for(mine.call("blend.get", **BLEND), timeout=5)
    assert most_in_a_minute(script.times) <= 24


async def test_reservations_side_by_side(reached: Any, script: Script) -> None:
    """Many at once, each larger than what the others leave: all come to their end, ordinary calls inside included."""
    script.on(GET, says(200, {}))
    client = reached()

    async def work() -> None:
        async with client.reserved(20) as mine:
            for _ in range(20):
                await mine.call("blend.get", **BLEND)
            await client.call("blend.get", **BLEND)

    await asyncio.gather(*(work() for _ in range(10)))
    assert len(script.seen) == 210
    assert most_in_a_minute(sorted(script.times)) <= 240


async def test_reserved_calls_do_not_wait_for_slow_ones(reached: Any, script: Script) -> None:
    """With every place taken by calls that do not end, a reservation's calls go out."""
    stuck = asyncio.Event()

    class Slow(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await stuck.wait() if seconds == 7 else await super().sleep(seconds)

    script.clock = Slow()

    def handler(request: Any) -> Any:
        answer = says(200, {})
        return answer if request.method == "PUT" else type(answer)(response=answer.response, delay_s=7)

    client = reached(handler=handler, limits=OemLimits(concurrency=2))
    slow = [asyncio.create_task(client.call("blend.get", **BLEND)) for _ in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    async with client.reserved(2) as mine:
        update = mine.call("blend.update", **BLEND, body={"state": "disabled"})
        assert (await asyncio.wait_for(update, timeout=5)).status == 200
    assert not any(one.done() for one in slow)
    stuck.set()
    await asyncio.gather(*slow)


@pytest.mark.parametrize("second", [0, 20, 59])
async def test_nothing_left_pauses_all(reached: Any, script: Script, second: float) -> None:
    """`x-ratelimit-remaining: 0` on a success: the next call waits for the end of the minute."""
    script.clock.advance(second)
    script.on(GET, says(200, {}, x_ratelimit_limit="300", x_ratelimit_remaining="0"), says(200, {}))
    client = reached()
    for _ in range(2):
        await client.call("blend.get", **BLEND)
    assert 60 - second <= script.times[1] - script.times[0] <= 60 - second + 2.001
    assert (client.counts.throttled, client.quota.limit, client.quota.remaining) == (0, 300, 0)


@pytest.mark.parametrize("said", ["", "-", "-1", "1.5", "many", "5"])
async def test_what_else_is_said_of_the_rest(reached: Any, script: Script, said: str) -> None:
    """What is no number, or more than nothing, pauses nobody."""
    script.on(GET, says(200, {}, x_ratelimit_remaining=said))
    client = reached()
    for _ in range(3):
        await client.call("blend.get", **BLEND)
    assert script.clock.monotonic() == 0


async def test_a_reservation_waits_for_the_service_too(reached: Any, script: Script) -> None:
    """Where less is left than it needs it waits until that cannot be true any more; an ordinary call does not."""
    script.on(GET, says(200, {}, x_ratelimit_remaining="3"), says(200, {}))
    script.on(PUT, says(200, {}))
    client = reached()
    await client.call("blend.get", **BLEND)
    async with client.reserved(3):
        assert script.clock.monotonic() == 0
    async with client.reserved(4) as mine:
        assert script.clock.monotonic() == 60
        await mine.call("blend.update", **BLEND, body={"state": "disabled"})
    assert script.clock.monotonic() == 60


async def test_others_leave_the_last_turns_to_a_reservation(reached: Any, script: Script) -> None:
    """With three left and three held, an ordinary call waits, and the held ones go out."""
    script.on(GET, says(200, {}, x_ratelimit_remaining="3"), says(200, {}))
    script.on(PUT, says(200, {}))
    client = reached()
    await client.call("blend.get", **BLEND)
    async with client.reserved(3) as mine:
        for _ in range(3):
            await mine.call("blend.update", **BLEND, body={"state": "disabled"})
        assert script.clock.monotonic() == 0
    async with client.reserved(1):
        await client.call("blend.get", **BLEND)
        assert script.clock.monotonic() == 60


async def test_a_reserved_call_that_is_throttled_waits_as_asked(reached: Any, script: Script) -> None:
    """The pause of somebody else does not hold it up, its own does."""
    script.on(GET, says(429, retry_after="50"), says(200, {}))
    script.on(PUT, says(200, {}), says(429, retry_after="9"), says(200, {}))
    client = reached()
    async with client.reserved(3) as mine:
        client._shared.pace.pause(1000)
        await mine.call("blend.update", **BLEND, body={"state": "disabled"})
        assert script.clock.monotonic() == 0
        await mine.call("blend.update", **BLEND, body={"state": "disabled"})
        assert 9 <= script.clock.monotonic() <= 10


async def test_clients_of_one_key_pair_share_a_rate(script: Script) -> None:
    """Two clients, one for reading and one for writing, together keep to one quota."""
    script.on(GET, says(200, {}))
    endpoint = OemEndpoint(
        name="partner", access=Access.WRITE, credentials=KeyPair(app_id="1", api_key=Secret("k")), handler=script
    )
    pace = Pace(endpoint.limits, script.clock)
    clients = [
        OemClient.open(endpoint, access=access, clock=script.clock, sink=discard, pace=pace)
        for access in (Access.READ, Access.WRITE)
    ]
    for number in range(240):
        await clients[number % 2].call("blend.get", **BLEND)
    assert script.clock.monotonic() == pytest.approx(60)


def test_a_pace_outlives_an_event_loop() -> None:
    """A command may run several loops one after the other: those who wait in a later one are not stuck."""
    clock = ManualClock()
    pace = Pace(OemLimits(), clock)

    async def rush() -> None:
        await asyncio.gather(*(pace.enter() for _ in range(100)))

    for _ in range(3):
        asyncio.run(rush())
    assert clock.monotonic() == pytest.approx((300 - 48) * 60 / 192)


def test_the_end_of_the_minute() -> None:
    """Counted by the wall clock, with up to two seconds more."""
    clock = ManualClock(datetime(2026, 11, 1, 12, 0, 45, 500_000, tzinfo=UTC))
    assert Pace(OemLimits(), clock, jitter=lambda: 0.0).pause_s() == 14.5
    assert Pace(OemLimits(), clock, jitter=lambda: 1.0).pause_s() == 16.5


def test_limits_that_cannot_be() -> None:
    """Nothing a minute, or more than the whole quota."""
    for wrong in ({"per_minute": 0}, {"share": 1.1}, {"share": 0}, {"concurrency": 0}, {"timeout_s": 0}):
        with pytest.raises(UsageError, match=f"`limits.{next(iter(wrong))}`"):
            OemLimits(**wrong)


async def test_concurrency_holds(reached: Any, script: Script) -> None:
    """A hundred calls at once: no more on the wire than the table says."""
    busy = most = 0

    class Busy(ManualClock):
        async def sleep(self, seconds: float) -> None:
            nonlocal busy, most
            busy, most = busy + 1, max(most, busy + 1)
            for _ in range(random.randrange(1, 5)):
                await asyncio.sleep(0)
            busy -= 1

    script.clock = Busy()
    answer = says(200, {})
    client = reached(
        handler=lambda request: type(answer)(response=answer.response, delay_s=0.01),
        limits=OemLimits(per_minute=3000, concurrency=3),
    )
    await crowd(client, 100)
    assert most == 3
