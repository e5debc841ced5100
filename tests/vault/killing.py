"""Work on a vault that is killed at any of its writes, and what must hold right after and once it was run again."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest
from attrs import define, field, frozen
from night import FIRST_NIGHT, State, Town, missing, state_of
from place import Place

from qlikmigrate.archive.age import KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.snapshot import copy_snapshot
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.name import PACKS, SNAPSHOTS
from qlikmigrate.vault.prune import plan_prune, prune, undelete
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import open_for_repair, repair
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import Entry, MemoryStore, Store
from qlikmigrate.vault.verification import verify_vault

FOLDERS = ("", PACKS, SNAPSHOTS, "gone", "marks", "checks", "drills", "moves", "begun", "locks")
NIGHTS = 6
Objects = Mapping[str, bytes]


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

    @property
    def reads_at_once(self) -> int:
        return 1

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


def objects_of(store: Store) -> dict[str, bytes]:
    """Everything that lies in a store."""
    return {entry.name: store.read(entry.name) for folder in FOLDERS for entry in store.entries(folder)}


def in_memory(objects: Objects) -> MemoryStore:
    """The same objects in memory."""
    made = MemoryStore()
    for name, data in objects.items():
        made.create(name, data)
    return made


@frozen
class Keys:
    """For whom a vault is encrypted, and who reads it; neither where it is not."""

    sealing: Sealer | None = None
    opening: Opener | None = None

    @classmethod
    def made(cls) -> Keys:
        """New ones."""
        one = pyrage.x25519.Identity.generate()
        key = KeyFile(content=Secret(str(one)), where="key")
        return cls(Sealer([PublicKey(text=str(one.to_public()), where="key")]), Opener([key]))

    def open(self, store: Store, hours: float = 0) -> Vault:
        """The vault, some hours after the last of its nights."""
        moment = FIRST_NIGHT + timedelta(days=NIGHTS + 1, hours=hours)
        return Vault.open(store, sealing=self.sealing, opening=self.opening, clock=ManualClock(moment))


@frozen(kw_only=True)
class Scene:
    """A vault of some nights. `states`: what each snapshot gives back, by id; `home`: the state folder of its host."""

    keys: Keys
    objects: Objects
    states: Mapping[str, State]
    town: Town
    home: Path

    @classmethod
    def built(cls, keys: Keys, home: Path) -> Scene:
        """Six nights in which one automation a night goes and comes."""
        store, town = MemoryStore(), Town(automations=6)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(home))
            vault = Vault.create(store, sealing=keys.sealing, opening=keys.opening, clock=ManualClock(FIRST_NIGHT))
            states = {}
            for night in range(NIGHTS):
                states[town.back_up(vault).id] = town.state()
                town.values.pop(sorted(town.values)[0])
                town.add(100 + night)
                town.pass_night()
        return cls(keys=keys, objects=objects_of(store), states=states, town=town, home=home)


@define
class Work:
    """Something that is done to a vault. `kept`: ids of the snapshots that it must leave as they are, at any moment."""

    scene: Scene
    objects: Objects = field(init=False)
    kept: Sequence[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.objects = self.scene.objects
        self.kept = tuple(self.scene.states)

    def run(self, store: Store) -> None:
        """Do it."""
        raise NotImplementedError

    def check(self, vault: Vault) -> None:
        """That it is done, after any number of tries."""
        raise NotImplementedError

    def lost(self, vault: Vault) -> int:
        """How many of those that it must leave are not as they were."""
        live = {info.id: info for info in vault.snapshots()}
        return sum(not self._is_whole(vault, live.get(one), self.scene.states[one]) for one in self.kept)

    def open(self, store: Store, hours: float = 0) -> Vault:
        """The vault."""
        return self.scene.keys.open(store, hours)

    @staticmethod
    def _is_whole(vault: Vault, info: SnapshotInfo | None, state: State) -> bool:
        try:
            return info is not None and info.complete and state_of(vault.snapshot(info)) == state
        except CorruptError:
            return False


class Backup(Work):
    """One more snapshot."""

    def run(self, store: Store) -> None:
        self.scene.town.back_up(self.open(store))

    def check(self, vault: Vault) -> None:
        new = [info for info in vault.snapshots() if info.id not in self.scene.states]
        assert 1 <= len(new) <= 2
        assert all(state_of(vault.snapshot(info)) == self.scene.town.state() for info in new)


class Import(Work):
    """A snapshot out of another vault."""

    other: SnapshotInfo
    given: Vault

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.given = Vault.create(MemoryStore(), clock=ManualClock(FIRST_NIGHT))
        self.town = Town(automations=7, seed=11)
        self.other = self.town.back_up(self.given)

    def run(self, store: Store) -> None:
        with self.open(store).writer() as writer:
            copy_snapshot(self.given.snapshot(self.other), writer)

    def check(self, vault: Vault) -> None:
        new = [info for info in vault.snapshots() if info.id not in self.scene.states]
        assert 1 <= len(new) <= 2
        assert all(state_of(vault.snapshot(info)) == self.town.state() for info in new)


class Prune(Work):
    """From the first mark to the last deletion."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.kept = tuple(self.scene.states)[-2:]

    def run(self, store: Store) -> None:
        for turn in range(3):
            vault = self.open(store, hours=turn * 24 * 8)
            plan = plan_prune(vault, Policy(last=2))
            with vault.lock() as lock:
                prune(vault, lock, plan)

    def check(self, vault: Vault) -> None:
        assert [info.id for info in vault.snapshots()] == list(self.kept)
        assert len(vault.store.entries(SNAPSHOTS)) == 2


