"""A repack makes a vault smaller and changes nothing of what it says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from night import Town, check, nights

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import PACKS
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore, Store
from qlikmigrate.vault.verification import verify_vault


def test_everything_stays(store: Store, clock: ManualClock) -> None:
    """Every snapshot keeps its id, its digest and each byte; the old packs go with a later prune."""
    vault = Vault.create(store, clock=clock)
    town = Town(automations=8)
    states = nights(vault, 5, town)
    before = [(one.id, vault.snapshot(one).digest) for one in vault.snapshots()]
    with vault.lock() as lock:
        done = repack(vault, lock)
    assert [(one.id, vault.snapshot(one).digest) for one in vault.snapshots()] == before
    check(vault, states)
    check(Vault.open(store, clock=clock), states)
    assert verify_vault(vault).ok
    # Kept by their times, so that the prune removes nothing but what the repack left behind.
    clock.advance(timedelta(days=400).total_seconds())
    for _ in range(2):
        plan = plan_prune(vault, Policy(last=99))
        with vault.lock() as lock:
            prune(vault, lock, plan)
        clock.advance(MARGIN.total_seconds() + 60)
    assert sum(entry.size_bytes for entry in store.entries(PACKS)) == done.after_bytes
    check(vault, states)
    town.back_up(vault)
    check(vault, [*states, town.state()])


def test_smaller(clock: ManualClock) -> None:
    """Whole versions of one automation, far apart in packs, become what differs from one to the next."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=2)
    states = []
    for _ in range(6):
        town.back_up(vault)
        states.append(town.state())
        # Nothing is known of what went before: each document is stored whole.
        town.tenant = f"{town.tenant}x"
        town.pass_night(edits=2)
    with vault.lock() as lock:
        done = repack(vault, lock)
    assert done.after_bytes < 0.6 * done.before_bytes
    check(vault, states)


def test_many_packs(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything does not fit into one pack, versions build on others across packs."""
    monkeypatch.setattr("qlikmigrate.vault.stream.MAX_PACK_BYTES", 4000)
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 6)
    assert len(vault.shelf.packs) > 8
    check(vault, states)
    with vault.lock() as lock:
        repack(vault, lock)
    check(vault, states)
    assert verify_vault(vault).ok


def test_damage_stops_it(clock: ManualClock) -> None:
    """Nothing is written anew from damaged packs, and nothing changes."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    nights(vault, 3)
    name = store.entries(PACKS)[1].name
    data = store.read(name)
    store.delete(name)
    store.create(name, data[: len(data) // 2])
    before = [entry.name for entry in store.entries("snapshots")]
    again = Vault.open(store, clock=clock)
    with again.lock() as lock, pytest.raises(CorruptError):
        repack(again, lock)
    assert [entry.name for entry in store.entries("snapshots")] == before
