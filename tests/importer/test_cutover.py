"""A cutover, seen from both tenants: pair by pair, never on at both sides, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dying import Killed, dying
from live import NAMES, Live, by_name, make_live, writes
from rig import TIMEOUT_S
from stage import document, text_block

from qlikmigrate.api.endpoint import Access
from qlikmigrate.importer.line_log import LineLog
from qlikmigrate.importer.running_job import Running
from qlikmigrate.kernel.error import QlikmigrateError, UsageError
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status, Truncate
from qlikmigrate.sandbox.fault import ExpireToken, HtmlOk

ALL = set(NAMES)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """Restored and held."""
    return make_live(tmp_path / "rig")


def test_pair_by_pair(live: Live) -> None:
    """Each source goes off before its target goes on, callees first; manual and disabled ones are left alone."""
    order: list[str] = []

    def note(tenant: Any, request: Any) -> None:
        if request.method == "POST" and "/actions/" in request.url:
            ident, _, action = request.url.partition("/automations/")[2].partition("/actions/")
            order.append(f"{tenant.name} {action} {tenant.automations[ident]['name']}")

    live.on_request = note
    result = live.cutover()

    assert result.failed == 0
    assert live.sides == (set(), ALL)
    assert result.counts == {"selected": 4, "switched": 4, "unchanged": 0, "skipped": 0, "failed": 0}
    assert len(order) == 8
    for off, on in zip(order[::2], order[1::2], strict=True):
        assert off.removeprefix("acme disable ") == on.removeprefix("acme-dr enable ")
    assert order.index("acme-dr enable trigger") < order.index("acme-dr enable caller")
    assert not live.both
    for tenant in (live.rig.source, live.rig.target):
        assert tenant.automations[live.ident(tenant, "by hand")]["state"] == "available"
        assert tenant.automations[live.ident(tenant, "off")]["state"] == "disabled"


def test_second_time_writes_nothing(live: Live) -> None:
    """What was switched is seen as switched; nothing is written again."""
    live.cutover()
    before = len(live.rig.source.writes), len(live.rig.target.writes)
    result = live.cutover()
    assert (len(live.rig.source.writes), len(live.rig.target.writes)) == before
    assert set(by_name(result).values()) == {"none done"}


def test_planning_sends_gets_only(live: Live) -> None:
    """The preview writes nothing and tells the next firings."""
    from qlikmigrate.importer.cutover import planned_outcomes

    planned = {one.name: one.reason for one in planned_outcomes(live.plan_cutover(), live.rig.clock)}
    assert not live.rig.source.writes
    assert not live.rig.target.writes
    assert planned["hourly"].startswith("next firing: 2026-11-01T13:00:00Z, 2026-11-01T14:00:00Z")
    assert planned["caller"].startswith("next firing: 2026-11-02T06:00:00Z")
    assert planned["hook"] == ""


# The source changed since the archive


def edit_workspace(live: Live) -> None:
    """Inside the workspace: its row tells of nothing but a save."""
    live.rig.clock.advance(5)
    ident = live.ident(live.rig.source, "hook")
    workspace = live.rig.source._shelf.records[ident].workspace_value()
    workspace["blocks"].append(text_block(7, "new"))
    live.rig.source.replace_workspace(ident, workspace)


def rename(live: Live) -> None:
    one = live.rig.source._shelf.records[live.ident(live.rig.source, "hook")]
    one.name = "hook, renamed"
    one.touch()


def switch_off(live: Live) -> None:
    live.turn(live.rig.source, "hook", "disabled")


def delete(live: Live) -> None:
    del live.rig.source._shelf.records[live.ident(live.rig.source, "hook")]
    live.rig.source._realm.changed()


@pytest.mark.parametrize("change", [edit_workspace, rename, switch_off, delete], ids=lambda one: one.__name__)
def test_changed_source_is_not_switched_unless_allowed(live: Live, change: Any) -> None:
    """That pair stays as it is and makes the cutover partial; the others are switched; `--allow` switches it, too."""
    before = live.states(live.rig.source)
    target_before = live.states(live.rig.target)["hook"]
    change(live)
    result = live.cutover()
    assert by_name(result)["hook"] == "skip skipped source-changed"
    assert result.failed == 1
    assert live.states(live.rig.target)["hook"] == target_before == "disabled"
    assert live.sides[1] == ALL - {"hook"}
    if change in (edit_workspace,):
        assert live.states(live.rig.source)["hook"] == before["hook"]

    allowed = live.cutover(allow=frozenset({"source-changed"}))
    assert allowed.failed == 0
    assert "hook" in live.sides[1]
    assert "hook" not in live.sides[0]
    assert not live.both


def test_run_that_brought_the_change_over_goes_live(live: Live) -> None:
    """A second run updates what changed and finds the rest still off: its cutover switches all of it."""
    edit_workspace(live)
    live.rig.backup()
    assert live.rig.apply(live.rig.plan(), "second").failed == 0
    live.folder = "second"
    result = live.cutover()
    assert result.counts["switched"] == len(NAMES)
    assert live.sides == (set(), ALL)
    assert live.undo().failed == 0
    assert live.sides == (ALL, set())
    assert not live.both


def test_update_that_armed_one_is_cut_over(live: Live) -> None:
    """A manual automation that became a webhook at the source was switched off by the update, and is a pair now."""
    live.rig.clock.advance(5)
    ident = live.ident(live.rig.source, "by hand")
    live.rig.source.replace_workspace(ident, document("by hand", mode="webhook")["workspace"])
    live.rig.backup()
    assert live.rig.apply(live.rig.plan(), "second").failed == 0
    live.folder = "second"
    there = live.ident(live.rig.target, "by hand")
    assert live.rig.target.automations[there]["state"] == "disabled"
    assert live.cutover().counts["switched"] == len(NAMES) + 1
    assert live.rig.source.automations[ident]["state"] == "disabled"
    assert live.rig.target.automations[there]["state"] == "available"


def test_own_counterpart_is_no_pair(live: Live) -> None:
    """Where a restore into its own tenant found the very automation, there is nothing to switch between."""
    from attrs import evolve

    from qlikmigrate.importer.activation import Verdict, plan_activation
    from qlikmigrate.importer.cutover import plan_cutover
    from qlikmigrate.importer.side import Side
    from qlikmigrate.importer.source_change import SourceChanges

    pair = live.plan_cutover().pairs[0]
    client = live.open(live.rig.source, Access.READ)
    source = Side(word="source", client=client, rows=live.rig.source.automations, whole=True)
    held = evolve(pair.held, target_id=pair.held.action.source_id)
    (planned,) = plan_cutover([held], source, SourceChanges()).pairs
    assert [one.code for one in planned.against] == ["own-counterpart"]
    plan = plan_activation((held,), source)
    assert not plan.errors
    assert plan.items[0].verdict is Verdict.START


def test_run_data_is_no_change(live: Live) -> None:
    """Runs of the source since the archive, and saves that changed nothing, do not stop a pair."""
    ident = live.ident(live.rig.source, "hourly")
    live.rig.source.run(ident)
    live.rig.clock.advance(5)
    live.rig.source._shelf.records[ident].updated_at = "2026-11-01T12:30:00.000000Z"
    live.rig.source._shelf.records[ident].touch()
    assert live.cutover().failed == 0
    assert live.sides == (set(), ALL)


def test_what_was_created_since_is_told(live: Live) -> None:
    """A new automation at the source is named; so is a manual one that was edited."""
    live.rig.source.add_automation(document("fresh"), live.rig.ben_here)
    one = live.rig.source._shelf.records[live.ident(live.rig.source, "by hand")]
    one.description = "edited"
    one.touch()
    result = live.cutover()
    told = [one.message for one in result.problems if one.code == "source-changed"]
    assert len(told) == 2
    assert any("`fresh` was created" in message for message in told)
    assert any("`by hand`" in message and "description" in message for message in told)
    assert result.failed == 0


# Running jobs


def test_running_jobs_are_waited_for(tmp_path: Path) -> None:
    """The target goes on only after the source's job ended, and the firings in between are told."""
    live = make_live(tmp_path / "rig", names=("trigger", "hourly"), run_seconds=5400.0)
    live.rig.source.run(live.ident(live.rig.source, "hourly"))
    began = live.rig.clock.now()
    result = live.cutover(limit_s=7200.0)
    assert result.failed == 0
    assert (live.rig.clock.now() - began).total_seconds() >= 5400
    (missed,) = (one for one in result.problems if one.code == "firing-missed")
    assert missed.message == "`hourly` did not start at 2026-11-01T13:00:00Z"
    assert not live.both


