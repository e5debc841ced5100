"""The demo company, the made-up automations, and the two tenants on loopback."""

from __future__ import annotations

import tomllib
from collections import Counter

import httpx
import orjson
import pytest
from tenant_world import Blocks, World

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import CloudTenant, Sandbox, Switches, seed_source, seed_target
from qlikmigrate.sandbox.synthetic import Recipe
from qlikmigrate.sandbox.workspace import calls, derived_ids, normalise, start_mode


def test_the_source_holds_what_a_migration_must_meet() -> None:
    """All run modes and states, a cycle of calls, a self reference, a name twice, literal ids, hosts and secrets."""
    tenant = CloudTenant("nordlicht", clock=ManualClock())
    company = seed_source(tenant)
    stored = tenant.automations
    modes = Counter(one["runMode"] for one in stored.values())
    assert set(modes) == {"manual", "scheduled", "webhook", "triggered"}
    assert {one["state"] for one in stored.values()} == {"available", "disabled", "unavailable"}
    assert 25 <= len(stored) <= 40
    ping, pong = company.automations["Sync dealers"], company.automations["Sync orders"]
    callees = {ident: {callee for _, callee, _ in calls(one["workspace"])} for ident, one in stored.items()}
    assert callees[ping] == {pong}
    assert callees[pong] == {ping}
    assert company.automations["Retry myself"] in str(stored[company.automations["Retry myself"]]["workspace"])
    assert Counter(one["name"] for one in stored.values()).most_common(1) == [("Nightly reload", 2)]
    assert tenant.hostnames[0] in str([one["workspace"] for one in stored.values()])
    assert any(not one["isConnected"] for one in tenant.connections.values())
    assert len({one["ownerId"] for one in stored.values()}) == 6
    assert any(one.get("lastRun") for one in stored.values())
    assert any(schedule.get("recurrence") for one in stored.values() for schedule in one["schedules"])
    assert tenant.armed_while_enabled == []


def test_the_target_is_prepared_but_for_its_gaps() -> None:
    """The same people and spaces under other ids; Rita, a space and two consents are missing; all owners can own."""
    clock = ManualClock()
    source, target = CloudTenant("nordlicht", clock=clock), CloudTenant("nordlicht-dr", clock=clock, seed=1)
    here, there = seed_source(source), seed_target(target)
    assert set(here.users) - set(there.users) == {"rita"}
    assert set(here.spaces) - set(there.spaces) == {"Archive 2019"}
    assert not set(here.users.values()) & set(there.users.values())
    assert set(here.apps) - set(there.apps) == {"Sales 2019"}
    subjects = [{one["subject"] for one in tenant.users.values()} for tenant in (source, target)]
    assert subjects[0] - subjects[1] == {"NORDLICHT\\rita", "NORDLICHT\\jules"}
    assert {"github", "airtable"} <= set(here.connections) - set(there.connections)
    owners = {one["ownerId"] for one in source.automations.values()}
    assert here.users["rita"] not in owners
    used = {one["spaceId"] for one in source.automations.values()}
    assert here.spaces["Archive 2019"] not in used
    assert not target.automations


def test_the_sandbox_is_ready_to_use() -> None:
    """The printed tenants file is TOML whose clients open both tenants; every definition of the source is readable."""
    with Sandbox(clock=ManualClock()) as sandbox:
        tenants = tomllib.loads(sandbox.tenants_toml())["tenants"]
        assert [tenants[name]["access"] for name in ("source", "target")] == ["read", "write"]
        for tenant in tenants.values():
            with httpx.Client(base_url=tenant["url"], trust_env=False) as client:
                form = tenant["oauth"] | {"grant_type": "client_credentials"}
                token = client.post("/oauth/token", json=form).json()["access_token"]
                client.headers["authorization"] = f"Bearer {token}"
                rows = client.get("/api/workflows/automations", params={"limit": 200}).json()["data"]
                details = [client.get(f"/api/workflows/automations/{row['id']}") for row in rows]
                assert all(one.status_code == 200 for one in details)
        assert len(sandbox.source.automations) == len(
            [one for one in sandbox.source.seen if one.path.startswith("/api/workflows/automations/")]
        )
        assert set(tenants["target"]) == {"url", "access", "oauth", "impersonation"}


def test_the_sandbox_takes_two_ports_in_a_row() -> None:
    """With a port, the target has the next one."""
    with Sandbox() as probe:
        port = int(probe.source.base_url.rsplit(":", 1)[1])
    try:
        sandbox = Sandbox(port)
    except OSError:
        pytest.skip("the next port is taken")
    with sandbox:
        assert sandbox.target.base_url == f"http://127.0.0.1:{port + 1}"


@pytest.mark.parametrize("size", [1_000, 5_000, 50_000, 300_000])
def test_recipes_make_the_same_stored_form_each_time(size: int) -> None:
    """A recipe gives the same bytes, about as long as asked, spelled as the service does, with true derived ids."""
    recipe = Recipe(seed=5, size_bytes=size)
    raw = recipe()
    assert raw == recipe() != Recipe(seed=6, size_bytes=size)()
    assert 0.9 * size < len(raw) < 1.1 * size
    value = orjson.loads(raw)
    assert orjson.dumps(normalise(value)) == raw
    assert start_mode(value) == recipe.start()
    ids = [block["id"] for block in value["blocks"]]
    assert len(set(ids)) == len(ids)
    assert derived_ids(value) == recipe.derived()


def test_synthetic_automations_are_automations(world: World) -> None:
    """They list, page, read, and can be written over like any other."""
    ids = world.tenant.add_synthetic(250, 2_000, owners=(world.ann_id, world.bob_id), spaces=("", world.sales))
    bot = world.client("bot")
    rows = bot.rows("@/automations")
    assert sorted(row["id"] for row in rows) == sorted(ids)
    detail = bot("GET", f"@/automations/{ids[0]}").json
    assert derived_ids(detail["workspace"]) == {
        name: detail[name] for name in ("connectorIds", "endpointIds", "snippetIds")
    }
    assert detail["connectorIds"]
    changed = bot("PUT", f"@/automations/{ids[0]}", {"workspace": Blocks.workspace(Blocks.start())}).json
    assert len(changed["workspace"]["blocks"]) == 1
    assert bot("GET", f"@/automations/{ids[0]}").json["connectorIds"] == []


def test_switches_reach_both_tenants() -> None:
    """The sandbox's switches hold in source and target."""
    sandbox = Sandbox(switches=Switches(foreign_status=404))
    sandbox.stop()
    assert {sandbox.source.switches.foreign_status, sandbox.target.switches.foreign_status} == {404}
