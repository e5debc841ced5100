"""A prune stays safe when plans grow old, numbers meet again, clocks jump, and damage is about."""

from __future__ import annotations

from datetime import timedelta

import pytest
from harm import harm, mended, replace
from night import FIRST_NIGHT, Town, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.check import file_check
from qlikmigrate.vault.name import BEGUN, Begun, PackName, sha256
from qlikmigrate.vault.prune import MARGIN, Pruned, plan_prune, prune
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import Level, verify_vault


@pytest.fixture
def vault(clock: ManualClock) -> Vault:
    """An empty vault, long after the nights that will be stored in it."""
    clock.advance((FIRST_NIGHT + timedelta(days=100) - clock.now()).total_seconds())
    return Vault.create(MemoryStore(), clock=clock)


def pruned(vault: Vault, **rules: int) -> Pruned:
    """One prune with these rules."""
    plan = plan_prune(vault, Policy(**rules))
    with vault.lock() as lock:
        return prune(vault, lock, plan)


def test_backup_after_the_plan_keeps_what_it_needs(vault: Vault) -> None:
    """A plan waits for its lock while a backup finds that it needs an old snapshot: that one is not removed."""
    town = Town(automations=5)
    ident = sorted(town.values)[0]
    held = town.back_up(vault)
    for _ in range(2):
        town.pass_night()
        town.back_up(vault)
    plan = plan_prune(vault, Policy(last=1))
    assert [one.keep for one in plan.decisions] == [False, False, True]
    del town.values[ident]
    town.pass_night()
    with vault.writer() as writer:
        writer.begin(town.head().tenant, "me")
        town.write(writer, unreadable=(ident,))
        last = writer.info
    assert last is not None
    (needed,) = last.needs
    with vault.lock() as lock:
        done = prune(vault, lock, plan)
    left = {one.id for one in vault.snapshots()}
    assert {needed, last.id} <= left
    assert held.id not in left
    assert [one.keep for one in done.plan.decisions] == [one.candidate.id in left for one in done.plan.decisions]


def test_second_plan_removes_no_more_than_the_first(vault: Vault) -> None:
    """What the plan that people saw keeps is kept, even if by now another one would let it go."""
    town = Town(automations=3)
    first = town.back_up(vault)
    plan = plan_prune(vault, Policy(last=1))
    for _ in range(3):
        town.pass_night()
        town.back_up(vault)
    with vault.lock() as lock:
        done = prune(vault, lock, plan)
    assert first.id in {one.id for one in vault.snapshots()}
    assert all(one.keep for one in done.plan.decisions)


def test_plan_of_an_empty_vault_removes_nothing(vault: Vault) -> None:
    """Nobody was told that anything goes: what came while it waited stays, whatever the rules say."""
    plan = plan_prune(vault, Policy(last=1))
    town = Town(automations=3)
    for _ in range(3):
        town.back_up(vault)
        town.pass_night()
    with vault.lock() as lock:
        prune(vault, lock, plan)
    assert len(vault.snapshots()) == 3


def test_replaced_pack_is_not_verified(vault: Vault) -> None:
    """A pack of another content under the same number, its own hash right, does not make a snapshot count."""
    infos = [Town(automations=3).back_up(vault)]
    store = vault.store
    (name,) = (name for name, _ in vault.shelf.packs.values())
    other = Vault.create(MemoryStore())
    Town(automations=4).back_up(other)
    data = other.store.read(str(other.shelf.packs[name.sequence][0]))
    store.delete(str(name))
    store.create(str(PackName(name.sequence, sha256(data))), data)
    again = Vault.open(store, clock=vault.clock)
    (decision,) = plan_prune(again, Policy(last=1)).decisions
    assert decision.candidate.id == infos[0].id
    assert not decision.candidate.verified


def test_check_of_the_future_is_not_believed(vault: Vault, clock: ManualClock) -> None:
    """What a host with a wrong clock says it will have found sound one day counts for nothing."""
    Town(automations=3).back_up(vault)
    found = verify_vault(vault, Level.HASH)
    file_check(vault, found, clock.now() + timedelta(days=4000))
    name = str(vault.shelf.packs[1][0])
    replace(vault.store, name, b"x" * len(vault.store.read(name)))
    (decision,) = plan_prune(vault, Policy(last=1)).decisions
    assert not decision.candidate.verified


def test_damage_does_not_cost_the_history(vault: Vault) -> None:
    """One damaged document in years of snapshots: before and after the repair the rules keep them all the same."""
    town = Town(automations=6)
    infos: list[SnapshotInfo] = []
    for _ in range(8):
        infos.append(town.back_up(vault))
        town.pass_night(edits=1)
    first = vault.snapshot(infos[0]).manifested.documents[0]
    wanted = [one.candidate.id for one in plan_prune(vault, Policy(daily=4)).decisions if one.keep]
    harm(vault, first.ref)
    again = Vault.open(vault.store, clock=vault.clock)
    for entry in again.store.entries("checks"):
        again.store.delete(entry.name)
    hurt = plan_prune(again, Policy(daily=4))
    assert set(wanted) <= {one.candidate.id for one in hurt.decisions if one.keep}
    again, done = mended(vault.store, vault.clock)
    assert done.lost
    # One more whole night, before which the hurt ones would go.
    town.values.pop(first.id)
    assert town.back_up(again).complete
    left = {one.candidate.id for one in plan_prune(again, Policy(daily=4)).decisions if one.keep}
    hurt_ids = {info.id for info in again.snapshots() if info.damaged}
    assert hurt_ids
    assert len(hurt_ids & left) >= 3


def test_mark_of_a_writer_that_ended_goes(vault: Vault, clock: ManualClock) -> None:
    """A writer was killed right after its head: the mark that it had begun goes, and a lost head is found."""
    town = Town(automations=2)
    info = town.back_up(vault)
    vault.store.create(str(Begun(info.id, clock.now())), b"")
    town.pass_night()
    town.back_up(vault)
    assert vault.store.entries(BEGUN) == []
    vault.store.delete(str(info.name))
    assert not verify_vault(vault).ok
    again, _ = mended(vault.store, clock)
    assert len(again.snapshots()) == 2
    vault.store.create(str(Begun(again.snapshots()[0].id, clock.now())), b"")
    pruned(again, last=5)
    assert vault.store.entries(BEGUN) == []


def test_prune_reads_a_whole_pack_once_a_month(
    vault: Vault, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashes that were found right are believed for a while, and not for ever."""
    nights(vault, 3)
    read: list[str] = []
    shelf = type(vault.shelf)
    stored = shelf.stored

    def counted(self: object, sequence: int) -> bytes:
        read.append(str(sequence))
        return stored(self, sequence)  # type: ignore[arg-type]

    monkeypatch.setattr(shelf, "stored", counted)
    pruned(vault, last=9)
    assert read
    read.clear()
    pruned(vault, last=9)
    assert not read
    clock.advance(timedelta(days=31).total_seconds())
    pruned(vault, last=9)
    assert read


def test_everything_is_read_after_much_pruning(vault: Vault, clock: ManualClock) -> None:
    """Prunes with any rules, over months: what is listed can always be read to the end."""
    town = Town(automations=4)
    states = {}
    for night in range(30):
        info = town.back_up(vault, complete=night % 7 != 3)
        states[info.id] = town.state()
        town.pass_night(edits=night % 3)
        if night % 4 == 3:
            pruned(vault, last=1 + night % 3, weekly=2)
            clock.advance(MARGIN.total_seconds() / 2)
    assert verify_vault(vault).ok
    for info in vault.snapshots():
        assert state_of(vault.snapshot(info)) == states[info.id]
