"""The lock of a vault: one holder at a time in every kind of store, and whoever wakes up late does no harm."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import orjson
import pytest
from place import Place
from s3_server import S3Server

from qlikmigrate.kernel.clock import ManualClock, rfc3339
from qlikmigrate.kernel.error import FailedError, LockedError
from qlikmigrate.kernel.event import Event, Log
from qlikmigrate.vault.lock import acquire, name_holder
from qlikmigrate.vault.store import Entry, MemoryStore, ObjectExistsError, Store


@pytest.fixture(params=["local", "memory", "memory-immutable", "s3-plain", "s3-locked"])
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each kind of place in turn, those included that let nothing be deleted."""
    return make_place(request.param)


def locks(store: Store) -> list[str]:
    return [entry.name.removeprefix("locks/") for entry in store.entries("locks")]


def test_a_lock_is_given_back(place: Place, clock: ManualClock) -> None:
    """The next one takes it at once, under the next epoch."""
    with acquire(place.open(), holder="a", clock=clock) as lock:
        lock.check()
        assert (lock.epoch, lock.holder) == (1, "a")
    lock.release()
    with acquire(place.open(), holder="b", clock=clock) as lock:
        assert lock.epoch == 2
    assert clock.monotonic() == 0


def test_a_lock_is_given_back_after_an_error(place: Place, clock: ManualClock) -> None:
    """The error comes through, and the lock is free."""
    with pytest.raises(ZeroDivisionError), acquire(place.open(), clock=clock):
        raise ZeroDivisionError
    with acquire(place.open(), clock=clock, wait_s=0):
        pass


def test_the_second_waits_and_ends_with_11(place: Place, clock: ManualClock) -> None:
    """It waits as long as it was told to, and then names holder, age and what comes next."""
    told: list[Event] = []
    with acquire(place.open(), holder="host-a:17:x", clock=clock):
        clock.advance(180)
        with pytest.raises(LockedError) as refusal:
            acquire(place.open(), holder="b", clock=clock, wait_s=60, sink=told.append)
        assert clock.monotonic() == 240
        assert (refusal.value.exit_code, refusal.value.code) == (11, "locked")
        assert refusal.value.message == f"host-a:17:x has been writing to {place.open().location} for 4 min"
        assert "11 min" in refusal.value.hint
        assert [type(event) for event in told] == [Log]
        with pytest.raises(LockedError):
            acquire(place.open(), holder="b", clock=clock, wait_s=0)
        assert clock.monotonic() == 240


def test_the_second_goes_on_when_the_first_has_ended(place: Place, clock: ManualClock) -> None:
    """Waiting ends with the release, not with the time to wait."""
    first = acquire(place.open(), clock=clock)
    pause = clock.pause

    def release_meanwhile(seconds: float) -> None:
        pause(seconds)
        if clock.monotonic() > 10:
            first.release()

    clock.pause = release_meanwhile  # type: ignore[method-assign]
    with acquire(place.open(), clock=clock, wait_s=60) as second:
        assert second.epoch == 2
    assert 10 < clock.monotonic() < 20


def test_an_expired_lock_is_taken_over(place: Place, clock: ManualClock) -> None:
    """A holder that died holds it for its lease and no longer."""
    acquire(place.open(), holder="dead", clock=clock, lease_s=100)
    clock.advance(99)
    with pytest.raises(LockedError):
        acquire(place.open(), clock=clock, wait_s=0)
    clock.advance(2)
    with acquire(place.open(), clock=clock, wait_s=0) as lock:
        assert lock.epoch == 2


