"""All that would go wrong is told before the first write, what it will cost too, and each waiver has a stated end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from ground import make_ground
from rig import LIMITS, Rig, make_rig
from stage import document

from qlikmigrate.importer.plan import OwnerMode, Verb, dump_plan, read_plan, write_plan
from qlikmigrate.importer.preflight import PreflightInput, Probes, check_probes
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.sandbox import Switches


def codes(rig: Rig) -> dict[str, Problem]:
    return {one.code: one for one in rig.plan().problems}


def quiet(rig: Rig) -> None:
    """Planning sent nothing that could have changed the target."""
    assert not rig.target.writes


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """A lost owner, a lost space, a missing role, a dead schedule and a limit: one plan names them all."""
    rig = make_rig(tmp_path)
    here = rig.source
    gone = here.add_user("corp\\gone", "Gone", "gone@example.com")
    here.add_automation(document("orphan"), gone)
    space = here.add_space("Nowhere", owner=rig.ben_here)
    here.add_automation(document("homeless"), rig.ben_here, space=space)
    here._shelf.max_runs = 20
    here.add_automation(document("crowd", maxConcurrentRuns=15), rig.ben_here)
    over = {"startAt": "2025-01-01 00:00:00", "stopAt": "2025-02-01 00:00:00", "timezone": "UTC", "interval": 3600}
    here.add_automation(document("late", schedules=[over]), rig.ben_here)
    rig.target.set_roles(rig.ben_there)
    rig.backup()
    found = codes(rig)
    errors = {code for code, one in found.items() if one.severity is Severity.ERROR}
    assert errors == {"owner-missing", "space-missing", "creator-role-missing"}
    assert {"max-runs-clamped", "schedule-past"} <= set(found)
    quiet(rig)


def test_role_that_nobody_tells_of_is_no_problem(tmp_path: Path) -> None:
    """A user whose groups may bring the role, and one who has it: nothing is said."""
    rig = make_rig(tmp_path)
    rig.target.set_roles(rig.ben_there)
    rig.target._directory.users[rig.ben_there]["assignedGroups"] = [{"id": "1", "name": "Makers"}]
    assert "creator-role-missing" not in codes(rig)
    rig.target._directory.users[rig.ben_there]["assignedGroups"] = []
    assert "creator-role-missing" in codes(rig)
    rig.target.set_roles(rig.ben_there, "AutomationCreator")
    assert "creator-role-missing" not in codes(rig)


def test_missing_connector_is_told(tmp_path: Path) -> None:
    """What the target does not publish refuses."""
    from stage import PLATFORM_OPERATIONS

    rig = make_rig(tmp_path)
    rig.target._connections.records.clear()
    rig.target.drop_connector(PLATFORM_OPERATIONS)
    assert codes(rig)["connector-missing"].severity is Severity.ERROR


def test_impersonation_is_probed_with_one_token(tmp_path: Path) -> None:
    """A client that is not trusted is found while planning, by a token request and nothing else."""
    rig = make_rig(tmp_path)
    bot = rig.target.oauth_client("m2m")
    rig.clients[rig.target.name] = (bot, rig.target.oauth_client("impersonation", trusted=False))
    problem = codes(rig)["impersonation-refused"]
    assert problem.severity is Severity.ERROR
    quiet(rig)


def test_scope_of_the_bot_is_checked(tmp_path: Path) -> None:
    """A bot without `admin.automations` cannot finish what it gives away: told, not tried."""
    rig = make_rig(tmp_path, impersonate=False)
    narrow = rig.target.oauth_client("m2m", scopes=("user_default", "admin_classic"))
    rig.clients[rig.target.name] = (narrow, narrow)
    assert "scope-missing" in codes(rig)
    quiet(rig)


def test_unknown_scopes_say_nothing(tmp_path: Path) -> None:
    """An API key has no scopes to look at."""
    rig = make_rig(tmp_path)
    plan = rig.plan()
    given = PreflightInput(
        source=None,  # type: ignore[arg-type]
        target=_target("bot"),
        actions=plan.actions,
        connections=(),
        settings=None,
        now=rig.clock.now(),
    )
    assert check_probes(Probes(), given) == []


def _target(caller: str) -> Any:
    from qlikmigrate.importer.target import Target
    from qlikmigrate.model.caller import Caller
    from qlikmigrate.model.inventory import Inventory, TenantFacts

    return Target(
        inventory=Inventory(tenant=TenantFacts(id="t")),
        caller=Caller(user_id=caller, bot=True),
        max_runs_setting=10,
        can_impersonate=True,
        fingerprint={},
        rows={},
    )


@pytest.mark.parametrize("code", ["owner-missing", "owner-not-settable", "ambiguous-match"])
def test_waived_owner_errors_skip_and_never_fall_to_the_importer(tmp_path: Path, code: str) -> None:
    """Whoever cannot be made the owner: that automation is left out, and nothing is the importing identity's."""
    rig = make_rig(tmp_path, impersonate=code != "owner-not-settable")
    if code == "owner-missing":
        rig.source.add_automation(document("odd"), rig.source.add_user("corp\\gone", "Gone", "gone@example.com"))
    elif code == "ambiguous-match":
        torn = rig.source.add_user("corp\\torn", "Torn", "torn@example.com")
        rig.target.add_user("corp\\torn", "Torn one", "one@example.com")
        rig.target.add_user("corp\\other", "Torn two", "torn@example.com")
        rig.source.add_automation(document("odd"), torn)
    else:
        rig.options = evolve(rig.options, owner="impersonate")
    rig.backup()
    assert code in {one.code for one in rig.plan().errors}
    rig.options = evolve(rig.options, allow=(code,))
    plan = rig.plan()
    assert not plan.refused
    skipped = {one.name for one in plan.actions if one.verb is Verb.SKIP and one.code == code}
    assert skipped == ({"odd"} if code != "owner-not-settable" else {one.name for one in plan.actions})
    assert rig.apply(plan).failed == 0
    assert {one["ownerId"] for one in rig.target.automations.values()} <= {rig.ben_there}
    assert not skipped & {one["name"] for one in rig.target.automations.values()}


