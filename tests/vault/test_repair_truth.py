"""What a vault says after a repair is true: nothing of another time, of another selection, or more than there is."""

from __future__ import annotations

import random

import pytest
from attrs import evolve
from harm import flip, harm, mended, replace
from night import State, Town, missing, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import NotFoundError
from qlikmigrate.kernel.event import Event, Problem
from qlikmigrate.model.manifest import Selection
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.description import repair_config
from qlikmigrate.vault.form import Config
from qlikmigrate.vault.name import CONFIG, MARKS, PACKS, SNAPSHOTS, Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import verify_vault


def is_true(vault: Vault, states: dict[str, State]) -> None:
    """Whatever is left of each snapshot is what was put in, and one that lost anything says so."""
    for info in vault.snapshots():
        assert not (missing(vault, info, states[info.id]) and info.complete), info.id


def written_anew(vault: Vault, clock: ManualClock, *, tidied: bool) -> None:
    """Repack; with `tidied`, wait until nothing is left of the old packs."""
    with vault.lock() as lock:
        repack(vault, lock)
    for _ in range(3 if tidied else 0):
        clock.advance(MARGIN.total_seconds() + 60)
        plan = plan_prune(vault, Policy(last=99))
        with vault.lock() as lock:
            prune(vault, lock, plan)
    vault.refresh()


@pytest.mark.parametrize("tidied", [False, True], ids=["old packs", "new packs alone"])
@pytest.mark.parametrize("which", [0, 2, 4])
def test_lost_manifest_after_a_repack(clock: ManualClock, which: int, tidied: bool) -> None:
    """A manifest that is damaged after everything was written anew is found once more; nothing is lost."""
    clock.advance(200 * 86_400)
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 5, Town(automations=8), edits=4)
    by_id = dict(zip((info.id for info in vault.snapshots()), states, strict=True))
    written_anew(vault, clock, tidied=tidied)
    harm(vault, vault.snapshots()[which].manifest)
    assert not verify_vault(Vault.open(vault.store, clock=clock)).ok
    again, done = mended(vault.store, clock)
    assert not done.lost
    assert [info.complete for info in again.snapshots()] == [True] * 5
    for info in again.snapshots():
        assert state_of(again.snapshot(info)) == by_id[info.id]
    assert verify_vault(again).ok


def test_every_manifest_lost_after_a_repack(clock: ManualClock) -> None:
    """Where all copies of manifests are gone, packs that hold versions of many snapshots are passed off as none's."""
    clock.advance(200 * 86_400)
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 5, Town(automations=8), edits=4)
    by_id = dict(zip((info.id for info in vault.snapshots()), states, strict=True))
    written_anew(vault, clock, tidied=True)
    for sequence in list(vault.shelf.packs):
        for number, piece in enumerate(vault.shelf.pack(sequence).pieces):
            if piece.what is What.MANIFEST:
                harm(vault, Ref(sequence, number))
    again, done = mended(vault.store, clock)
    is_true(again, by_id)
    assert len(done.lost) == 5
    assert verify_vault(again).ok


