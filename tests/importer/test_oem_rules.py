"""What a restore into an OEM account decides and takes care of, rule by rule, on both answers to what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from oem_rig import ALLOW, OemRig, make_rig

from qlikmigrate.api.oem.endpoint import OemLimits
from qlikmigrate.importer.plan import Conflict, Plan, Verb
from qlikmigrate.importer.result import Result
from qlikmigrate.kernel.error import QlikmigrateError, StaleError, UsageError
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, Status
from qlikmigrate.sandbox.oem import DuplicateAccount, OemService, OemSwitches
from qlikmigrate.sandbox.oem.seed import seed_other

FEED = "Stock feed North"


def select(rig: OemRig, *names: str) -> OemRig:
    rig.selectors = Selectors(include=tuple(Selector(key="name", value=name) for name in names))
    return rig


def codes(plan: Plan) -> set[str]:
    return {one.code for one in plan.problems}


def verbs(plan: Plan) -> dict[str, Verb]:
    return {one.name: one.verb for one in plan.actions}


def blend(rig: OemRig, name: str, account: str = "") -> Any:
    (found,) = (one for one in rig.target.account(account or rig.account).blends.values() if one.name == name)
    return found


def told(result: Result) -> set[str]:
    return {one.code for one in result.problems}


# Which template, which connection, which account


def other_provider(rig: OemRig) -> OemRig:
    rig.target = OemService("staging", clock=rig.clock, seed=7, switches=OemSwitches(own_connector_guids=True))
    seed_other(rig.target)
    return rig


def test_another_provider_is_matched_by_name(tmp_path: Path) -> None:
    """Templates and connectors of another SaaS Admin have other guids: exact names find them, and all comes back."""
    rig = other_provider(make_rig(tmp_path))
    result = rig.restore()
    assert (result.failed, result.counts["automations"]["created"]) == (0, 20)
    assert {one.template for one in rig.target.account(rig.account).blends.values()} <= rig.target.templates.keys()
    assert rig.plan().writes == 0


def test_two_templates_of_one_name_are_no_guess(tmp_path: Path) -> None:
    """A name that two templates bear refuses the plan; a mapping file settles it."""
    rig = select(other_provider(make_rig(tmp_path)), FEED)
    twin = rig.target.add_template("Stock feed")
    assert {"ambiguous-match", "missing-template"} <= codes(rig.plan())
    rig.mapping = f'[templates]\n"Stock feed" = "{twin}"\n'
    assert not rig.plan().refused


def test_missing_template_is_named(tmp_path: Path) -> None:
    """A template that the provider lacks refuses the plan; waived, that automation alone is skipped."""
    rig = select(other_provider(make_rig(tmp_path)), FEED, "Status board")
    (guid,) = (one.guid for one in rig.target.templates.values() if one.name == "Stock feed")
    rig.target.remove_template(guid)
    assert "missing-template" in {one.code for one in rig.plan().errors}
    rig.options = evolve(rig.options, allow=(*ALLOW, "missing-template"))
    assert verbs(rig.plan()) == {FEED: Verb.SKIP, "Status board": Verb.CREATE}


def test_a_connection_can_be_chosen_only_now(tmp_path: Path) -> None:
    """Without its connection nothing is installed, unless somebody says that it shall go without."""
    rig = select(make_rig(tmp_path), FEED)
    rig.options = evolve(rig.options, connections="match")
    assert "connection-missing" in {one.code for one in rig.plan().errors}
    rig.options = evolve(rig.options, connections="create")
    rig.secrets = {}
    assert {"connection-missing", "connection-values-missing"} <= codes(rig.plan())
    rig.options = evolve(rig.options, connections="skip")
    plan = rig.plan()
    assert not plan.refused
    assert rig.apply(plan).failed == 0
    assert blend(rig, FEED).links == set()


def test_two_connections_of_one_connector_are_asked(tmp_path: Path) -> None:
    """An automation that uses two connections of one connector: an install takes one, and people say which."""
    rig = make_rig(tmp_path)
    mails = [rig.partner.connections[name] for name in ("Company mail", "Dealer mail")]
    blend(rig, "Daily digest", "model").links.update(mails)
    rig.backup()
    select(rig, "Daily digest")
    assert "connections-of-one-connector" in {one.code for one in rig.plan().errors}
    rig.mapping = f'[connections]\n"{mails[1]}" = {{ decision = "null" }}\n'
    plan = rig.plan()
    assert not plan.refused
    assert rig.apply(plan).failed == 0
    assert len(blend(rig, "Daily digest").links) == 1


@pytest.mark.parametrize("how", list(DuplicateAccount))
@pytest.mark.parametrize("hides", [False, True])
def test_one_account_however_often_its_answer_is_lost(tmp_path: Path, how: DuplicateAccount, hides: bool) -> None:
    """The answer to making the account is lost: one account, whichever way the service takes a second one."""
    rig = select(make_rig(tmp_path, duplicate_account=how, hides_externalid=hides), FEED)
    rig.target.faults.append(Fault(effect=ResetAfterCommit(), method="POST", path="*/accounts"))
    assert rig.apply(rig.plan()).failed == 0
    assert len([one for one in rig.target.accounts.values() if one.externalid == rig.account]) == 1
    assert not [one for one in rig.target.accounts.values() if one.invited]


def test_an_account_that_appeared_meanwhile_is_taken(tmp_path: Path) -> None:
    """Somebody makes the account between plan and run: it is used as it is, and none is made beside it."""
    rig = select(make_rig(tmp_path), FEED)
    plan = rig.plan()
    rig.target.add_account("Somebody's", rig.account)
    assert rig.apply(plan).failed == 0
    assert len([one for one in rig.target.accounts.values() if one.externalid == rig.account]) == 1


def test_a_changed_account_is_stale(tmp_path: Path) -> None:
    """What appeared since the plan was made refuses it (exit 7), and nothing was written."""
    rig = select(make_rig(tmp_path), FEED)
    guid = rig.target.add_account("Customer", rig.account)
    plan = rig.plan()
    rig.target.add_blend(guid, "Appeared")
    before = len(rig.target.seen)
    with pytest.raises(StaleError, match="is new"):
        rig.apply(plan)
    assert {one.method for one in rig.target.seen[before:]} == {"GET"}


# What exists already


def change(rig: OemRig, account: str, name: str, **values: Any) -> None:
    one = blend(rig, name, account)
    one.values.update(values)
    one.updated_at = rig.clock.now()


def test_update_brings_inputs_and_nothing_else(tmp_path: Path) -> None:
    """A value changed at the source is set at the target, whose state and schedule stay as people left them."""
    rig = select(make_rig(tmp_path), FEED)
    rig.apply(rig.plan())
    there = blend(rig, FEED)
    there.state = "available"
    schedule = there.schedule
    change(rig, "model", FEED, warehouse="east")
    rig.backup()
    plan = rig.plan()
    assert verbs(plan) == {FEED: Verb.UPDATE}
    before = len(rig.target.seen)
    assert rig.apply(plan, "second").failed == 0
    sent = [one.path.rpartition("/")[2] for one in rig.target.seen[before:] if one.method != "GET"]
    assert sent == ["set-persisted-inputs"]
    assert (there.values["warehouse"], there.state, there.schedule) == ("east", "available", schedule)
    assert rig.plan().writes == 0


@pytest.mark.parametrize("wish", list(Conflict))
def test_a_conflict_is_settled_as_said(tmp_path: Path, wish: Conflict) -> None:
    """Changed at both sides: refused, left, overwritten or made anew."""
    rig = select(make_rig(tmp_path), FEED)
    rig.apply(rig.plan())
    change(rig, rig.account, FEED, warehouse="theirs")
    change(rig, "model", FEED, warehouse="ours")
    rig.backup()
    rig.options = evolve(rig.options, on_conflict=wish)
    plan = rig.plan()
    assert plan.refused == (wish is Conflict.FAIL)
    if plan.refused:
        return
    assert rig.apply(plan, "second").failed == 0
    held = [one for one in rig.target.account(rig.account).blends.values() if one.name == FEED]
    values = sorted(one.values["warehouse"] for one in held)
    assert values == {"skip": ["theirs"], "update": ["ours"], "new": ["ours", "theirs"]}[wish.value]


def test_edited_at_the_target_alone_stays(tmp_path: Path) -> None:
    """What people changed there is theirs as long as the source did not change."""
    rig = select(make_rig(tmp_path), FEED)
    rig.apply(rig.plan())
    change(rig, rig.account, FEED, warehouse="theirs")
    assert rig.plan().writes == 0


def test_hand_built_is_a_work_order_until_it_is_there(tmp_path: Path) -> None:
    """What no call makes is skipped with all that is known; built under its name, it is matched and adopted."""
    rig = select(make_rig(tmp_path), "Återförsäljare")
    result = rig.apply(rig.plan())
    (order,) = (one for one in result.tasks if one.code == "hand-built")
    for word in ("every 604800 s", "Europe/Stockholm", "Company mail (Mail)", "workspace"):
        assert word in order.message
    rig.target.add_blend(rig.target.account(rig.account).guid, "Återförsäljare")
    assert verbs(rig.plan()) == {"Återförsäljare": Verb.ADOPT}


def test_same_account_must_be_said(tmp_path: Path) -> None:
    """An archive of the very account is refused; `recover` knows its own by id, `copy` makes new ones."""
    from qlikmigrate.importer.plan import SameTenant

    rig = select(make_rig(tmp_path), FEED)
    rig.account = "model"
    assert "same-tenant" in {one.code for one in rig.plan().errors}
    rig.options = evolve(rig.options, same_tenant=SameTenant.RECOVER)
    assert rig.plan().writes == 0
    rig.options = evolve(rig.options, same_tenant=SameTenant.COPY)
    plan = rig.plan()
    assert verbs(plan) == {FEED: Verb.CREATE}
    assert rig.apply(plan).failed == 0
    held = [one for one in rig.target.account("model").blends.values() if one.name == FEED]
    assert sorted(one.state for one in held) == ["available", "disabled"]


def test_an_account_whose_externalid_is_hidden_is_found(tmp_path: Path) -> None:
    """The list shows no externalids: the account is asked for by its own, and none is made beside it."""
    rig = select(make_rig(tmp_path, hides_externalid=True), FEED)
    guid = rig.target.add_account("Customer", rig.account)
    plan = rig.plan()
    assert plan.account is not None
    assert (plan.account.id, plan.account.creates) == (guid, False)


def test_flags_of_qlik_cloud_are_refused(tmp_path: Path) -> None:
    """What means nothing in an OEM account is no silent word."""
    rig = make_rig(tmp_path)
    for wrong in ({"owner": "transfer"}, {"sync": ("state",)}, {"settings": True}, {"with_calls": True}):
        calm = rig.options
        rig.options = evolve(calm, **wrong)
        with pytest.raises(UsageError, match="is for tenants of Qlik Cloud"):
            rig.plan()
        rig.options = calm


# Windows


def handler_that(rig: OemRig, act: Any) -> None:
    plain = rig.target.handle

    def handle(request: Any) -> Any:
        act(request)
        return plain(request)

    rig.handler = handle


def test_two_that_may_be_ours_are_both_off(tmp_path: Path) -> None:
    """Somebody installs the same template at the same moment: nobody guesses, both are off, and both are named."""
    rig = select(make_rig(tmp_path), FEED)
    plan = rig.plan()
    made: list[str] = []

    def act(request: Any) -> None:
        if request.url.endswith("/install") and not made:
            guid = rig.target.account(rig.account).guid
            made.append(rig.target.add_blend(guid, "Stock feed", template=rig.partner.templates["Stock feed"]))

    handler_that(rig, act)
    result = rig.apply(plan)
    assert {one.code for one in result.outcomes if one.status == "failed"} == {"create-ambiguous"}
    held = rig.target.account(rig.account).blends
    assert [one.state for one in held.values()] == ["disabled", "disabled"]
    (alarm,) = result.alarms
    assert all(guid in alarm for guid in held)
    assert rig.apply(plan).failed
    assert len(held) == 2


def test_a_window_that_cannot_be_closed_stops_the_run(tmp_path: Path) -> None:
    """Switching off fails for good: the run ends, says so first of all, and a resume closes it before anything else."""
    rig = select(make_rig(tmp_path), FEED, "Status board")
    plan = rig.plan()
    broken = Fault(effect=Status(code=500), method="PUT", path="*/blends/*", times=None)
    rig.target.faults.append(broken)
    result = rig.apply(plan)
    assert result.fatal is not None
    assert result.fatal.code == "window-open"
    assert "could not be switched off" in result.alarms[0]
    assert len(rig.target.windows) == 1
    rig.target.faults.clear()
    before = len(rig.target.seen)
    result = rig.apply(plan)
    assert (result.failed, result.fatal) == (0, None)
    first = next(one for one in rig.target.seen[before:] if one.method != "GET")
    assert first.method == "PUT"
    assert max(result.windows.values()) >= max(one.seconds or 0 for one in rig.target.windows) > 60


@pytest.mark.parametrize("name", [FEED, "Invoicing"])
def test_what_names_no_template_may_be_ours(tmp_path: Path, name: str) -> None:
    """An install that shows without its template is off, parts included, and named; it is not installed again."""
    rig = select(make_rig(tmp_path, names_template=False), name)
    plan = rig.plan()
    for _ in range(2):
        result = rig.apply(plan)
        assert {one.code for one in result.outcomes if one.status == "failed"} <= {"create-ambiguous", "bundle-failed"}
        assert result.failed
        assert "names no template" in result.alarms[0]
        (window,) = rig.target.windows
        assert window.end is not None
        assert rig.on() == []


def test_a_list_that_is_missing_for_a_moment(tmp_path: Path) -> None:
    """Right after an install the account's list is answered 404: asked again, since something may be on."""
    rig = select(make_rig(tmp_path), FEED)
    plan = rig.plan()

    def act(request: Any) -> None:
        if request.url.endswith("/install"):
            rig.target.faults.append(Fault(effect=Status(code=404), method="GET", path="*/blends", times=4))

    handler_that(rig, act)
    result = rig.apply(plan)
    assert (result.failed, result.fatal, rig.on()) == (0, None, [])
    assert len(rig.target.windows) == 1


