"""The lock of a vault: one holder at a time in every kind of store, and whoever wakes up late does no harm."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import platformdirs
import pytest
from place import Place
from s3_server import S3Server

from qlikmigrate.kernel.clock import ManualClock, rfc3339
from qlikmigrate.kernel.error import FailedError, LockedError
from qlikmigrate.kernel.event import Event, Log, Progress
from qlikmigrate.vault import pulse
from qlikmigrate.vault.lock import acquire, name_holder
from qlikmigrate.vault.store import Entry, MemoryStore, ObjectExistsError, Store


@pytest.fixture(params=["local", "memory", "memory-immutable", "s3-plain", "s3-locked"])
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each kind of place in turn, those included that let nothing be deleted."""
    return make_place(request.param)


@contextmanager
def seen_from_elsewhere() -> Iterator[None]:
    """As another machine or user sees it, who knows nothing of the processes here."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        yield


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
        assert refusal.value.hint == "wait until it has ended; it runs on this machine"
        assert [type(event) for event in told[:3]] == [Log, Progress, Progress]
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
    """A holder of whom nobody knows whether it lives holds it for its lease and no longer."""
    dead = acquire(place.open(), holder="dead", clock=clock, lease_s=100)
    with seen_from_elsewhere():
        clock.advance(40)
        with pytest.raises(LockedError) as refusal:
            acquire(place.open(), clock=clock, wait_s=0)
        assert "if it has died on another machine, its lock ends in 60 s by itself" in refusal.value.hint
        clock.advance(61)
        told: list[Event] = []
        with acquire(place.open(), clock=clock, wait_s=0, sink=told.append) as lock:
            assert lock.epoch == 2
        assert "not been heard of" in str(told[0])
    dead.release()


def test_who_renewed_it_has_held_it_since_it_took_it(place: Place, clock: ManualClock) -> None:
    """The age that is told is not that of the last renewal."""
    with acquire(place.open(), holder="a", clock=clock) as lock:
        for _ in range(10):
            clock.advance(600)
            lock.keep()
        with pytest.raises(LockedError, match="for 100 min"):
            acquire(place.open(), clock=clock, wait_s=0)


def test_work_that_changes_nothing_keeps_it(clock: ManualClock) -> None:
    """`keep` renews when it is time, and asks the store for nothing before."""

    class Counting(MemoryStore):
        looks = 0

        def entries(self, folder: str) -> list[Entry]:
            self.looks += 1
            return super().entries(folder)

    store = Counting()
    with acquire(store, clock=clock, lease_s=100) as lock:
        before = store.looks
        for _ in range(49):
            clock.advance(1)
            lock.keep()
        assert (store.looks, lock.epoch) == (before, 1)
        clock.advance(2)
        lock.keep()
        assert lock.epoch == 2


@pytest.mark.parametrize("when", ["waiting", "held"])
def test_a_watch_stops_the_work(when: str, clock: ManualClock) -> None:
    """What it raises comes out of waiting and of each step, and the lock is free."""
    store = MemoryStore()

    def stop() -> None:
        if clock.monotonic() > 10:
            raise ZeroDivisionError

    if when == "waiting":
        with acquire(store, clock=clock) as other, pytest.raises(ZeroDivisionError):
            acquire(store, clock=clock, watch=stop)
        other.release()
    else:
        with acquire(store, clock=clock, watch=stop) as lock:
            lock.check()
            lock.keep()
            clock.advance(20)
            for step in (lock.check, lock.keep):
                with pytest.raises(ZeroDivisionError):
                    step()
    acquire(store, clock=clock, wait_s=0).release()


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
from qlikmigrate.vault import pulse
from qlikmigrate.vault.lock import acquire
from qlikmigrate.vault.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    lock = acquire(store, holder="the first", wait_s=0)
except LockedError as error:
    print("refused", flush=True)
    sys.exit(error.exit_code)
print("held", flush=True)
sys.stdin.readline()
lock.check()
"""


