"""The seeded partner, as the API shows it."""

from __future__ import annotations

import socket
import tomllib

import httpx
import pytest
from oem_world import OemWorld

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox.oem import OemSandbox, OemService, OemSwitches, seed_model


def _seeded(**switches: object) -> tuple[OemWorld, OemService]:
    clock = ManualClock()
    service = OemService("velo", clock=clock, switches=OemSwitches(**switches), seed=3)  # type: ignore[arg-type]
    partner = seed_model(service)
    return OemWorld(clock, service, partner.model, partner.templates["Order sync"]), service


def test_seed_is_what_it_says() -> None:
    """The model account: twenty automations of every start, a bundle, two built by hand; six connections."""
    world, service = _seeded(state_in_list=True)
    rows = world.rows(f"{world.a}/blends")
    assert len(rows) == 20
    assert {row["run_mode"] for row in rows} == {"manual", "scheduled", "triggered", "webhook"}
    assert {row["state"] for row in rows} == {"available", "disabled"}
    assert [len(row["sub_blends"]) for row in rows if row["isbundle"]] == [2]
    assert sum(row["template_guid"] is None for row in rows) == 2
    assert len(world.rows("/templates")) == 8
    sources = world.rows(f"{world.a}/datasources")
    assert len(sources) == 6
    assert len({row["connector"]["guid"] for row in sources}) == 5
    assert [row["name"] for row in sources if not row["is_used"]] == ["Velo CRM"]
    assert all(row["is_connected"] for row in sources)
    assert len(world.rows("/accounts")) == 3
    assert not service.undocumented
    assert not service.refusals


def test_same_seed_same_answers() -> None:
    """The same seed and clock give the same guids and bytes."""
    (one, _), (two, _) = _seeded(), _seeded()
    for path in (f"{one.a}/blends", "/templates", f"{one.a}/datasources"):
        assert one("GET", path).body == two("GET", path).body


def test_the_sandbox_is_ready_to_use() -> None:
    """The printed tenants file opens both partners: templates of equal names under other guids, an account to copy."""
    with OemSandbox(clock=ManualClock()) as sandbox:
        tenants = tomllib.loads(sandbox.tenants_toml())["tenants"]
        assert list(tenants) == ["source", "target", "partner", "partner-b"]
        found: dict[str, dict[str, str]] = {}
        for name in ("partner", "partner-b"):
            tenant = tenants[name]
            assert (tenant["kind"], tenant["access"]) == ("oem", "write")
            pair = {"x-app-id": tenant["app_id"], "x-api-key": tenant["api_key"]}
            with httpx.Client(base_url=tenant["url"], headers=pair, trust_env=False) as client:
                found[name] = {row["name"]: row["guid"] for row in client.get("templates").json()}
                if "account" in tenant:
                    account = tenant["account"]
                    assert len(client.get(f"accounts/{account}/blends").json()["data"]) == 20
        assert set(found["partner"]) == set(found["partner-b"])
        assert set(found["partner"].values()).isdisjoint(found["partner-b"].values())
        assert not sandbox.partner.undocumented
        assert tenants["partner"]["limits"]["per_minute"] == sandbox.partner.switches.per_minute


def test_the_seed_names_what_it_made() -> None:
    """What the seed returns names what is stored: keys lead to automations and parts, workspaces to what would run."""
    _, service = _seeded()
    partner = seed_model(OemService("velo", clock=ManualClock(), seed=3))
    account = service.accounts[partner.model]
    assert set(partner.automations.values()) == set(account.blends)
    assert set(partner.connections.values()) == set(account.datasources)
    assert set(partner.workspaces) == {one.guid for one in account.blends.values() if not one.is_bundle}
    assert {name: service.templates[guid].name for name, guid in partner.templates.items()} == {
        name: name for name in partner.templates
    }
    assert set(partner.accounts.values()) == set(service.accounts)


def test_a_taken_port_frees_the_others() -> None:
    """Four ports in a row are taken, or none."""
    with socket.socket() as last:
        last.bind(("127.0.0.1", 0))
        taken = last.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            OemSandbox(taken - 3)
    try:
        sandbox = OemSandbox(taken - 3)
    except OSError:
        pytest.skip("one of the ports is taken")
    with sandbox:
        assert sandbox.other.base_url == f"http://127.0.0.1:{taken}/v1"
