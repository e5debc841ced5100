"""Which target may be started, and what stops the rest: laws over random fleets, without a single restore."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

from qlikmigrate.importer.fleet import Ending, Fleet, Rules, Standing, sail, total
from qlikmigrate.importer.fleet_folder import Cloning, FleetFolder, berths, cloning_of
from qlikmigrate.kernel.error import CorruptError, UsageError

WELL, BADLY = Standing.DONE, (Standing.FAILED, Standing.REFUSED)
ends = some.lists(some.sampled_from([Standing.DONE, Standing.FAILED, Standing.REFUSED]), min_size=1, max_size=12)


def names(many: int) -> list[str]:
    return [f"t{number}" for number in range(many)]


def ended(standing: Standing) -> Ending:
    return Ending(standing=standing)


@given(
    ends,
    some.integers(0, 4),
    some.one_of(some.none(), some.integers(0, 100)),
    some.integers(1, 5),
    some.booleans(),
    some.data(),
)
def test_rules_hold_whatever_ends_how(
    outcomes: list[Standing], canary: int, limit: int | None, parallel: int, abort: bool, data: some.DataObject
) -> None:
    """Each once, in order, no more than so many at a time, canaries first, and nothing after what stops it."""
    rules = Rules(canary=canary, stop_above=limit, parallel=parallel, abort=abort)
    fleet = Fleet(names(len(outcomes)), rules)
    result = dict(zip(names(len(outcomes)), outcomes, strict=True))
    begun: list[str] = []
    over: list[str] = []
    under_way: list[str] = []
    while True:
        while (name := fleet.next()) is not None:
            badly = [one for one in over if result[one] in BADLY]
            assert not (badly and abort)
            assert limit is None or not badly or 100 * len(badly) <= limit * len(over)
            if name not in names(len(outcomes))[:canary]:
                assert all(one in over and result[one] is WELL for one in names(len(outcomes))[:canary])
            fleet.begin(name)
            begun.append(name)
            under_way.append(name)
            assert len(under_way) <= parallel
        if not under_way:
            break
        name = data.draw(some.sampled_from(under_way))
        under_way.remove(name)
        over.append(name)
        fleet.end(name, ended(result[name]))
    assert begun == names(len(begun))
    assert len(begun) == len(outcomes) or fleet.stopped
    assert fleet.untouched == (len(over) > 0 and all(result[one] is Standing.REFUSED for one in over))
    assert fleet.well == sum(1 for one in over if result[one] is WELL)


@given(ends, some.integers(0, 3))
def test_going_on_takes_what_is_left_and_nothing_else(outcomes: list[Standing], canary: int) -> None:
    """After another process: what is done stays so, all else is tried again and does not count as failed before."""
    known = {name: ended(one) for name, one in zip(names(len(outcomes)), outcomes, strict=True)}
    known |= {"cut": ended(Standing.UNDER_WAY)}
    fleet = Fleet([*known, "new"], Rules(canary=canary, stop_above=0, parallel=1), known)
    assert fleet.stopped == ""
    assert fleet.endings["cut"].standing is Standing.STOPPED
    begun = []
    while (name := fleet.next()) is not None:
        fleet.begin(name)
        begun.append(name)
        fleet.end(name, ended(WELL))
    assert begun == [*(name for name, one in known.items() if one.standing is not WELL), "new"]


def test_stop_above_counts_those_that_ended() -> None:
    """10%: one of ten is not above, two of eleven are."""
    fleet = Fleet(names(20), Rules(stop_above=10, parallel=1))
    for number in range(11):
        name = fleet.next()
        assert name is not None
        fleet.begin(name)
        fleet.end(name, ended(Standing.FAILED if number in (9, 10) else WELL))
    assert (fleet.next(), fleet.stopped) == (None, "stop-above")


def test_what_is_stopped_comes_to_its_own_end() -> None:
    """What raises cancels the rest, and however often somebody asks to stop: what a target has open is closed first."""
    closed: list[str] = []

    async def scene(*, impatient: bool) -> list[Standing]:
        begun, released, never = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work(name: str) -> Ending:
            if name == "t1" and not impatient:
                raise UsageError("stop")
            begun.set()
            try:
                await never.wait()
            except asyncio.CancelledError:
                await asyncio.shield(released.wait())
                closed.append(name)
                raise
            raise AssertionError

        fleet = Fleet(names(4), Rules(parallel=3))
        sailing = asyncio.ensure_future(sail(fleet, work))
        await begun.wait()
        for _ in range(3 if impatient else 0):
            sailing.cancel()
            await asyncio.sleep(0)
        released.set()
        with pytest.raises(asyncio.CancelledError if impatient else UsageError):
            await sailing
        return [one.standing for one in fleet.endings.values()]

    for impatient, stopped in ((False, ["t0", "t2"]), (True, ["t0", "t1", "t2"])):
        closed.clear()
        assert asyncio.run(scene(impatient=impatient)) == [Standing.STOPPED] * 3 + [Standing.NOT_STARTED]
        assert sorted(closed) == stopped


def test_folder_keeps_what_it_is_told(tmp_path: Path) -> None:
    """What is cloned and how each stands come back as they were; damage is told; a run knows which clone it is of."""
    folder = FleetFolder(tmp_path / "runs")
    folder.prepare()
    places = berths(["partner/a", "partner-a", "Partner/A", "..", "ok"])
    assert [one.folder for one in places] == ["partner-a", "partner-a-2", "Partner-A-3", "target", "ok"]
    cloning = Cloning(source="s", archive="a.qma", digest="d", table="t.csv", table_digest="h", targets=places)
    folder.begin(cloning)
    endings = {"ok": Ending(standing=Standing.FAILED, code="locked", counts={"automations": {"created": 2}})}
    folder.save(endings)
    assert (folder.cloning(), folder.endings()) == (cloning, endings)
    assert cloning_of(folder.run(places[4]).path) == (cloning, 4)
    assert cloning_of(tmp_path / "elsewhere") is None
    assert total([*endings.values(), evolve(endings["ok"])]) == {"automations": {"created": 4}}
    for text in ("", "{}", '{"format": "qlikmigrate-grid", "format_version": 2}'):
        folder.grid_path.write_text(text)
        with pytest.raises(CorruptError):
            folder.endings()


def test_folder_takes_what_a_killed_process_left(tmp_path: Path) -> None:
    """Half-written files from before the beginning are swept away; anything else is refused and stays."""
    folder = FleetFolder(tmp_path)
    left = (".qlikmigrate-0123456789abcdef.partial", ".clone.json.x1y2", "source.qma")
    for name in left:
        (tmp_path / name).write_text("half")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UsageError):
        folder.prepare()
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*left, "plan.json"])
    (tmp_path / "plan.json").unlink()
    folder.prepare()
    assert list(tmp_path.iterdir()) == []
