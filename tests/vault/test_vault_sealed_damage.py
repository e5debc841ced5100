"""Damage to an encrypted vault is found without a key, named with one, and all that stands before it is saved."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, evolve
from night import State, Town, missing, state_of
from sealed import back_up, contents, host, make, opener, other_secret, reading, sealer, writing

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError, WrongKeyError
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import CONFIG, DRILLS, MOVES, PACKS, SNAPSHOTS, PackName, SnapshotName, sha256
from qlikmigrate.vault.pack import Piece, What
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import Repaired, open_for_repair, repair
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import Level, verify_vault

NIGHTS = 4
TURNS = 3
CHUNK = 64 * 1024
FOLDERS = ("", PACKS, SNAPSHOTS, DRILLS, MOVES)


@define
class Scene:
    """An encrypted vault: its objects, what its snapshots must give back, oldest first, and pieces by pack."""

    objects: dict[str, bytes]
    states: list[State]
    pieces: dict[int, tuple[Piece, ...]]

    def harmed(self, name: str, data: bytes | None) -> MemoryStore:
        """A copy in which one object is another, or missing."""
        store = MemoryStore()
        for one, kept in self.objects.items():
            chosen = data if one == name else kept
            if chosen is not None:
                store.create(one, chosen)
        return store


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Four nights of automations so large that the first pack has several of the pieces in which age encrypts."""
    store, clock = MemoryStore(), ManualClock()
    town = Town(automations=45)
    for number, value in enumerate(town.values.values()):
        value["note"] = random.Random(number).randbytes(5000).hex()
    states = []
    with host(tmp_path_factory.mktemp("state")):
        make(store, clock)
        for _ in range(NIGHTS):
            back_up(writing(store, clock), town)
            states.append(town.state())
            town.pass_night()
        vault = writing(store, clock)
        vault.file_drill(vault.snapshots()[0].id, b"{}", clock.now())
    shelf = reading(store).shelf
    pieces = {one: shelf.pack(one).pieces for one in shelf.packs}
    first = pieces[min(pieces)]
    assert first[0].what is What.DICTIONARY
    assert first[-1].offset > 2 * CHUNK
    objects = {entry.name: store.read(entry.name) for folder in FOLDERS for entry in store.entries(folder)}
    return Scene(objects, states, pieces)


def header_end(data: bytes) -> int:
    """Where the header of an age file ends. Source: age-encryption.org/v1, "Header"."""
    return data.index(b"\n", data.index(b"\n--- ") + 1) + 1


def harms(data: bytes) -> Iterator[tuple[str, int, bytes | None]]:
    """What may happen to an encrypted object, and how much of what is in it, in bytes, stands before that."""
    yield "removed", 0, None
    head = header_end(data)
    # A nonce of 16 bytes, then chunks with 16 bytes behind each.
    payload = head + 16
    places = {"version": 12, "stanza": 30, "key": 80, "mac": head - 5, "nonce": head + 3}
    chunks = range((len(data) - payload + CHUNK + 15) // (CHUNK + 16))
    for number in chunks:
        start = payload + number * (CHUNK + 16)
        end = min(start + CHUNK + 16, len(data))
        places |= {f"start of {number}": start, f"middle of {number}": (start + end) // 2, f"end of {number}": end - 1}
    for what, place in places.items():
        whole = max(0, place - payload) // (CHUNK + 16) * CHUNK
        yield f"flip at {what}", whole, data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        yield f"cut at {what}", whole, data[:place]


def mended(store: MemoryStore) -> tuple[Vault, Repaired]:
    """A repair with the key."""
    vault, _ = open_for_repair(store, sealing=sealer(), opening=opener(), clock=ManualClock())
    with vault.lock() as lock:
        return vault, repair(vault, lock)


@pytest.mark.parametrize("turn", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in range(1, TURNS))])
def test_every_harm_to_a_pack(scene: Scene, turn: int) -> None:
    """Found by hash without a key, named with it; a repair saves all that stands before it, and says what is lost.

    Each turn takes every third harm, other ones of each pack.
    """
    tried = 0
    names = [name for name in scene.objects if PackName.parse(name)]
    assert len(names) == NIGHTS
    for number, name in enumerate(names, turn):
        pack = PackName.parse(name)
        assert pack is not None
        for what, whole, harmed in itertools.islice(harms(scene.objects[name]), number % TURNS, None, TURNS):
            tried += 1
            store = scene.harmed(name, harmed)
            blind = verify_vault(writing(store, ManualClock()), Level.HASH)
            infos = writing(store, ManualClock()).snapshots()
            needing = [info for info in infos if pack.sequence in info.packs]
            assert blind.hit == {info.id for info in needing}, (name, what)
            seeing = verify_vault(reading(store))
            assert blind.hit <= seeing.hit, (name, what)
            # Of snapshots whose manifest lies elsewhere, all that lies here is named.
            told = any(info.manifest.pack != pack.sequence for info in needing)
            assert bool({one.id for one in seeing.damages if one.kind is Kind.AUTOMATION}) is (
                told and any(one.what is What.DOCUMENT for one in scene.pieces[pack.sequence])
            ), (name, what)
            saved = {one.id for one in scene.pieces[pack.sequence] if one.offset + one.length <= whole}
            look_after_repair(scene, store, saved, blind.hit, (name, what))
    assert tried > 25


