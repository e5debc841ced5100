"""Killed before or after any write, a vault has lost no snapshot that was whole, and the next try finishes the work."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import asdict
from killing import WORKS, Keys, Killer, Scene, in_memory
from night import check, nights
from place import Place

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import PACKS
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore

SEED = 20261126
# How many writes of each work are tried in the short form; all of them in the long one.
FEW = {"memory": 2, "local": 1, "s3-plain": 1}
# Of a disk the short form takes one form of each work, of an S3 server two works.
SHORT = [
    *(("memory", form, work) for form in ("plain", "encrypted") for work in WORKS),
    *(("local", form, work) for form, work in zip(("plain", "encrypted") * len(WORKS), WORKS, strict=False)),
    ("s3-plain", "plain", "backup"),
    ("s3-plain", "encrypted", "prune"),
]
# What each work takes at least: fewer would mean that it did nothing.
LEAST = {"backup": 6, "import": 6, "prune": 30, "undelete": 4, "repack": 12, "repair": 8}

Fresh = Callable[[], Place]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """The same nights, in a plain vault and in an encrypted one."""
    return {
        name: Scene.built(keys, tmp_path_factory.mktemp(name))
        for name, keys in (("plain", Keys()), ("encrypted", Keys.made()))
    }


@pytest.fixture
def fresh(make_place: Callable[[str], Place]) -> Callable[[str], Fresh]:
    """Makes a maker of empty places of a kind."""
    return lambda kind: lambda: make_place(kind)


def kill(
    killer: Killer, kind: str, work: str, record: Callable[[str, object], None], *, few: int | None = None
) -> None:
    """Kill at `few` of the writes, or at all; nothing may be lost, and everything be well after the next run."""
    writes = LEAST[work] if few == 1 else killer.writes()
    assert writes >= LEAST[work]
    points = range(writes) if few is None else random.Random(SEED + len(kind)).sample(range(writes), few)
    tally = killer.kill_at(points)
    record("kills", [work, kind, asdict(tally)])
    assert (tally.lost, tally.ill) == (0, 0)
    assert tally.kills == 2 * len(points)


@pytest.mark.parametrize(("kind", "form", "work"), SHORT)
def test_killed_at_some_writes(
    kind: str,
    form: str,
    work: str,
    scenes: dict[str, Scene],
    fresh: Callable[[str], Fresh],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """The short form: each work, in each kind of store, plain and encrypted."""
    killer = Killer(WORKS[work](scenes[form]), fresh(kind), tmp_path, monkeypatch)
    kill(killer, f"{kind} {form}", work, record_property, few=FEW[kind])


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("form", ["plain", "encrypted"])
@pytest.mark.parametrize("kind", FEW)
def test_killed_at_every_write(
    kind: str,
    form: str,
    work: str,
    scenes: dict[str, Scene],
    fresh: Callable[[str], Fresh],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """The long form: before and after every single write."""
    killer = Killer(WORKS[work](scenes[form]), fresh(kind), tmp_path, monkeypatch)
    kill(killer, f"{kind} {form}", work, record_property)


def test_margin_is_kept(scenes: dict[str, Scene]) -> None:
    """Nothing that was marked less than a margin ago is ever deleted."""
    scene = scenes["plain"]
    store = in_memory(scene.objects)
    vault = scene.keys.open(store)
    plan = plan_prune(vault, Policy(last=2))
    with vault.lock() as lock:
        prune(vault, lock, plan)
    packs = len(store.entries(PACKS))
    late = Vault.open(store, clock=ManualClock(vault.clock.now() + MARGIN - timedelta(minutes=1)))
    plan = plan_prune(late, Policy(last=2))
    with late.lock() as lock:
        prune(late, lock, plan)
    assert len(store.entries(PACKS)) >= packs


def test_fixture_is_sound(scenes: dict[str, Scene]) -> None:
    """The vaults that the kills begin with are whole."""
    for scene in scenes.values():
        check(scene.keys.open(in_memory(scene.objects)), list(scene.states.values()))
    assert len(nights(Vault.create(MemoryStore()), 1)) == 1
