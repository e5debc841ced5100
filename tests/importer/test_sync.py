"""`--sync`: what an update brings over besides the document, in the fewest writes, and back again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rig import TIMEOUT_S, Rig, make_rig
from stage import PLATFORM_OPERATIONS, bound_block, document

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access
from qlikmigrate.importer.plan import Plan, Step, Verb
from qlikmigrate.importer.rollback import RollbackResult, roll_back
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.event import discard
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status, Truncate

ALL = ("state", "owner", "space", "maxConcurrentRuns")


def restored(folder: Path, *, impersonate: bool = False, **switches: Any) -> Rig:
    """A migrated company, to which Ada has come at both sides."""
    rig = make_rig(folder, impersonate=impersonate, **switches)
    rig.target._shelf.max_runs = 10
    rig.source._shelf.max_runs = 10
    for tenant in (rig.source, rig.target):
        ada = tenant.add_user("corp\\ada", "Ada Example", "ada@example.com")
        tenant.add_connection(PLATFORM_OPERATIONS, "Operations", ada)
        tenant.add_space("Shared", owner=ada)
    assert rig.apply(rig.plan(), "first").failed == 0
    return rig


def record(tenant: Any, name: str) -> Any:
    """The stored automation of that name."""
    (found,) = [one for one in tenant._shelf.records.values() if one.name == name]
    return found


def ada(tenant: Any) -> str:
    """Her id."""
    (found,) = [ident for ident, one in tenant.users.items() if one["name"] == "Ada Example"]
    return str(found)


def shared(tenant: Any) -> str:
    """The shared space's id."""
    (found,) = [ident for ident, one in tenant.spaces.items() if one["name"] == "Shared"]
    return str(found)


def again(rig: Rig, *fields: str, start: str = "held") -> Plan:
    """The plan of another run with `--sync`."""
    rig.backup()
    rig.options = evolve(rig.options, sync=fields, start=start)
    return rig.plan()


def steps(plan: Plan) -> dict[str, list[str]]:
    """Name → planned writes, of what is written."""
    return {one.name: [step.value for step in one.steps] for one in plan.actions if one.steps}


def undo(rig: Rig, run: str) -> RollbackResult:
    """Roll a run back."""

    async def work() -> RollbackResult:
        endpoint = rig.endpoint(rig.target, Access.WRITE)
        view = RunView.open(rig.folder / run)
        async with CloudClient.open(endpoint, access=Access.WRITE, clock=rig.clock, sink=discard) as client:
            return await roll_back(client, view, force=False, abort_on_error=False, clock=rig.clock, sink=discard)

    return asyncio.run(work())


def test_without_sync_nothing_but_the_document_comes_over(tmp_path: Path) -> None:
    """State, owner, space and concurrent runs changed at the source: a run without `--sync` writes nothing."""
    rig = restored(tmp_path)
    one = record(rig.source, "leaf")
    one.state, one.owner_id, one.space_id, one.max_runs = "disabled", ada(rig.source), shared(rig.source), 3
    assert steps(again(rig)) == {}


@pytest.mark.parametrize(
    ("field", "writes"),
    [
        ("state", ["disable"]),
        ("owner", ["change-owner", "put"]),
        ("space", ["change-space", "put"]),
        ("maxConcurrentRuns", ["put"]),
    ],
)
def test_each_field_takes_the_least_writes_and_goes_back(tmp_path: Path, field: str, writes: list[str]) -> None:
    """One field differs: it alone is brought over and read back; a rollback brings the former value, bindings too."""
    rig = restored(tmp_path)
    before = rig.state()
    one = record(rig.source, "leaf")
    one.state, one.owner_id, one.space_id, one.max_runs = "disabled", ada(rig.source), shared(rig.source), 3
    if field == "owner":
        connections = rig.source._connections.records.values()
        (hers,) = [one.id for one in connections if (one.owner_id, one.name) == (ada(rig.source), "Operations")]
        rig.source.replace_workspace(one.id, document("leaf", bound_block(1, hers))["workspace"])
    plan = again(rig, field)
    assert steps(plan) == {"leaf": writes}
    assert ("sync-loss" in {problem.code for problem in plan.problems}) == (field in ("owner", "space"))
    result = rig.apply(plan, "second")
    assert (result.failed, result.differing) == (0, 0), result.problems
    there = record(rig.target, "leaf")
    found = {
        "state": there.state == "disabled",
        "owner": there.owner_id == ada(rig.target),
        "space": there.space_id == shared(rig.target),
        "maxConcurrentRuns": there.max_runs == 3,
    }
    assert found == {name: name == field for name in ALL}
    connections = rig.target._connections.records.values()
    (bound,) = [one.id for one in connections if (one.owner_id, one.name) == (there.owner_id, "Operations")]
    assert bound in repr(there.workspace_value())
    assert steps(again(rig, field)) == {}

    undone = undo(rig, "second")
    assert undone.counts["automations"]["restored"] == 1, undone.outcomes
    assert rig.state() == before


def test_armed_one_is_never_switched_on_under_held(tmp_path: Path) -> None:
    """On at the source, held at the target: `--sync state` leaves it off, and only `--start as-source` starts it."""
    rig = restored(tmp_path)
    plan = again(rig, "state")
    assert steps(plan) == {}
    assert {one.where.split(" ")[1] for one in plan.problems if one.code == "sync-held"} == {
        record(rig.source, name).id for name in ("hook", "trigger")
    }
    plan = again(rig, "state", start="as-source")
    assert steps(plan) == {"hook": ["enable"], "trigger": ["enable"]}
    assert rig.apply(plan, "second").failed == 0
    assert record(rig.target, "hook").state == "available"
    undo(rig, "second")
    assert record(rig.target, "hook").state == "disabled"


