"""Each switch, on both answers."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from tenant_world import Blocks, Client, World

from qlikmigrate.sandbox import (
    BotConnections,
    BothForms,
    EmptyWorkspace,
    Families,
    PutConflict,
    RateLimits,
    RecurrenceInterval,
    ScheduleForms,
    Switches,
    Wrapping,
)
from qlikmigrate.sandbox.catalogue import MAIL, QLIK_CLOUD_SERVICES
from qlikmigrate.sandbox.connection import MASK

_DAILY = "RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0"


def _schedules(world: World, **schedule: Any) -> Any:
    return world.create(schedules=[schedule])["schedules"][0]


@pytest.mark.parametrize(
    ("families", "workflows", "v1"),
    [(Families.BOTH, 200, 200), (Families.V1_ONLY, 404, 200), (Families.WORKFLOWS_ONLY, 200, 404)],
)
def test_families(world: World, families: Families, workflows: int, v1: int) -> None:
    """A tenant answers one path family, the other, or both; v1 says that it is deprecated."""
    world.set(families=families)
    bearer = world.client("ann").bearer
    for kind in ("automations", "automation-connections", "automation-connectors"):
        assert Client(world.tenant, bearer)("GET", f"@/{kind}").status == workflows
        answer = Client(world.tenant, bearer, "v1")("GET", f"@/{kind}")
        assert answer.status == v1
        assert "deprecation" in answer.headers
    assert world.client("ann")("GET", "/api/v1/users").status == 200


@pytest.mark.parametrize("filled", [False, True])
def test_list_workspace(world: World, filled: bool) -> None:
    """Rows of a list carry the workspace or not; never schedules."""
    world.set(list_workspace=filled)
    world.create(workspace=Blocks.workspace(Blocks.start()), schedules=[{"interval": 60}])
    row = world.client("ann").rows("@/automations")[0]
    assert ("workspace" in row) is filled
    assert "schedules" not in row


def test_list_lag(world: World) -> None:
    """A new object shows in lists at once, after some seconds, or after some list calls; its own GET at once."""
    ann = world.client("ann")
    first = world.create()["id"]
    assert [row["id"] for row in ann.rows("@/automations")] == [first]
    world.set(list_lag_s=5)
    second = world.create()["id"]
    assert len(ann.rows("@/automations")) == 1
    assert ann("GET", f"@/automations/{second}").status == 200
    world.clock.advance(5)
    assert len(ann.rows("@/automations")) == 2
    world.set(list_lag_calls=2)
    world.create()
    assert [len(ann.rows("@/automations")) for _ in range(4)] == [2, 2, 3, 3]


@pytest.mark.parametrize("status", [403, 404])
def test_foreign_status(world: World, status: int) -> None:
    """Somebody else's automation or connection is forbidden, or not there; an administrator lists it all the same."""
    world.set(foreign_status=status)
    ident = world.create()["id"]
    connection = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    for who in ("bob", "admin"):
        client = world.client(who)
        assert client("GET", f"@/automations/{ident}").status == status
        assert client("PUT", f"@/automations/{ident}", {"name": "X"}).status == status
        assert client("GET", f"@/automation-connections/{connection}").status == status
    assert [row["id"] for row in world.client("admin").rows("@/automations")] == [ident]
    assert world.client("bob").rows("@/automations") == []


@pytest.mark.parametrize(
    ("answer", "listed", "read"),
    [(BotConnections.LIST_ONLY, True, 403), (BotConnections.READ, True, 200), (BotConnections.NONE, False, 403)],
)
def test_bot_connections(world: World, answer: BotConnections, listed: bool, read: int) -> None:
    """The bot lists, reads, or does not see other people's connections; it never writes them."""
    world.set(bot_connections=answer)
    ident = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    bot = world.client("bot")
    assert (ident in {row["id"] for row in bot.rows("@/automation-connections", listAll="true")}) is listed
    assert bot("GET", f"@/automation-connections/{ident}").status == read
    assert bot("PUT", f"@/automation-connections/{ident}", {"name": "N"}).status == 403
    assert bot("DELETE", f"@/automation-connections/{ident}").status == 403


@pytest.mark.parametrize(("needs", "status"), [(False, 200), (True, 403)])
def test_bot_needs_space_role(world: World, needs: bool, status: int) -> None:
    """The bot reads automations in any shared space, or only where it is a member; personal ones always."""
    world.set(bot_needs_space_role=needs)
    shared = world.create(spaceId=world.sales)["id"]
    personal = world.create()["id"]
    bot = world.client("bot")
    assert bot("GET", f"@/automations/{shared}").status == status
    assert bot("PUT", f"@/automations/{shared}", {"name": "N"}).status == status
    assert bot("GET", f"@/automations/{personal}").status == 200


