"""The client of the OEM API against the embedded service, as it is documented and as it may turn out to be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from oem_calls import collect

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import BrokenAnswerError, InvalidError, MissingError, UnauthorizedError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint, OemLimits
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.sandbox.oem import OemService, OemSwitches
from qlikmigrate.sandbox.oem.seed import Partner, seed_model
from qlikmigrate.sandbox.oem.switches import AccountIds, Envelope

MODES = {"documented": OemSwitches.documented(), "hostile": OemSwitches.hostile()}


def world(switches: OemSwitches, clock: ManualClock) -> tuple[OemService, Partner]:
    service = OemService("velo", clock=clock, switches=switches)
    return service, seed_model(service)


def opened(service: OemService, clock: ManualClock, *, app_id: str = "", **limits: Any) -> OemClient:
    pair = service.key_pair()
    endpoint = OemEndpoint(
        name="partner", url=service.base_url, access=Access.WRITE, handler=service.handle,
        credentials=KeyPair(app_id=app_id or pair[0], api_key=Secret(pair[1])), limits=OemLimits(**limits),
        connectors_url=service.base_url.removesuffix("/v1") + "/integrations",
    )  # fmt: skip
    return OemClient.open(endpoint, access=Access.WRITE, clock=clock, sink=discard)


@pytest.mark.parametrize("mode", MODES)
async def test_all_that_can_be_read(mode: str) -> None:
    """Each list is whole in either mode, each object is had by what its row says, and nothing undocumented is asked."""
    clock = ManualClock()
    service, made = world(MODES[mode], clock)
    client = opened(service, clock)

    async def guids(name: str, **ids: str) -> list[str]:
        return [json.loads(row)["guid"] for row in await collect(client.rows(name, **ids))]

    accounts = await guids("account.list")
    assert set(made.accounts.values()) <= set(accounts)
    account = made.model
    assert (await client.call("account.get", account=account)).json()["guid"] == account
    blends = await guids("blend.list", account=account)
    assert len(blends) == len(set(blends)) >= 8
    for blend in blends:
        assert (await client.call("blend.get", account=account, blend=blend)).json()["guid"] == blend
        await client.call("run.last", account=account, blend=blend)
    templates = await guids("template.list")
    assert len(set(templates)) >= 8
    for template in templates:
        assert (await client.call("template.get", template=template)).json()["guid"] == template
    connections = await guids("datasource.list", account=account)
    assert set(made.connections.values()) == set(connections)
    for one in connections:
        found = (await client.call("datasource.get", account=account, datasource=one)).json()
        await client.call("connector.get", connector=found["connector"]["guid"])
    assert await collect(client.rows("connector.public-list"))
    assert service.undocumented == []
    assert service.writes == []


@pytest.mark.parametrize("mode", MODES)
async def test_all_that_can_be_written(mode: str) -> None:
    """Each write of the table is taken, whatever its answer looks like, and none is unknown to the service."""
    clock = ManualClock()
    service, made = world(MODES[mode], clock)
    client = opened(service, clock)
    body = {"name": "New", "externalid": "new", "send_invite": False}
    account = (await client.call("account.create", body=body)).json()["guid"]
    client.know_account(account, "new")
    await client.call("account.update", account=account, body={"name": "Newer"})
    listed = json.loads((await collect(client.rows("connector.public-list")))[0])
    connector = (await client.call("connector.get", connector=listed["guid"])).json()
    params = {one["name"]: (one.get("options") or ["x"])[0] for one in connector["params"] if one["is_required"]}
    body = {"name": "C", "connector_guid": connector["guid"], "params": params}
    source = await client.call("datasource.create", account=account, body=body)
    where = {"account": account, "datasource": source.json()["guid"]}
    await client.call("datasource.update", **where, body={"name": "D"})
    assert (await client.call("datasource.delete", **where)).status == 204
    for template in made.templates.values():
        async with client.reserved(4) as mine:
            await mine.call("template.install", template=template, body={"account": account})
    blends: dict[str, dict[str, Any]] = {}
    for _ in range(4):
        blends = {
            one["guid"]: one for one in map(json.loads, await collect(client.rows("blend.list", account=account)))
        }
    single = next(one for one in blends.values() if one["template_guid"] and not one["isbundle"])
    where = {"account": account, "blend": single["guid"]}
    await client.call("blend.update", **where, body={"state": "disabled", "name": "Off", "schedule_interval": -1})
    await client.call("blend.update-from-template", **where, template=single["template_guid"])
    detail = (await client.call("blend.get", **where)).json()
    inputs = {one["field_name"]: "x" for one in detail["inputs"] if one.get("is_top_input") and one.get("is_persisted")}
    assert (await client.call("blend.set-inputs", **where, body=inputs)).status == 204
    await client.call("blend.update", **where, body={"state": "available"})
    await client.call("blend.run", **where, body={"async": True, "inputs": {}})
    runs = [json.loads(row) for row in await collect(client.rows("run.list", **where))]
    assert (await client.call("run.get", **where, run=runs[0]["guid"])).json()["guid"] == runs[0]["guid"]
    await client.call("account.expire", account=account)
    assert service.undocumented == []
    assert service.calls_over_limit == 0


async def test_accounts_that_answer_to_one_name_only() -> None:
    """Where paths take the externalid alone, GETs find out, and writes to the same part of the API follow them."""
    clock = ManualClock()
    service, made = world(evolve(OemSwitches(), account_ids=AccountIds.EXTERNALID_ONLY), clock)
    client = opened(service, clock)
    externalid = next(name for name, guid in made.accounts.items() if guid == made.model)
    blend = next(iter(made.automations.values()))
    with pytest.raises((InvalidError, MissingError)):
        await client.call("blend.get", account=made.model, blend=blend)
    client.know_account(made.model, externalid)
    await client.call("blend.get", account=made.model, blend=blend)
    await client.call("blend.update", account=made.model, blend=blend, body={"name": "n"})
    assert [one.path.split("/")[3] for one in service.seen] == [made.model, made.model, externalid, externalid]


@pytest.mark.parametrize("status", [401, 403, 400])
async def test_wrong_keys(status: int) -> None:
    """The two statuses that mean it are told as that; of the third nobody can know."""
    clock = ManualClock()
    service, _ = world(evolve(OemSwitches(), bad_credentials_status=status), clock)
    with pytest.raises(InvalidError if status == 400 else UnauthorizedError):
        await opened(service, clock, app_id="999").call("account.list")


async def test_a_third_envelope() -> None:
    """A shape that no page shows is an error, not an empty account."""
    clock = ManualClock()
    service, made = world(evolve(OemSwitches(), blends_envelope=Envelope.OTHER), clock)
    with pytest.raises(BrokenAnswerError):
        await collect(opened(service, clock).rows("blend.list", account=made.model))


@pytest.mark.parametrize("headers", [True, False])
async def test_the_services_limit_is_kept(headers: bool) -> None:
    """A thousand calls at the defaults: the service never has to say no, whether it tells what is left or not."""
    clock = ManualClock()
    service, made = world(evolve(OemSwitches(), limit_headers=headers), clock)
    client = opened(service, clock)
    for _ in range(1000):
        await client.call("account.get", account=made.model)
    assert service.calls_over_limit == 0
    assert client.counts.throttled == 0


@pytest.mark.parametrize("said", [True, False])
async def test_a_limit_that_others_use_up(said: bool) -> None:
    """A service that allows less than we think is waited for, and everything comes through."""
    clock = ManualClock()
    service, made = world(evolve(OemSwitches(), per_minute=60, limit_headers=said, retry_after=said), clock)
    client = opened(service, clock)
    for _ in range(200):
        await client.call("account.get", account=made.model)
    assert (service.calls_over_limit == 0) is said
    assert 120 <= clock.monotonic() <= 300
