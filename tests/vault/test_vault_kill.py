"""Killed before or after any write, a vault has lost no snapshot that was whole, and the next try finishes the work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from attrs import define
from night import FIRST_NIGHT, State, Town, check, missing, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import PACKS, SNAPSHOTS
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import open_for_repair, repair
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import Entry, MemoryStore, Store
from qlikmigrate.vault.verification import verify_vault

FOLDERS = ("", PACKS, SNAPSHOTS, "gone", "marks", "checks", "drills", "moves", "begun")


class KilledError(BaseException):
    """The process is gone."""


@define
class Mortal:
    """A store whose user is killed at its write number `at` (from 0), before or after it takes effect.

    From then on nothing reaches the store any more, as after a kill -9.
    """

    inner: Store
    at: int
    after: bool
    writes: int = 0
    dead: bool = False

    @property
    def location(self) -> str:
        return self.inner.location

    def entries(self, folder: str) -> list[Entry]:
        self._check()
        return self.inner.entries(folder)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        self._check()
        return self.inner.read(name, offset, size)

    def create(self, name: str, data: bytes) -> None:
        self._write(lambda: self.inner.create(name, data))

    def delete(self, name: str) -> None:
        self._write(lambda: self.inner.delete(name))

    def is_immutable(self) -> bool:
        return self.inner.is_immutable()

    def sweep(self) -> None:
        self._write(self.inner.sweep)

    def _check(self) -> None:
        if self.dead:
            raise KilledError

    def _write(self, act: Callable[[], None]) -> None:
        self._check()
        number, self.writes = self.writes, self.writes + 1
        if number != self.at:
            act()
            return
        self.dead = True
        if self.after:
            act()
        raise KilledError


def copy_of(store: Store) -> MemoryStore:
    """The same objects elsewhere."""
    made = MemoryStore()
    for folder in FOLDERS:
        for entry in store.entries(folder):
            made.create(entry.name, store.read(entry.name))
    return made


def clock_at(night: int) -> ManualClock:
    """A clock that shows noon after a night."""
    return ManualClock(FIRST_NIGHT + timedelta(days=night, hours=10))


def killed_everywhere(base: Store, work: Callable[[Store, int], None], verify: Callable[[Store], None]) -> int:
    """Run `work` on a copy, killed at each of its writes, both ways; then check, run it again, check. How many kills.

    `work` is given how often it was tried: by then the lock of the one that was killed has ended.
    """
    kills = 0
    at = 0
    while True:
        ended = False
        for after in (False, True):
            store = copy_of(base)
            mortal = Mortal(store, at, after)
            try:
                work(mortal, 0)
                ended = True
            except KilledError:
                kills += 1
                verify(store)
                work(store, 1)
            verify(store)
        if ended:
            return kills
        at += 1


@pytest.fixture(scope="module")
def scene() -> tuple[MemoryStore, list[State]]:
    """A vault of six nights in which one automation a night goes and comes."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock_at(0))
    town = Town(automations=6)
    states = []
    for night in range(6):
        town.back_up(vault)
        states.append(town.state())
        town.values.pop(sorted(town.values)[0])
        town.add(100 + night)
        town.pass_night()
    return store, states


def test_backup(scene: tuple[MemoryStore, list[State]]) -> None:
    """A backup: what was there stays; the new snapshot is there as a whole or not at all."""
    base, states = scene
    town = Town(automations=9, seed=3, tenant="tenant-1")
    for _ in range(6):
        town.pass_night()

    def work(store: Store, tries: int) -> None:
        town.back_up(Vault.open(store, clock=clock_at(6 + tries)))

    def verify(store: Store) -> None:
        vault = Vault.open(store)
        infos = vault.snapshots()
        for info, state in zip(infos, states, strict=False):
            assert state_of(vault.snapshot(info)) == state
        assert all(state_of(vault.snapshot(info)) == town.state() for info in infos[len(states) :])
        assert verify_vault(vault).ok

    assert killed_everywhere(base, work, verify) >= 6


