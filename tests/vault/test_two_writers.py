"""Two processes at one vault: they take turns or one ends with 11; no snapshot is lost or doubled; readers go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from killing import Keys, Scene, in_memory
from night import Town, state_of
from place import Place
from process import KEPT, Night, ended
from stage import Stage

from qlikmigrate.archive import open_archive
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.model.snapshot import copy_snapshot
from qlikmigrate.vault import Vault
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore

PAIRS = [("backup", "backup"), ("backup", "prune"), ("prune", "repack"), ("prune", "prune"), ("backup", "repack")]


@pytest.fixture
def night(stage: Stage, make_place: Callable[[str], Place], request: pytest.FixtureRequest) -> Night:
    """A vault with its first nights, in the kind of place that the test asks for."""
    made = Night(stage, make_place(request.param).location, automations=8)
    made.begin()
    return made


def meet(night: Night, pair: tuple[str, str]) -> None:
    """Let two commands run at the same time, and look what came of it."""
    before = night.whole()
    night.pass_day()
    if "prune" in pair:
        night.let_margin_pass()
    both = [night.start(*night.words(verb)) for verb in pair]
    codes = [ended(one)["exit_code"] for one in both]
    assert set(codes) <= {0, 11}
    assert 0 in codes
    now = night.whole()
    done = Counter(verb for verb, code in zip(pair, codes, strict=True) if code == 0)
    new = now.keys() - before.keys()
    assert len(new) == done["backup"]
    # What the tenant held cannot have changed between two backups of one moment.
    assert len({now[one] for one in new}) <= 1
    for one, digest in [*before.items()][-KEPT + len(new) :]:
        assert now[one] == digest
    if "prune" not in pair:
        assert before.keys() <= now.keys()
    assert night.healthy()


@pytest.mark.parametrize("night", ["local", "s3-plain"], indirect=True)
def test_they_take_turns(night: Night) -> None:
    """Two backups at the same time on an S3 server; on a disk a prune beside a backup, and beside a repack."""
    for pair in PAIRS[:1] if night.location.startswith("s3:") else PAIRS[1:3]:
        meet(night, pair)


@pytest.mark.slow
@pytest.mark.parametrize("night", ["local", "s3-plain"], indirect=True)
def test_they_take_turns_for_long(night: Night) -> None:
    """Every pair, ten times over, in one vault."""
    for _ in range(10):
        for pair in PAIRS:
            meet(night, pair)


@pytest.mark.parametrize("night", ["local"], indirect=True)
def test_readers_beside_writers(night: Night, tmp_path: Path) -> None:
    """Exports, a comparison and a verification beside a repack and a prune end well, and give what there was."""
    before = night.whole()
    ids = [*before]
    night.let_margin_pass()
    writers = [night.start(*night.words("repack")), night.start(*night.words("prune"))]
    readers = [
        night.start("export", f"{night.location}@{ids[-1]}", "-o", "last.qma"),
        night.start("export", f"{night.location}@{ids[0]}", "-o", "first.qma"),
        night.start("verify", night.location),
        night.start("diff", f"{night.location}@{ids[0]}", f"{night.location}@{ids[-1]}"),
    ]
    assert [ended(one)["exit_code"] for one in readers] == [0, 0, 0, 5]
    assert [ended(one)["exit_code"] for one in writers] == [0, 0]
    for name, ident in (("last.qma", ids[-1]), ("first.qma", ids[0])):
        with open_archive(tmp_path / name) as archive, Vault.create(MemoryStore()).writer() as writer:
            copy_snapshot(archive, writer)
            assert writer.info is not None
            assert writer.vault.snapshot(writer.info).digest == before[ident]
    assert night.whole() == before


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A plain vault of six nights."""
    return Scene.built(Keys(), tmp_path_factory.mktemp("scene"))


def test_a_reader_that_began_before_goes_on(scene: Scene) -> None:
    """Removed, repacked, pruned: what it opened stays readable for the margin, and then ends in one clear error."""
    store = in_memory(scene.objects)
    vault = scene.keys.open(store)
    clock = vault.clock
    assert isinstance(clock, ManualClock)
    readers = {info.id: scene.keys.open(store).snapshot(info) for info in vault.snapshots()}
    sleeper = scene.keys.open(store).snapshot(vault.snapshots()[0])
    with vault.lock() as lock:
        repack(vault, lock)
    for step_s in (0.0, MARGIN.total_seconds() - 60):
        clock.advance(step_s)
        with vault.lock() as lock:
            prune(vault, lock, plan_prune(vault, Policy(last=1)))
        for ident, reader in readers.items():
            assert state_of(reader) == scene.states[ident]
    late = scene.keys.open(store)
    clock.advance(120)
    for _ in range(2):
        with vault.lock() as lock:
            prune(vault, lock, plan_prune(vault, Policy(last=1)))
        clock.advance(MARGIN.total_seconds() + 60)
    (last,) = late.snapshots()
    assert state_of(late.snapshot(last)) == scene.states[last.id]
    with pytest.raises(QlikmigrateError):
        state_of(sleeper)


def test_an_import_beside_a_backup(scene: Scene) -> None:
    """Two writers that began at the same time: the second builds on what the first has stored, and both are there."""
    store = in_memory(scene.objects)
    one, other = scene.keys.open(store), scene.keys.open(store)
    town = Town(automations=5, seed=9, tenant="tenant-2")
    given = Vault.create(MemoryStore())
    info = town.back_up(given)
    with one.writer() as writer, other.writer() as second:
        for document in scene.town.documents():
            second.add(document)
        copy_snapshot(given.snapshot(info), writer)
        second.finish(scene.town.head(), scene.town.capture())
        assert writer.info is not None
        assert second.info is not None
        new = {writer.info.id: town.state(), second.info.id: scene.town.state()}
    found = scene.keys.open(store)
    assert {one.id for one in found.snapshots()} == scene.states.keys() | new.keys()
    for one_info in found.snapshots():
        assert state_of(found.snapshot(one_info)) == (scene.states | new)[one_info.id]