def test_jobs_that_do_not_end_put_the_source_back(tmp_path: Path) -> None:
    """After the limit the source is on again, the pair has failed, and the target was never on."""
    live = make_live(tmp_path / "rig", names=("trigger", "hourly"), run_seconds=5400.0)
    live.rig.source.run(live.ident(live.rig.source, "hourly"))
    result = live.cutover(limit_s=60.0)
    assert by_name(result)["hourly"] == "enable failed jobs-running"
    assert live.sides == ({"hourly"}, {"trigger"})
    assert "enable hourly" not in writes(live.rig.target)
    live.rig.clock.advance(5400)
    assert live.cutover().failed == 0
    assert live.sides[0] == set()


def test_running_jobs_are_stopped_on_request(tmp_path: Path) -> None:
    """`--running stop` stops them at once; with less than write access it refuses before anything is switched."""
    live = make_live(tmp_path / "rig", names=("trigger", "hourly"), run_seconds=5400.0)
    live.rig.source.run(live.ident(live.rig.source, "hourly"))
    with pytest.raises(UsageError, match="needs `write` access"):
        live.cutover(running=Running.STOP)
    assert not live.rig.source.writes
    live.access = Access.WRITE
    began = live.rig.clock.now()
    assert live.cutover(running=Running.STOP).failed == 0
    assert (live.rig.clock.now() - began).total_seconds() < 30
    assert live.sides[1] == {"trigger", "hourly"}


