"""`doctor` on OEM: what a key pair reaches, and what that API gives to nobody; nothing is sent but GETs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field
from stage import Stage

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import ApiError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.message import Reply, Request, Response
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.ops import oem_doctor
from qlikmigrate.sandbox import Server

ACCOUNTS = [
    {"guid": "g-1", "externalid": "acme", "name": "Acme"},
    {"guid": "g-2", "externalid": "globex", "name": ""},
    {"guid": "g-3", "externalid": "g-1"},
]
BLENDS = [
    {"guid": "b-1", "name": "Sync", "template_guid": "t-1"},
    {"guid": "b-2", "name": "Own", "template_guid": None},
]
KEY = "key-that-nobody-may-see"


@define
class Provider:
    """An OEM service that answers by path; anything else is 400 with `{}`."""

    answers: dict[str, tuple[int, Any]]
    headers: dict[str, str] = field(factory=dict)
    seen: list[Request] = field(factory=list)

    def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        status, body = self.answers.get(urlsplit(request.url).path, (400, {}))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Reply(response=Response(status=status, headers=self.headers, body=content))


Examine = Callable[..., dict[str, list[dict[str, Any]]]]


@pytest.fixture
def provider() -> Provider:
    """A service with two accounts and one whose externalid is another's guid."""
    return Provider(
        {
            "/v1/templates": (200, [{"guid": "t-1", "name": "Sync"}]),
            "/v1/accounts": (200, {"data": ACCOUNTS}),
            "/v1/accounts/g-2/blends": (200, {"data": BLENDS}),
            "/v1/accounts/g-2/blends/b-1": (200, BLENDS[0]),
            "/v1/accounts/g-2/datasources": (200, {"data": [{"guid": "d", "is_connected": False}]}),
        }
    )


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    """Where it is served."""
    with Server(provider) as server:
        yield f"{server.url}/v1"


@pytest.fixture
def examine(stage: Stage, provider: Provider, url: str) -> Examine:
    """Runs `doctor` and gives the checks by name."""

    def run(name: str = "x", *, more: str = "", code: int = 0) -> Any:
        stage.config.write_text(
            f'[tenants.x]\nkind = "oem"\nurl = "{url}"\napp_id = "12345"\napi_key = "{KEY}"\n{more}\n'
        )
        ended = stage.cli("doctor", name)
        assert ended.code == code, ended.error
        assert {request.method for request in provider.seen} <= {"GET"}
        assert KEY not in json.dumps(ended.lines)
        if code:
            return ended.error
        assert all(item["hint"] for item in ended.of("item") if item["ok"] is False)
        checks: dict[str, list[dict[str, Any]]] = {}
        for item in ended.of("item"):
            checks.setdefault(item["check"], []).append(item)
        return checks

    return run


def test_a_provider(examine: Examine, provider: Provider, url: str) -> None:
    """Without an account: the service, the key pair, every account, the rate, and what the API gives to nobody."""
    provider.headers = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": "287"}
    checks = examine()
    assert checks["api"][0]["message"] == f"{url} answers"
    assert checks["key pair"][0]["message"] == "app `12345` is known; 1 templates on its first page"
    assert checks["list accounts"][0]["message"] == "3 accounts"
    assert checks["account"][0]["message"] == "acme: Acme (g-1)"
    assert checks["rate"][0]["ok"] is True
    assert checks["rate"][0]["message"] == "300 calls a minute, 287 left; this tool keeps to 240 of 300 a minute"
    assert {"schedules", "credentials of connections", "users", "deleting automations"} <= set(checks)
    assert 'access = "write"' in checks["access"][0]["hint"]
    assert urlsplit(provider.seen[0].url).query == "page=1"
    assert not any(one["ok"] is False for several in checks.values() for one in several)