class Repack(Work):
    """Everything written anew."""

    def run(self, store: Store) -> None:
        vault = self.open(store)
        with vault.lock() as lock:
            repack(vault, lock)

    def check(self, vault: Vault) -> None:
        assert [info.id for info in vault.snapshots()] == list(self.scene.states)
        assert all(info.name.generation for info in vault.snapshots())


class Repair(Work):
    """Of a vault that lost a head, its description and half a pack."""

    wanted: Mapping[str, object]

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        hurt = in_memory(self.objects)
        head, name = hurt.entries(SNAPSHOTS)[1].name, hurt.entries(PACKS)[4].name
        data = hurt.read(name)
        for one in (head, name, "vault.json"):
            hurt.delete(one)
        hurt.create(name, data[: len(data) // 2])
        self.objects = objects_of(hurt)
        self.run(hurt)
        vault = self.open(hurt)
        self.wanted = self._missing(vault)
        assert len(self.wanted) >= 5
        self.kept = tuple(one for one, lacks in self.wanted.items() if not lacks)
        assert self.kept

    def run(self, store: Store) -> None:
        keys, clock = self.scene.keys, ManualClock(FIRST_NIGHT + timedelta(days=NIGHTS + 1))
        vault, _ = open_for_repair(store, sealing=keys.sealing, opening=keys.opening, clock=clock)
        with vault.lock() as lock:
            repair(vault, lock)

    def lost(self, vault: Vault) -> int:
        """Before it is repaired, a snapshot that needs repairing is none that is lost."""
        live = {info.id: info for info in vault.snapshots()}
        return sum(
            not self._is_whole(vault, live[one], self.scene.states[one]) if one in live else verify_vault(vault).ok
            for one in self.kept
        )

    def check(self, vault: Vault) -> None:
        assert self._missing(vault) == self.wanted

    def _missing(self, vault: Vault) -> dict[str, object]:
        return {info.id: missing(vault, info, self.scene.states[info.id]) for info in vault.snapshots()}


class Undelete(Work):
    """A snapshot that was removed and is wanted back."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        store = in_memory(self.objects)
        vault = self.open(store, hours=-20)
        with vault.lock() as lock:
            prune(vault, lock, plan_prune(vault, Policy(last=2)))
        self.objects = objects_of(store)
        self.kept = tuple(self.scene.states)[-2:]
        self.back = next(iter(self.scene.states))

    def run(self, store: Store) -> None:
        vault = self.open(store)
        if self.back not in [info.id for info in vault.snapshots()]:
            with vault.lock() as lock:
                undelete(vault, lock, self.back)

    def check(self, vault: Vault) -> None:
        (info,) = (one for one in vault.snapshots() if one.id == self.back)
        assert self._is_whole(vault, info, self.scene.states[self.back])
        assert not info.packs & vault.catalog.marked


WORKS: Mapping[str, type[Work]] = {
    "backup": Backup,
    "import": Import,
    "prune": Prune,
    "undelete": Undelete,
    "repack": Repack,
    "repair": Repair,
}


@define(kw_only=True)
class Tally:
    """What became of it. `lost`: snapshots; `ill`: vaults that were not healthy after the next run."""

    kills: int = 0
    lost: int = 0
    ill: int = 0


@define
class Killer:
    """Kills work in a place that is filled anew each time. `home`: for the state folders of its hosts."""

    work: Work
    fresh: Callable[[], Place]
    home: Path
    patch: pytest.MonkeyPatch
    tally: Tally = field(factory=Tally)
    _number: Iterator[int] = field(factory=itertools.count)

    def writes(self) -> int:
        """How many writes the work takes."""
        mortal = Mortal(self.fresh_store(), -1, False)
        self.work.run(mortal)
        return mortal.writes

    def kill_at(self, points: Iterable[int]) -> Tally:
        """Kill it at each of these writes, before and after the write takes effect; then let the next one run."""
        for at in points:
            for after in (False, True):
                self._kill(at, after)
        return self.tally

    def _kill(self, at: int, after: bool) -> None:
        store = self.fresh_store()
        with contextlib.suppress(KilledError):
            self.work.run(Mortal(store, at, after))
            raise AssertionError(f"there is no write {at}")
        self.tally.kills += 1
        copied = in_memory(objects_of(store))
        if "vault.json" in [entry.name for entry in copied.entries("")]:
            self.tally.lost += self.work.lost(self.work.open(copied))
        # At once, and nobody waits for the lock of the one that was killed.
        self.work.run(store)
        vault = self.work.open(in_memory(objects_of(store)), hours=24 * 30)
        self.tally.lost += self.work.lost(vault)
        self.tally.ill += not verify_vault(vault).ok
        self.work.check(vault)

    def fresh_store(self) -> Store:
        """The vault as it was, as a host sees it that took part in its nights."""
        home = self.home / f"state-{next(self._number)}"
        shutil.copytree(self.work.scene.home, home)
        self.patch.setenv("XDG_STATE_HOME", str(home))
        place = self.fresh()
        for name, data in self.work.objects.items():
            place.put(name, data)
        return place.open()