def test_callers_of_what_is_left_out_are_told(tmp_path: Path) -> None:
    """A callee that is skipped will not exist: its caller's block is settled in the plan, not during the run."""
    from stage import call_block

    rig = make_rig(tmp_path)
    gone = rig.source.add_user("corp\\gone", "Gone", "gone@example.com")
    callee = rig.source.add_automation(document("callee"), gone)
    rig.source.add_automation(document("asker", call_block(1, callee)), rig.ben_here)
    rig.backup()
    rig.options = evolve(rig.options, allow=("owner-missing",))
    plan = rig.plan()
    assert "call-unresolved" in {one.code for one in plan.problems}
    result = rig.apply(plan)
    assert (result.failed, result.differing) == (0, 0)


def test_waived_role_error_is_tried(tmp_path: Path) -> None:
    """What looked like a missing right is tried where the user says so; the service has the last word."""
    rig = make_rig(tmp_path, impersonate=True)
    rig.target.set_roles(rig.ben_there)
    rig.options = evolve(rig.options, allow=("creator-role-missing",))
    plan = rig.plan()
    assert not plan.refused
    assert rig.apply(plan).failed == len(plan.actions)


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_forecast_of_writes_is_exact(tmp_path: Path, impersonate: bool) -> None:
    """A mixed tenant with spaces, connections and settings: the target saw as many writes and tokens as forecast."""
    rig = make_ground(tmp_path, impersonate=impersonate)
    plan = rig.plan()
    assert plan.forecast is not None
    assert plan.forecast.writes == plan.forecast.tier2 == plan.writes
    rig.target.seen.clear()
    assert rig.apply(plan).failed == 0
    assert len(rig.target.writes) == plan.forecast.writes
    assert len([one for one in rig.target.seen if one.path == "/oauth/token"]) == plan.forecast.token
    reads = len([one for one in rig.target.seen if one.method == "GET"])
    assert abs(reads - plan.forecast.tier1) <= 0.1 * reads + 2


def test_forecast_of_a_second_run_has_no_writes(tmp_path: Path) -> None:
    """Nothing to do costs reads only."""
    rig = make_ground(tmp_path)
    rig.apply(rig.plan())
    plan = rig.plan()
    assert plan.forecast is not None
    assert (plan.forecast.writes, plan.forecast.seconds) == (0, 0.0)


