"""Vaults of every format version ever released stay readable."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hamlet import EVIDENCE, FARM, HAMLET, KEPT, LAST_NIGHT, WITHHELD_FROM, Night
from night import state_of

from qlikmigrate.archive import KeyFile, Opener
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.vault import Vault
from qlikmigrate.vault.check import checks
from qlikmigrate.vault.form import FORMAT_VERSION
from qlikmigrate.vault.lock import acquire
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.prune import undelete
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import Level, verify_vault

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("v1.0", "v1.0-sealed")


def unpacked(name: str) -> MemoryStore:
    """A golden vault's objects."""
    store = MemoryStore()
    with tarfile.open(GOLDEN / f"{name}.tar.gz") as tar:
        for entry in tar:
            file = tar.extractfile(entry)
            assert file is not None
            store.create(entry.name, file.read())
    return store


def opened(name: str) -> Vault:
    """A golden vault, with its key where it has one, a day after it was made."""
    key = GOLDEN / f"{name}.key"
    opener = Opener([KeyFile(content=Secret(key.read_text()), where=key.name)]) if key.exists() else None
    vault = Vault.open(unpacked(name), opening=opener)
    at = max(one.at for one in vault.catalog.tombstones)
    vault.clock = clock = ManualClock(at)
    clock.advance(86_400)
    return vault


def test_every_version_has_one() -> None:
    """No format version is released without golden vaults, plain and encrypted."""
    assert {path.name.removesuffix(".tar.gz") for path in GOLDEN.glob("*.tar.gz")} == set(NAMES)
    assert {f"v{FORMAT_VERSION}", f"v{FORMAT_VERSION}-sealed"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    """It verifies, and gives back what was put into it."""
    vault = opened(name)
    assert vault.encrypted is name.endswith("-sealed")
    found = verify_vault(vault)
    assert found.ok
    assert found.pieces > 30
    farm, hamlet = vault.snapshots(vault.tag(FARM)), vault.snapshots(vault.tag(HAMLET))
    assert [len(farm), len(hamlet), len(vault.snapshots())] == [1, len(KEPT), len(KEPT) + 1]
    for info, number in zip(hamlet, KEPT, strict=True):
        night = Night(number)
        snapshot = vault.snapshot(info)
        assert state_of(snapshot) == night.state()
        assert (snapshot.manifest, snapshot.capture) == (night.head(), night.capture())
        assert (info.taken_at, info.complete) == (night.capture().finished_at, night.complete)
        assert info.needs == ((hamlet[0].id,) if number >= WITHHELD_FROM else ())
    assert state_of(vault.snapshot(farm[0])) == Night(0, automations=3).state()
    assert vault.drills() == [(hamlet[0].id, EVIDENCE)]


@pytest.mark.parametrize("name", NAMES)
def test_it_shows_all_there_is(name: str) -> None:
    """Deltas, a dictionary, tombstones, a mark, newer heads, an incomplete snapshot, checks, a begun one are in it."""
    vault = opened(name)
    catalog = vault.catalog
    pieces = [piece for one in vault.shelf.packs for piece in vault.shelf.pack(one).pieces]
    assert {piece.what for piece in pieces} == set(What)
    assert sum(piece.version > 0 for piece in pieces) >= 8
    assert len(catalog.tombstones) == len(catalog.gone) == 2
    assert len(catalog.marks) == len(catalog.begun) == 1
    assert {one.name.generation for one in catalog.snapshots} == {0, 1}
    assert [one.complete for one in catalog.snapshots].count(False) == 1
    assert checks(vault)
    assert (KEPT[-1], vault.snapshots()[-1].complete) == (LAST_NIGHT, False)


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on(name: str) -> None:
    """What was removed from it can be had back, and one that needs no key can check it."""
    vault = opened(name)
    gone = vault.catalog.gone
    with acquire(vault.store, clock=vault.clock) as lock:
        for info in gone:
            undelete(vault, lock, info.id)
    found = {info.id: state_of(vault.snapshot(info)) for info in vault.snapshots()}
    assert [found[info.id] for info in gone] == [Night(0).state(), Night(1).state()]
    assert verify_vault(Vault.open(vault.store), Level.HASH).ok
