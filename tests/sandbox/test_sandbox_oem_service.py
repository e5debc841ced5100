"""Write-only credentials, consents, deletions, runs by token, faults, and what tests may look at."""

from __future__ import annotations

from typing import Any

import pytest
from oem_world import MAIL_PARAMS, OemWorld

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import (
    Delay,
    DropRows,
    Effect,
    Fault,
    ForeignLink,
    HtmlOk,
    RepeatPage,
    ResetAfterCommit,
    ResetBefore,
    Server,
    Status,
    Truncate,
)
from qlikmigrate.sandbox.oem import Envelope, OemService, OemSwitches, seed_model


@pytest.mark.parametrize("switches", [OemSwitches.documented(), OemSwitches.hostile()], ids=["documented", "hostile"])
def test_secrets_are_never_answered(switches: OemSwitches) -> None:
    """No answer but the one that hands out a link holds a key, a token, a param or a link."""
    clock = ManualClock()
    service = OemService("velo", clock=clock, switches=switches)
    partner = seed_model(service)
    oem = OemWorld(clock, service, partner.model, partner.templates["Order sync"])
    github = service.add_datasource(partner.model, "GitHub", "Not yet", connected=False)
    oem("POST", "/accounts", {"name": "N", "externalid": "n", "datasource": {"key": "planted-account-key"}})
    oem("PUT", f"{oem.a}/datasources/{partner.connections['Warehouse']}", {"params": {"API Key": "planted-new-key"}})
    assert service.stored_params(partner.connections["Warehouse"])["API Key"] == "planted-new-key"
    account = service.accounts[partner.model]
    paths = ["/accounts", "/templates", oem.a, f"{oem.a}/blends", f"{oem.a}/datasources"]
    paths += [f"/templates/{guid}" for guid in service.templates]
    paths += [f"{oem.a}/blends/{guid}{tail}" for guid in account.blends for tail in ("", "/runs", "/lastrun")]
    paths += [f"{oem.a}/datasources/{guid}" for guid in account.datasources if guid != github]
    paths += [f"/connectors/{service.connector(name)}" for name in ("Mail", "GitHub", "Velo CRM")]
    said = b"".join(oem("GET", path).body for path in paths)
    secrets = service.secrets()
    assert {"planted-account-key", "planted-new-key", "demo-smtp-password-91", service.key_pair()[1]} < secrets
    assert {blend.token for blend in account.blends.values()} < secrets
    assert not [one for one in secrets if one.encode() in said]
    link = oem("GET", f"{oem.a}/datasources/{github}").json["link"]
    assert link in secrets


def test_consent(oem: OemWorld) -> None:
    """A link connects its datasource within half an hour; an old one does not, and GET and PUT give a new one."""
    body = {"name": "G", "connector_guid": oem.service.connector("GitHub")}
    made = oem("POST", f"{oem.a}/datasources", body).json
    path, link = f"{oem.a}/datasources/{made['guid']}", made["additional"]["link"]
    assert made["is_connected"] is False
    oem.clock.advance(1799)
    assert oem("GET", path).json["link"] == link
    oem.clock.advance(1)
    with pytest.raises(LookupError, match="expired"):
        oem.service.consent(link)
    second = oem("GET", path).json["link"]
    oem.clock.advance(1800)
    third = oem("PUT", path, {"name": "G2"}).json["additional"]["link"]
    assert len({link, second, third}) == 3
    assert oem.service.consent(third) == made["guid"]
    value = oem("GET", path).json
    assert (value["is_connected"], "link" in value, value["name"]) == (True, False, "G2")
    assert "additional" not in oem("PUT", path, {"name": "G3"}).json
    with pytest.raises(LookupError):
        oem.service.consent(third)
    oem.service.revoke(made["guid"])
    assert oem("GET", path).json["link"] not in (link, second, third)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"connector_guid": "none"},
        {"params": {}},
        {"params": MAIL_PARAMS | {"Password": ""}},
        {"params": MAIL_PARAMS | {"Colour": "red"}},
        {"params": MAIL_PARAMS | {"Encryption": "rot13"}},
        {"params": [{"name": "Port", "value": "25"}]},
    ],
)
def test_datasource_refused(oem: OemWorld, change: dict[str, Any]) -> None:
    """A datasource needs a name, a connector, and exactly that connector's params."""
    body = {"name": "M", "connector_guid": oem.service.connector("Mail"), "params": MAIL_PARAMS}
    assert oem("POST", f"{oem.a}/datasources", body | change).status == 400
    assert not oem.service.accounts[oem.account].datasources
    assert oem("POST", f"{oem.a}/datasources", body).status == 200