def test_forecast_of_time_is_what_the_quota_takes(tmp_path: Path) -> None:
    """With a small quota, the run on a clock that only waits move lasts as long as was said."""
    rig = make_rig(tmp_path, impersonate=False)
    for number in range(40):
        rig.source.add_automation(document(f"many {number}"), rig.ben_here)
    rig.backup()
    rig.limits = evolve(LIMITS, tier2_per_minute=30, share=0.5)
    plan = rig.plan()
    assert plan.forecast is not None
    began = rig.clock.monotonic()
    assert rig.apply(plan).failed == 0
    took = rig.clock.monotonic() - began
    assert plan.forecast.seconds > 200
    assert plan.forecast.seconds * 0.9 <= took <= plan.forecast.seconds * 1.1 + 5


def test_plan_with_everything_in_it_survives_its_file(tmp_path: Path) -> None:
    """Connections, spaces, settings and forecast are read back as written."""
    plan = make_ground(tmp_path).plan()
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    assert read_plan(path) == plan
    assert dump_plan(read_plan(path)) == path.read_bytes()


def test_settings_are_raised_first_and_only_on_request(tmp_path: Path) -> None:
    """With the flag the limit is the source's and nothing is clamped; without it nothing is written."""
    rig = make_ground(tmp_path)
    plan = rig.plan()
    assert plan.settings is not None
    assert (plan.settings.before, plan.settings.after) == (10, 20)
    assert "max-runs-clamped" not in {one.code for one in plan.problems}
    rig.apply(plan)
    assert rig.target.writes[0].path.endswith("/automations/settings")
    assert rig.ground()["runs"] == 20
    (mailer,) = [one for one in rig.target.automations.values() if one["name"] == "mailer"]
    assert mailer["maxConcurrentRuns"] == 20

    other = make_ground(tmp_path / "other")
    other.options = evolve(other.options, settings=False)
    plan = other.plan()
    assert plan.settings is None
    assert "max-runs-clamped" in {one.code for one in plan.problems}
    other.apply(plan)
    assert other.ground()["runs"] == 10


def test_settings_are_never_lowered(tmp_path: Path) -> None:
    """A target that allows more keeps it."""
    rig = make_ground(tmp_path)
    rig.target._shelf.max_runs = 50
    assert rig.plan().settings is None


def test_what_needs_a_higher_limit_waits_for_it(tmp_path: Path) -> None:
    """The settings are refused: only automations above the old limit fail, and a resume brings them."""
    from qlikmigrate.sandbox import Fault, Status

    rig = make_ground(tmp_path)
    rig.target.faults.append(Fault(effect=Status(code=403), method="PUT", path="*/automations/settings"))
    plan = rig.plan()
    result = rig.apply(plan)
    failed = {one.name for one in result.outcomes if one.status == "failed"}
    assert failed == {"mailer", "maxConcurrentRunsPerAutomation"}
    assert rig.apply(plan).failed == 0


def test_analytics_admin_cannot_give_away(tmp_path: Path) -> None:
    """Only a tenant administrator or a bot transfers; anybody else is told before the first write."""
    from qlikmigrate.importer.connection_plan import owner_mode_of
    from qlikmigrate.model.caller import Caller

    target = evolve(_target("me"), can_impersonate=False)
    analyst = Caller(user_id="me", bot=False, roles=frozenset({"AnalyticsAdmin"}))
    admin = Caller(user_id="me", bot=False, roles=frozenset({"TenantAdmin"}))
    assert owner_mode_of(evolve(target, caller=analyst), "you", "auto") is None
    assert owner_mode_of(evolve(target, caller=admin), "you", "auto") is OwnerMode.TRANSFER


def test_old_family_has_no_settings(tmp_path: Path) -> None:
    """Under v1 the limit cannot be read: said, and left alone."""
    from qlikmigrate.sandbox.switches import Families

    rig = make_ground(tmp_path)
    rig.target.switches = Switches(families=Families.V1_ONLY)
    rig.family = "v1"
    plan = rig.plan()
    assert plan.settings is None
    assert "settings-unreadable" in {one.code for one in plan.problems}
