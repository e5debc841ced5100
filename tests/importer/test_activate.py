"""Activation, seen from both tenants: refused while a source is on, only what is ready, callees first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from dying import Killed, dying
from live import NAMES, Live, by_name, codes, make_live, writes
from rig import TIMEOUT_S
from stage import document, text_block

from qlikmigrate.importer.line_log import LineLog
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.error import NotFoundError, QlikmigrateError
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status, Truncate
from qlikmigrate.sandbox.fault import ExpireToken, HtmlOk

ALL = set(NAMES)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """Restored and held, sources still on."""
    return make_live(tmp_path / "rig")


@pytest.fixture
def stopped(live: Live) -> Live:
    """Restored and held, every source switched off by its people."""
    for name in NAMES:
        live.turn(live.rig.source, name, "disabled")
    return live


def target(live: Live, name: str) -> Any:
    return live.rig.target._shelf.records[live.ident(live.rig.target, name)]


def test_starts_what_was_held_callees_first(stopped: Live) -> None:
    """Every held automation is switched on once, the called one before its caller; nothing else is written."""
    result = stopped.activate()
    assert result.failed == 0
    assert stopped.sides == (set(), ALL)
    assert result.counts == {"selected": 4, "enabled": 4, "unchanged": 0, "skipped": 0, "failed": 0}
    sent = writes(stopped.rig.target)
    assert sorted(sent) == sorted(f"enable {name}" for name in NAMES)
    assert sent.index("enable trigger") < sent.index("enable caller")
    assert not stopped.rig.source.writes
    assert not stopped.both
    firing = {one.name: one.reason for one in result.outcomes}
    assert firing["hourly"].startswith("next firing: 2026-11-01T13:00:00Z")


def test_second_time_writes_nothing(stopped: Live) -> None:
    """What is on already takes no write."""
    stopped.activate()
    before = len(stopped.rig.target.writes)
    assert set(by_name(stopped.activate()).values()) == {"none done"}
    assert len(stopped.rig.target.writes) == before


def test_refused_while_any_source_is_on(live: Live) -> None:
    """All counterparts that are on are told at once, and planning wrote nothing; `source-on` waives it."""
    live.turn(live.rig.source, "hook", "disabled")
    plan = live.plan_activation()
    assert sorted(one.message.split("`")[1] for one in plan.errors) == ["caller", "hourly", "trigger"]
    assert {one.code for one in plan.errors} == {"source-on"}
    assert not live.rig.target.writes
    assert live.activate(allow=frozenset({"source-on"})).failed == 0
    assert live.sides[1] == ALL


def test_refused_where_nobody_can_ask_the_source(stopped: Live) -> None:
    """Without a source to ask there is one error for all; either word waives it."""
    plan = stopped.plan_activation(with_source=False)
    assert [one.code for one in plan.errors] == ["source-unchecked"]
    for word in ("source-on", "source-unchecked"):
        assert not stopped.plan_activation(with_source=False, allow=frozenset({word})).errors


def test_deleted_source_is_no_obstacle(stopped: Live) -> None:
    """A counterpart that is gone cannot be on."""
    del stopped.rig.source._shelf.records[stopped.ident(stopped.rig.source, "hook")]
    stopped.rig.source._realm.changed()
    assert stopped.activate().failed == 0
    assert stopped.sides[1] == ALL


def test_source_switched_on_meanwhile_is_not_doubled(stopped: Live) -> None:
    """Between the plan and its turn somebody switches one on at the source: it fails, the others start."""

    def meddle(tenant: Any, request: Any) -> None:
        if tenant is stopped.rig.target and request.url.endswith("/enable"):
            stopped.turn(stopped.rig.source, "caller", "available")

    stopped.on_request = meddle
    result = stopped.activate()
    assert by_name(result)["caller"] == "enable failed source-on"
    assert stopped.sides[1] == ALL - {"caller"}
    assert not stopped.both


# Ready or not


def unbind(live: Live) -> None:
    one = target(live, "hook")
    value = one.workspace_value()
    value["blocks"][1]["settings"][0]["value"] = None
    one.set_workspace(value)


def drop_connection(live: Live) -> None:
    live.rig.target._connections.records.clear()


def disconnect(live: Live) -> None:
    for one in live.rig.target._connections.records.values():
        one.broken = True


def delete(live: Live) -> None:
    del live.rig.target._shelf.records[live.ident(live.rig.target, "hook")]
    live.rig.target._realm.changed()


@pytest.mark.parametrize(
    ("change", "code"),
    [(unbind, "unready"), (drop_connection, "unready"), (disconnect, "unready"), (delete, "missing")],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_unready_is_skipped(stopped: Live, change: Any, code: str) -> None:
    """What cannot work is not started, is told, and makes nothing fail; the others start."""
    change(stopped)
    result = stopped.activate()
    assert by_name(result)["hook"] == f"skip skipped {code}"
    assert result.failed == 0
    assert code in codes(result)
    assert stopped.sides[1] == ALL - {"hook"}


@pytest.mark.parametrize("change", [unbind, disconnect], ids=lambda one: one.__name__)
def test_unready_is_included_on_request(stopped: Live, change: Any) -> None:
    """`--include-unready` starts it all the same."""
    change(stopped)
    assert stopped.activate(include_unready=True).failed == 0
    assert stopped.sides[1] == ALL


@pytest.mark.parametrize("how", ["disabled", "no callee", "callee gone"])
def test_open_call_is_unready(stopped: Live, how: str) -> None:
    """A call that is disabled, has no callee, or whose callee was deleted, is not started."""
    one = target(stopped, "caller")
    value = one.workspace_value()
    if how == "disabled":
        value["blocks"][1]["disabled"] = True
    elif how == "no callee":
        value["blocks"][1]["inputs"][0]["value"] = None
    else:
        del stopped.rig.target._shelf.records[stopped.ident(stopped.rig.target, "trigger")]
        stopped.rig.target._realm.changed()
    one.set_workspace(value)
    result = stopped.activate()
    assert by_name(result)["caller"] == "skip skipped unready"
    assert target(stopped, "caller").state == "disabled"


def test_edited_one_is_skipped_until_said_otherwise(stopped: Live) -> None:
    """What somebody edited since the restore is named; `--allow target-changed` starts it."""
    workspace = document("hourly", text_block(7, "new"), mode="scheduled")["workspace"]
    stopped.rig.target.replace_workspace(stopped.ident(stopped.rig.target, "hourly"), workspace)
    assert by_name(stopped.activate())["hourly"] == "skip skipped target-changed"
    assert stopped.activate(allow=frozenset({"target-changed"})).failed == 0
    assert stopped.sides[1] == ALL


def test_binding_by_people_is_no_edit(stopped: Live) -> None:
    """Another connection that works, chosen by a person, is what the runbook asks for."""
    stopped.rig.target.add_connection("61a87510-c7a3-11ea-95da-0fb0c241e75c", "Another", stopped.rig.ben_there)
    another = next(ident for ident, one in stopped.rig.target.connections.items() if one["name"] == "Another")
    one = target(stopped, "hook")
    value = one.workspace_value()
    value["blocks"][1]["settings"][0]["value"] = another
    one.set_workspace(value)
    assert by_name(stopped.activate())["hook"] == "enable done"


def test_incomplete_one_is_never_started(stopped: Live) -> None:
    """What the run did not complete stays off, whatever is allowed."""
    journal = stopped.run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    view = RunView.open(stopped.run)
    (seq,) = (one.seq for one in view.plan.actions if one.name == "hook")
    kept = [line for line in lines if f'"done","key":"{seq}","step":"put"' not in line and '"finished"' not in line]
    assert len(kept) == len(lines) - 2
    journal.write_text("".join(kept))
    result = stopped.activate(include_unready=True, allow=frozenset({"source-on", "target-changed"}))
    assert by_name(result)["hook"] == "skip skipped not-complete"
    assert target(stopped, "hook").state == "disabled"


def test_resumed_restore_leaves_what_was_activated(stopped: Live) -> None:
    """A run that is resumed after its activation verifies, and switches nothing off again."""
    stopped.activate()
    result = stopped.rig.apply(stopped.rig.plan())
    assert (result.failed, result.differing) == (0, 0)
    assert stopped.sides[1] == ALL


def test_second_run_still_holds_what_the_first_held(stopped: Live) -> None:
    """A run that wrote nothing starts what an earlier one held, and not what is off at the source."""
    for one in stopped.rig.source._shelf.records.values():
        if one.name in NAMES:
            one.state = "available"
            one.touch()
    stopped.rig.backup()
    plan = stopped.rig.plan()
    assert plan.writes == 0
    stopped.rig.apply(plan, "second")
    stopped.folder = "second"
    for name in NAMES:
        stopped.turn(stopped.rig.source, name, "disabled")
    assert stopped.activate().counts["enabled"] == len(NAMES)
    assert stopped.sides[1] == ALL
    assert stopped.rig.target._shelf.records[stopped.ident(stopped.rig.target, "off")].state == "disabled"
    assert stopped.activate().counts["unchanged"] == len(NAMES)


def test_no_run_no_activation(tmp_path: Path) -> None:
    """A folder without a run is said to be none."""
    with pytest.raises(NotFoundError, match="no run"):
        RunView.open(tmp_path / "nothing")


# Faults

EFFECTS: dict[str, Any] = {
    "429": Status(code=429, retry_after=3),
    "500": Status(code=500),
    "504 after commit": Status(code=504, commit=True),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "truncated answer": Truncate(),
    "HTML with 200": HtmlOk(),
    "token expired": ExpireToken(),
}


@pytest.mark.parametrize("times", [1, None], ids=["once", "for good"])
@pytest.mark.parametrize("effect", EFFECTS)
def test_fault_matrix(tmp_path: Path, effect: str, times: int | None) -> None:
    """A passing fault changes nothing; after one that stayed, the next run ends as an undisturbed one."""
    live = make_live(tmp_path / "rig", names=("trigger", "hourly"))
    for name in ("trigger", "hourly"):
        live.turn(live.rig.source, name, "disabled")
    fault = Fault(effect=EFFECTS[effect], method="POST", path="*/actions/enable", times=times)
    live.rig.target.faults.append(fault)
    try:
        result = live.activate()
        if times == 1:
            assert result.failed == 0
        else:
            # What was carried out although the answer was lost counts as done.
            assert result.failed == len({"trigger", "hourly"} - live.sides[1])
    except QlikmigrateError:
        assert times is None
    live.rig.target.faults.remove(fault)
    assert live.activate().failed == 0
    assert live.sides == (set(), {"trigger", "hourly"})


def test_kill_at_every_journal_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies before and after each line: run again, everything held is on."""
    plain = LineLog.append
    for doomed in range(1, 5):
        for after in (False, True):
            live = make_live(tmp_path / f"{doomed}-{after}", names=("trigger", "hourly"))
            for name in ("trigger", "hourly"):
                live.turn(live.rig.source, name, "disabled")
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            with pytest.raises(Killed):
                live.activate()
            monkeypatch.setattr(LineLog, "append", plain)
            assert live.activate().failed == 0
            assert live.sides == (set(), {"trigger", "hourly"})


def test_abort_starts_nothing_new(stopped: Live) -> None:
    """With `--on-error abort` what comes after a failure is left for the next run."""
    import asyncio

    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.activation import ActivationInput, LiveResult, activate
    from qlikmigrate.importer.side import read_side

    stopped.rig.target.faults.append(Fault(effect=Status(code=403), path="*/actions/enable"))
    plan = stopped.plan_activation()

    async def work() -> LiveResult:
        async with stopped.open(stopped.rig.target, Access.STATE) as client:
            given = ActivationInput(
                plan=plan,
                target=await read_side(client, "target"),
                source=None,
                folder=RunView.open(stopped.run).folder,
            )
            given = evolve(given, abort_on_error=True)
            return await activate(given, clock=stopped.rig.clock, sink=stopped.events.append)

    result = asyncio.run(work())
    assert [one.code for one in result.outcomes] == ["forbidden", "not-started", "not-started", "not-started"]
    assert stopped.sides[1] == set()