def test_a_holder_that_wakes_up_late_does_no_harm(place: Place, clock: ManualClock) -> None:
    """Two holders: the one that slept is told so before whatever it wants to do, each time, and disturbs nobody."""
    late = acquire(place.open(), holder="late", clock=clock, lease_s=100)
    clock.advance(101)
    awake = acquire(place.open(), holder="awake", clock=clock, lease_s=100)
    for _ in range(2):
        with pytest.raises(LockedError) as loss:
            late.check()
        assert (loss.value.code, loss.value.exit_code) == ("lock-lost", 11)
        assert loss.value.message.startswith("awake has taken over")
    late.release()
    awake.check()
    assert locks(place.open())[-1] == "00000002"
    with pytest.raises(LockedError):
        acquire(place.open(), clock=clock, wait_s=0)
    awake.release()


def test_a_holder_whose_clock_is_behind_learns_that_it_was_taken_over(place: Place) -> None:
    """By its own clock it holds the lock for a moment only; the newer epoch counts, not the time."""
    behind, ahead = ManualClock(), ManualClock()
    late = acquire(place.open(), clock=behind, lease_s=100)
    ahead.advance(101)
    acquire(place.open(), holder="ahead", clock=ahead)
    with pytest.raises(LockedError, match="ahead has taken over"):
        late.check()


def test_a_lock_that_somebody_else_ended_is_lost(place: Place, clock: ManualClock) -> None:
    """Whoever marks it as given back by hand stops its holder at the next step."""
    lock = acquire(place.open(), clock=clock)
    place.put("locks/00000001.released", b"{}")
    with pytest.raises(LockedError) as loss:
        lock.check()
    assert loss.value.code == "lock-lost"
    acquire(place.open(), clock=clock, wait_s=0).release()


def test_a_holder_that_wakes_up_late_and_ends_frees_nothing(place: Place, clock: ManualClock) -> None:
    """It gives back, without having asked, a lock that has become another's."""
    late = acquire(place.open(), holder="late", clock=clock, lease_s=100)
    clock.advance(101)
    awake = acquire(place.open(), holder="awake", clock=clock, lease_s=100)
    before = locks(place.open())
    late.release()
    assert locks(place.open()) == before
    awake.check()


def test_a_holder_that_wakes_up_after_the_next_one_ended_is_late_too(place: Place, clock: ManualClock) -> None:
    """The other's lock was given back; that makes the lost one no better."""
    late = acquire(place.open(), holder="late", clock=clock, lease_s=100)
    clock.advance(101)
    acquire(place.open(), clock=clock).release()
    with pytest.raises(LockedError):
        late.check()


def test_a_long_run_keeps_its_lock(place: Place, clock: ManualClock) -> None:
    """Past half of the lease a check renews it; nobody gets in between, however long it takes."""
    lock = acquire(place.open(), clock=clock, lease_s=100)
    epochs = set()
    for _ in range(20):
        clock.advance(40)
        lock.check()
        epochs.add(lock.epoch)
        with pytest.raises(LockedError):
            acquire(place.open(), clock=clock, wait_s=0)
    assert len(epochs) == 11
    lock.release()
    with acquire(place.open(), clock=clock, wait_s=0) as following:
        assert following.epoch == max(epochs) + 1


def test_a_holder_past_its_lease_goes_on_where_nobody_took_over(place: Place, clock: ManualClock) -> None:
    """A laptop that slept alone: the next epoch is its own."""
    lock = acquire(place.open(), clock=clock, lease_s=100)
    clock.advance(1000)
    lock.check()
    assert lock.epoch == 2


def test_old_locks_are_deleted_where_that_frees_space(place: Place, clock: ManualClock) -> None:
    """What is left is the newest; a store that keeps everything keeps these, and works."""
    for _ in range(5):
        acquire(place.open(), clock=clock).release()
    last = ["00000005", "00000005.released"]
    if place.open().is_immutable():
        assert locks(place.open()) == sorted(
            [f"0000000{epoch}{end}" for epoch in range(1, 6) for end in ("", ".released")]
        )
    else:
        assert locks(place.open()) == last