@pytest.mark.parametrize(("given", "status"), [(True, 201), (False, 403)])
def test_auto_creator_role(world: World, given: bool, status: int) -> None:
    """New users may make automations, or need the role first."""
    world.set(auto_creator_role=given)
    user = world.tenant.add_user("new", "New", "new@acme.example")
    assert Client(world.tenant, world.tenant.api_key(user))("POST", "@/automations", {"name": "A"}).status == status


@pytest.mark.parametrize(("disabled", "state"), [(False, "available"), (True, "disabled")])
def test_created_disabled(world: World, disabled: bool, state: str) -> None:
    """A new automation is available, or disabled."""
    world.set(created_disabled=disabled)
    assert world.create()["state"] == state


@pytest.mark.parametrize(("answer", "status"), [(EmptyWorkspace.ACCEPTED, 201), (EmptyWorkspace.NEEDS_START, 400)])
def test_empty_workspace(world: World, answer: EmptyWorkspace, status: int) -> None:
    """An automation without blocks is taken or refused; one with only a StartBlock is always taken."""
    world.set(empty_workspace=answer)
    ann = world.client("ann")
    assert ann("POST", "@/automations", {"name": "A"}).status == status
    assert ann("POST", "@/automations", {"name": "A", "workspace": Blocks.workspace(Blocks.start())}).status == 201


@pytest.mark.parametrize("normalises", [True, False])
def test_normalises(world: World, normalises: bool) -> None:
    """The stored workspace is re-spelled or kept as sent; ids and values are the same."""
    world.set(normalises=normalises)
    block = {
        "id": "B", "type": "ForEachBlock", "logo": "L", "endpoint_role": "list", "comment": "", "x": 1,
        "inputs": [{"structure": {}, "value": "", "id": "i"}], "settings": [{"value": "", "id": "maxitemcount"}],
    }  # fmt: skip
    stored = world.create(workspace=Blocks.workspace(block))["workspace"]["blocks"][0]
    if normalises:
        assert list(stored) == ["x", "id", "type", "inputs", "comment", "settings", "loopBlockId"]
        assert stored["comment"] is None
        assert stored["loopBlockId"] is None
        assert stored["inputs"] == [{"id": "i", "value": "", "structure": []}]
        assert list(stored["inputs"][0]) == ["id", "value", "structure"]
        assert stored["settings"] == [{"id": "maxitemcount", "value": None}]
    else:
        assert stored == block


@pytest.mark.parametrize("status", [400, 422])
def test_check_calls(world: World, status: int) -> None:
    """A call of nothing, nobody or itself refuses the save, unless the block is disabled or nothing is checked."""
    world.set(refused_save_status=status)
    ann = world.client("ann")
    ident = world.create()["id"]
    for callee in ("", None, "5298d058-e649-11f1-b6b3-ab1b39fdc02b", ident):
        body = {"name": "A", "workspace": Blocks.workspace(Blocks.call(callee))}
        assert ann("PUT", f"@/automations/{ident}", body).status == status
    assert ann("POST", "@/automations", {"name": "B", "workspace": Blocks.workspace(Blocks.call(ident))}).status == 201
    assert (
        ann("POST", "@/automations", {"name": "C", "workspace": Blocks.workspace(Blocks.call("{$.x}"))}).status == 201
    )
    off = {"name": "D", "workspace": Blocks.workspace(Blocks.call(None, disabled=True))}
    assert ann("POST", "@/automations", off).status == 201
    world.set(disabled_calls_exempt=False)
    assert ann("POST", "@/automations", off).status == 400
    world.set(check_calls=False)
    assert ann("POST", "@/automations", off).status == 201


@pytest.mark.parametrize("status", [400, 422])
def test_refused_save_status(world: World, status: int) -> None:
    """More concurrent runs than the tenant allows are refused with either code; the setting can be raised."""
    world.set(refused_save_status=status)
    ann = world.client("ann")
    assert ann("POST", "@/automations", {"name": "A", "maxConcurrentRuns": 11}).status == status
    setting = {"maxConcurrentRunsPerAutomation": 11}
    assert ann("PUT", "/api/workflows/automations/settings", setting).status == 403
    assert world.client("admin")("PUT", "/api/workflows/automations/settings", setting).status == 200
    assert ann("POST", "@/automations", {"name": "A", "maxConcurrentRuns": 11}).status == 201


