"""A prune removes what no rule keeps, gives space back a margin later, and never what anybody could still need."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyrage
import pytest
from attrs import evolve
from night import FIRST_NIGHT, State, Town, check, nights, state_of

from qlikmigrate.archive import PublicKey, Sealer
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError, LockedError, NotFoundError, UsageError
from qlikmigrate.model.manifest import Selection
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import GONE, MARKS, PACKS, SNAPSHOTS
from qlikmigrate.vault.prune import MARGIN, Pruned, plan_prune, prune, undelete
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore, Store
from qlikmigrate.vault.verification import verify_vault

DAY_S = 86_400.0


def at_night(clock: ManualClock, night: int) -> None:
    """Let the clock show noon after a night."""
    wanted = FIRST_NIGHT + timedelta(days=night, hours=10)
    clock.advance((wanted - clock.now()).total_seconds())


def pruned(vault: Vault, **rules: int) -> Pruned:
    """One prune with these rules."""
    plan = plan_prune(vault, Policy(**rules))
    with vault.lock() as lock:
        return prune(vault, lock, plan)


def names(store: Store, folder: str) -> list[str]:
    """The objects in a folder."""
    return [entry.name for entry in store.entries(folder)]


def test_space_comes_back_a_margin_later(store: Store, clock: ManualClock) -> None:
    """What is removed is out of sight at once and out of the store after the margin; what stays is whole throughout."""
    vault = Vault.create(store, clock=clock)
    town = Town(automations=4)
    states = []
    for night in range(6):
        town.back_up(vault)
        states.append(town.state())
        town.values.pop(sorted(town.values)[0])
        town.add(100 + night)
        town.pass_night()
    at_night(clock, 6)
    done = pruned(vault, last=2)
    assert [len(done.plan.removed), len(done.plan.deleted)] == [4, 0]
    check(vault, states[-2:])
    assert len(names(store, SNAPSHOTS)) == 6 + 2 * bool(done.repacked)
    clock.advance(MARGIN.total_seconds() - 60)
    assert pruned(vault, last=2).plan.deleted == ()
    before = sum(entry.size_bytes for entry in store.entries(PACKS))
    clock.advance(120)
    pruned(vault, last=2)
    clock.advance(MARGIN.total_seconds() + 60)
    pruned(vault, last=2)
    check(vault, states[-2:])
    assert sum(entry.size_bytes for entry in store.entries(PACKS)) < before
    assert len(names(store, SNAPSHOTS)) == 2
    assert verify_vault(vault).ok


def test_second_prune_changes_nothing(clock: ManualClock) -> None:
    """Run twice, the second finds nothing to do."""
    vault = Vault.create(MemoryStore(), clock=clock)
    nights(vault, 5)
    at_night(clock, 5)
    pruned(vault, last=2)
    before = {folder: names(vault.store, folder) for folder in (PACKS, SNAPSHOTS, GONE, MARKS)}
    plan = pruned(vault, last=2).plan
    assert (plan.removed, plan.erased, plan.marked, plan.unmarked, plan.deleted) == ((), (), (), (), ())
    assert before == {folder: names(vault.store, folder) for folder in (PACKS, SNAPSHOTS, GONE, MARKS)}


def test_undelete(store: Store, clock: ManualClock) -> None:
    """Within the margin a removed snapshot comes back whole; after it, and for a strange id, there is a clear error."""
    vault = Vault.create(store, clock=clock)
    states = nights(vault, 3, Town(automations=6))
    first = vault.snapshots()[0]
    at_night(clock, 3)
    pruned(vault, last=1)
    clock.advance(DAY_S)
    with vault.lock() as lock:
        assert undelete(vault, lock, first.id[:8]).id == first.id
    assert next(one.id for one in vault.snapshots()) == first.id
    assert state_of(vault.snapshot(vault.snapshots()[0])) == states[0]
    pruned(vault, last=1)
    clock.advance(MARGIN.total_seconds() + 60)
    pruned(vault, last=1)
    for wanted in (first.id, "0000000000000000"):
        with vault.lock() as lock, pytest.raises(NotFoundError):
            undelete(vault, lock, wanted)


def test_incomplete_ones_never_stand_in(clock: ManualClock) -> None:
    """Nights that failed do not push out the last good one, however many there are."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    good = town.back_up(vault)
    kept: State = town.state()
    for _ in range(9):
        town.pass_night()
        town.back_up(vault, complete=False)
    at_night(clock, 10)
    pruned(vault, last=3)
    assert vault.snapshots()[0].id == good.id
    assert state_of(vault.snapshot(vault.snapshots()[0])) == kept


