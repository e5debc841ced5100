"""Two packs with one number: a snapshot is read from the one that it was made with; a repair settles what it can."""

from __future__ import annotations

import itertools

import pytest
from harm import mended
from night import Town, check, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import PACKS, SNAPSHOTS, PackName, sha256
from qlikmigrate.vault.pack import PackBuilder
from qlikmigrate.vault.prune import plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore, Store
from qlikmigrate.vault.verification import Level, verify_vault


def stranger(vault: Vault, number: int, *, first: bool) -> PackName:
    """Store a sound pack under a number that is another's, its name before that one's or behind; its name.

    It holds what that pack holds, but for one piece: what a writer that slept would have stored.
    """
    own = vault.shelf.names[number]
    pack = vault.shelf.pack(number)
    for chance in itertools.count():
        builder = PackBuilder(vault.id, number)
        for place, piece in reversed([*enumerate(pack.pieces)]):
            ident = f"{piece.id}{chance}" if place == 0 else piece.id
            builder.add(piece.what, pack.frame(place), size=piece.size, sha256=piece.sha256, kind=piece.kind, id=ident)
        data = builder.finish()
        name = PackName(number, sha256(data))
        if (str(name) < str(own)) is first:
            vault.store.create(str(name), data)
            return name
    raise AssertionError


@pytest.mark.parametrize("first", [True, False])
def test_late_pack(first: bool, clock: ManualClock) -> None:
    """Whatever it is called: reading does not see it, `verify` names it, backups go on, `repair` takes it away."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=5)
    states = nights(vault, 3, town)
    names = [stranger(vault, info.manifest.pack, first=first) for info in vault.snapshots()[1:]]
    vault = Vault.open(vault.store, clock=clock)
    check(vault, states)
    assert {one.object for one in verify_vault(vault, Level.STRUCTURE).damages} == set(map(str, names))
    town.back_up(vault)
    states.append(town.state())
    check(vault, states)
    again, done = mended(vault.store, clock)
    assert set(done.strangers) == set(map(str, names))
    assert (done.lost, done.snapshots, done.changed) == ({}, (), True)
    assert verify_vault(again).ok
    check(again, states)


def copied(store: Store) -> MemoryStore:
    """A second vault of the same objects."""
    made = MemoryStore()
    for folder in ("", PACKS, SNAPSHOTS):
        for entry in store.entries(folder):
            made.create(entry.name, store.read(entry.name))
    return made


def test_two_copies_put_together(clock: ManualClock) -> None:
    """Copies that went on apart meet in one folder: each snapshot gives back its own, and nothing takes it away."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town, other = Town(automations=5), Town(automations=5)
    wanted = {town.back_up(vault).id: town.state()}
    copy = Vault.open(copied(vault.store), clock=clock)
    for place, one in ((vault, town), (copy, other)):
        for _ in range(2):
            one.pass_night(edits=3 if place is vault else 1)
            wanted[one.back_up(place).id] = one.state()
    for folder in (PACKS, SNAPSHOTS):
        for entry in copy.store.entries(folder):
            if entry not in vault.store.entries(folder):
                vault.store.create(entry.name, copy.store.read(entry.name))
    vault = Vault.open(vault.store, clock=clock)
    assert vault.shelf.rivals
    assert not verify_vault(vault, Level.HASH).ok
    town.pass_night()
    wanted[town.back_up(vault).id] = town.state()
    with pytest.raises(CorruptError), vault.lock() as lock:
        repack(vault, lock)
    with vault.lock() as lock:
        assert prune(vault, lock, plan_prune(vault, Policy(last=9))).repacked is None
    vault, done = mended(vault.store, clock)
    assert done.strangers == ()
    assert {info.id: state_of(vault.snapshot(info)) for info in vault.snapshots()} == wanted


def test_number_that_nothing_settles(clock: ManualClock) -> None:
    """While a head is broken, nothing goes: it may be the one that needs the other pack."""
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 3, Town(automations=3))
    name = stranger(vault, vault.snapshots()[0].manifest.pack, first=True)
    head = str(vault.snapshots()[-1].name)
    data = vault.store.read(head)
    vault.store.delete(head)
    vault.store.create(head, data[:-1])
    vault, done = mended(vault.store, clock)
    assert (done.broken, done.strangers) == (1, ())
    check(vault, states)
    vault, done = mended(vault.store, clock)
    assert done.strangers == (str(name),)
    assert verify_vault(vault).ok
