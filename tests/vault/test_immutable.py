"""Buckets that keep every version, or let nothing be deleted: a vault works there; what frees nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from night import FIRST_NIGHT, Town, check, nights
from place import Place
from process import Night
from stage import Stage

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import RefusedError, UsageError
from qlikmigrate.vault import Vault
from qlikmigrate.vault.check import try_to_file_check
from qlikmigrate.vault.name import CONFIG, PACKS, SNAPSHOTS
from qlikmigrate.vault.prune import plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import open_for_repair, repair
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import Store
from qlikmigrate.vault.verification import verify_vault

FOLDERS = ("", PACKS, SNAPSHOTS, "gone", "marks", "checks", "moves", "begun")


def names(store: Store) -> list[str]:
    """All that lies there but locks."""
    return [entry.name for folder in FOLDERS for entry in store.entries(folder)]


@pytest.fixture(params=["memory-immutable", "s3-locked", pytest.param("s3-versioned", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each kind of place that frees nothing."""
    return make_place(request.param)


def test_what_only_adds_works(place: Place, clock: ManualClock) -> None:
    """Backups, reading, verification with its record; the lock goes from one to the next."""
    vault = Vault.create(place.open(), clock=clock)
    town = Town(automations=4)
    states = nights(vault, 3, town)
    check(Vault.open(place.open(), clock=clock), states)
    found = verify_vault(vault)
    assert found.ok
    assert try_to_file_check(vault, found, clock.now())
    town.back_up(Vault.open(place.open(), clock=clock))
    check(vault_again := Vault.open(place.open(), clock=clock), [*states, town.state()])
    assert verify_vault(vault_again).ok


def test_what_frees_nothing_is_refused(place: Place, clock: ManualClock) -> None:
    """Prune and repack end with 2 and a hint before they write anything, and let the lock go."""
    vault = Vault.create(place.open(), clock=clock)
    states = nights(vault, 3, Town(automations=4))
    clock.advance((FIRST_NIGHT + timedelta(days=9) - clock.now()).total_seconds())
    plan = plan_prune(vault, Policy(last=1))
    before = names(place.open())
    for work in (lambda lock: prune(vault, lock, plan), lambda lock: repack(vault, lock)):
        with vault.lock(wait_s=0) as lock, pytest.raises(UsageError) as refusal:
            work(lock)
        assert (refusal.value.exit_code, refusal.value.code) == (2, "immutable-store")
        assert "bucket's own rules" in refusal.value.hint
    assert names(place.open()) == before
    check(vault, states)


def test_a_repair_adds_what_is_lost(place: Place, clock: ManualClock) -> None:
    """A head that is damaged gets a new writing beside it; all snapshots are whole again."""
    source = Vault.create(place.open(), clock=clock)
    states = nights(source, 3, Town(automations=4))
    objects = {name: place.open().read(name) for name in names(place.open())}
    head = place.open().entries(SNAPSHOTS)[1].name
    hurt = _elsewhere(place, objects | {head: objects[head][:-1]})
    assert not verify_vault(Vault.open(hurt, clock=clock)).ok
    vault, written = open_for_repair(hurt, clock=clock)
    with vault.lock(wait_s=0) as lock:
        done = repair(vault, lock)
    assert (written, len(done.heads)) == (False, 1)
    check(Vault.open(hurt, clock=clock), states)
    # Where it cannot even be hidden, the damaged one stays, and is told.
    damages = [damage.object for damage in verify_vault(vault).damages]
    assert damages == ([head] if place.location == "memory" else [])


def test_a_description_that_cannot_be_replaced(place: Place, clock: ManualClock) -> None:
    """Written anew where a deletion at least hides the damaged one; else a clear error, and nothing changes."""
    source = Vault.create(place.open(), clock=clock)
    states = nights(source, 2, Town(automations=4))
    objects = {name: place.open().read(name) for name in names(place.open())}
    hurt = _elsewhere(place, objects | {CONFIG: b"{}"})
    if place.location == "memory":
        before = names(hurt)
        with pytest.raises(RefusedError) as refusal:
            open_for_repair(hurt, clock=clock)
        assert (refusal.value.exit_code, refusal.value.code) == (6, "store-immutable")
        assert names(hurt) == before
    else:
        vault, written = open_for_repair(hurt, clock=clock)
        assert written
        check(vault, states)


def _elsewhere(place: Place, objects: dict[str, bytes]) -> Store:
    """A place of the same kind with these objects."""
    made = place.another()
    for name, data in objects.items():
        made.put(name, data)
    return made.open()


@pytest.mark.parametrize("kind", ["s3-versioned", "s3-locked"])
def test_from_the_command_line(kind: str, stage: Stage, make_place: Callable[[str], Place]) -> None:
    """Backup, list, verify and repair end with 0; prune and repack with 2 and a hint, also as a dry run."""
    night = Night(stage, make_place(kind).location, automations=4)
    night.begin(backups=2)
    before = night.whole()
    for words in (night.words("prune"), [*night.words("prune"), "--dry-run"], night.words("repack")):
        refused = stage.cli(*words)
        assert (refused.code, refused.error["code"]) == (2, "immutable-store")
        assert refused.error["hint"]
    for words in (["list", night.location], ["verify", night.location], night.words("repair"), night.words("backup")):
        done = stage.cli(*words)
        assert done.code == 0, done.error
    assert before.items() <= night.whole().items()
