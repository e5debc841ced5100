"""Rollback: what a run did is undone, what people did since is not, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from dying import Killed, dying
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import TIMEOUT_S, Rig, make_rig
from stage import DAILY, Stage, bound_block, call_block, document, text_block

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access
from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.ledger import read_ledger
from qlikmigrate.importer.line_log import LineLog
from qlikmigrate.importer.plan import Conflict, PlanOptions
from qlikmigrate.importer.rollback import preview_rollback, roll_back
from qlikmigrate.importer.rollback_book import RollbackResult
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.error import QlikmigrateError, UsageError
from qlikmigrate.kernel.event import discard
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status
from qlikmigrate.sandbox.fault import ExpireToken


def rollback(rig: Rig, run: str = "run", *, force: bool = False, dry: bool = False) -> RollbackResult:
    """Roll a run of the rig back; `dry`: with a client that cannot write."""

    async def work() -> RollbackResult:
        access = Access.READ if dry else Access.WRITE
        endpoint = rig.endpoint(rig.target, access)
        view = RunView.open(rig.folder / run)
        async with CloudClient.open(endpoint, access=access, clock=rig.clock, sink=discard) as client:
            if dry:
                return await preview_rollback(client, view, force=force, clock=rig.clock, sink=discard)
            return await roll_back(client, view, force=force, abort_on_error=False, clock=rig.clock, sink=discard)

    return asyncio.run(work())


def picture(rig: Rig) -> dict[str, Any]:
    """Everything at the target that a run may touch, by id."""
    kept = ("name", "description", "state", "runMode", "spaceId", "ownerId", "maxConcurrentRuns")
    automations = {
        ident: {key: one[key] for key in kept} | {"face": face_of(one)} for ident, one in rig.target.automations.items()
    }
    spaces = {ident: one["name"] for ident, one in rig.target.spaces.items()}
    return {"automations": automations, "spaces": spaces, "connections": sorted(rig.target.connections)}


def counts(result: RollbackResult) -> dict[str, int]:
    """Counts of automations, zeros left out."""
    return {key: value for key, value in result.counts["automations"].items() if value}


def kept(result: RollbackResult) -> dict[str, str]:
    """Name → code of what was kept."""
    return {one.name: one.code for one in result.outcomes if one.status == "skipped"}


def named(rig: Rig, name: str) -> str:
    """The id of the only automation of that name at the target."""
    (found,) = [ident for ident, one in rig.target.automations.items() if one["name"] == name]
    return found


def mixed(folder: Path, *, impersonate: bool = True) -> Rig:
    """A rig whose second run creates and updates: one update disarms first, one conflict is overwritten."""
    rig = make_rig(folder, impersonate=impersonate)
    rig.options = PlanOptions(on_conflict=Conflict.UPDATE)
    for name in ("grows", "arms"):
        rig.source.add_automation(document(name), rig.ben_here)
    rig.backup()
    assert rig.apply(rig.plan(), "first").failed == 0
    here = {one["name"]: ident for ident, one in rig.source.automations.items()}
    rig.source.replace_workspace(here["grows"], document("grows", text_block(1, "more"))["workspace"])
    rig.source.replace_workspace(here["arms"], document("arms", mode="webhook")["workspace"])
    rig.source.replace_workspace(
        here["trigger"], document("trigger", text_block(1, "x"), mode="triggered")["workspace"]
    )
    rig.target.replace_workspace(
        named(rig, "trigger"), document("trigger", text_block(1, "theirs"), mode="triggered")["workspace"]
    )
    rig.source.add_automation(document("new", call_block(1, here["leaf"])), rig.ben_here)
    rig.source.add_automation(document("daily", schedules=[DAILY]), rig.ben_here)
    rig.backup()
    return rig


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_target_is_as_before_the_run(tmp_path: Path, impersonate: bool) -> None:
    """Creates, updates and an update that switched off are undone; the ids of what is restored stay."""
    rig = mixed(tmp_path, impersonate=impersonate)
    before, ledger = picture(rig), (tmp_path / "ledger.jsonl").read_bytes()
    assert rig.apply(rig.plan()).failed == 0
    assert picture(rig) != before
    rig.target.armed_while_enabled.clear()
    result = rollback(rig)
    assert counts(result) == {"selected": 10, "deleted": 2, "restored": 3, "untouched": 5}
    assert picture(rig) == before
    assert not rig.target.armed_while_enabled
    now = read_ledger(tmp_path / "ledger.jsonl", source_tenant=rig.source.id, target_tenant=rig.target.id)
    (tmp_path / "old.jsonl").write_bytes(ledger)
    old = read_ledger(tmp_path / "old.jsonl", source_tenant=rig.source.id, target_tenant=rig.target.id)
    assert {key: (one.target_id, one.face) for key, one in now.entries.items()} == {
        key: (one.target_id, one.face) for key, one in old.entries.items()
    }


def test_first_run_leaves_nothing_behind_and_can_be_done_again(tmp_path: Path) -> None:
    """A run into an empty tenant is deleted whole; the ledger forgets it, and a new run creates it again."""
    rig = make_rig(tmp_path)
    before = picture(rig)
    rig.apply(rig.plan())
    done = rig.state()
    rollback(rig)
    assert picture(rig) == before
    ledger = read_ledger(tmp_path / "ledger.jsonl", source_tenant=rig.source.id, target_tenant=rig.target.id)
    assert not list(ledger)
    assert rig.apply(rig.plan(), "again").failed == 0
    assert rig.state() == done


def test_order_is_reversed(tmp_path: Path) -> None:
    """Last things first: callers go before those that they call."""
    rig = make_rig(tmp_path)
    plan = rig.plan()
    rig.apply(plan)
    ids = [one.name for one in plan.actions]
    names = {ident: one["name"] for ident, one in rig.target.automations.items()}
    rig.target.seen.clear()
    rollback(rig)
    deleted = [names[one.path.rpartition("/")[2]] for one in rig.target.writes if one.method == "DELETE"]
    assert deleted == ids[::-1]
    assert not any("forced" in one.query for one in rig.target.seen)


def test_second_rollback_does_nothing(tmp_path: Path) -> None:
    """Undone is undone: no write, not even where somebody made something of what was restored."""
    rig = mixed(tmp_path)
    rig.apply(rig.plan())
    rollback(rig)
    rig.target.replace_workspace(named(rig, "grows"), document("grows", text_block(1, "edited"))["workspace"])
    before = picture(rig)
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    rig.target.seen.clear()
    result = rollback(rig)
    assert not rig.target.writes
    assert counts(result) == {"selected": 10, "untouched": 10}
    assert picture(rig) == before
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == journal


def test_a_run_that_was_rolled_back_is_not_resumed(tmp_path: Path) -> None:
    """Going on with it would make again what was undone."""
    rig = make_rig(tmp_path)
    plan = rig.plan()
    rig.apply(plan)
    rollback(rig)
    with pytest.raises(UsageError, match="rolled back"):
        rig.apply(plan)


def edit(rig: Rig, name: str) -> None:
    rig.target.replace_workspace(named(rig, name), document(name, text_block(9, "edited"))["workspace"])


def shelf(rig: Rig, name: str) -> Any:
    return rig.target._shelf.records[named(rig, name)]


def describe(rig: Rig, name: str) -> None:
    shelf(rig, name).description = "described by somebody"
    shelf(rig, name).touch()


def move(rig: Rig, name: str) -> None:
    shelf(rig, name).space_id = rig.target.add_space("Theirs", owner=rig.ben_there)


def give(rig: Rig, name: str) -> None:
    shelf(rig, name).owner_id = rig.target.add_user("corp\\cleo", "Cleo", "cleo@example.com")


def widen(rig: Rig, name: str) -> None:
    shelf(rig, name).max_runs = 5


def enable(rig: Rig, name: str) -> None:
    shelf(rig, name).state = "available"
    shelf(rig, name).touch()


def start(rig: Rig, name: str) -> None:
    rig.target.run(named(rig, name))


TOUCHES: dict[str, tuple[Callable[[Rig, str], None], str, str]] = {
    "edited": (edit, "leaf", "changed-since"),
    "described": (describe, "leaf", "changed-since"),
    "moved": (move, "leaf", "changed-since"),
    "given away": (give, "leaf", "changed-since"),
    "more runs": (widen, "leaf", "changed-since"),
    "enabled": (enable, "hook", "enabled-since"),
    "ran": (start, "leaf", "ran-since"),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_what_people_touched_is_kept_and_listed(tmp_path: Path, touch: str) -> None:
    """Each way of touching a created automation keeps that one, with its reason; the others go; `--force` takes it."""
    rig = make_rig(tmp_path)
    rig.apply(rig.plan())
    act, name, code = TOUCHES[touch]
    act(rig, name)
    ident = named(rig, name)
    result = rollback(rig)
    assert kept(result) == {name: code}
    assert list(rig.target.automations) == [ident]
    assert code in {one.code for one in result.problems}
    forced = rollback(rig, force=True)
    assert counts(forced)["deleted"] == 1
    assert not rig.target.automations


def test_activated_counts_as_enabled_unless_off_again(tmp_path: Path) -> None:
    """What was switched on later stays; once it is off again, another rollback takes it."""
    rig = make_rig(tmp_path)
    rig.apply(rig.plan())
    enable(rig, "hook")
    assert kept(rollback(rig)) == {"hook": "enabled-since"}
    shelf(rig, "hook").state = "disabled"
    assert counts(rollback(rig))["deleted"] == 1


@pytest.mark.parametrize("name", ["grows", "arms", "trigger"])
def test_updates_that_people_changed_since_are_kept(tmp_path: Path, name: str) -> None:
    """An edit after our update stays, and its ledger entry with it; `--force` puts the pre-image back."""
    rig = mixed(tmp_path)
    before = picture(rig)
    rig.apply(rig.plan())
    edit(rig, name)
    ident = named(rig, name)
    edited = face_of(rig.target.automations[ident])
    result = rollback(rig)
    assert kept(result) == {name: "changed-since"}
    assert face_of(rig.target.automations[ident]) == edited
    rollback(rig, force=True)
    assert picture(rig) == before


def test_adopted_is_never_touched_not_even_by_force(tmp_path: Path) -> None:
    """An automation that was there with the same content was adopted: it stays whatever is said."""
    rig = make_rig(tmp_path)
    rig.target.add_automation(document("trigger", mode="triggered"), rig.ben_there, state="disabled")
    rig.apply(rig.plan())
    edit(rig, "trigger")
    result = rollback(rig, force=True)
    assert counts(result)["untouched"] == 1
    assert [one["name"] for one in rig.target.automations.values()] == ["trigger"]


def test_kept_caller_of_a_removed_one_is_told(tmp_path: Path) -> None:
    """A kept automation that calls one that goes is named."""
    rig = make_rig(tmp_path)
    rig.apply(rig.plan())
    start(rig, "second")
    result = rollback(rig)
    assert kept(result) == {"second": "ran-since"}
    (told,) = [one for one in result.problems if one.code == "callee-removed"]
    assert "second" in told.message


def test_dry_run_sends_gets_only_and_agrees(tmp_path: Path) -> None:
    """The preview changes nothing and says what the rollback then does."""
    rig = mixed(tmp_path)
    rig.apply(rig.plan())
    edit(rig, "grows")
    before = picture(rig)
    rig.target.seen.clear()
    foretold = rollback(rig, dry=True)
    assert not rig.target.writes
    assert picture(rig) == before
    done = rollback(rig)
    assert foretold.counts == done.counts
    assert [(one.name, one.action) for one in foretold.outcomes] == [(one.name, one.action) for one in done.outcomes]


def with_space(folder: Path) -> Rig:
    rig = make_rig(folder, impersonate=False)
    space = rig.source.add_space("Finance", owner=rig.ben_here)
    rig.source.add_automation(document("ledger"), rig.ben_here, space)
    rig.options = PlanOptions(create_spaces=True)
    rig.backup()
    return rig


@pytest.mark.parametrize("inhabitant", ["none", "automation", "connection", "item", "kept"])
def test_created_space_goes_only_when_empty(tmp_path: Path, inhabitant: str) -> None:
    """A space that the run created is deleted last, unless anything is in it."""
    rig = with_space(tmp_path)
    before = picture(rig)
    rig.apply(rig.plan())
    (space,) = [ident for ident, one in rig.target.spaces.items() if one["name"] == "Finance"]
    if inhabitant == "automation":
        rig.target.add_automation(document("theirs"), rig.ben_there, space)
    elif inhabitant == "connection":
        from stage import PLATFORM_OPERATIONS

        rig.target.add_connection(PLATFORM_OPERATIONS, "Theirs", rig.ben_there, space=space)
    elif inhabitant == "item":
        rig.target.add_item("app", "Sheet", owner=rig.ben_there, space=space)
    elif inhabitant == "kept":
        start(rig, "ledger")
    result = rollback(rig)
    if inhabitant == "none":
        assert picture(rig) == before
        assert result.counts["spaces"]["deleted"] == 1
    else:
        assert space in rig.target.spaces
        assert kept(result)["Finance"] == "not-empty"


def test_space_of_somebody_else_with_that_name_stays(tmp_path: Path) -> None:
    """A space that came up between plan and run was taken as it was, and is not the run's to delete."""
    rig = with_space(tmp_path)
    plan = evolve(rig.plan(), target=evolve(rig.plan().target, fingerprint={}))
    space = rig.target.add_space("Finance", owner=rig.ben_there)
    rig.apply(plan)
    assert kept(rollback(rig)) == {"Finance": "not-proven"}
    assert space in rig.target.spaces