def test_unseen_jobs_stop_nothing(live: Live) -> None:
    """Where running jobs cannot be seen, the pair is not switched off."""
    live.rig.source.faults.append(Fault(effect=Status(code=403), path="*/runs", times=None))
    result = live.cutover()
    assert {one.code for one in result.outcomes} == {"runs-unreadable"}
    assert live.sides == (ALL, set())


# Back


def test_undo_restores_the_source(live: Live) -> None:
    """Undo is the cutover backwards: the targets off, then the sources on, the last pair first."""
    live.cutover()
    forward = [word for word in writes(live.rig.target) if word.startswith("enable")]
    since = len(live.rig.target.writes)
    result = live.undo()
    assert result.failed == 0
    assert live.sides == (ALL, set())
    assert not live.both
    back = writes(live.rig.target, since=since)
    assert [one.split()[1] for one in back] == [one.split()[1] for one in reversed(forward)]
    quiet = len(live.rig.source.writes), len(live.rig.target.writes)
    assert live.undo().outcomes == ()
    assert (len(live.rig.source.writes), len(live.rig.target.writes)) == quiet
    assert live.cutover().failed == 0
    assert live.sides == (set(), ALL)
    assert not live.both


def test_undo_touches_only_what_the_cutover_stopped(live: Live) -> None:
    """A source that somebody else stopped before stays off; what was not switched is not touched."""
    live.turn(live.rig.source, "hook", "disabled")
    live.cutover()  # the hook's source changed, so that pair is not switched
    assert live.undo().failed == 0
    assert live.sides == (ALL - {"hook"}, set())

    live.cutover(allow=frozenset({"source-changed"}))
    assert live.sides == (set(), ALL)
    assert live.undo().failed == 0
    assert live.sides == (ALL - {"hook"}, set())
    assert not live.both