def test_last_good_version_stays(clock: ManualClock) -> None:
    """The snapshot that holds the last good version of an unreadable automation outlives every rule."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    first = town.back_up(vault)
    state = town.state()
    withheld = sorted(town.values)[0]
    del town.values[withheld]
    for _ in range(12):
        town.pass_night()
        # Known to be unreadable: such a snapshot is complete, and counts.
        town.back_up(vault, unreadable=(withheld,))
    at_night(clock, 13)
    for _ in range(3):
        pruned(vault, last=1)
        clock.advance(MARGIN.total_seconds() + 60)
    assert next(one.id for one in vault.snapshots()) == first.id
    assert len(vault.snapshots()) == 2
    assert state_of(vault.snapshot(vault.snapshots()[0])) == state


def test_damaged_ones_do_not_count(clock: ManualClock) -> None:
    """A snapshot whose packs are not as they were written is not the one that a rule keeps."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    nights(vault, 3)
    at_night(clock, 3)
    last = max(vault.shelf.packs)
    name = str(vault.shelf.packs[last][0])
    data = store.read(name)
    store.delete(name)
    store.create(name, data[:-9] + b"x" + data[-8:])
    plan = plan_prune(vault, Policy(last=1))
    assert [(one.keep, one.candidate.verified) for one in plan.decisions] == [
        (False, True),
        (True, True),
        (True, False),
    ]


def test_tenants_apart(clock: ManualClock) -> None:
    """Rules hold for each tenant on its own; --tenant touches no other."""
    vault = Vault.create(MemoryStore(), clock=clock)
    one, two = Town(tenant="t-1"), Town(tenant="t-2", seed=8)
    for _ in range(3):
        for town in (one, two):
            town.back_up(vault)
            town.pass_night()
    at_night(clock, 3)
    plan = plan_prune(vault, Policy(last=1), tenant="t-2")
    with vault.lock() as lock:
        prune(vault, lock, plan)
    assert [info.tenant_id for info in vault.snapshots()].count("t-1") == 3
    assert [info.tenant_id for info in vault.snapshots()].count("t-2") == 1
    with pytest.raises(NotFoundError):
        plan_prune(vault, Policy(last=1), tenant="t-3")


def test_backup_meanwhile(clock: ManualClock) -> None:
    """A backup that built on what a prune removed meanwhile stops with a clear error, and the next one is whole."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    nights(vault, 3, town)
    at_night(clock, 3)
    slow = Vault.open(vault.store, clock=clock)
    with slow.writer() as writer:
        writer.begin(town.head().tenant, "me")
        for ident in town.values:
            from qlikmigrate.model.kind import Kind

            writer.reuse(Kind.AUTOMATION, ident)
        other = Town(tenant="t-2", seed=3)
        other.back_up(vault)
        for info in vault.snapshots("tenant-1"):
            vault.store.create(f"gone/{info.id}-{info.manifest.pack:08x}-20260301T000000Z", b"")
        pruned(vault, last=1)
        with pytest.raises(LockedError):
            writer.finish(town.head(), town.capture())
    town.back_up(vault)
    assert state_of(vault.snapshot(vault.find("latest", tenant="tenant-1"))) == town.state()


def test_stale_holder_does_no_harm(clock: ManualClock) -> None:
    """A prune that wakes up after its lock was taken over deletes nothing more."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    states = nights(vault, 4)
    at_night(clock, 4)
    pruned(vault, last=1)
    clock.advance(MARGIN.total_seconds() + 60)
    plan = plan_prune(vault, Policy(last=1))
    with vault.lock() as lock:
        clock.advance(3600)
        with Vault.open(store, clock=clock).lock():
            before = {folder: names(store, folder) for folder in (PACKS, SNAPSHOTS, GONE, MARKS)}
            with pytest.raises(LockedError):
                prune(vault, lock, plan)
            assert before == {folder: names(store, folder) for folder in (PACKS, SNAPSHOTS, GONE, MARKS)}
    vault.refresh()
    check(vault, states[-1:])


