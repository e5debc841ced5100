"""One writer at a time in a vault, by objects that are only ever created: who creates the next epoch holds the lock.

A lock ends when it is given back, by its age, or with its holder where that can be told: on the machine where he ran.
Whoever wakes up late finds a newer epoch, and does no harm as long as it looks (`check`) before each step that could do
any. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import orjson
from attrs import evolve, frozen

from qlikmigrate.kernel.clock import Clock, SystemClock, rfc3339
from qlikmigrate.kernel.error import LockedError, QlikmigrateError
from qlikmigrate.kernel.event import Log, Progress, Sink, discard
from qlikmigrate.vault.pulse import Pulse, beats, forget
from qlikmigrate.vault.store import ObjectExistsError, ObjectMissingError, Store

# A pack may take some minutes to arrive, with all its tries, and within half of this the lock was renewed.
LEASE_S = 900.0
# One that says more than this is damaged.
_LONGEST_LEASE_S = 7 * 86_400.0
_FOLDER = "locks"
_NAME = re.compile(rf"{_FOLDER}/([0-9a-f]{{8}})(\.released)?")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
# A store without links shows a file empty for an instant; one that stays unreadable is nobody's.
_SETTLING_S = 1.0
_SHOWN_CHARS = 100


@frozen(kw_only=True)
class Claim:
    """What a lock object says. `token`: random, so that two of the same holder are not taken for one.

    `taken_at`: when it was taken or last renewed; `since`: when it was taken.
    """

    holder: str
    token: str
    taken_at: datetime
    since: datetime
    lease_s: float

    def has_ended(self, now: datetime) -> bool:
        """Whether its lease is over. So is one that was taken in a future beyond it, by a clock that nobody shares."""
        return abs((now - self.taken_at).total_seconds()) > self.lease_s

    def dump(self) -> bytes:
        """As it is stored."""
        times = {"taken_at": rfc3339(self.taken_at), "since": rfc3339(self.since)}
        return orjson.dumps({"holder": self.holder, **times, "lease_s": self.lease_s, "token": self.token})


def _load(data: bytes) -> Claim | None:
    try:
        form = orjson.loads(data)
        times = (form["taken_at"], form.get("since", form["taken_at"]))
        taken, since = (datetime.fromisoformat(one).astimezone(UTC) for one in times)
        holder, token, lease_s = str(form["holder"]), str(form["token"]), float(form["lease_s"])
        claim = Claim(holder=holder, token=token, taken_at=taken, since=since, lease_s=lease_s)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return claim if 0 < lease_s <= _LONGEST_LEASE_S else None


@frozen(kw_only=True)
class _Seen:
    """The lock objects. `newest` epoch, 0 where there is none; `older`: names of what belongs to earlier ones."""

    newest: int
    released: bool
    older: tuple[str, ...]

    @classmethod
    def of(cls, store: Store) -> _Seen:
        found = [(match, entry.name) for entry in store.entries(_FOLDER) if (match := _NAME.fullmatch(entry.name))]
        # A mark without its lock was left behind by a cleaning, or by a holder that woke up late.
        newest = max((int(match[1], 16) for match, _ in found if not match[2]), default=0)
        return cls(
            newest=newest,
            released=any(match[2] and int(match[1], 16) == newest for match, _ in found),
            older=tuple(name for match, name in found if int(match[1], 16) < newest),
        )


def _object(epoch: int) -> str:
    return f"{_FOLDER}/{epoch:08x}"


def name_holder(*, with_host: bool = True) -> str:
    """Who holds a lock, for messages: host, process, a random part. `with_host`: whether the host may be known."""
    host = platform.node() if with_host else ""
    return ":".join(part for part in (host, str(os.getpid()), secrets.token_hex(4)) if part)


def acquire(
    store: Store,
    *,
    holder: str = "",
    clock: Clock | None = None,
    wait_s: float = 60.0,
    lease_s: float = LEASE_S,
    sink: Sink = discard,
    watch: Callable[[], None] = lambda: None,
) -> Lock:
    """The lock of the vault in `store`, held. Where another holds it, this waits up to `wait_s`.

    `watch` is asked again and again, while this waits and while the lock is held: what it raises stops the work.

    Raises:
        LockedError: the other still holds it.
    """
    clock = clock or SystemClock()
    now, token = clock.now(), secrets.token_hex(16)
    claim = Claim(holder=holder or name_holder(), token=token, taken_at=now, since=now, lease_s=lease_s)
    pulse = Pulse.start(token)
    try:
        claim, epoch = _win(store, claim, clock, wait_s, sink, watch)
    except LockedError:
        pulse.end(forget=True)
        raise
    except BaseException:
        # The lock may be there all the same; who asks for it next learns that nobody holds it.
        pulse.end(forget=False)
        raise
    return Lock(store, claim, epoch, clock, pulse, watch)


def _win(
    store: Store, claim: Claim, clock: Clock, wait_s: float, sink: Sink, watch: Callable[[], None]
) -> tuple[Claim, int]:
    """The epoch that is ours, with the claim as it stands there."""
    began = clock.monotonic()
    pause = _FIRST_PAUSE_S
    told = False
    while True:
        watch()
        seen = _Seen.of(store)
        try:
            other = None if seen.newest == 0 or seen.released else _settled(store, seen.newest, clock)
        except ObjectMissingError:
            # Cleaned away by its successor just now.
            continue
        alive = beats(other.token) if other else None
        if other is None or alive is False or other.has_ended(clock.now()):
            claim = evolve(claim, taken_at=clock.now(), since=clock.now())
            if _take(store, claim, seen.newest + 1):
                if other is not None:
                    forget(other.token)
                    why = "has died" if alive is False else "has not been heard of for longer than its lease"
                    sink(Log(message=f"took over the lock of {_shown(other.holder)}, who {why}", level="warning"))
                return claim, seen.newest + 1
            continue
        left = wait_s - (clock.monotonic() - began)
        if left <= 0:
            raise _locked(store, other, clock.now(), alive)
        if not told:
            sink(Log(message=f"waiting for {_shown(other.holder)}, who writes to {store.location}"))
            told = True
        sink(Progress(phase=f"wait for {_shown(other.holder)}", done=round(wait_s - left), total=round(wait_s)))
        clock.pause(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _settled(store: Store, epoch: int, clock: Clock) -> Claim | None:
    """Who made an epoch; None where that cannot be read, now and an instant later."""
    claim = _load(store.read(_object(epoch)))
    if claim is None:
        clock.pause(_SETTLING_S)
        claim = _load(store.read(_object(epoch)))
    return claim


def _locked(store: Store, other: Claim, now: datetime, alive: bool | None) -> LockedError:
    left = _duration(other.taken_at + timedelta(seconds=other.lease_s) - now)
    dead = (
        "it runs on this machine" if alive else f"if it has died on another machine, its lock ends in {left} by itself"
    )
    return LockedError(
        f"{_shown(other.holder)} has been writing to {store.location} for {_duration(now - other.since)}",
        hint=f"wait until it has ended; {dead}",
    )


def _duration(length: timedelta) -> str:
    seconds = max(0, round(length.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _shown(holder: str) -> str:
    """A holder's name comes out of the store: nothing in it may reach a terminal as a command."""
    return "".join(one if one.isprintable() else "?" for one in holder[:_SHOWN_CHARS]) or "somebody"