def test_a_window_that_is_not_closed_is_told_within_minutes(tmp_path: Path) -> None:
    """Each answer comes too late: after minutes no more tries are begun, and nobody waits for most of an hour."""
    rig = select(make_rig(tmp_path), FEED)
    rig.limits = OemLimits(per_minute=30_000, timeout_s=60.0)
    plan = rig.plan()
    rig.target.faults.append(Fault(effect=Delay(3600), method="PUT", path="*/blends/*", times=None))
    began_s = rig.clock.monotonic()
    result = rig.apply(plan)
    assert result.fatal is not None
    assert "could not be switched off" in result.alarms[0]
    assert 300 <= rig.clock.monotonic() - began_s < 700


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("ignored", [1, 2, 3, 99])
def test_a_switch_that_was_answered_and_not_thrown(tmp_path: Path, ignored: int, shown: bool) -> None:
    """What shows as on is switched off until it shows as off, and its window counts to then; else the run says so."""
    rig = select(make_rig(tmp_path, known=False, ignored_states=ignored, state_in_get=shown), FEED, "Stock feed South")
    result = rig.apply(rig.plan())
    windows = rig.target.windows
    assert len(windows) == 2
    if ignored == 99:
        assert result.fatal is not None
        assert result.fatal.code == "window-open"
        for name in (FEED, "Stock feed South"):
            assert any(name in one and "still on" in one for one in result.alarms)
        assert all(result.windows[one.blend] > 20 for one in windows)
        return
    assert (result.failed, result.fatal, rig.on()) == (0, None, [])
    # One PUT of the install and one of the name come before anybody looks.
    assert ("armed-by-server" in told(result)) is (ignored > 1)
    if ignored > 1:
        assert all(result.windows[one.blend] >= (one.seconds or 0) for one in windows)


