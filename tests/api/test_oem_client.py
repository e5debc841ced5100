"""The client of the OEM API as its callers see it: which requests go out, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_script import KEY, Script, says

from qlikmigrate.api.oem.operation import OPERATIONS

BASE = "https://api.blendr.io/v1"
BLENDS = "GET /v1/accounts/acme/blends"

# One call of each operation: what the caller says, and the request as the vendor's page has it.
CALLS: dict[str, tuple[dict[str, Any], str, str, Any]] = {
    "account.list": ({}, "GET", f"{BASE}/accounts", None),
    "account.get": ({"account": "acme"}, "GET", f"{BASE}/accounts/acme", None),
    "account.create": (
        {"body": {"name": "Acme", "externalid": "acme", "send_invite": False}}, "POST", f"{BASE}/accounts",
        {"name": "Acme", "externalid": "acme", "send_invite": False},
    ),
    "account.update": ({"account": "acme", "body": {"name": "A"}}, "PUT", f"{BASE}/accounts/acme", {"name": "A"}),
    "account.expire": ({"account": "acme"}, "PUT", f"{BASE}/accounts/acme/expire", None),
    "blend.list": ({"account": "a b/c"}, "GET", f"{BASE}/accounts/a%20b%2Fc/blends", None),
    "blend.get": ({"account": "acme", "blend": "b1"}, "GET", f"{BASE}/accounts/acme/blends/b1", None),
    "blend.update": (
        {"account": "acme", "blend": "b1", "body": {"state": "disabled", "schedule_interval": 300}}, "PUT",
        f"{BASE}/accounts/acme/blends/b1", {"state": "disabled", "schedule_interval": 300},
    ),
    "blend.update-from-template": (
        {"account": "acme", "template": "t1", "blend": "b1"}, "PUT", f"{BASE}/accounts/acme/blends/t1/b1", None,
    ),
    "blend.set-inputs": (
        {"account": "acme", "blend": "b1", "body": {"any name": [1.5, None]}}, "POST",
        f"{BASE}/accounts/acme/blends/b1/set-persisted-inputs", {"any name": [1.5, None]},
    ),
    "blend.run": (
        {"account": "acme", "blend": "Nightly sync", "body": {"async": True, "inputs": {"inputname1": "value1"}}},
        "POST", f"{BASE}/accounts/acme/blends/Nightly%20sync/run", {"async": True, "inputs": {"inputname1": "value1"}},
    ),
    "run.list": (
        {"account": "acme", "blend": "b1", "query": {"finishedOnly": True, "created_at[gte]": "2026-11-01 12:00:00"}},
        "GET",
        f"{BASE}/accounts/acme/blends/b1/runs?finishedOnly=true&created_at%5Bgte%5D=2026-11-01%2012%3A00%3A00", None,
    ),
    "run.get": (
        {"account": "acme", "blend": "b1", "run": "r1"}, "GET", f"{BASE}/accounts/acme/blends/b1/runs/r1", None,
    ),
    "run.last": ({"account": "acme", "blend": "b1"}, "GET", f"{BASE}/accounts/acme/blends/b1/lastrun", None),
    "template.list": ({"query": {"page": 1}}, "GET", f"{BASE}/templates?page=1", None),
    "template.get": ({"template": "t1"}, "GET", f"{BASE}/templates/t1", None),
    "template.install": (
        {"template": "t1", "query": {"template_prevent_duplicates": True},
         "body": {"account": "acme", "inputs": {"city": "Ghent"}, "datasources": ["d1"]}},
        "POST", f"{BASE}/templates/t1/install?template_prevent_duplicates=true",
        {"account": "acme", "inputs": {"city": "Ghent"}, "datasources": ["d1"]},
    ),
    "datasource.list": ({"account": "acme"}, "GET", f"{BASE}/accounts/acme/datasources", None),
    "datasource.create": (
        {"account": "acme", "body": {"name": "CRM", "connector_guid": "c1", "params": {"environment": "production"}}},
        "POST", f"{BASE}/accounts/acme/datasources",
        {"name": "CRM", "connector_guid": "c1", "params": {"environment": "production"}},
    ),
    "datasource.get": ({"account": "acme", "datasource": "d1"}, "GET", f"{BASE}/accounts/acme/datasources/d1", None),
    "datasource.update": (
        {"account": "acme", "datasource": "d1", "body": {"name": "CRM"}}, "PUT",
        f"{BASE}/accounts/acme/datasources/d1", {"name": "CRM"},
    ),
    "datasource.delete": (
        {"account": "acme", "datasource": "d1"}, "DELETE", f"{BASE}/accounts/acme/datasources/d1", None,
    ),
    "connector.get": ({"connector": "c1"}, "GET", f"{BASE}/connectors/c1", None),
    "connector.public-list": ({}, "GET", "https://admin.blendr.io/integrations", None),
}  # fmt: skip


async def collect(rows: Any) -> list[bytes]:
    return [row async for row in rows]


def route(name: str) -> str:
    _, method, url, _ = CALLS[name]
    path = url.partition("://")[2].partition("/")[2].partition("?")[0]
    return f"{method} /{path}"


def sound(name: str) -> Any:
    if OPERATIONS[name].shape == "list":
        return says(200, [])
    return says(204) if OPERATIONS[name].success == (204,) else says(200, {})


def test_each_operation_is_called_here() -> None:
    """The calls above are those of the table, no more and no less."""
    assert list(CALLS) == list(OPERATIONS)


@pytest.mark.parametrize("name", CALLS)
async def test_requests_are_what_the_pages_document(reached: Any, script: Script, name: str) -> None:
    """Method, address, query, body and headers, to the letter; the key pair goes with all but the public list."""
    rest, method, url, body = CALLS[name]
    script.on(route(name), sound(name))
    await reached().call(name, **rest)
    (sent,) = script.seen
    assert (sent.method, sent.url) == (method, url)
    assert (json.loads(sent.body) if sent.body else None) == body
    assert sent.headers["accept"] == "application/json"
    assert sent.headers.get("content-type") == ("application/json" if body is not None else None)
    assert "authorization" not in sent.headers
    pair = (sent.headers.get("x-app-id"), sent.headers.get("x-api-key"))
    assert pair == ((None, None) if name == "connector.public-list" else ("12345", KEY))
