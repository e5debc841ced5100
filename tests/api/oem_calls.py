"""One call of each OEM operation, as its caller writes it and as the vendor's page has it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from wire_script import says

from qlikmigrate.api.oem.operation import OPERATIONS
from qlikmigrate.kernel.message import Reply, Request

BASE = "https://api.blendr.io/v1"

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
        {"account": "acme", "blend": "Nightly sync", "body": {"async": True, "inputs": {"city": "Ghent"}}},
        "POST", f"{BASE}/accounts/acme/blends/Nightly%20sync/run", {"async": True, "inputs": {"city": "Ghent"}},
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


async def collect(rows: AsyncIterator[bytes]) -> list[bytes]:
    return [row async for row in rows]


def route(name: str) -> str:
    """`METHOD path` of the call."""
    _, method, url, _ = CALLS[name]
    return f"{method} {urlsplit(url).path}"


def sound(name: str) -> Reply:
    """What the service answers where nothing is wrong."""
    if OPERATIONS[name].shape == "list":
        return says(200, [])
    return says(204) if OPERATIONS[name].success == (204,) else says(200, {})


def documented(request: Request) -> bool:
    """Whether method and address are those of an operation, its query names included."""
    parts = urlsplit(request.url)
    place, names = f"{parts.scheme}://{parts.netloc}{parts.path}", re.findall(r"([^=&]+)=", parts.query)
    for name, one in OPERATIONS.items():
        base = "https://admin.blendr.io" if name == "connector.public-list" else BASE
        pattern = re.escape(base) + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(one.path))
        known = {text.replace("[", "%5B").replace("]", "%5D") for text in one.query}
        if one.method == request.method and re.fullmatch(pattern, place) and set(names) <= known:
            return True
    return False
