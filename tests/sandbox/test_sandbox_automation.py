"""What the tenant does with automations: owners, ids, run modes, states, rights, runs."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenant_world import Blocks, Client, World

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.message import Request
from qlikmigrate.sandbox import CloudTenant
from qlikmigrate.sandbox.catalogue import MAIL, QLIK_CLOUD_SERVICES
from qlikmigrate.sandbox.workspace import normalise


def test_create_mints_everything_and_takes_only_what_it_takes(world: World) -> None:
    """A posted GET body becomes a new automation of the caller: new ids, new token, nothing else carried over."""
    first = world.create(schedules=[{"interval": 600}], description="d", maxConcurrentRuns=3, spaceId=world.sales)
    second = world.client("bot")("POST", "@/automations", first | {"spaceId": "", "state": "disabled"}).json
    assert uuid.UUID(first["id"]).version == 1
    assert first["id"] == first["id"].lower()
    assert re.fullmatch("[A-Za-z0-9]{64}", second["executionToken"])
    for name in ("id", "ownerId", "executionToken"):
        assert first[name] != second[name]
    assert first["schedules"][0]["id"] != second["schedules"][0]["id"]
    for name in ("name", "description", "maxConcurrentRuns", "runMode"):
        assert first[name] == second[name]
    assert second["state"] == "available"


@pytest.mark.parametrize(
    ("start", "schedules", "mode"),
    [
        ("manual", [], "manual"),
        ("webhook", [], "webhook"),
        ("triggered", [{"interval": -1}], "triggered"),
        ("webhook", [{"interval": 600}], "scheduled"),
        ("scheduled", [], "scheduled"),
        ("manual", [{"recurrence": "RRULE:FREQ=DAILY"}], "scheduled"),
    ],
)
def test_run_mode_is_computed(world: World, start: str, schedules: list[Any], mode: str) -> None:
    """A real schedule wins over the StartBlock; a placeholder is none. Whatever is armed and enabled is seen."""
    made = world.create(workspace=Blocks.workspace(Blocks.start(start)), schedules=schedules)
    assert made["runMode"] == mode
    assert [one.automation_id for one in world.tenant.armed_while_enabled] == ([made["id"]] if mode != "manual" else [])


def test_armed_and_disabled_is_not_seen(world: World) -> None:
    """A shell that is disabled before it is armed leaves no sighting; enabling it does."""
    ident = world.create(workspace=Blocks.workspace(Blocks.start()))["id"]
    ann = world.client("ann")
    ann("POST", f"@/automations/{ident}/actions/disable")
    ann("PUT", f"@/automations/{ident}", {"workspace": Blocks.workspace(Blocks.start("webhook"))})
    assert world.tenant.armed_while_enabled == []
    ann("POST", f"@/automations/{ident}/actions/enable")
    assert [one.how for one in world.tenant.armed_while_enabled] == [
        "POST /api/workflows/automations/{}/actions/enable"
    ]


def test_only_one_schedule_is_kept_to_the_minute(world: World) -> None:
    """Extra schedules are dropped, intervals rounded to the minute, the placeholder comes back with a new id."""
    made = world.create(schedules=[{"interval": 95, "startAt": "2026-01-01 10:00:00"}, {"interval": 60}])
    assert [(one["interval"], one["startAt"]) for one in made["schedules"]] == [(120, "2026-01-01 10:00:00")]
    placeholder = {"startAt": None, "stopAt": None, "interval": -1, "timezone": "Europe/London"}
    kept = world.create(schedules=[placeholder])["schedules"][0]
    assert {name: kept[name] for name in placeholder} == placeholder
    assert kept["id"]


def test_derived_ids_follow_the_workspace(world: World) -> None:
    """Connectors, endpoints and snippets are read from the blocks, a webhook's connector from the StartBlock."""
    start = Blocks.start("webhook")
    start["inputs"].append({"id": "datasourcetype_guid", "value": QLIK_CLOUD_SERVICES})
    blocks = [start, Blocks.bound("x") | {"endpoint_guid": "e"}, {"type": "SnippetBlock", "snippet_guid": "s"}]
    made = world.create(workspace=Blocks.workspace(*blocks))
    assert made["connectorIds"] == [QLIK_CLOUD_SERVICES, MAIL]
    assert (made["endpointIds"], made["snippetIds"]) == (["e"], ["s"])