@pytest.mark.parametrize(("keeps", "count"), [(True, 1), (False, 0)])
def test_put_keeps_schedules(world: World, keeps: bool, count: int) -> None:
    """PUT without schedules keeps them or drops them; an empty list always drops them."""
    world.set(put_keeps_schedules=keeps)
    ident = world.create(schedules=[{"interval": 3600}])["id"]
    ann = world.client("ann")
    answer = ann("PUT", f"@/automations/{ident}", {"name": "B"}).json
    assert len(answer["schedules"]) == count
    assert answer["runMode"] == ("scheduled" if keeps else "manual")
    assert ann("PUT", f"@/automations/{ident}", {"schedules": []}).json["schedules"] == []


@pytest.mark.parametrize(("keeps", "state"), [(True, "disabled"), (False, "available")])
def test_put_keeps_disabled(world: World, keeps: bool, state: str) -> None:
    """A disabled automation stays so over a PUT, or is switched on; the latter is seen when it is armed."""
    world.set(put_keeps_disabled=keeps)
    ident = world.create()["id"]
    ann = world.client("ann")
    ann("POST", f"@/automations/{ident}/actions/disable")
    assert ann("PUT", f"@/automations/{ident}", {"schedules": [{"interval": 60}]}).json["state"] == state
    assert [one.automation_id for one in world.tenant.armed_while_enabled] == ([] if keeps else [ident])


@pytest.mark.parametrize(("keeps", "state"), [(True, "disabled"), (False, "available")])
def test_owner_change_keeps_disabled(world: World, keeps: bool, state: str) -> None:
    """The same over a change of owner."""
    world.set(owner_change_keeps_disabled=keeps)
    ident = world.create()["id"]
    bot = world.client("bot")
    bot("POST", f"@/automations/{ident}/actions/disable")
    assert bot("POST", f"@/automations/{ident}/actions/change-owner", {"userId": world.bob_id}).status == 204
    assert world.get(ident)["state"] == state


@pytest.mark.parametrize("nulls", [True, False])
def test_owner_change_nulls_bindings(world: World, nulls: bool) -> None:
    """A change of owner unbinds connections, or leaves dangling ids; the system's own connection stays bound."""
    world.set(owner_change_nulls_bindings=nulls)
    own = next(i for i, one in world.tenant.connections.items() if one["connectorId"] == QLIK_CLOUD_SERVICES)
    mail = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    ident = world.create(workspace=Blocks.workspace(Blocks.bound(mail), Blocks.bound(own)))["id"]
    world.client("bot")("POST", f"@/automations/{ident}/actions/move", {"userId": world.bob_id})
    values = [block["settings"][0]["value"] for block in world.get(ident)["workspace"]["blocks"]]
    assert values == [None if nulls else mail, own]


@pytest.mark.parametrize("nulls", [True, False])
def test_space_change_nulls_bindings(world: World, nulls: bool) -> None:
    """A change of space unbinds connections, or does not."""
    world.set(space_change_nulls_bindings=nulls)
    mail = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    ident = world.create(workspace=Blocks.workspace(Blocks.bound(mail)))["id"]
    world.client("ann")("POST", f"@/automations/{ident}/actions/change-space", {"spaceId": world.sales})
    stored = world.get(ident)
    assert stored["spaceId"] == world.sales
    assert stored["workspace"]["blocks"][0]["settings"][0]["value"] == (None if nulls else mail)


def test_put_conflict(world: World) -> None:
    """PUT conflicts never, for who has not read the newest version, or while an editor is open; under v1 never."""
    ident = world.create()["id"]
    path = f"@/automations/{ident}"
    ann, bot = world.client("ann"), world.client("bot")
    old = Client(world.tenant, bot.bearer, "v1")
    assert bot("PUT", path, {"name": "1"}).status == 200
    world.set(put_conflict=PutConflict.STALE)
    assert ann("PUT", path, {"name": "2"}).status == 409
    assert ann("GET", path).status == 200
    assert ann("PUT", path, {"name": "2"}).status == 200
    assert bot("PUT", path, {"name": "3"}).status == 409
    assert old("PUT", path, {"name": "3"}).status == 200
    world.set(put_conflict=PutConflict.OPEN_EDITOR)
    assert ann("PUT", path, {"name": "4"}).status == 200
    world.tenant.open_editors.add(ident)
    assert ann("PUT", path, {"name": "5"}).status == 409
    world.tenant.open_editors.clear()
    assert ann("PUT", path, {"name": "5"}).status == 200


