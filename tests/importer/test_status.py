"""`status`: a run's tasks, ticked off by what the target shows, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import PLATFORM_OPERATIONS, Ended, Stage, bound_block, call_block, document, text_block

from qlikmigrate.importer.result import Task
from qlikmigrate.importer.tick import Now, tick

AIRTABLE = "0d87347d-27c0-11ea-921c-022e6b5ea1e2"


def sums(ended: Ended) -> dict[str, tuple[int, int]]:
    """Code → settled, total."""
    return {row["code"]: (row["settled"], row["total"]) for row in ended.of("item") if row["kind"] == "sum"}


def set_state(stage: Stage, name: str, state: str) -> None:
    tenant = stage.target.tenant
    one = tenant._shelf.records[stage.target.one(name)["id"]]
    one.state = state
    one.touch()


def prepare(stage: Stage) -> None:
    """A run that leaves a held start, a caller, an unbound block and an unresolved call."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    here = tenant.add_connection(PLATFORM_OPERATIONS, "Operations", ben)
    away = tenant.add_automation(document("away"), ben)
    tenant.add_automation(document("hook", mode="webhook"), ben)
    tenant.add_automation(document("trigger", mode="triggered"), ben)
    tenant.add_automation(document("bound", bound_block(1, here)), ben)
    tenant.add_automation(document("calls", call_block(1, away)), ben)
    stage.backup()
    assert stage.restore("a.qma", "--exclude", "name=away", run="r").code == 0


def test_tasks_are_ticked_one_after_the_other(stage: Stage) -> None:
    """Exit 4 while something is left; each settled task is counted; 0 when nothing is left. GETs only."""
    prepare(stage)
    tenant, ben = stage.target.tenant, stage.target.users["ben"]
    tenant.seen.clear()
    first = stage.cli("status", stage.folder / "r")
    assert first.code == 4
    assert sums(first) == {"call-unresolved": (0, 1), "caller": (0, 1), "connection-unbound": (0, 1), "held": (0, 2)}
    set_state(stage, "hook", "available")
    set_state(stage, "trigger", "available")
    second = stage.cli("status", stage.folder / "r")
    assert sums(second)["held"] == (2, 2)
    tenant.run(stage.target.one("trigger")["id"])
    there = tenant.add_connection(PLATFORM_OPERATIONS, "Own", ben)
    tenant.replace_workspace(stage.target.one("bound")["id"], document("x", bound_block(1, there))["workspace"])
    third = stage.cli("status", stage.folder / "r")
    assert third.code == 4
    assert third.summary["counts"]["tasks"] == {"total": 5, "settled": 4, "open": 1}
    (left,) = [row for row in third.of("item") if row["kind"] == "task" and not row["settled"]]
    assert (left["code"], left["person"]) == ("call-unresolved", "Ben Example")
    callee = tenant.add_automation(document("callee"), ben)
    tenant.replace_workspace(stage.target.one("calls")["id"], document("x", call_block(1, callee))["workspace"])
    last = stage.cli("status", stage.folder / "r")
    assert last.code == 0
    assert {row["where"].split(",")[0] for row in last.of("problem") if row["code"] == "drifted"} == {
        f"automation {stage.target.one(name)['id']}" for name in ("bound", "calls")
    }
    assert "not-connected" in last.codes()
    assert not tenant.writes