def test_undo_leaves_what_people_changed(live: Live) -> None:
    """A pair whose source somebody switched on, or whose target somebody switched off, ends well and is told."""
    live.cutover()
    live.turn(live.rig.target, "trigger", "disabled")
    live.turn(live.rig.target, "hook", "disabled")
    live.turn(live.rig.source, "hook", "available")
    result = live.undo()
    assert result.failed == 0
    assert live.sides == (ALL, set())
    told = [one.message for one in result.problems if one.code == "state-changed"]
    assert any("`trigger`" in one and "off at the target" in one for one in told)
    assert any("`hook`" in one and "at the source" in one for one in told)
    assert not live.both
    live.turn(live.rig.source, "hook", "disabled")
    assert live.undo().outcomes == ()
    assert live.states(live.rig.source)["hook"] == "disabled"


def test_undo_leaves_a_pair_whose_source_is_gone(live: Live) -> None:
    """Without a source to go back to, the target stays on, and that is an error."""
    live.cutover()
    del live.rig.source._shelf.records[live.ident(live.rig.source, "hook")]
    live.rig.source._realm.changed()
    result = live.undo()
    assert by_name(result)["hook"] == "disable failed state-changed"
    assert live.sides == (ALL - {"hook"}, {"hook"})


# Faults

EFFECTS: dict[str, Any] = {
    "429": Status(code=429, retry_after=3),
    "500": Status(code=500),
    "503 after commit": Status(code=503, commit=True),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "truncated answer": Truncate(),
    "HTML with 200": HtmlOk(),
    "token expired": ExpireToken(),
}


@pytest.mark.parametrize("times", [1, None], ids=["once", "for good"])
@pytest.mark.parametrize("action", ["source disable", "target enable", "target disable", "source enable"])
@pytest.mark.parametrize("effect", EFFECTS)
def test_fault_matrix(tmp_path: Path, effect: str, action: str, times: int | None) -> None:
    """A fault that passes changes nothing; one that stays leaves no pair on at both sides, and ends once it is gone."""
    side, _, word = action.partition(" ")
    live = make_live(tmp_path / "rig", names=("trigger", "hourly"))
    pairs = {"trigger", "hourly"}
    tenant = live.rig.source if side == "source" else live.rig.target
    forward = word == ("disable" if side == "source" else "enable")
    if not forward:
        live.cutover()
    fault = Fault(effect=EFFECTS[effect], method="POST", path=f"*/actions/{word}", times=times)
    tenant.faults.append(fault)
    go = live.cutover if forward else live.undo
    try:
        result = go()
        if times == 1:
            assert result.failed == 0
    except QlikmigrateError:
        assert times is None
    assert not live.both
    tenant.faults.remove(fault)
    assert go().failed == 0
    assert live.sides == ((set(), pairs) if forward else (pairs, set()))
    assert not live.both


def test_target_that_refuses_puts_the_source_back(live: Live) -> None:
    """Enabling fails for good: each source is on again, journalled, and the pairs have failed."""
    live.rig.target.faults.append(Fault(effect=Status(code=403), path="*/actions/enable", times=None))
    result = live.cutover()
    assert result.failed == 4
    assert {one.code for one in result.outcomes} == {"forbidden"}
    assert live.sides == (ALL, set())
    assert all("it is on again at the source" in one.reason for one in result.outcomes)
    assert not live.both