def test_one_account(examine: Examine) -> None:
    """By externalid: what it holds, and what cannot be read of it."""
    checks = examine("x/globex", more='access = "write"')
    assert checks["account"][0]["message"] == "globex: no name (g-2)"
    assert checks["list automations"][0]["message"] == "2 automations, 1 of them built by hand"
    assert checks["list connections"][0]["message"] == "1 connections, 1 of them not connected"
    assert "does not give them" in checks["workspaces"][0]["message"]
    assert checks["on or off"][0]["ok"] is None
    assert checks["rate"][0]["ok"] is None
    assert checks["access"][0]["hint"] == ""


def test_what_no_page_says_is_noticed(examine: Examine, provider: Provider) -> None:
    """A service that does give workspaces and states is told as that."""
    provider.answers["/v1/accounts/g-2/blends/b-1"] = (200, {**BLENDS[0], "state": "available", "workspace": {"a": 1}})
    checks = examine("x", more='account = "g-2"')
    assert (checks["workspaces"][0]["ok"], checks["on or off"][0]["ok"]) == (True, True)


@pytest.mark.parametrize(
    ("word", "said"), [("nobody", "no account is called `nobody`"), ("g-1", "several accounts are called `g-1`")]
)
def test_an_account_that_is_not_there(examine: Examine, word: str, said: str) -> None:
    """Unknown, and two accounts that it may mean: told, with those that there are."""
    (check,) = examine(f"x/{word}")["account"]
    assert (check["ok"], check["message"]) == (False, said)
    assert "acme, " in check["hint"]


def test_an_account_whose_lists_are_refused(examine: Examine, provider: Provider) -> None:
    """What fails is named, and the rest is examined all the same."""
    for name in ("blends", "datasources"):
        del provider.answers[f"/v1/accounts/g-2/{name}"]
    checks = examine("x/globex")
    assert [checks[f"list {name}"][0]["ok"] for name in ("automations", "connections")] == [False, False]
    assert "access" in checks


def test_a_lower_limit_than_the_tables(examine: Examine, provider: Provider) -> None:
    """The line to write is named."""
    provider.headers = {"x-ratelimit-limit": "60"}
    (check,) = examine()["rate"]
    assert (check["ok"], check["hint"]) == (False, "write `limits = { per_minute = 60 }` under [tenants.x]")


def test_refused_keys(examine: Examine, provider: Provider) -> None:
    """401 and 403 end with 20; 400, the only failure that is documented, is told as what it may be."""
    for status in (401, 403):
        provider.answers["/v1/templates"] = (status, {"error": "no"})
        assert "`app_id` and `api_key`" in examine(code=20)["hint"]
    provider.answers["/v1/templates"] = (400, {})
    checks = examine()
    assert list(checks) == ["api", "key pair"]
    assert "`app_id`, `api_key` and `url`" in checks["key pair"][0]["hint"]
    provider.answers = {"/v1/templates": (200, [])}
    assert "provider (SaaS Admin)" in examine()["list accounts"][0]["hint"]


async def refused(url: str) -> ApiError:
    """What an examination ends with; its retries take no time."""
    place = OemEndpoint(name="x", url=url, credentials=KeyPair(app_id="1", api_key=Secret(KEY)))
    async with OemClient.open(place, access=Access.READ, clock=ManualClock(), sink=discard) as client:
        with pytest.raises(ApiError) as caught:
            await oem_doctor.examine(client, "")
    return caught.value


async def test_another_service(provider: Provider, url: str) -> None:
    """A page that is no API is told as that."""
    provider.answers["/v1/templates"] = (200, b"<html>Welcome")
    error = await refused(url)
    assert (error.exit_code, error.code) == (1, "broken-answer")
    assert error.hint == "is `url` of `[tenants.x]` the address of the OEM API?"


async def test_nobody_answers() -> None:
    """A service that is gone is a plain sentence, and not a traceback."""
    with Server(lambda request: Reply(response=Response(status=200))) as server:
        url = server.url
    error = await refused(f"{url}/v1")
    assert (error.exit_code, error.code) == (1, "unreachable")
    assert error.message.startswith(f"the OEM API does not answer at {url}/v1: no connection: ")
    assert "only Qlik can tell" in error.hint