@pytest.mark.parametrize("slept", ["before taking", "before renewing"])
def test_an_epoch_of_the_past_is_no_lock(slept: str, clock: ManualClock) -> None:
    """Who looked, slept, and then creates an epoch that others had and cleaned away, sees that and holds nothing."""
    shared = MemoryStore()

    class Sleepy(MemoryStore):
        """Sleeps before a creation, while others go on."""

        asleep = False

        def create(self, name: str, data: bytes) -> None:
            if self.asleep:
                self.asleep = False
                clock.advance(1000)
                for _ in range(3):
                    last = acquire(shared, holder="other", clock=clock)
                    last.release()
                self.last = acquire(shared, holder="other", clock=clock)
            shared.create(name, data)

        def entries(self, folder: str) -> list[Entry]:
            return shared.entries(folder)

        def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
            return shared.read(name, offset, size)

        def delete(self, name: str) -> None:
            shared.delete(name)

    sleepy = Sleepy()
    if slept == "before taking":
        sleepy.asleep = True
        with pytest.raises(LockedError):
            acquire(sleepy, clock=clock, wait_s=0)
    else:
        lock = acquire(sleepy, clock=clock, lease_s=100)
        clock.advance(60)
        sleepy.asleep = True
        with pytest.raises(LockedError) as loss:
            lock.check()
        assert loss.value.code == "lock-lost"
        lock.release()
    # It did create the past epoch, so this shows that looking again is what tells.
    assert locks(shared)[0] < locks(shared)[-1]
    sleepy.last.check()
    sleepy.last.release()
    with acquire(shared, clock=clock, wait_s=0) as following:
        assert following.epoch == sleepy.last.epoch + 1


class BriefClock(ManualClock):
    """Stands still, and waits a moment whatever it is told."""

    def pause(self, seconds: float) -> None:
        time.sleep(0.001)


def test_of_many_that_wait_one_at_a_time_holds(make_place: Callable[[str], Place]) -> None:
    """Six threads, five turns each: never two at once, and everyone gets through."""
    place = make_place("local")
    inside, most, turns = 0, 0, 0
    guard = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most, turns
        for _ in range(5):
            with acquire(place.open(), holder=f"thread {number}", clock=BriefClock()) as lock:
                with guard:
                    inside += 1
                    most = max(most, inside)
                lock.check()
                with guard:
                    inside -= 1
                    turns += 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert (most, turns) == (1, 30)


HOLDER = """
import sys
from qlikmigrate.kernel.error import LockedError
from qlikmigrate.vault.lock import acquire
from qlikmigrate.vault.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    lock = acquire(store, wait_s=0)
except LockedError as error:
    sys.exit(error.exit_code)
sys.stdin.readline()
lock.check()
"""


@pytest.mark.parametrize("kind", ["local", "s3-plain"])
def test_of_two_processes_one_holds(kind: str, make_place: Callable[[str], Place]) -> None:
    """Both start at once: one has the lock until it dies, the other ends with 11."""
    place = make_place(kind)
    for _ in range(3):
        for name in locks(place.open()):
            place.open().delete(f"locks/{name}")
        both = [
            subprocess.Popen(
                [sys.executable, "-c", HOLDER, place.location], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in both:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        for one in both:
            one.communicate("check\n", timeout=60)
        assert sorted(one.returncode for one in both) == [0, 11]


def test_a_lost_answer_gives_the_lock_to_whoever_asked(
    s3: S3Server, make_place: Callable[[str], Place], clock: ManualClock
) -> None:
    """The put arrived and its answer did not: the lock is ours, and only ours."""
    place = make_place("s3-plain")
    s3.faults = [("PUT", "lost")]
    with acquire(place.open(), clock=clock) as lock:
        lock.check()
        with pytest.raises(LockedError):
            acquire(place.open(), clock=clock, wait_s=0)


def test_a_put_that_was_sent_twice_on_the_way_is_ours(clock: ManualClock) -> None:
    """A proxy repeats it and passes on the refusal of the second one: the token tells that the object is ours."""

    class Twice(MemoryStore):
        def create(self, name: str, data: bytes) -> None:
            super().create(name, data)
            raise ObjectExistsError("exists")

    with acquire(Twice(), clock=clock, wait_s=0) as lock:
        assert lock.epoch == 1
        lock.check()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"holder": 1}', b'{"holder":"x","token":"t","taken_at":"never","lease_s":9}']
)
def test_a_lock_that_nobody_can_read_holds_nobody_up(content: bytes, clock: ManualClock) -> None:
    """It is looked at twice, an instant apart, and then taken over."""
    store = MemoryStore()
    store.create("locks/00000007", content)
    with acquire(store, clock=clock, wait_s=0) as lock:
        assert lock.epoch == 8
    assert clock.monotonic() == 1