@pytest.mark.parametrize("lag_s", [3.0, 100.0])
def test_list_lag(tmp_path: Path, lag_s: float) -> None:
    """An install that shows late is found and switched off; one that never shows ends the run, and is not repeated."""
    rig = select(make_rig(tmp_path, list_lag_s=lag_s), FEED)
    plan = rig.plan()
    result = rig.apply(plan)
    if lag_s > 20:
        assert result.fatal is not None
        assert "nowhere to be seen" in result.alarms[0]
        rig.clock.advance(lag_s)
        result = rig.apply(plan)
    assert (result.failed, result.fatal) == (0, None)
    (window,) = rig.target.windows
    assert result.windows[window.blend] >= (window.seconds or 0) > 2
    assert rig.on() == []


def test_a_run_within_a_window_is_told(tmp_path: Path) -> None:
    """A template that starts a run at once: that cannot be helped, and is said at the top."""
    rig = select(make_rig(tmp_path, install_starts_run=True), FEED)
    result = rig.apply(rig.plan())
    assert "ran-on-install" in told(result)
    assert any("ran when it was installed" in one for one in result.alarms)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("shown", [False, True])
def test_a_put_that_resets_what_it_leaves_out(tmp_path: Path, replaces: bool, shown: bool) -> None:
    """Partial or full replacement: names, schedules and states come out the same, and nothing is armed on the way."""
    rig = make_rig(tmp_path, put_blend_replaces=replaces, state_in_get=shown, schedule_in_get=shown)
    select(rig, FEED, "Price export summer", "Status board", "Invoicing")
    rig.options = evolve(rig.options, start="as-source")
    guid = rig.target.add_account("Customer", rig.account)
    rig.target.watch(guid)
    sightings: list[Any] = []

    def act(request: Any) -> None:
        # Until the first is switched on on purpose nothing is on outside a window.
        sightings.append(b'"available"' in request.body or list(rig.target.armed_while_enabled))

    plan = rig.plan()
    handler_that(rig, act)
    assert rig.apply(plan).failed == 0
    for name in (FEED, "Price export summer", "Status board", "Invoice import"):
        there = blend(rig, name)
        here = next(one for one in rig.target.account("model").blends.values() if one.name == name)
        assert (there.state, there.schedule.interval) == ("available", here.schedule.interval), name
    assert not any(sightings[: sightings.index(True)])