def test_delete_in_use(oem: OemWorld) -> None:
    """Deleting is refused while an active blend uses the connector, even by loose coupling; then the bond goes too."""
    hard = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    blend = oem.service.add_blend(oem.account, "A", template=oem.template)
    value = oem("DELETE", f"{oem.a}/datasources/{hard}")
    assert value.status == 400
    assert [one["guid"] for one in value.json["blends"]] == [blend]
    assert oem.rows(f"{oem.a}/datasources")[0]["is_used"] is False
    oem.service.blend(blend).links.add(hard)
    assert oem.rows(f"{oem.a}/datasources")[0]["is_used"] is True
    oem("PUT", f"{oem.a}/blends/{blend}", {"state": "disabled"})
    assert oem("DELETE", f"{oem.a}/datasources/{hard}").status == 204
    assert not oem.service.blend(blend).links
    assert oem("DELETE", f"{oem.a}/datasources/{hard}").status == 400


def test_trigger(oem: OemWorld) -> None:
    """The trigger URL runs a triggered blend for its token in header or query, and needs no key pair."""
    blend = oem.service.blend(oem.service.add_blend(oem.account, "Button", run_mode="triggered"))
    blend.response = b"[1]"
    header = {"x-execution-token": blend.token}
    assert oem("POST", f"/widgets/{blend.guid}", {"a": 1}, headers=header).body == b"[1]"
    assert oem("GET", f"/widgets/Button?X-Execution-Token={blend.token}", headers={}).status == 200
    assert [run.context for run in blend.runs] == ["triggered", "triggered"]
    assert blend.runs[0].inputs == {"body": {"a": 1}}
    manual = oem.service.blend(oem.service.add_blend(oem.account, "Manual"))
    assert oem("POST", f"/widgets/{manual.guid}", headers={"x-execution-token": manual.token}).status == 400
    assert oem("POST", f"/widgets/{blend.guid}", headers={"x-execution-token": manual.token}).status == 401
    assert not oem.service.undocumented


def test_runs_by_time(oem: OemWorld) -> None:
    """The list of runs is cut by its four times, in UTC, and to finished ones; newest first."""
    blend = oem.service.add_blend(oem.account, "A")
    for _ in range(3):
        oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True, "inputs": {"n": 1}})
        oem.clock.advance(60)
    path = f"{oem.a}/blends/{blend}/runs"
    at = "2026-11-01 12:01:00"
    counts = {word: len(oem.rows(f"{path}?created_at[{word}]={at}")) for word in ("gt", "gte", "lt", "lte")}
    assert counts == {"gt": 1, "gte": 2, "lt": 1, "lte": 2}
    assert oem.rows(path)[0]["created_at"] == "2026-11-01T12:02:00+00:00"
    assert oem("GET", f"{path}?created_at[gt]=yesterday").status == 400
    oem.set(run_seconds=60)
    oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True})
    assert len(oem.rows(path)) == 4
    assert len(oem.rows(f"{path}?finishedOnly=true")) == 3
    assert oem("GET", f"{oem.a}/blends/A/runs").status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"state": "unavailable"}, 400),
        ({"name": ""}, 400),
        ({"schedule_start_at": "2026-02-30 00:00:00"}, 400),
        ({"schedule_start_at": "2026-01-01T00:00:00Z"}, 400),
        ({"schedule_timezone": "Mars/Olympus"}, 400),
        ({"schedule_timezone": "Europe/Brussels", "schedule_stop_at": None}, 200),
    ],
)
def test_blend_update_is_checked(oem: OemWorld, body: dict[str, Any], status: int) -> None:
    """A PUT of a blend is taken whole or not at all."""
    blend = oem.service.add_blend(oem.account, "A")
    assert oem("PUT", f"{oem.a}/blends/{blend}", {"schedule_interval": 60} | body).status == status
    assert (oem.service.blend(blend).schedule.interval == 60) is (status == 200)