def begin(place: Place) -> subprocess.Popen[str]:
    """A process that is about to take the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, place.location], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert hear(process) == "ready"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("kind", ["local", "s3-plain"])
def test_of_two_processes_one_holds(kind: str, make_place: Callable[[str], Place]) -> None:
    """Both start at once: one has the lock, the other ends with 11."""
    place = make_place(kind)
    for _ in range(2):
        both = [begin(place) for _ in range(2)]
        for one in both:
            tell(one)
        said = [hear(one) for one in both]
        for one in both:
            one.communicate("check\n", timeout=60)
        assert sorted(said) == ["held", "refused"]
        assert sorted(one.returncode for one in both) == [0, 11]


@pytest.mark.parametrize("kind", ["local", "s3-plain"])
def test_a_holder_that_was_killed_on_this_machine_holds_nobody_up(
    kind: str, make_place: Callable[[str], Place], own_home: None
) -> None:
    """While it lives, others wait; after a kill -9 the next one has the lock at once. Elsewhere nobody knows."""
    place = make_place(kind)
    killed = begin(place)
    tell(killed)
    assert hear(killed) == "held"
    with pytest.raises(LockedError, match="the first"):
        acquire(place.open(), wait_s=0)
    killed.kill()
    killed.communicate()
    with seen_from_elsewhere(), pytest.raises(LockedError):
        acquire(place.open(), wait_s=0)
    told: list[Event] = []
    with acquire(place.open(), wait_s=0, sink=told.append) as lock:
        assert lock.epoch == 2
        lock.check()
    assert [str(one.message) for one in told if isinstance(one, Log)] == [
        "took over the lock of the first, who has died"
    ]


def records() -> list[Path]:
    """What the state folder tells of holders."""
    return sorted((Path(platformdirs.user_state_dir("qlikmigrate")) / "vault-locks").iterdir())


def test_nothing_is_left_behind_by_who_gave_it_back(clock: ManualClock) -> None:
    """Neither by one who had it nor by one who did not get it."""
    store = MemoryStore()
    with acquire(store, clock=clock):
        assert len(records()) == 1
        with pytest.raises(LockedError):
            acquire(store, clock=clock, wait_s=0)
        assert len(records()) == 1
    assert records() == []


@pytest.mark.parametrize(
    ("machine", "boot", "free"),
    [("", "", True), ("", "0" * 16, True), ("f" * 16, "", False), ("f" * 16, "0" * 16, False), ("", "unknown", False)],
)
def test_whose_death_is_proven(machine: str, boot: str, free: bool, clock: ManualClock) -> None:
    """Of this machine: whoever the system knows no more, and all that ran before it was started anew."""
    if pulse._UNKNOWN in pulse._boot() or not pulse._machine_id():
        pytest.skip("the system does not tell its starts apart")
    store = MemoryStore()
    held = acquire(store, clock=clock)
    held._pulse.end(forget=False)
    (record,) = records()
    token, here, now = record.name.split("-")
    record.rename(record.with_name(f"{token}-{machine or here}-{boot or now}"))
    if free:
        acquire(store, clock=clock, wait_s=0).release()
    else:
        with pytest.raises(LockedError):
            acquire(store, clock=clock, wait_s=0)


@pytest.mark.parametrize("token", ["", "*", "../locks/x", "0" * 31, "0" * 33])
def test_a_token_leads_nowhere_else(token: str, clock: ManualClock) -> None:
    """It comes out of the store: whatever it is, nothing but a record of its own is looked at."""
    folder = pulse._folder()
    folder.mkdir(parents=True)
    (folder / f"{'0' * 32}-{pulse._machine()}-{pulse._boot()}").touch()
    assert pulse.beats(token) is None
    pulse.forget(token)
    assert len(records()) == 1
    assert pulse.beats("0" * 32) is False


def test_without_a_state_folder_age_alone_ends_it(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only home takes nothing but the fast way."""
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    store = MemoryStore()
    held = acquire(store, clock=clock)
    with pytest.raises(LockedError):
        acquire(store, clock=clock, wait_s=0)
    clock.advance(1000)
    with acquire(store, clock=clock, wait_s=0):
        pass
    held.release()


def test_records_that_nobody_asked_about_are_swept(clock: ManualClock) -> None:
    """After a week; one whose process lives stays."""
    folder = pulse._folder()
    held = acquire(MemoryStore(), clock=clock)
    for name in ("old", "new"):
        (folder / name).touch()
    for one in folder.iterdir():
        if one.name != "new":
            os.utime(one, (1, 1))
    with acquire(MemoryStore(), clock=clock):
        assert {one.name for one in records()} >= {"new"}
        assert len(records()) == 3
    held.release()


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
    held = acquire(store, holder="\x1b[2J\nevil" + "x" * 500, clock=clock)
    with pytest.raises(LockedError) as refusal:
        acquire(store, clock=clock, wait_s=0)
    assert refusal.value.message.startswith("?[2J?evilxxx")
    assert len(refusal.value.message) < 200
    held.release()