def test_partial_one_stays_partial(clock: ManualClock) -> None:
    """A snapshot of a selection whose manifest is lost does not come back as one of the whole tenant."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    town.back_up(vault)
    town.pass_night()
    with vault.writer() as writer:
        for one in town.documents():
            writer.add(one)
        writer.finish(evolve(town.head(), selection=Selection(include=("name=x",))), town.capture())
        info = writer.info
    assert info is not None
    harm(vault, info.manifest)
    again, _ = mended(vault.store, clock)
    found = again.find(info.id, allow_incomplete=True)
    assert found.partial
    assert again.snapshot(found).manifest.selection
    assert verify_vault(again).ok


@pytest.mark.parametrize("victim", ["taken in", "last"])
def test_one_that_was_taken_in_later(clock: ManualClock, victim: str) -> None:
    """The manifest of a snapshot that was imported after newer ones is lost: it holds nothing of theirs."""
    vault = Vault.create(MemoryStore(), clock=clock)
    old, new = Town(), Town()
    states: dict[str, State] = {}
    for _ in range(4):
        new.pass_night(edits=9)
    infos: list[SnapshotInfo] = []
    for town in (new, old, new):
        states[(info := town.back_up(vault)).id] = town.state()
        infos.append(info)
        town.pass_night(edits=3)
    harm(vault, infos[1 if victim == "taken in" else 2].manifest)
    again, _ = mended(vault.store, clock)
    assert len(again.snapshots()) == 3
    is_true(again, states)
    assert verify_vault(again).ok


def test_second_repair_finds_nothing(clock: ManualClock) -> None:
    """A repair leaves nothing to repair: neither damaged packs set aside twice, nor marks that add up."""
    vault = Vault.create(MemoryStore(), clock=clock)
    nights(vault, 4)
    name = str(vault.shelf.packs[4][0])
    data = vault.store.read(name)
    replace(vault.store, name, data[: len(data) // 2])
    _, first = mended(vault.store, clock)
    marks = vault.store.entries(MARKS)
    clock.advance(60)
    _, second = mended(vault.store, clock)
    assert first.changed
    assert not second.changed
    assert vault.store.entries(MARKS) == marks


def test_pack_that_comes_back(clock: ManualClock) -> None:
    """Where a pack turns up again after a repair gave it up, a repair makes its snapshots whole again."""
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 4)
    name = str(vault.shelf.packs[3][0])
    data = vault.store.read(name)
    replace(vault.store, name, None)
    vault, done = mended(vault.store, clock)
    assert done.lost
    assert not all(info.complete for info in vault.snapshots())
    vault.store.create(name, data)
    vault, done = mended(vault.store, clock)
    assert done.changed
    assert not done.lost
    for info, state in zip(vault.snapshots(), states, strict=True):
        assert info.complete
        assert state_of(vault.snapshot(info)) == state
    assert verify_vault(vault).ok
    assert not mended(vault.store, clock)[1].changed


def test_last_good_version_before_the_lost_one(clock: ManualClock) -> None:
    """Where damage takes the last good version of an unreadable automation, the one before it is kept in its place."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=30)
    ident = sorted(town.values)[0]
    first = town.back_up(vault)
    town.values[ident] = town.values[ident] | {"name": "x" * 50, "updatedAt": "2026-03-01T12:00:00Z"}
    town.pass_night(edits=0)
    second = town.back_up(vault)
    line = next(one for one in vault.snapshot(second).manifested.documents if one.id == ident)
    del town.values[ident]
    town.pass_night(edits=0)
    third = town.back_up(vault, unreadable=(ident,))
    assert third.needs == (second.id,)
    assert line.ref.pack > 1
    harm(vault, line.ref)
    again, done = mended(vault.store, clock)
    assert set(done.lost) == {second.id}
    for one in (second, third):
        assert first.id in again.find(one.id, allow_incomplete=True).needs
    town.pass_night(edits=0)
    assert first.id in town.back_up(again, unreadable=(ident,)).needs