def test_lists_show_what_the_caller_may_see(world: World) -> None:
    """People see their own, administrators and the bot all unless `listAll=false`; impersonation sees as the person."""
    mine = world.create()["id"]
    other = world.create("bob")["id"]
    seen = {who: {row["id"] for row in world.client(who).rows("@/automations")} for who in ("ann", "admin", "bot")}
    assert seen == {"ann": {mine}, "admin": {mine, other}, "bot": {mine, other}}
    assert world.client("bot").rows("@/automations", listAll="false") == []
    for field, value in (("userId", world.ann_id), ("subject", "ACME\\ann")):
        bearer = world.token("impersonation", lookup={"field": field, "value": value})
        ann = Client(world.tenant, bearer)
        assert {row["id"] for row in ann.rows("@/automations")} == {mine}
        made = ann("POST", "@/automations", {"name": "B"}).json
        assert made["ownerId"] == world.ann_id
        ann("DELETE", f"@/automations/{made['id']}")


def test_rights_on_other_peoples_automations(world: World) -> None:
    """An administrator's key switches and deletes; only a bot with the scope reads and writes."""
    ident = world.create()["id"]
    path = f"@/automations/{ident}"
    admin, bot = world.client("admin"), world.client("bot")
    reader = Client(world.tenant, world.token("m2m", scopes=("admin.automations:read",)))
    assert [admin(*call).status for call in (("GET", path), ("PUT", path, {}))] == [403, 403]
    assert [bot(*call).status for call in (("GET", path), ("PUT", path, {"name": "B"}))] == [200, 200]
    assert [reader(*call).status for call in (("GET", path), ("PUT", path, {}))] == [200, 403]
    assert admin("POST", f"{path}/actions/disable").status == 204
    assert world.client("bob")("POST", f"{path}/actions/enable").status == 403
    assert world.client("ann")("POST", f"{path}/actions/change-owner", {"userId": world.bob_id}).status == 403
    assert world.get(ident)["ownerId"] == world.ann_id
    assert admin("DELETE", path).status == 204


def test_change_of_owner_empties_the_history(world: World) -> None:
    """Runs are gone, id and token stay; the new owner needs AutomationCreator and must be active."""
    made = world.create()
    world.client("ann")("POST", f"@/automations/{made['id']}/runs", {"context": "api"})
    path = f"@/automations/{made['id']}/actions/change-owner"
    plain = world.tenant.add_user("p", "P", "p@acme.example", roles=())
    gone = world.tenant.add_user("g", "G", "g@acme.example", status="disabled")
    bot = world.client("bot")
    assert [bot("POST", path, {"userId": user}).status for user in (plain, gone, "none", world.bob_id)] == [
        403, 400, 400, 204,
    ]  # fmt: skip
    stored = world.get(made["id"])
    assert (stored["ownerId"], stored["executionToken"]) == (world.bob_id, made["executionToken"])
    assert "lastRun" not in stored
    assert world.client("bob").rows(f"@/automations/{made['id']}/runs") == []


def test_an_analytics_admin_claims_only_for_themselves(world: World) -> None:
    """They may take an automation, not hand it to somebody else."""
    world.tenant.set_roles(world.bob_id, "AnalyticsAdmin", "AutomationCreator")
    path = f"@/automations/{world.create()['id']}/actions/change-owner"
    bob = world.client("bob")
    assert bob("POST", path, {"userId": world.admin_id}).status == 403
    assert bob("POST", path, {"userId": world.bob_id}).status == 204


def test_spaces_of_automations(world: World) -> None:
    """They live in shared spaces where the caller is a maker; a space with content is not deleted."""
    managed = world.tenant.add_space("Published", "managed", owner=world.ann_id)
    ann, bob = world.client("ann"), world.client("bob")
    for client, space, status in ((ann, managed, 400), (ann, "none", 400), (bob, world.sales, 403)):
        assert client("POST", "@/automations", {"name": "A", "spaceId": space}).status == status
    world.tenant.add_member(world.sales, world.bob_id, ("producer",))
    made = bob("POST", "@/automations", {"name": "A", "spaceId": world.sales}).json
    assert ann("DELETE", f"/api/v1/spaces/{world.sales}").status == 412
    bob("POST", f"@/automations/{made['id']}/actions/change-space", {"spaceId": ""})
    assert ann("DELETE", f"/api/v1/spaces/{world.sales}").status == 204