def test_both_forms(world: World) -> None:
    """Of recurrence and interval the one wins, the other wins, or both are refused."""
    both = {"recurrence": _DAILY, "interval": 600}
    assert _schedules(world, **both)["recurrence"] == _DAILY
    world.set(both_forms=BothForms.INTERVAL_WINS)
    kept = _schedules(world, **both)
    assert (kept["recurrence"], kept["interval"]) == (None, 600)
    world.set(both_forms=BothForms.REFUSED)
    assert world.client("ann")("POST", "@/automations", {"name": "A", "schedules": [both]}).status == 400
    assert _schedules(world, recurrence=_DAILY)["recurrence"] == _DAILY


def test_schedule_forms(world: World) -> None:
    """A tenant that knows one form only drops the other, and the automation is not scheduled then."""
    world.set(schedule_forms=ScheduleForms.INTERVAL_ONLY)
    made = world.create(schedules=[{"recurrence": _DAILY}])
    assert made["runMode"] == "manual"
    assert "recurrence" not in made["schedules"][0]
    assert world.create(schedules=[{"interval": 600}])["runMode"] == "scheduled"
    world.set(schedule_forms=ScheduleForms.RECURRENCE_ONLY)
    assert world.create(schedules=[{"interval": 600}])["runMode"] == "manual"
    assert world.create(schedules=[{"recurrence": _DAILY}])["runMode"] == "scheduled"


@pytest.mark.parametrize(("accepted", "status"), [(True, 201), (False, 400)])
def test_minutely_accepted(world: World, accepted: bool, status: int) -> None:
    """FREQ=MINUTELY is taken or refused; other frequencies are taken, nonsense is refused."""
    world.set(minutely_accepted=accepted)
    ann = world.client("ann")
    for rule, wanted in (("RRULE:FREQ=MINUTELY;INTERVAL=15", status), (_DAILY, 201), ("often", 400), ("FREQ=X", 400)):
        assert ann("POST", "@/automations", {"name": "A", "schedules": [{"recurrence": rule}]}).status == wanted


@pytest.mark.parametrize(
    ("rewrites", "text"),
    [(True, "RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=9"), (False, "BYHOUR=9;FREQ=weekly;BYDAY=MO;INTERVAL=1")],
)
def test_rewrites_recurrence(world: World, rewrites: bool, text: str) -> None:
    """A rule comes back in the service's own spelling, or as it was sent."""
    world.set(rewrites_recurrence=rewrites)
    assert _schedules(world, recurrence="BYHOUR=9;FREQ=weekly;BYDAY=MO;INTERVAL=1")["recurrence"] == text


@pytest.mark.parametrize(
    ("answer", "interval"),
    [(RecurrenceInterval.MINUS_TWO, -2), (RecurrenceInterval.COMPUTED, 7200), (RecurrenceInterval.NULL, None)],
)
def test_recurrence_interval(world: World, answer: RecurrenceInterval, interval: int | None) -> None:
    """Beside a rule the interval is -2, what the rule comes to, or null."""
    world.set(recurrence_interval=answer)
    assert _schedules(world, recurrence="RRULE:FREQ=HOURLY;INTERVAL=2")["interval"] == interval


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("overwrites", [True, False])
def test_masks_values(world: World, masks: bool, overwrites: bool) -> None:
    """Secret values come as they are or masked; a mask sent back overwrites them or does not."""
    world.set(masks_values=masks, mask_overwrites=overwrites)
    ident = world.tenant.add_connection(MAIL, "M", owner=world.ann_id, params={"Host": "h", "Password": "secret"})
    ann = world.client("ann")
    shown = ann("GET", f"@/automation-connections/{ident}").json
    values = {param["name"]: param["value"] for param in shown["params"]}
    assert (values["Host"], values["Password"]) == ("h", MASK if masks else "secret")
    back = [{"id": param["id"], "value": MASK} for param in shown["params"] if param["name"] == "Password"]
    ann("PUT", f"@/automation-connections/{ident}", {"params": back})
    world.set()
    stored = {param["name"]: param["value"] for param in world.tenant.connections[ident]["params"]}
    assert stored["Password"] == (MASK if overwrites else "secret")


@pytest.mark.parametrize(
    ("wrapping", "connection", "automation"),
    [(Wrapping.NONE, False, False), (Wrapping.CONNECTIONS, True, False), (Wrapping.ALL, True, True)],
)
def test_wrapping(world: World, wrapping: Wrapping, connection: bool, automation: bool) -> None:
    """Single objects come bare, or inside `data`."""
    ident = world.create()["id"]
    mail = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    world.set(wrapping=wrapping)
    ann = world.client("ann")
    assert (set(ann("GET", f"@/automation-connections/{mail}").json) == {"data"}) is connection
    assert (set(ann("GET", f"@/automations/{ident}").json) == {"data"}) is automation


