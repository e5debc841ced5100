"""What a host without a key remembers of an encrypted vault never leads it astray: at worst it stores too much."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define, evolve, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from night import FIRST_NIGHT, State, Town
from sealed import back_up, gives, host, make, reading, writing

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.model.manifest import Manifest, Selection
from qlikmigrate.vault import SnapshotInfo
from qlikmigrate.vault.known import Table
from qlikmigrate.vault.name import MARKS, MOVES, PACKS
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import verify_vault

AUTOMATIONS = 12
TABLES = "qlikmigrate/vaults"


@define
class Scene:
    """An encrypted vault, a town, hosts that back it up, and what every snapshot must give back."""

    folder: Path
    store: MemoryStore = field(factory=MemoryStore)
    clock: ManualClock = field(factory=lambda: ManualClock(FIRST_NIGHT))
    town: Town = field(factory=lambda: Town(automations=AUTOMATIONS))
    states: dict[str, State] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        make(self.store, self.clock)

    def state_of(self, name: str) -> Path:
        """A host's folder."""
        return self.folder / name

    def night(self, name: str = "one", **options: object) -> tuple[SnapshotInfo, int]:
        """A host backs the town up; then a day goes by."""
        with host(self.state_of(name)):
            info, reused = back_up(writing(self.store, self.clock), self.town, **options)  # type: ignore[arg-type]
        self.states[info.id] = self.town.state()
        self.pass_days(1)
        return info, reused

    def pass_days(self, days: float) -> None:
        """Time goes by, and people edit."""
        self.clock.advance(days * 86_400)
        self.town.pass_night(edits=1)
        self.town.night = round((self.clock.now() - FIRST_NIGHT) / timedelta(days=1))

    def repack(self) -> None:
        """Somebody with the key writes all anew."""
        vault = reading(self.store, self.clock)
        with vault.lock() as lock:
            repack(vault, lock)

    def prune(self, keep: int) -> None:
        """Somebody without a key tidies."""
        vault = writing(self.store, self.clock)
        plan = plan_prune(vault, Policy(last=keep))
        with vault.lock() as lock:
            prune(vault, lock, plan)

    def check(self) -> None:
        """Every snapshot that is listed gives back what was put in, and nothing is damaged."""
        vault = reading(self.store, self.clock)
        for info in vault.snapshots():
            assert gives(vault, info, self.states[info.id]), info.id
        found = verify_vault(vault)
        assert found.ok, found.damages

    def table(self, name: str = "one") -> Path:
        """A host's table."""
        (found,) = (self.state_of(name) / TABLES).glob("*.json")
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A vault with three nights of one host."""
    made = Scene(tmp_path)
    for _ in range(3):
        made.night()
    return made


def test_it_takes_over_what_has_not_changed(scene: Scene) -> None:
    """Without a key a host takes over all documents but the one that was edited, and stores nothing twice."""
    before = len(scene.store.entries(PACKS))
    info, reused = scene.night()
    assert reused == AUTOMATIONS - 1
    assert len(scene.store.entries(PACKS)) == before + 1
    new = reading(scene.store).shelf.pack(max(reading(scene.store).shelf.packs)).pieces
    # The document, its rows, run data of both, the manifest.
    assert len(new) <= 6
    assert len(info.packs) == 4
    scene.check()


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    value = json.loads(path.read_bytes())
    value["documents"] = {key: ["x", "", "never", "", "zz", 7] for key in value["documents"]}
    path.write_text(json.dumps(value))


def lose_key(path: Path) -> None:
    next(path.parent.glob("*.key")).unlink()


def another_key(path: Path) -> None:
    next(path.parent.glob("*.key")).write_bytes(b"k" * 32)


def short_key(path: Path) -> None:
    next(path.parent.glob("*.key")).write_bytes(b"k" * 5)


def lose_all(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("harm", [lose, cut, empty, scramble, lose_key, another_key, short_key, lose_all])
def test_a_lost_or_damaged_one(scene: Scene, harm: Callable[[Path], None]) -> None:
    """The next backup is a full one, and the one after that is none."""
    harm(scene.table())
    assert scene.night()[1] == 0
    assert scene.night()[1] == AUTOMATIONS - 1
    scene.check()


def test_an_older_one(scene: Scene) -> None:
    """A table that was brought back from an older copy takes over only what still is as it was read then."""
    old = scene.table().read_bytes()
    for _ in range(3):
        scene.night()
    scene.table().write_bytes(old)
    # Its own night, and three more, have each edited one at least.
    _, reused = scene.night()
    assert AUTOMATIONS - 4 <= reused < AUTOMATIONS - 1
    scene.check()


def test_an_older_one_after_a_prune(scene: Scene) -> None:
    """Packs that the table speaks of are gone: what lay in them is stored once more."""
    scene.night()
    with_first = scene.table().read_bytes()
    scene.town.values.clear()
    for number in range(AUTOMATIONS):
        scene.town.add(100 + number)
    for _ in range(2):
        scene.night("other")
    for _ in range(2):
        scene.prune(1)
        scene.pass_days(MARGIN.days + 1)
    assert max(map(int, json.loads(with_first)["packs"])) not in writing(scene.store, scene.clock).shelf.packs
    assert scene.night()[1] == 0
    scene.check()


def test_two_repacks(scene: Scene) -> None:
    """What two repacks have moved is found where it lies now, also when both were in one second."""
    scene.repack()
    scene.repack()
    assert len(scene.store.entries(MOVES)) == 2
    info, reused = scene.night()
    assert reused == AUTOMATIONS - 1
    assert not info.packs & {mark.pack for mark in reading(scene.store).catalog.marks}
    scene.check()
    for name in [entry.name for entry in scene.store.entries(MOVES)]:
        scene.store.delete(name)
    scene.repack()
    assert scene.night()[1] == AUTOMATIONS - 1
    scene.check()


def test_moves_of_damaged_lists_are_not_followed(scene: Scene) -> None:
    """A list that is not as it was written is no list: the next backup is a full one."""
    scene.repack()
    (entry,) = scene.store.entries(MOVES)
    data = scene.store.read(entry.name)
    scene.store.delete(entry.name)
    scene.store.create(entry.name, data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    assert scene.night()[1] == 0
    damages = verify_vault(reading(scene.store, scene.clock)).damages
    assert [one.object for one in damages] == [entry.name]
    scene.store.delete(entry.name)
    scene.check()


def test_moves_go_before_the_packs_that_they_speak_of(scene: Scene) -> None:
    """A prune that is killed in between leaves no list that speaks of numbers without packs."""
    scene.repack()
    scene.pass_days(MARGIN.days + 1)
    deleted: list[str] = []
    inner = scene.store.delete
    scene.store.delete = lambda name: (deleted.append(name), inner(name))[1]  # type: ignore[method-assign]
    scene.prune(9)
    kinds = [name.partition("/")[0] for name in deleted]
    assert kinds.index(MOVES) < kinds.index(PACKS)


def test_no_number_is_given_twice(scene: Scene) -> None:
    """The number of the newest pack stays given away when that pack is gone for good."""
    taken = max(reading(scene.store).shelf.packs)
    vault = writing(scene.store, scene.clock)
    with vault.writer() as writer:
        from qlikmigrate.vault.stream import PackStream

        with vault.lock() as lock:
            stream = PackStream(vault.store, vault.id, vault.next_sequence(), lock, vault.sealing)
            stream.dictionary(b"left behind by a writer that was killed")
            stream.flush()
        assert max(stream.written) == taken + 1
        writer.abandon()
    for _ in range(3):
        scene.prune(9)
        scene.pass_days(MARGIN.days + 1)
    assert taken + 1 not in writing(scene.store, scene.clock).shelf.packs
    assert len(scene.store.entries(MARKS)) == 1
    assert writing(scene.store, scene.clock).next_sequence() == taken + 2


def test_a_selection_changes_no_table(scene: Scene) -> None:
    """A partial backup is no state of the tenant: the table stays as it was."""
    before = scene.table().read_bytes()
    town = evolve(scene.town, values=dict(list(scene.town.values.items())[:2]))
    vault = writing(scene.store, scene.clock)
    with host(scene.state_of("one")), vault.writer() as writer:
        for one in town.documents():
            writer.add(one)
        writer.finish(evolve(town.head(), selection=Selection()), town.capture())
        assert writer.info is not None
        scene.states[writer.info.id] = town.state()
    assert scene.table().read_bytes() == before
    assert scene.night()[1] == AUTOMATIONS - 1
    scene.check()


# The last good version of what cannot be read


def withhold(scene: Scene) -> str:
    """From now on one automation cannot be read; its id."""
    ident = sorted(scene.town.values)[0]
    del scene.town.values[ident]
    return ident


def test_last_good_without_a_table(scene: Scene) -> None:
    """A host that has lost its table leans on the last snapshot and what that leaned on, and on no more each night."""
    ident = withhold(scene)
    last = list(scene.states)[-1]
    assert scene.night(unreadable=(ident,))[0].needs == (last,)
    lose_all(scene.table())
    leans = [scene.night(unreadable=(ident,))[0].needs for _ in range(4)]
    assert last in leans[0]
    assert len(leans[0]) == 2
    assert set(leans) == {leans[0]}


def test_last_good_with_the_table_of_another_key(scene: Scene) -> None:
    """A table that came back without its key tells nothing, and does not seem to."""
    ident = withhold(scene)
    first = list(scene.states)[-1]
    scene.night(unreadable=(ident,))
    another_key(scene.table())
    assert first in scene.night(unreadable=(ident,))[0].needs


def test_last_good_with_an_older_table(scene: Scene) -> None:
    """Another host read it last: what this one read earlier is not taken for the last good version."""
    ident = sorted(scene.town.values)[0]
    scene.town.values[ident] = scene.town.values[ident] | {"updatedAt": "later", "name": "renamed"}
    newer, _ = scene.night("other")
    withhold(scene)
    info, _ = scene.night(unreadable=(ident,))
    assert newer.id in info.needs
    for _ in range(3):
        scene.prune(1)
        scene.pass_days(MARGIN.days + 1)
    left = {one.id for one in writing(scene.store, scene.clock).snapshots()}
    assert {newer.id, info.id} <= left
    scene.check()


def test_last_good_names_only_what_is_there(scene: Scene) -> None:
    """Snapshots that are gone are not leaned on."""
    ident = sorted(scene.town.values)[0]
    old = scene.table().read_bytes()
    for _ in range(2):
        scene.night("other")
    scene.prune(1)
    scene.table().write_bytes(old)
    withhold(scene)
    info, _ = scene.night(unreadable=(ident,))
    live = {one.id for one in writing(scene.store, scene.clock).snapshots()}
    assert set(info.needs) <= live
    assert len(info.needs) == 1


def test_no_user_id_is_in_it(scene: Scene) -> None:
    """Whose readings these are is told by a key alone, and counts all the same."""
    head = evolve(scene.town.head(), identity="somebody-else")

    class Guest(Town):
        def head(self, **_: object) -> Manifest:
            return head

    guest = Guest(automations=AUTOMATIONS)
    guest.values, guest.night, guest.runs = scene.town.values, scene.town.night, scene.town.runs
    with host(scene.state_of("one")):
        assert back_up(writing(scene.store, scene.clock), guest)[1] == 0
        assert back_up(writing(scene.store, scene.clock), guest)[1] == AUTOMATIONS
    assert b"somebody" not in scene.table().read_bytes()


# Whatever happens, in any order

STEPS = ("one", "two", "repack", "prune", "late prune", "days", "lose", "old table", "unreadable", "add", "drop")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=14), st.integers(0, 9))
def test_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int) -> None:
    """Two hosts, repacks, prunes, lost and old tables in any order: every snapshot gives back what was put in."""
    play(Scene(tmp_path_factory.mktemp("scene")), steps, random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_any_long_history(tmp_path: Path, seed: int) -> None:
    """The same, longer."""
    chance = random.Random(f"history {seed}")
    play(Scene(tmp_path), chance.choices(STEPS, k=40), chance)


def play(scene: Scene, steps: list[str], chance: random.Random) -> None:
    """One step after the other; after each everything is looked at."""
    kept: list[bytes] = []
    withheld: list[str] = []
    holders: dict[str, str] = {}
    vault = writing(scene.store, scene.clock)
    for number, step in enumerate(steps):
        match step:
            case "one" | "two":
                names = sorted(scene.town.values)
                reread = frozenset(chance.sample(names, min(2, len(names))))
                info, _ = scene.night(step, reread=reread, unreadable=tuple(withheld))
                assert {holders[ident] for ident in withheld} <= set(info.needs)
                holders |= dict.fromkeys(names, info.id)
                if step == "one":
                    kept.append(scene.table(step).read_bytes())
            case "repack":
                scene.repack()
            case "prune":
                scene.prune(chance.randint(1, 3))
            case "late prune":
                scene.prune(chance.randint(1, 3))
                scene.pass_days(MARGIN.days + 1)
                scene.prune(2)
            case "days":
                scene.pass_days(chance.choice([1, 3, 8]))
            case "lose" if kept:
                shutil.rmtree(scene.state_of("one"), ignore_errors=True)
            case "old table" if kept:
                path = scene.state_of("one") / TABLES / Table.of(vault.id, vault.tag(scene.town.tenant)).path.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(chance.choice(kept))
            case "unreadable" if not withheld and holders.keys() & scene.town.values.keys():
                withheld.append(min(holders.keys() & scene.town.values.keys()))
                del scene.town.values[withheld[0]]
            case "add":
                scene.town.add(200 + number)
            case "drop" if len(scene.town.values) > 3:
                scene.town.values.pop(chance.choice(sorted(scene.town.values)))
        scene.check()