def test_target_that_went_away_puts_the_source_back(live: Live) -> None:
    """The target answers nothing more after the source went off: nothing was sent to it, so the source comes back."""

    def cut(tenant: Any, request: Any) -> None:
        if tenant is live.rig.source and request.url.endswith("/disable"):
            live.rig.target.faults[:] = [Fault(effect=ResetBefore(), times=None)]

    live.on_request = cut
    result = live.cutover()
    assert result.failed == 4
    assert live.sides[0] == ALL
    assert not live.both


def test_lost_call_that_arrives_late_does_not_double(tmp_path: Path) -> None:
    """A call to switch on is lost on its way and arrives with the next write: it was called back before the source
    comes back."""
    live = make_live(tmp_path / "rig", names=("trigger",))
    live.rig.target.faults.append(Fault(effect=ResetBefore(), path="*/actions/enable", times=None))
    stuck: list[str] = []

    def deliver(tenant: Any, request: Any) -> None:
        if tenant is live.rig.target and request.url.endswith("/enable"):
            stuck[:] = ["enable"]
        elif request.method == "POST" and "/actions/" in request.url and stuck:
            stuck.clear()
            live.turn(live.rig.target, "trigger", "available")

    live.on_request = deliver
    assert live.cutover().failed == 1
    assert live.sides == ({"trigger"}, set())
    assert not live.both


def test_target_deleted_meanwhile_puts_the_source_back(tmp_path: Path) -> None:
    """The target is deleted while the source is being switched off: the source is on again."""
    live = make_live(tmp_path / "rig", names=("trigger",))

    def delete_there(tenant: Any, request: Any) -> None:
        if tenant is live.rig.source and request.url.endswith("/disable"):
            del live.rig.target._shelf.records[live.ident(live.rig.target, "trigger")]
            live.rig.target._realm.changed()

    live.on_request = delete_there
    assert by_name(live.cutover())["trigger"] == "enable failed missing"
    assert live.sides == ({"trigger"}, set())


def test_somebody_who_switches_the_source_on_again_stops_the_pair(tmp_path: Path) -> None:
    """While jobs are waited for, a person switches the source on again: the target stays off."""
    live = make_live(tmp_path / "rig", names=("trigger",), run_seconds=60.0)
    live.rig.source.run(live.ident(live.rig.source, "trigger"))

    def meddle(tenant: Any, request: Any) -> None:
        if tenant is live.rig.source and "/runs" in request.url and live.states(tenant)["trigger"] == "disabled":
            live.turn(tenant, "trigger", "available")

    live.on_request = meddle
    assert by_name(live.cutover())["trigger"] == "enable failed changed-meanwhile"
    assert live.sides == ({"trigger"}, set())
    assert not live.both


@pytest.mark.parametrize("command", ["cutover", "undo", "put back"])
def test_kill_at_every_journal_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The process dies before and after each line: run again, the end is that of an undisturbed one."""
    plain = LineLog.append
    pairs = {"trigger", "hourly"}
    refusal = Fault(effect=Status(code=403), path="*/actions/enable", times=None)

    def scene(name: str) -> Live:
        live = make_live(tmp_path / name, names=pairs)
        if command == "undo":
            live.cutover()
        if command == "put back":
            live.rig.target.faults.append(refusal)
        return live

    def go(live: Live) -> Any:
        return live.undo() if command == "undo" else live.cutover()

    lines = 0

    def counting(self: LineLog, line: Any) -> None:
        nonlocal lines
        lines += 1
        plain(self, line)

    calm = scene("calm")
    monkeypatch.setattr(LineLog, "append", counting)
    go(calm)
    monkeypatch.setattr(LineLog, "append", plain)
    assert lines == (12 if command == "put back" else 8)
    for doomed in range(1, lines + 1):
        for after in (False, True):
            live = scene(f"{doomed}-{after}")
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            with pytest.raises(Killed):
                go(live)
            monkeypatch.setattr(LineLog, "append", plain)
            go(live)
            assert live.sides == calm.sides
            assert not live.both
            if command == "cutover":
                assert live.undo().failed == 0
                assert live.sides == (pairs, set())
                assert not live.both