@pytest.mark.parametrize(("text", "wanted"), [(False, False), (True, "false")])
def test_string_booleans(world: World, text: bool, wanted: Any) -> None:
    """Booleans of connections are booleans, or words."""
    world.set(string_booleans=text)
    ident = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    shown = world.client("ann")("GET", f"@/automation-connections/{ident}").json
    assert (shown["isConnected"], shown["params"][0]["isOptional"]) == (wanted, wanted)


@pytest.mark.parametrize(("seconds", "status"), [(0.0, "finished"), (30.0, "running")])
def test_run_seconds(world: World, seconds: float, status: str) -> None:
    """A run is over at once, or after its time; one that runs can be stopped."""
    world.set(run_seconds=seconds)
    ident = world.create()["id"]
    ann = world.client("ann")
    runs = f"@/automations/{ident}/runs"
    first = ann("POST", runs, {"context": "api"}).json
    assert first["status"] == status
    if seconds:
        assert ann("POST", runs, {"context": "api"}).status == 422
        ann("POST", f"{runs}/{first['id']}/actions/stop")
        assert ann("GET", f"{runs}/{first['id']}").json["status"] == "stopped"
        second = ann("POST", runs, {"context": "api"}).json
        world.clock.advance(31)
        assert ann("GET", f"{runs}/{second['id']}").json["status"] == "finished"
    assert world.get(ident)["lastRunStatus"] == "finished"
    assert ann.rows("@/automations", filter='lastRunStatus eq "finished"')[0]["lastRunStatus"] == "finished"


@pytest.mark.parametrize("bumped", [True, False])
def test_updates_on_state(world: World, bumped: bool) -> None:
    """Whether a change of state, owner or space sets the time of the last change; an edit always does."""
    world.set(updates_on_state=bumped)
    ident = world.create()["id"]
    before = world.get(ident)["updatedAt"]
    for action, body in (
        ("disable", None),
        ("change-space", {"spaceId": world.sales}),
        ("change-owner", {"userId": world.bob_id}),
    ):
        world.clock.advance(1)
        assert world.client("admin")("POST", f"@/automations/{ident}/actions/{action}", body).status == 204
        assert (world.get(ident)["updatedAt"] != before) is bumped, action
        before = world.get(ident)["updatedAt"]
    world.clock.advance(1)
    assert world.client("bob")("PUT", f"@/automations/{ident}", {"name": "B"}).status == 200
    assert world.get(ident)["updatedAt"] != before


@pytest.mark.parametrize("dates", [True, False])
def test_dates(world: World, dates: bool) -> None:
    """Every answer, refusals included, tells the server's time in whole seconds; or none does."""
    world.set(dates=dates)
    moment = world.clock.now().replace(microsecond=0)
    for who, path in (("ann", "@/automations"), ("ann", "@/automations/none"), ("nobody", "@/automations")):
        told = world.client(who)("GET", path).headers.get("date")
        assert (parsedate_to_datetime(told) if told else None) == (moment if dates else None)


def test_rate_limits(world: World) -> None:
    """With limits a burst fills the window, blocks its tier for that identity, and the block ends; without, never."""
    ann, bob = world.client("ann"), world.client("bob")
    assert all(ann("GET", "@/automations").status == 200 for _ in range(50))
    world.set(rate_limits=RateLimits(tier1_per_minute=2, tier2_per_minute=1))
    assert [ann("GET", "@/automations").status for _ in range(11)] == [200] * 10 + [429]
    world.clock.advance(290)
    refused = ann("GET", "/api/v1/users")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "10"
    assert refused.json["errors"] == [
        {
            "code": "HTTP-429",
            "title": "API rate limit reached.",
            "detail": "You need to wait 10 seconds until limit is lifted.",
        }
    ]
    assert ann("POST", "@/automations", {"name": "A"}).status == 201
    assert bob("GET", "@/automations").status == 200
    world.clock.advance(10)
    assert ann("GET", "@/automations").status == 200


def test_every_switch_is_tested() -> None:
    """No switch is without a test here."""
    source = Path(__file__).read_text(encoding="utf-8")
    missing = [one.name for one in attrs.fields(Switches) if f"{one.name}=" not in source]
    assert not missing