def test_unknown_state_and_schedule_stay_off(tmp_path: Path) -> None:
    """Nobody handed in states or schedules: what the archive does not know stays off, and is a task."""
    rig = select(make_rig(tmp_path, known=False), "Status board", "Price export summer")
    rig.options = evolve(rig.options, start="as-source")
    plan = rig.plan()
    assert {"state-unknown", "schedule-unknown"} <= codes(plan)
    result = rig.apply(plan)
    assert rig.on() == []
    assert {"held", "schedule-unknown"} <= {one.code for one in result.tasks}


def test_secrets_are_nowhere(tmp_path: Path) -> None:
    """Values of parameters and inputs, links and tokens: in no plan, journal, ledger, report or error."""
    rig = make_rig(tmp_path)
    rig.target.faults.append(Fault(effect=Status(code=400, commit=False), method="POST", path="*/datasources", nth=2))
    rig.target.faults.append(Fault(effect=Status(code=400), method="POST", path="*/set-persisted-inputs", nth=2))
    plan = rig.plan()
    errors = []
    for _ in range(3):
        try:
            result = rig.apply(plan)
            errors.append(repr(result))
            rig.consent()
        except QlikmigrateError as error:
            errors.append(repr(error.message))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".qma"]
    text = "\n".join([*(path.read_text() for path in files if path.name != "schedules.json"), *errors])
    planted = {value for values in rig.secrets.values() for name, value in values.items() if "planted" in value}
    inputs = {"ghp_demo0123456789abcdefghijklmnopqrstuv", "dealers@velo.example"}
    assert len(planted) == 4
    for secret in rig.target.secrets() | planted | inputs:
        assert secret not in text


@pytest.mark.parametrize(("per_minute", "held", "calls"), [(60, 0, 3), (300, 0, 3), (300, 450, 8)])
def test_a_window_is_a_few_calls_long(tmp_path: Path, per_minute: int, held: int, calls: int) -> None:
    """Install, list, switch off: however tight the rate, no waiting falls into a window. Long lists have more pages."""
    rig = select(make_rig(tmp_path, per_minute=None), FEED, "Stock feed South", "Status board", "Invoicing")
    guid = rig.target.add_account("Customer", rig.account)
    for number in range(held):
        rig.target.add_blend(guid, f"theirs {number}")
    rig.limits = OemLimits(per_minute=per_minute, timeout_s=20.0)
    handler_that(rig, lambda request: rig.clock.advance(0.2))
    result = rig.apply(rig.plan())
    assert result.failed == 0
    # A bundle has its two parts to switch off as well.
    assert max(result.windows.values()) <= 0.2 * (calls + 2) + 0.01
    assert sorted(result.windows.values())[0] <= 0.2 * calls + 0.01
    assert len(result.windows) == 4
