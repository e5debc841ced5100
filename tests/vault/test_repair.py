"""Every kind of damage to every object is found, told by what it hits, and repaired without losing what is whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from night import State, Town, check, missing, nights, state_of
from place import Place

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import CONFIG, PACKS, SNAPSHOTS, PackName
from qlikmigrate.vault.pack import OpenPack, Piece, What
from qlikmigrate.vault.repair import Repaired, open_for_repair, repair
from qlikmigrate.vault.store import MemoryStore, Store
from qlikmigrate.vault.verification import Level, verify_vault

NIGHTS = 5


def contents(store: Store) -> dict[str, bytes]:
    """Every object of a vault that a repair is about."""
    names = [entry.name for folder in ("", PACKS, SNAPSHOTS) for entry in store.entries(folder)]
    return {name: store.read(name) for name in names}


def damaged(objects: dict[str, bytes], name: str, data: bytes | None) -> MemoryStore:
    """A copy in which one object is another, or missing."""
    store = MemoryStore()
    for one, kept in objects.items():
        if one != name:
            store.create(one, kept)
        elif data is not None:
            store.create(one, data)
    return store


def harms(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    """What may happen to an object: gone, cut short, flipped at places all over it."""
    yield "removed", None
    yield "empty", b""
    yield "cut by one", data[:-1]
    yield "cut in half", data[: len(data) // 2]
    places = {
        0,
        5,
        9,
        20,
        len(data) // 4,
        len(data) // 2,
        len(data) * 3 // 4,
        *(len(data) - at for at in (1, 9, 17, 30)),
    }
    for place in sorted(one for one in places if 0 <= one < len(data)):
        yield f"flip at {place}", data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


@pytest.fixture(scope="module")
def scene() -> tuple[dict[str, bytes], list[State]]:
    """A vault of five nights, and what each must give back."""
    vault = Vault.create(MemoryStore(), clock=ManualClock())
    states = nights(vault, NIGHTS)
    return contents(vault.store), states


def mended(store: Store) -> tuple[Vault, Repaired, bool]:
    """A repair, and whether the description had to be written again."""
    vault, written = open_for_repair(store, clock=ManualClock())
    with vault.lock() as lock:
        return vault, repair(vault, lock), written


def hurt_pieces(data: bytes, harmed: bytes | None, name: str, vault_id: str) -> set[Piece]:
    """The pieces of a pack that a harm touches, told from the bytes alone."""
    whole = OpenPack.load(vault_id, len(data), lambda offset, length: data[offset : offset + length])
    touched = set()
    for piece in whole.pieces:
        span = slice(piece.offset, piece.offset + piece.length)
        if harmed is None or harmed[span] != data[span]:
            touched.add(piece)
    return touched


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_harm(scene: tuple[dict[str, bytes], list[State]], step: int) -> None:
    """Each object harmed in each manner: it is found; after the repair all is true, and only what was hit is gone.

    The short form takes every fourth manner of each object, each time others.
    """
    objects, states = scene
    vault_id = Vault.open(damaged(objects, "", None)).id
    tried = 0
    for number, (name, data) in enumerate(objects.items()):
        for what, harmed in itertools.islice(harms(data), number % step, None, step):
            store = damaged(objects, name, harmed)
            tried += 1
            try:
                vault = Vault.open(store, clock=ManualClock())
                found = verify_vault(vault)
                assert not found.ok, (name, what)
            except CorruptError:
                assert name == CONFIG, (name, what)
            vault, done, _ = mended(store)
            assert verify_vault(Vault.open(store, clock=ManualClock())).ok, (name, what)
            infos = {info.taken_at: info for info in vault.snapshots()}
            if PackName.parse(name) is None:
                check(vault, states)
                continue
            touched = hurt_pieces(data, harmed, name, vault_id)
            if not touched:
                assert len(infos) == NIGHTS, (name, what)
            for state in states:
                taken = next(iter(state.values())).read_at
                info = next((one for at, one in infos.items() if taken is not None and at.date() == taken.date()), None)
                if info is None:
                    # A snapshot goes only when the pack with its manifest, and all else it brought, is gone.
                    assert harmed is None or any(one.what is What.MANIFEST for one in touched), (name, what)
                    continue
                gone = missing(vault, info, state)
                if not touched:
                    assert not gone, (name, what)
                if gone:
                    assert not info.complete, (name, what)
                    assert done.lost.get(info.id) or done.snapshots, (name, what)
    assert tried > 100 / step


def test_a_repair_in_every_place(place: Place, clock: ManualClock, scene: tuple[dict[str, bytes], list[State]]) -> None:
    """A head, the description and a pack are harmed: all is repaired but what that pack lost, and backed up again."""
    objects, states = scene
    heads, packs = (sorted(name for name in objects if name.startswith(folder)) for folder in (SNAPSHOTS, PACKS))
    harmed = {heads[1]: b"", CONFIG: b"{}", packs[3]: objects[packs[3]][:-40]}
    for name, data in (objects | harmed).items():
        place.put(name, data)
    _, done, written = mended(place.open())
    assert written
    assert (len(done.heads), len(done.packs)) == (1, 1)
    again = Vault.open(place.open(), clock=clock)
    assert verify_vault(again).ok
    infos = again.snapshots()
    assert len(infos) == NIGHTS
    assert sum(len(missing(again, info, state)) for info, state in zip(infos, states, strict=True)) < 10
    town = Town()
    for _ in range(NIGHTS):
        town.pass_night()
    info = town.back_up(again)
    assert state_of(again.snapshot(info)) == town.state()


def test_damage_names_what_it_hits(scene: tuple[dict[str, bytes], list[State]]) -> None:
    """A flipped byte in one version of one automation names that automation, and the snapshots that have it."""
    objects, states = scene
    clean = Vault.open(damaged(objects, "", None))
    infos = clean.snapshots()
    lines = clean.snapshot(infos[1]).manifested.documents
    new = [line for line in lines if line.kind is Kind.AUTOMATION and line.ref not in _refs(clean, 0)]
    assert len(new) == 2
    for line in new:
        name = str(clean.shelf.packs[line.ref.pack][0])
        at = clean.shelf.piece(line.ref).offset + clean.shelf.piece(line.ref).length // 2
        data = objects[name]
        vault = Vault.open(damaged(objects, name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))
        found = verify_vault(vault)
        named = {one.id: one for one in found.damages if one.kind is Kind.AUTOMATION}
        holders = {info.id for number, info in enumerate(infos) if line.ref in _refs(clean, number)}
        # Later versions of the same automation may build on this one, and are hit as well.
        assert set(named) == {line.id}
        assert holders <= {one for damage in found.damages if damage.id == line.id for one in damage.snapshots}
        assert named[line.id].name == next(value for value in (f"Automation {int(line.id[-12:])}",) if value)
        assert verify_vault(vault, Level.HASH).hit >= holders
        vault, done, _ = mended(vault.store)
        for number, info in enumerate(vault.snapshots()):
            gone = missing(vault, info, states[number])
            assert gone <= {(Part.DETAIL, Kind.AUTOMATION, line.id)}
            assert info.complete is not bool(gone)
        assert holders <= set(done.lost)


def _refs(vault: Vault, number: int) -> set[object]:
    return {line.ref for line in vault.snapshot(vault.snapshots()[number]).manifested.documents}


def test_backup_after_repair_heals(scene: tuple[dict[str, bytes], list[State]]) -> None:
    """What was lost and still is in the tenant is stored again: nothing builds on a damaged pack."""
    objects, _ = scene
    name = sorted(one for one in objects if PackName.parse(one))[1]
    vault, _, _ = mended(damaged(objects, name, objects[name][: len(objects[name]) // 2]))
    town = Town()
    for _ in range(NIGHTS):
        town.pass_night()
    info = town.back_up(vault)
    assert state_of(vault.snapshot(info)) == town.state()
    assert verify_vault(vault).ok


def test_sound_vault_is_left_alone(scene: tuple[dict[str, bytes], list[State]]) -> None:
    """A repair of a whole vault changes nothing."""
    objects, states = scene
    store = damaged(objects, "", None)
    vault, done, written = mended(store)
    assert not done.changed
    assert not written
    assert contents(store) == objects
    check(vault, states)


def test_copy_in_another_pack_serves(scene: tuple[dict[str, bytes], list[State]]) -> None:
    """Content that lies in two packs survives the loss of one of them."""
    objects, states = scene
    vault = Vault.open(damaged(objects, "", None), clock=ManualClock())
    from qlikmigrate.vault.repack import repack

    with vault.lock() as lock:
        repack(vault, lock)
    newest = str(vault.shelf.packs[max(vault.shelf.packs)][0])
    both = {name: vault.store.read(name) for folder in ("", PACKS, SNAPSHOTS) for name in _names(vault.store, folder)}
    data = both[newest]
    store = damaged(both, newest, data[:200] + b"\0" * 64 + data[264:])
    assert not verify_vault(Vault.open(store)).ok
    again, _, _ = mended(store)
    for info, state in zip(again.snapshots(), states, strict=True):
        assert not missing(again, info, state)


def _names(store: Store, folder: str) -> list[str]:
    return [entry.name for entry in store.entries(folder)]