def test_a_lock_that_is_just_being_written_is_respected(clock: ManualClock) -> None:
    """Where there are no links, the object is seen empty for an instant."""
    store = MemoryStore()
    whole = acquire(MemoryStore(), holder="writer", clock=clock)
    store.create("locks/00000001", b"")
    pause = clock.pause

    def write_meanwhile(seconds: float) -> None:
        pause(seconds)
        store.delete("locks/00000001")
        store.create("locks/00000001", whole._claim.dump())

    clock.pause = write_meanwhile  # type: ignore[method-assign]
    with pytest.raises(LockedError, match="writer"):
        acquire(store, clock=clock, wait_s=0)


@pytest.mark.parametrize(("offset_s", "free"), [(-950, True), (-850, False), (850, False), (950, True)])
def test_clocks_that_disagree(offset_s: int, free: bool, clock: ManualClock) -> None:
    """Less than a lease off is borne; a time beyond that, in the future too, is one that would never end."""
    store = MemoryStore()
    taken = rfc3339(clock.now() + timedelta(seconds=offset_s))
    store.create("locks/00000001", orjson.dumps({"holder": "x", "token": "t", "taken_at": taken, "lease_s": 900}))
    if free:
        acquire(store, clock=clock, wait_s=0).release()
    else:
        with pytest.raises(LockedError):
            acquire(store, clock=clock, wait_s=0)


def test_a_store_that_fails_at_the_end_does_not_spoil_the_run(clock: ManualClock) -> None:
    """The work is done; the lock ends by its age."""

    class Failing(MemoryStore):
        failing = False

        def create(self, name: str, data: bytes) -> None:
            if self.failing:
                raise FailedError("no disk")
            super().create(name, data)

    store = Failing()
    with acquire(store, clock=clock):
        store.failing = True
    assert locks(store) == ["00000001"]


def test_what_is_no_lock_is_ignored(clock: ManualClock) -> None:
    """Other names in the folder, and marks whose lock is gone, count for nothing."""
    store = MemoryStore()
    for name in ("locks/zzz", "locks/1", "locks/00000009.released", "locks/00000003.other"):
        store.create(name, b"x")
    with acquire(store, clock=clock, wait_s=0) as lock:
        assert lock.epoch == 1
        lock.check()


def test_a_lock_that_was_given_back_is_not_asked(clock: ManualClock) -> None:
    """A bug in whoever does so, and said as such."""
    lock = acquire(MemoryStore(), clock=clock)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.check()


def test_holders_are_named_for_people() -> None:
    """Host, process and a random word; without the host where a vault must not tell it. Never what a terminal obeys."""
    assert name_holder() != name_holder()
    assert name_holder(with_host=False).count(":") == 1
    clock = ManualClock()
    store = MemoryStore()
    acquire(store, holder="\x1b[2J\nevil" + "x" * 500, clock=clock)
    with pytest.raises(LockedError) as refusal:
        acquire(store, clock=clock, wait_s=0)
    assert refusal.value.message.startswith("?[2J?evilxxx")
    assert len(refusal.value.message) < 200