def test_words_for_people(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--json` the sums and boxes stand on stdout."""
    from qlikmigrate.cli.app import run

    prepare(stage)
    set_state(stage, "hook", "available")
    capsys.readouterr()
    assert run(["status", str(stage.folder / "r"), "--config", str(stage.config)]) == 4
    out = capsys.readouterr().out
    assert "1 of 2 held starts" in out
    assert "[x] Ben Example: `hook`" in out
    assert "[ ] Ben Example: `trigger`" in out


def test_tasks_survive_a_lost_report(stage: Stage) -> None:
    """A run that died before its report has the same tasks, by its plan and journal."""
    prepare(stage)
    told = stage.cli("status", stage.folder / "r").of("item")
    (stage.folder / "r" / "report.json").unlink()
    again = stage.cli("status", stage.folder / "r")
    assert again.code == 4
    assert again.of("item") == told


def test_nothing_left_is_zero(stage: Stage) -> None:
    """A run that left nothing ends with 0, and says nothing of an untouched target."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    stage.restore(run="r")
    ended = stage.cli("status", stage.folder / "r")
    assert (ended.code, sums(ended), ended.codes()) == (0, {}, set())
    assert stage.cli("status", stage.folder / "nothing").code == 10


def test_removed_automations_leave_no_task(stage: Stage) -> None:
    """What a rollback took away is nobody's task any more."""
    prepare(stage)
    assert stage.cli("rollback", stage.folder / "r", "--yes").code == 0
    assert stage.cli("status", stage.folder / "r").code == 0


@pytest.mark.parametrize("owner_by", ["impersonate", "transfer"])
def test_links_are_printed_and_kept_nowhere(stage: Stage, owner_by: str) -> None:
    """The redirect of an unconnected connection is on stdout when asked for, and in no file; consent settles it."""
    stage.owner_by = owner_by
    stage.write_config()
    sides = []
    for side in (stage.source, stage.target):
        sides.append(side.tenant.add_connection(AIRTABLE, "Post", side.users["ben"], connected=False))
    stage.source.tenant.add_automation(document("mails", bound_block(1, sides[0], AIRTABLE)), stage.source.users["ben"])
    stage.backup()
    stage.restore(run="r")
    redirect = stage.target.tenant.connections[sides[1]]["redirect"]
    assert redirect
    without = stage.cli("status", stage.folder / "r")
    assert redirect not in json.dumps(without.lines)
    ended = stage.cli("status", stage.folder / "r", "--links")
    (link,) = [row for row in ended.of("item") if row["kind"] == "link"]
    # A bot may list other people's connections, and open none of them.
    assert link["redirect"] == (redirect if owner_by == "impersonate" else None)
    assert link["owner"] == "Ben Example"
    state = Path(stage.folder)
    assert all(redirect.encode() not in path.read_bytes() for path in state.rglob("*") if path.is_file())
    stage.target.tenant.consent(sides[1])
    after = stage.cli("status", stage.folder / "r", "--links")
    assert not [row for row in after.of("item") if row["kind"] == "link"]


# One task after the other, by what the target shows


def now(**facts: Any) -> Now:
    empty: dict[str, Any] = {
        "documents": {}, "rows": {}, "gone": (), "connected": {}, "stand_ins": {}, "ran": (), "source_ids": (),
    }  # fmt: skip
    return Now(**(empty | facts))


def task(code: str, where: str = "automation a") -> Task:
    return Task(code=code, person="Ben", message="do it", where=where)


OLD = "0badc0de-0000-4000-8000-000000000001"
PLACE = "automation a, workspace.blocks[1].inputs[0].value (block `output1`)"
JUDGED: dict[str, tuple[Task, Callable[[bool], Now]]] = {
    "consent": (task("consent", "connection c"), lambda yes: now(connected={"c": yes})),
    "held": (task("held"), lambda yes: now(rows={"a": {"state": "available" if yes else "disabled"}})),
    "caller": (task("caller"), lambda yes: now(ran=("a",) if yes else ())),
    "owner": (
        task("owner-to-reassign"),
        lambda yes: now(rows={"a": {"ownerId": "ben" if yes else "ada"}}, stand_ins={"a": "ada"}),
    ),
    "id": (
        task("source-id-left", PLACE),
        lambda yes: now(documents={"a": document("a", text_block(1, "x" if yes else f"see {OLD}"))}, source_ids={OLD}),
    ),
    "bindings": (
        task("bindings-lost-on-transfer"),
        lambda yes: now(documents={"a": document("a", bound_block(1, "c" if yes else None))}),
    ),
    "gone": (task("held"), lambda yes: now(gone=("a",) if yes else (), rows={"a": {"state": "disabled"}})),
    "block gone": (
        task("connection-unbound", PLACE.replace("output1", "rawApi1")),
        lambda yes: now(documents={"a": document("a", *(() if yes else (bound_block(1, None),)))}),
    ),
    "unreadable": (
        task("connection-unbound"),
        lambda yes: now(documents={"a": None}, gone=("a",) if yes else ()),
    ),
}


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("what", JUDGED)
def test_each_kind_of_task_is_judged(what: str, settled: bool) -> None:
    """The same task is open before and settled after what it asks for was done."""
    one, shown = JUDGED[what]
    assert tick(one, shown(settled)).settled is settled


def test_what_nobody_can_check_is_open() -> None:
    """An unknown code, or a place that means nothing, is never ticked."""
    assert not tick(task("something-new"), now(documents={"a": document("a")})).settled
    assert not tick(task("held", "nowhere"), now()).settled