def _take(store: Store, claim: Claim, epoch: int) -> bool:
    """Create an epoch; whether it is ours, and the newest."""
    name = _object(epoch)
    try:
        store.create(name, claim.dump())
    except ObjectExistsError:
        # A proxy on the way may have sent it twice, and only the second answer came through: the token tells.
        if not _is_of(store, name, claim):
            return False
    seen = _Seen.of(store)
    if seen.newest != epoch:
        # We slept since we looked, and the epoch is one that others had and cleaned away.
        return False
    _clean(store, seen.older)
    return True


def _is_of(store: Store, name: str, claim: Claim) -> bool:
    try:
        found = _load(store.read(name))
    except ObjectMissingError:
        return False
    return found is not None and found.token == claim.token


def _clean(store: Store, names: tuple[str, ...]) -> None:
    """Delete what belongs to earlier epochs. A lock holds without that, so nothing that goes wrong here matters."""
    with contextlib.suppress(QlikmigrateError):
        if names and not store.is_immutable():
            for name in names:
                store.delete(name)


class Lock:
    """A lock that is held until it is given back or lost. Several threads may use it."""

    def __init__(
        self, store: Store, claim: Claim, epoch: int, clock: Clock, pulse: Pulse, watch: Callable[[], None]
    ) -> None:
        self._store = store
        self._claim = claim
        self._epoch = epoch
        self._clock = clock
        self._pulse = pulse
        self._watch = watch
        self._lost_to = ""
        self._ended = False
        self._guard = threading.Lock()

    @property
    def epoch(self) -> int:
        """The epoch it holds; a renewal counts it up."""
        return self._epoch

    @property
    def holder(self) -> str:
        """Who holds it."""
        return self._claim.holder

    def check(self) -> None:
        """Make sure that it is still held, right before whatever needs it; past half its lease it is renewed.

        Raises:
            LockedError: it was lost, because nobody asked this for longer than the lease. Nothing more may be done.
        """
        self._watch()
        with self._guard:
            if self._ended:
                raise RuntimeError("the lock was given back")
            if self._lost_to:
                raise self._lost()
            seen = _Seen.of(self._store)
            if seen.newest != self._epoch or seen.released:
                raise self._lose(seen.newest)
            if self._is_due():
                self._renew(self._clock.now())

    def keep(self) -> None:
        """Renew it past half its lease, for work that takes long without changing anything. Costs nothing before that.

        Raises:
            LockedError: as `check`.
        """
        if self._is_due():
            self.check()
        else:
            self._watch()

    def _is_due(self) -> bool:
        return abs((self._clock.now() - self._claim.taken_at).total_seconds()) > self._claim.lease_s / 2

    def release(self) -> None:
        """Give it back. Where that fails or it was lost, its age ends it; a second time does nothing."""
        with self._guard:
            if self._ended:
                return
            self._ended = True
            settled = bool(self._lost_to)
            try:
                with contextlib.suppress(QlikmigrateError):
                    if not settled and _Seen.of(self._store).newest == self._epoch:
                        mark = {"released_at": rfc3339(self._clock.now()), "token": self._claim.token}
                        self._store.create(f"{_object(self._epoch)}.released", orjson.dumps(mark))
                    settled = True
            finally:
                self._pulse.end(forget=settled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _renew(self, now: datetime) -> None:
        claim = evolve(self._claim, taken_at=now)
        if not _take(self._store, claim, self._epoch + 1):
            raise self._lose(_Seen.of(self._store).newest)
        self._claim = claim
        self._epoch += 1

    def _lose(self, newest: int) -> LockedError:
        with contextlib.suppress(QlikmigrateError):
            other = _load(self._store.read(_object(newest))) if newest else None
            self._lost_to = _shown(other.holder) if other and other.token != self._claim.token else ""
        self._lost_to = self._lost_to or "somebody"
        return self._lost()

    def _lost(self) -> LockedError:
        return LockedError(
            f"{self._lost_to} has taken over the lock of {self._store.location}",
            hint="this run slept longer than its lease; run it again",
            code="lock-lost",
        )