@pytest.mark.parametrize(
    ("effect", "status", "made"),
    [
        (Status(code=503), 503, 0),
        (Status(code=503, commit=True), 503, 1),
        (Status(code=429, retry_after=3), 429, 0),
        (ResetBefore(), 0, 0),
        (ResetAfterCommit(), 0, 1),
        (Truncate(0.5), 200, 1),
        (HtmlOk(), 200, 1),
        (Delay(3), 200, 1),
    ],
)
def test_faults(oem: OemWorld, effect: Effect, status: int, made: int) -> None:
    """A fault hits the call that it names, and the state is what it says."""
    oem.service.faults.append(Fault(method="POST", path="/v1/templates/*/install", effect=effect))
    reply = oem.reply("POST", f"/templates/{oem.template}/install", {"account": "acme"})
    assert len(oem.service.accounts[oem.account].blends) == made
    assert oem.service.seen[-1].status == status
    assert reply.lost is (status == 0)
    assert reply.delay_s == (3 if isinstance(effect, Delay) else 0)
    if isinstance(effect, Status) and effect.retry_after:
        assert reply.response.headers["retry-after"] == "3"
    assert oem("POST", f"/templates/{oem.template}/install", {"account": "acme"}).status == 200


def test_faults_of_lists(oem: OemWorld) -> None:
    """A list lacks rows, repeats its first page, or leads to another host."""
    for number in range(3):
        oem.service.add_account(f"A{number}", f"a{number}")
    oem.set(accounts_envelope=Envelope.PAGED, page_size=2)
    whole = [oem.rows(f"/accounts?page={page}") for page in (1, 2)]
    for effect in (DropRows(1), RepeatPage(), ForeignLink("evil.example")):
        oem.service.faults.append(Fault(path="/v1/accounts", effect=effect, nth=1 + len(oem.service.faults)))
    assert oem.rows("/accounts?page=1") == whole[0][1:]
    assert oem.rows("/accounts?page=2") == whole[0]
    assert oem("GET", "/accounts").json["links"]["next"] == "https://evil.example/v1/accounts?page=2"


def test_seen(oem: OemWorld) -> None:
    """Every request is kept with who sent it, when, and what became of it; writes apart."""
    oem("GET", "/accounts", page=1)
    oem("PUT", oem.a, {"name": "N"}, headers={})
    first, second = oem.service.seen
    assert (first.method, first.path, dict(first.query), first.status) == ("GET", "/v1/accounts", {"page": "1"}, 200)
    assert (first.identity, first.at) == (oem.service.key_pair()[0], oem.clock.now())
    assert (second.identity, second.status) == ("", 401)
    assert oem.service.writes == [second]
    assert oem.service.refusals[0][2] == "bad credentials"


def test_served(oem: OemWorld) -> None:
    """Behind a socket it answers as in process, synchronous runs late."""
    import http.client

    with Server(oem.service.handle) as server:
        oem.service.base_url = f"{server.url}/v1"
        app_id, key = oem.service.key_pair()
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        link.request("GET", "/v1/accounts/acme", headers={"X-App-Id": app_id, "X-Api-Key": key})
        answer = link.getresponse()
        assert (answer.status, answer.read()) == (200, oem("GET", "/accounts/acme").body)
        link.close()
    assert not oem.service.undocumented