def test_description_of_an_encrypted_vault(clock: ManualClock) -> None:
    """A vault that was encrypted is not described as a plain one where all its packs are lost."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    with pytest.raises(NotFoundError):
        repair_config(MemoryStore())
    Town(automations=2).back_up(vault)
    head = store.entries(SNAPSHOTS)[0].name
    assert b'"shown"' in store.read(head)
    replace(store, CONFIG, None)
    assert repair_config(store)
    assert not Vault.open(store).encrypted


def test_immutable_store(clock: ManualClock) -> None:
    """Where nothing may be deleted, a description that is missing can still be written again."""
    store = MemoryStore(immutable=True)
    vault = Vault.create(MemoryStore(), clock=clock)
    Town(automations=2).back_up(vault)
    for folder in (PACKS, SNAPSHOTS):
        for entry in vault.store.entries(folder):
            store.create(entry.name, vault.store.read(entry.name))
    assert repair_config(store)
    assert Vault.open(store).id == vault.id
    assert isinstance(Config(id="x"), Config)


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(one, marks=pytest.mark.slow) for one in range(12, 60))])
def test_much_damage_at_once(seed: int) -> None:
    """Whatever has happened to a vault and however much of it is hurt: all that it says after a repair is true."""
    chance = random.Random(seed)
    clock = ManualClock()
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    town = Town(automations=chance.choice([2, 6, 25]), seed=seed)
    states: dict[str, State] = {}
    for _ in range(chance.randint(2, 6)):
        states[town.back_up(vault).id] = town.state()
        if chance.random() < 0.3:
            town.values.pop(chance.choice(sorted(town.values)))
            town.add(chance.randint(100, 999))
        town.pass_night(edits=chance.randint(0, 4))
        if chance.random() < 0.25:
            with vault.lock() as lock:
                repack(vault, lock)
    clock.advance(100 * 86_400)
    for _ in range(chance.randint(0, 2)):
        plan = plan_prune(vault, Policy(last=chance.randint(2, 4)))
        with vault.lock() as lock:
            prune(vault, lock, plan)
        clock.advance(chance.choice([1, 8]) * 86_400)
    gone = {one.id for one in vault.catalog.gone}
    live = {one.id for one in vault.snapshots()}
    for _ in range(chance.randint(1, 4)):
        names = [entry.name for folder in (PACKS, SNAPSHOTS) for entry in store.entries(folder) if entry.size_bytes]
        if not names:
            break
        name = chance.choice(names)
        size = len(store.read(name))
        match chance.randint(0, 3):
            case 0:
                replace(store, name, None)
            case 1:
                replace(store, name, store.read(name)[: chance.randint(0, size - 1)])
            case _:
                for _ in range(chance.randint(1, 3)):
                    flip(store, name, chance.randrange(size))
    assert not verify_vault(Vault.open(store, clock=clock)).ok or not _needs(vault, store)
    again, _ = mended(store, clock)
    found = verify_vault(again)
    assert found.ok, found.damages
    is_true(again, states)
    # Nothing that a prune removed comes back.
    assert {one.id for one in again.snapshots()} <= live
    assert not gone & {one.id for one in again.snapshots()}
    _, second = mended(store, clock)
    assert not second.changed, second
    town.pass_night()
    info = town.back_up(again)
    assert state_of(again.snapshot(info)) == town.state()


def _needs(vault: Vault, store: MemoryStore) -> bool:
    """Whether a live snapshot needs anything that is not as it was written."""
    vault.refresh()
    whole = {str(name) for name, _ in vault.shelf.packs.values() if _is_whole(store, str(name), name.sha256)}
    here = {one for one, (name, _) in vault.shelf.packs.items() if str(name) in whole}
    return bool(vault.catalog.broken) or any(not info.packs <= here for info in vault.snapshots())


def _is_whole(store: MemoryStore, name: str, digest: str) -> bool:
    from qlikmigrate.vault.name import sha256

    return sha256(store.read(name)) == digest


def test_lost_run_data_is_told(clock: ManualClock) -> None:
    """Of a night run data alone is damaged: all objects are whole, the snapshot is complete, and the loss is told."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=4)
    town.pass_night()
    states = nights(vault, 1, town)
    (info,) = vault.snapshots()
    runs = [doc.run[0] for doc in vault.snapshot(info).manifested.documents if doc.run]
    harm(vault, runs[0])
    told: list[Event] = []
    again, done = mended(vault.store, clock, sink=told.append)
    (problem,) = (one for one in told if isinstance(one, Problem))
    assert (problem.code, problem.where, done.lost) == ("run-data-lost", info.id, {})
    (info,) = again.snapshots()
    assert info.complete
    assert not missing(again, info, states[0])
    assert verify_vault(again).ok
    told.clear()
    mended(vault.store, clock, sink=told.append)
    assert not [one for one in told if isinstance(one, Problem)]