def test_manual_one_gets_the_sources_state(tmp_path: Path) -> None:
    """What cannot fire by itself is switched on as well as off."""
    rig = restored(tmp_path)
    there = record(rig.target, "leaf")
    there.state = "disabled"
    there.touch()
    rig.target._realm.changed()
    plan = again(rig, "state")
    assert steps(plan) == {"leaf": ["enable"]}
    assert rig.apply(plan, "second").failed == 0
    assert record(rig.target, "leaf").state == "available"


def test_edits_at_the_target_survive_a_sync(tmp_path: Path) -> None:
    """A PUT for concurrent runs sends the target's own document: what people edited there stays."""
    rig = restored(tmp_path)
    there = record(rig.target, "leaf")
    there.description = "by hand"
    there.version += 1
    record(rig.source, "leaf").max_runs = 4
    plan = again(rig, "maxConcurrentRuns")
    assert steps(plan) == {"leaf": ["put"]}
    result = rig.apply(plan, "second")
    assert (result.failed, result.differing) == (0, 0)
    assert (there.description, there.max_runs) == ("by hand", 4)
    assert [one.verb for one in again(rig).actions if one.name == "leaf"] == [Verb.NONE]


def test_what_was_off_stays_off_through_a_move(tmp_path: Path) -> None:
    """A change of owner that switches on by itself is met at once."""
    rig = restored(tmp_path, owner_change_keeps_disabled=False)
    record(rig.source, "hook").owner_id = ada(rig.source)
    record(rig.source, "off").owner_id = ada(rig.source)
    plan = again(rig, "owner")
    assert set(steps(plan)) == {"hook", "off"}
    assert rig.apply(plan, "second").failed == 0
    for name in ("hook", "off"):
        there = record(rig.target, name)
        assert (there.owner_id, there.state) == (ada(rig.target), "disabled")


def test_document_and_fields_together(tmp_path: Path) -> None:
    """Everything changed at once: one write of each kind, the document last, and all of it arrives."""
    rig = restored(tmp_path)
    one = record(rig.source, "leaf")
    one.state, one.owner_id, one.space_id, one.max_runs = "disabled", ada(rig.source), shared(rig.source), 3
    one.description = "new"
    plan = again(rig, *ALL)
    assert steps(plan) == {"leaf": ["disable", "change-space", "change-owner", "put"]}
    result = rig.apply(plan, "second")
    assert (result.failed, result.differing) == (0, 0), result.problems
    there = record(rig.target, "leaf")
    assert (there.description, there.state, there.max_runs) == ("new", "disabled", 3)
    assert Step.CHANGE_SPACE in plan.actions[-1].steps or len(plan.actions) == 6


EFFECTS: dict[str, Any] = {
    "500": Status(code=500),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "truncated": Truncate(),
}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(
    "path", ["*/actions/change-space", "*/actions/change-owner", "*/actions/disable", "*/automations/*"]
)
def test_faults_leave_the_same_end(tmp_path: Path, path: str, effect: str) -> None:
    """Each write of a sync meets each fault: after a resume everything is as it should be, at one place."""
    rig = restored(tmp_path)
    one = record(rig.source, "leaf")
    one.state, one.owner_id, one.space_id, one.max_runs = "disabled", ada(rig.source), shared(rig.source), 3
    plan = again(rig, *ALL)
    method = "PUT" if path.endswith("automations/*") else "POST"
    rig.target.faults.append(Fault(effect=EFFECTS[effect], method=method, path=path, nth=1))
    for _ in range(4):
        if rig.apply(plan, "second").failed == 0:
            break
    there = record(rig.target, "leaf")
    assert (there.state, there.owner_id, there.max_runs) == ("disabled", ada(rig.target), 3)
    assert there.space_id == shared(rig.target)
    assert steps(again(rig, *ALL)) == {}


@pytest.mark.parametrize("since", ["untouched", "raised by people", "in use"])
def test_rollback_lowers_the_setting_that_the_run_raised(tmp_path: Path, since: str) -> None:
    """`--settings`: back with one PUT where it is as the run left it and nothing needs it, else kept and listed."""
    rig = make_rig(tmp_path)
    rig.source._shelf.max_runs = 12
    record(rig.source, "leaf").max_runs = 11
    rig.backup()
    before = rig.target._shelf.max_runs
    rig.options = evolve(rig.options, settings=True)
    assert rig.apply(rig.plan(), "first").failed == 0
    assert rig.target._shelf.max_runs == 12
    if since == "raised by people":
        rig.target._shelf.max_runs = 15
    elif since == "in use":
        there = record(rig.target, "leaf")
        there.description = "by hand"
        there.version += 1
        there.touch()
    undone = undo(rig, "first")
    (outcome,) = [one for one in undone.outcomes if one.kind == "settings"]
    expected = {
        "untouched": ("update", ""),
        "raised by people": ("skip", "changed-since"),
        "in use": ("skip", "in-use"),
    }
    assert (outcome.action, outcome.code) == expected[since]
    assert rig.target._shelf.max_runs == {"untouched": before, "raised by people": 15, "in use": 12}[since]
    again = undo(rig, "first")
    assert again.counts["settings"]["restored"] == 0