def look_after_repair(scene: Scene, store: MemoryStore, saved: set[str], hit: frozenset[str], case: object) -> None:
    """All is true; what was not hit is as it was; what stands before the damage is there."""
    vault, done = mended(store)
    assert verify_vault(Vault.open(store, opening=opener())).ok, case
    assert verify_vault(Vault.open(store), Level.HASH).ok, case
    infos = {f"{info.taken_at:%d}": info for info in vault.snapshots()}
    for number, state in enumerate(scene.states, 1):
        info = infos.get(f"{number:02d}")
        if info is None:
            # The pack with its manifest, and all else that it brought, is gone.
            assert done.lost, case
            continue
        gone = missing(vault, info, state)
        if info.id not in hit:
            assert not gone, case
            assert contents(state_of(vault.snapshot(info))) == contents(state), case
        assert not {ident for part, kind, ident in gone if part is Part.DETAIL and kind is Kind.AUTOMATION} & saved, (
            case
        )
        if gone:
            assert not info.complete, case
            named = {note.id for note in done.lost.get(info.id, ())}
            rebuilt = any(one.code == "manifest-lost" for one in vault.snapshot(info).manifest.problems)
            lost = {ident for part, kind, ident in gone if part is Part.DETAIL}
            assert lost <= named or rebuilt, case


@pytest.mark.parametrize("folder", [DRILLS, SNAPSHOTS])
def test_harm_to_other_objects(scene: Scene, folder: str) -> None:
    """Heads are found by hash and made again; evidence that is not as it was written is found, and goes."""
    name = next(one for one in scene.objects if one.startswith(folder))
    data = scene.objects[name]
    for harmed in (data[:-1], data[:20] + b"x" + data[21:], b""):
        store = scene.harmed(name, harmed)
        assert not verify_vault(writing(store, ManualClock()), Level.HASH).ok
        mended(store)
        assert verify_vault(reading(store)).ok
        assert len(reading(store).snapshots()) == NIGHTS


def test_harm_to_lists_of_moves(scene: Scene) -> None:
    """A damaged list of what a repack has moved is found, and a repair takes it away."""
    store = scene.harmed("", None)
    vault = reading(store, ManualClock())
    with vault.lock() as lock:
        repack(vault, lock)
    (entry,) = store.entries(MOVES)
    data = store.read(entry.name)
    store.delete(entry.name)
    store.create(entry.name, data[:-1] + bytes([data[-1] ^ 1]))
    found = verify_vault(writing(store, ManualClock()), Level.HASH)
    assert [one.object for one in found.damages] == [entry.name]
    mended(store)
    assert verify_vault(reading(store)).ok
    assert store.entries(MOVES) == []


def test_the_description_is_made_again(scene: Scene) -> None:
    """That a vault is encrypted is seen from its packs."""
    store = scene.harmed(CONFIG, None)
    vault, _ = mended(store)
    assert vault.encrypted
    assert verify_vault(vault).ok


@pytest.mark.parametrize(
    "claim",
    [
        {"complete": False},
        {"partial": True},
        {"tenant": "0" * 16},
        {"finished_at": "2026-04-01T00:00:00Z"},
        {"started_at": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_head_that_somebody_made(scene: Scene, claim: dict[str, object]) -> None:
    """Whoever can write to the store can make a head, hash and all: one that contradicts its manifest is refused."""
    name = max(one for one in scene.objects if SnapshotName.parse(one))
    told = SnapshotName.parse(name)
    assert told is not None
    forged = json.dumps(json.loads(scene.objects[name]) | claim).encode()
    store = scene.harmed("", None)
    store.delete(name)
    store.create(str(evolve(told, sha256=sha256(forged))), forged)
    vault = reading(store)
    info = vault.find(told.id, allow_incomplete=True)
    with pytest.raises(CorruptError, match="something else"):
        vault.snapshot(info)
    assert told.id in verify_vault(vault).hit


@pytest.mark.parametrize("hurt", ["one", "all", "none"])
def test_a_repair_with_a_wrong_key_changes_nothing(scene: Scene, hurt: str) -> None:
    """What a key does not open is not taken for lost: it is refused, and every object stays."""
    store = scene.harmed("", None)
    for number, entry in enumerate(store.entries(PACKS)):
        if hurt == "all" or (hurt == "one" and number == 0):
            data = store.read(entry.name)
            store.delete(entry.name)
            store.create(entry.name, data[:-1] + bytes([data[-1] ^ 1]))
    before = all_of(store)
    vault = Vault.open(store, sealing=sealer(), opening=opener(other_secret()), clock=ManualClock())
    with vault.lock() as lock, pytest.raises(WrongKeyError):
        repair(vault, lock)
    assert all_of(store) == before


def all_of(store: MemoryStore) -> dict[str, bytes]:
    """Every object but locks."""
    folders = (*FOLDERS, "gone", "marks", "begun", "checks")
    return {entry.name: store.read(entry.name) for folder in folders for entry in store.entries(folder)}


def test_a_backup_after_damage_heals(scene: Scene, tmp_path: Path) -> None:
    """A host that knows nothing of a repair builds on no damaged pack."""
    name = min(one for one in scene.objects if PackName.parse(one))
    store = scene.harmed(name, scene.objects[name][: 2 * CHUNK])
    mended(store)
    town = Town(automations=5)
    with host(tmp_path):
        info, _ = back_up(writing(store, ManualClock()), town)
    vault = reading(store)
    assert contents(state_of(vault.snapshot(info))) == contents(town.state())
    assert verify_vault(vault).ok