UNDOING = {
    "delete": ("DELETE", "*/automations/*"),
    "put": ("PUT", "*/automations/*"),
    "enable": ("POST", "*/actions/enable"),
    "delete space": ("DELETE", "*/spaces/*"),
}
EFFECTS: dict[str, Any] = {
    "429": Status(code=429, retry_after=3),
    "500": Status(code=500),
    "503": Status(code=503),
    "504 after commit": Status(code=504, commit=True),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "token expired": ExpireToken(),
}


def prepared(folder: Path) -> tuple[Rig, dict[str, Any]]:
    """A rig after a run of every kind of write, and the picture before that run."""
    rig = mixed(folder, impersonate=False)
    space = rig.source.add_space("Finance", owner=rig.ben_here)
    rig.source.add_automation(document("ledger"), rig.ben_here, space)
    rig.options = evolve(rig.options, create_spaces=True)
    rig.backup()
    before = picture(rig)
    assert rig.apply(rig.plan()).failed == 0
    return rig, before


def to_the_end(rig: Rig, tries: int = 4) -> None:
    for _ in range(tries):
        try:
            if not rollback(rig).failed:
                return
        except QlikmigrateError:
            continue
    raise AssertionError("never came to its end")


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("write", UNDOING)
def test_fault_matrix(tmp_path: Path, write: str, effect: str) -> None:
    """Every write of a rollback × every fault: it ends as an undisturbed one does."""
    method, path = UNDOING[write]
    rig, before = prepared(tmp_path)
    rig.target.faults.append(Fault(effect=EFFECTS[effect], method=method, path=path, nth=1))
    to_the_end(rig)
    assert picture(rig) == before


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_at_lines_of_a_rollback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process dies before or after lines that a rollback writes, with `step` 1 each: the next one finishes it."""
    plain = LineLog.append
    lines = 0

    def counting(self: LineLog, line: Any) -> None:
        nonlocal lines
        lines += 1
        plain(self, line)

    rig, _ = prepared(tmp_path / "calm")
    monkeypatch.setattr(LineLog, "append", counting)
    rollback(rig)
    monkeypatch.setattr(LineLog, "append", plain)
    assert lines > 20
    for doomed in range(1, lines + 1, step):
        for after in (False, True):
            rig, before = prepared(tmp_path / f"{doomed}-{after}")
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            with pytest.raises(Killed):
                rollback(rig)
            monkeypatch.setattr(LineLog, "append", plain)
            assert rollback(rig).failed == 0
            assert picture(rig) == before


@pytest.mark.parametrize("after", [False, True])
def test_run_that_died_anywhere_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """A run killed at any journal line is undone; only what nothing proves to be its own is left and named."""
    plain = LineLog.append
    for doomed in range(1, 200):
        rig = make_rig(tmp_path / str(doomed))
        before = picture(rig)
        count = 0

        def dying(self: LineLog, line: Any, doomed: int = doomed) -> None:
            nonlocal count
            count += 1
            if count == doomed and not after:
                raise Killed
            plain(self, line)
            if count == doomed:
                raise Killed

        monkeypatch.setattr(LineLog, "append", dying)
        plan = rig.plan()
        try:
            rig.apply(plan)
        except Killed:
            pass
        else:
            assert count < doomed
            break
        finally:
            monkeypatch.setattr(LineLog, "append", plain)
        if not (rig.folder / "run" / "journal.jsonl").exists():
            continue
        result = rollback(rig)
        assert result.failed == 0
        if kept(result):
            (name,) = kept(result)
            assert kept(result) == {name: "not-proven"}
            assert [one["name"] for one in rig.target.automations.values()] == [name]
            rollback(rig, force=True)
        assert picture(rig) == before
    else:
        raise AssertionError("the run never came to its end")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    touched=st.sets(st.sampled_from(["hook", "trigger", "off", "leaf", "first", "second"])),
    impersonate=st.booleans(),
)
def test_exactly_the_touched_ones_stay(
    tmp_path_factory: pytest.TempPathFactory, touched: set[str], impersonate: bool
) -> None:
    """Law: after a rollback the target is as before, but for what people touched, which is as they left it."""
    rig = make_rig(tmp_path_factory.mktemp("law"), impersonate=impersonate)
    rig.apply(rig.plan())
    for name in touched:
        describe(rig, name)
    left = {ident: one for ident, one in picture(rig)["automations"].items() if one["name"] in touched}
    result = rollback(rig)
    assert set(kept(result)) == touched
    assert picture(rig)["automations"] == left


# Through the command line


def test_command_asks_undoes_and_reports(stage: Stage) -> None:
    """Without `--yes` it exits 2 and sends GETs only; with it the target is empty again and reports are written."""
    ben = stage.source.users["ben"]
    stage.source.tenant.add_automation(document("one"), ben)
    stage.source.tenant.add_automation(document("two", mode="webhook"), ben)
    stage.backup()
    stage.restore(run="r")
    stage.target.tenant.run(
        next(ident for ident, one in stage.target.tenant.automations.items() if one["name"] == "one")
    )
    stage.target.tenant.seen.clear()
    asked = stage.cli("rollback", stage.folder / "r")
    assert (asked.code, asked.error["code"]) == (2, "usage")
    dry = stage.cli("rollback", stage.folder / "r", "--dry-run")
    assert dry.code == 0
    assert {(one["name"], one["action"], one["status"]) for one in dry.of("outcome")} == {
        ("one", "skip", "skipped"),
        ("two", "delete", "planned"),
    }
    assert not stage.target.tenant.writes
    done = stage.cli("rollback", stage.folder / "r", "--yes")
    assert done.code == 0
    assert done.automations == {"selected": 2, "deleted": 1, "kept": 1}
    assert done.codes() == {"ran-since"}
    assert [one["name"] for one in stage.target.tenant.automations.values()] == ["one"]
    report = json.loads((stage.folder / "r" / "rollback.json").read_text())
    assert {one["name"]: one["status"] for one in report["outcomes"]} == {"one": "skipped", "two": "done"}
    assert "it ran since" in (stage.folder / "r" / "rollback.md").read_text()
    again = stage.restore(run="r")
    assert again.code == 2
    forced = stage.cli("rollback", stage.folder / "r", "--yes", "--force")
    assert forced.automations == {"selected": 2, "deleted": 1, "untouched": 1}
    resumed = stage.restore("a.qma", "--resume", run="r")
    assert (resumed.code, "rolled back" in resumed.error["message"]) == (2, True)


def test_command_needs_a_run_and_access(stage: Stage) -> None:
    """No run there: 10. Not enough `access`: 2, and nothing but GETs."""
    assert stage.cli("rollback", stage.folder / "nothing").code == 10
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    stage.restore(run="r")
    stage.write_config(target_access="read")
    refused = stage.cli("rollback", stage.folder / "r", "--yes")
    assert (refused.code, refused.error["code"]) == (2, "not-enough-access")
    assert stage.target.one("one")


def test_bound_connection_since_is_a_change(stage: Stage) -> None:
    """Somebody bound what the run had to leave unbound: that work is kept."""
    from stage import PLATFORM_OPERATIONS

    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    here = tenant.add_connection(PLATFORM_OPERATIONS, "Operations", ben)
    tenant.add_automation(document("bound", bound_block(1, here)), ben)
    stage.backup()
    stage.restore(run="r")
    there = stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Own", stage.target.users["ben"])
    stage.target.tenant.replace_workspace(
        stage.target.one("bound")["id"], document("bound", bound_block(1, there))["workspace"]
    )
    done = stage.cli("rollback", stage.folder / "r", "--yes")
    assert done.codes() >= {"changed-since"}
    assert stage.target.one("bound")


# Connections that a run created: the journal tells which


def with_connection(folder: Path) -> tuple[Rig, str]:
    """A rig after a run whose journal says that it created a connection, too."""
    from stage import PLATFORM_OPERATIONS

    from qlikmigrate.importer.journal import Journal
    from qlikmigrate.importer.plan import Step

    rig = make_rig(folder)
    rig.apply(rig.plan())
    ident = rig.target.add_connection(PLATFORM_OPERATIONS, "Made", rig.ben_there)
    journal = Journal(folder / "run" / "journal.jsonl", run_id="run", clock=rig.clock)
    journal.intend("connection:there", Step.CREATE, since=rig.clock.now(), by=rig.ben_there)
    journal.done("connection:there", Step.CREATE, ident)
    journal.close()
    return rig, ident


@pytest.mark.parametrize("use", ["none", "kept", "theirs", "changed"])
def test_created_connection_goes_when_nothing_needs_it(tmp_path: Path, use: str) -> None:
    """Deleted, never by force, unless a kept or a foreign automation is bound to it, or somebody changed it."""
    rig, ident = with_connection(tmp_path)
    if use == "kept":
        rig.target.replace_workspace(named(rig, "leaf"), document("leaf", bound_block(1, ident))["workspace"])
    elif use == "theirs":
        rig.target.add_automation(document("theirs", bound_block(1, ident)), rig.ben_there)
    elif use == "changed":
        rig.clock.advance(3600)
        rig.target._connections._touch(rig.target._connections.records[ident])
    foretold = rollback(rig, dry=True)
    result = rollback(rig)
    assert (ident in rig.target.connections) is (use != "none")
    code = {"kept": "in-use", "theirs": "in-use", "changed": "changed-since"}.get(use)
    assert kept(result).get("Made") == code
    assert result.counts["connections"]["deleted"] == (use == "none")
    # What is not the run's is not read for a preview: only the server knows who else is bound to it.
    assert foretold.counts["connections"]["deleted"] == (use in ("none", "theirs"))
    assert all(one.query.get("forced", "false") == "false" for one in rig.target.writes)
    assert rollback(rig).counts["connections"]["deleted"] == 0