def test_runs(world: World) -> None:
    """Runs need the context, an automation that is on and, for the bot, a part in the space."""
    made = world.create(workspace=Blocks.workspace(Blocks.start("triggered")), spaceId=world.sales)
    path = f"@/automations/{made['id']}"
    ann, nobody = world.client("ann"), world.client("nobody")
    assert ann("POST", f"{path}/runs", {}).status == 422
    assert world.client("bot")("POST", f"{path}/runs", {"context": "api"}).status == 403
    token = {"X-Execution-Token": made["executionToken"]}
    assert nobody("POST", f"{path}/actions/execute", **token).status == 200
    assert nobody("POST", f"{path}/actions/execute", **{"X-Execution-Token": "x"}).status == 401
    assert ann("POST", f"{path}/runs", {"context": "api"}).status == 201
    assert len(ann.rows(f"{path}/runs", limit=1)) == 2
    ann("POST", f"{path}/actions/disable")
    assert ann("POST", f"{path}/runs", {"context": "api"}).status == 403
    assert nobody("POST", f"{path}/actions/execute", **token).status == 403


def test_connections_need_consent_and_parameters(world: World) -> None:
    """One without its parameters or consent is not connected; the system's own is neither made nor changed."""
    ann = world.client("ann")
    mail = ann("POST", "@/automation-connections", {"connectorId": MAIL, "name": "M"}).json
    assert mail["isConnected"] is False
    values = [{"id": param["id"], "value": "v"} for param in mail["params"]]
    assert ann("PUT", f"@/automation-connections/{mail['id']}", {"params": values}).json["isConnected"] is True
    hub = ann("POST", "@/automation-connections", {"connectorId": "0d87808f-27c0-11ea-921c-022e6b5ea1e2"}).json
    assert (hub["isConnected"], hub["redirect"].startswith("https://acme.")) == (False, True)
    world.tenant.consent(hub["id"])
    again = ann("GET", f"@/automation-connections/{hub['id']}").json
    assert (again["isConnected"], again["redirect"], again["oauthAccountName"]) == (True, None, "ann@acme.example")
    assert ann("POST", "@/automation-connections", {"connectorId": QLIK_CLOUD_SERVICES}).status == 400
    own = [row for row in ann.rows("@/automation-connections") if row["connectorId"] == QLIK_CLOUD_SERVICES]
    assert len(own) == 1
    assert ann("DELETE", f"@/automation-connections/{own[0]['id']}").status == 400


def test_a_used_connection_goes_only_by_force(world: World) -> None:
    """DELETE of a connection that a block is bound to is refused unless forced."""
    mail = world.tenant.add_connection(MAIL, "M", owner=world.ann_id)
    world.create(workspace=Blocks.workspace(Blocks.bound(mail)))
    ann = world.client("ann")
    assert ann("DELETE", f"@/automation-connections/{mail}").status == 409
    assert ann("DELETE", f"@/automation-connections/{mail}", forced="true").status == 204


def test_same_seed_same_answers() -> None:
    """Two tenants of one seed and clock answer the same calls with the same bytes."""

    def story() -> list[bytes]:
        tenant = CloudTenant("acme", clock=ManualClock(), seed=3)
        key = tenant.api_key(tenant.add_user("a", "A", "a@a.example"))
        bodies = []
        for method, path, body in (
            ("POST", "/api/v1/automations", b'{"name":"A","schedules":[{"interval":60}]}'),
            ("GET", "/api/v1/automations", b""),
            ("GET", "/api/v1/users", b""),
        ):
            url, headers = tenant.base_url + path, {"authorization": f"Bearer {key}"}
            reply = tenant.handle(Request(method=method, url=url, headers=headers, body=body))
            bodies.append(reply.response.body)
        return bodies

    assert story() == story()


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), _values, max_size=4))
@settings(max_examples=60, deadline=None)
def test_normalising_twice_is_normalising_once(value: dict[str, Any]) -> None:
    """What the service has spelled once it does not spell anew, beyond 64 bits too."""
    once = normalise(value | {"blocks": [{"type": "ForEachBlock", "comment": "", "x": value}]})
    assert normalise(once) == once


def test_long_integers_stay_exact(world: World) -> None:
    """A number beyond 64 bits comes back digit for digit."""
    body = b'{"name":"A","workspace":{"blocks":[{"x":123456789012345678901234567890}],"variables":[]}}'
    ident = world.client("ann")("POST", "@/automations", body).body
    assert b'"x":123456789012345678901234567890' in ident