def test_refusals(clock: ManualClock) -> None:
    """An empty policy, a margin too short, a store that keeps everything, a damaged head: refused, unchanged."""
    vault = Vault.create(MemoryStore(), clock=clock)
    nights(vault, 2)
    at_night(clock, 2)
    with pytest.raises(UsageError):
        Policy()
    with pytest.raises(UsageError):
        plan_prune(vault, Policy(last=1), margin=timedelta(minutes=5))
    frozen = Vault.create(MemoryStore(immutable=True), clock=clock)
    nights(frozen, 2)
    plan = plan_prune(frozen, Policy(last=1))
    with frozen.lock() as lock, pytest.raises(UsageError) as caught:
        prune(frozen, lock, plan)
    assert caught.value.code == "immutable-store"
    head = names(vault.store, SNAPSHOTS)[0]
    vault.store.delete(head)
    vault.store.create(head, b"{}")
    with pytest.raises(CorruptError):
        plan_prune(vault, Policy(last=1))


@pytest.mark.parametrize("sealed", [False, True])
def test_what_could_never_be_read_keeps_nothing(sealed: bool, clock: ManualClock) -> None:
    """One automation that nobody may read, from the first night on: it has no last good version, so all else goes."""
    vault = _vault(clock, sealed=sealed)
    town = Town(automations=3)
    for _ in range(5):
        info = town.back_up(vault, unreadable=("closed",))
        assert info.needs == ()
        town.pass_night()
    at_night(clock, 6)
    pruned(vault, last=1)
    assert [one.id for one in vault.snapshots()] == [info.id]


@pytest.mark.parametrize("sealed", [False, True])
def test_last_good_version_of_what_came_back(sealed: bool, clock: ManualClock) -> None:
    """Read once, then not listed for a night, then withheld: where snapshots can be read, the one that has it stays."""
    vault = _vault(clock, sealed=sealed)
    town = Town(automations=3)
    first = town.back_up(vault)
    ident = sorted(town.values)[0]
    del town.values[ident]
    town.pass_night()
    town.back_up(vault)
    for _ in range(2):
        town.pass_night()
        info = town.back_up(vault, unreadable=(ident,))
        assert info.needs == (() if sealed else (first.id,))


def test_another_host_lets_nothing_go_that_it_cannot_judge(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a table relies on the last snapshot and on what that needs, night after night on the same."""
    vault = _vault(clock, sealed=True)
    town = Town(automations=3)
    first = town.back_up(vault)
    ident = sorted(town.values)[0]
    del town.values[ident]
    town.pass_night()
    second = town.back_up(vault, unreadable=(ident,))
    assert second.needs == (first.id,)
    monkeypatch.setenv("XDG_STATE_HOME", str(Path.home() / "another-host"))
    for _ in range(3):
        town.pass_night()
        info = town.back_up(vault, unreadable=(ident,))
        assert set(info.needs) == {first.id, second.id}


def test_what_is_no_ground_to_build_on(clock: ManualClock) -> None:
    """After a snapshot of a selection, and after one of earlier times, the next night still knows of last night."""
    vault = _vault(clock, sealed=True)
    town = Town(automations=3)
    town.back_up(vault)
    old, state = town.capture(), list(town.documents())
    town.pass_night()
    town.back_up(vault)
    known = vault.knowledge(vault.tag(town.tenant))
    chosen = evolve(town.head(), selection=Selection(include=("name=x",)))
    for documents, head, capture in ((state[:2], chosen, town.capture()), (state, town.head(), old)):
        with vault.writer() as writer:
            for one in documents:
                writer.add(one)
            writer.finish(head, capture)
    assert vault.knowledge(vault.tag(town.tenant)) == known
    assert known.documents


def _vault(clock: ManualClock, *, sealed: bool) -> Vault:
    """A new one; an encrypted one as the host that takes backups has it, without its key."""
    if not sealed:
        return Vault.create(MemoryStore(), clock=clock)
    identity = pyrage.x25519.Identity.generate()
    return Vault.create(
        MemoryStore(), sealing=Sealer([PublicKey(text=str(identity.to_public()), where="the test")]), clock=clock
    )