def test_prune(scene: tuple[MemoryStore, list[State]]) -> None:
    """Prunes, from the first mark to the last deletion: what stays is whole at every moment."""
    base, states = scene

    def work(store: Store, tries: int) -> None:
        for turn in range(3):
            vault = Vault.open(store, clock=clock_at(10 + 10 * turn + tries))
            plan = plan_prune(vault, Policy(last=2))
            with vault.lock() as lock:
                prune(vault, lock, plan)

    def verify(store: Store) -> None:
        vault = Vault.open(store)
        infos = {info.taken_at.date(): info for info in (*vault.snapshots(),)}
        for state in states[-2:]:
            read_at = next(iter(state.values())).read_at
            assert read_at is not None
            assert state_of(vault.snapshot(infos[read_at.date()])) == state
        for info in vault.snapshots():
            state_of(vault.snapshot(info))
        assert verify_vault(vault).ok

    assert killed_everywhere(base, work, verify) >= 30
    store = copy_of(base)
    work(store, 0)
    assert len(store.entries(SNAPSHOTS)) == 2


def test_repack(scene: tuple[MemoryStore, list[State]]) -> None:
    """A repack: every snapshot is whole at every moment, by its old head or its new one."""
    base, states = scene

    def work(store: Store, tries: int) -> None:
        vault = Vault.open(store, clock=clock_at(7 + tries))
        with vault.lock() as lock:
            repack(vault, lock)

    def verify(store: Store) -> None:
        check(Vault.open(store), states)

    assert killed_everywhere(base, work, verify) >= 15


def test_repair(scene: tuple[MemoryStore, list[State]]) -> None:
    """A repair of a vault that lost a head, its description and half a pack: the next try ends where one would have."""
    base, states = scene
    hurt = copy_of(base)
    head, name = hurt.entries(SNAPSHOTS)[1].name, hurt.entries(PACKS)[4].name
    data = hurt.read(name)
    for one in (head, name, "vault.json"):
        hurt.delete(one)
    hurt.create(name, data[: len(data) // 2])

    def work(store: Store, tries: int) -> None:
        vault, _ = open_for_repair(store, clock=clock_at(7 + tries))
        with vault.lock() as lock:
            repair(vault, lock)

    undisturbed = copy_of(hurt)
    work(undisturbed, 0)
    wanted = [
        missing(Vault.open(undisturbed), info, state)
        for info, state in zip(Vault.open(undisturbed).snapshots(), states, strict=True)
    ]

    def verify(store: Store) -> None:
        if any(entry.name == "vault.json" for entry in store.entries("")):
            vault = Vault.open(store)
            if verify_vault(vault).ok:
                found = [missing(vault, one, state) for one, state in zip(vault.snapshots(), states, strict=True)]
                assert found == wanted

    assert killed_everywhere(hurt, work, verify) >= 12
    assert sum(map(len, wanted)) < 20


def test_margin_is_kept(scene: tuple[MemoryStore, list[State]]) -> None:
    """Nothing that was marked less than a margin ago is ever deleted."""
    base, _ = scene
    store = copy_of(base)
    vault = Vault.open(store, clock=clock_at(10))
    plan = plan_prune(vault, Policy(last=2))
    with vault.lock() as lock:
        prune(vault, lock, plan)
    packs = len(store.entries(PACKS))
    late = Vault.open(store, clock=ManualClock(clock_at(10).now() + MARGIN - timedelta(minutes=1)))
    plan = plan_prune(late, Policy(last=2))
    with late.lock() as lock:
        prune(late, lock, plan)
    assert len(store.entries(PACKS)) >= packs


def test_fixture_is_sound(scene: tuple[MemoryStore, list[State]]) -> None:
    """The vault that the kills begin with is whole."""
    base, states = scene
    check(Vault.open(copy_of(base)), states)
    assert len(nights(Vault.create(MemoryStore()), 1)) == 1
