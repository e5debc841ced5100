"""Serve a made-up tenant to the benchmarks from a process of its own, so that the measured one has its core to itself.

    python scripts/bench_tenant.py AUTOMATIONS SIZE_BYTES [--stored] [--delay-ms MS]

Prints one JSON line: where it is, an OAuth client, and how many rows each list holds. Then each line read from stdin is
answered by one JSON line: an empty one with the requests seen since the last, a number with the ids of as many
automations, which somebody has edited meanwhile. The end of stdin is its own end.
"""

from __future__ import annotations

import argparse
import json
import sys
from urllib.parse import quote, urlencode

from bench_history import Editor

from qlikmigrate.kernel.message import Request
from qlikmigrate.sandbox import CloudTenant, Delay, Fault, Server, seed_source
from qlikmigrate.sandbox.synthetic import Recipe

_LISTS = {
    "automations": "/api/workflows/automations",
    "connections": "/api/workflows/automation-connections",
    "connectors": "/api/workflows/automation-connectors",
    "users": "/api/v1/users",
    "spaces": "/api/v1/spaces",
    "items": "/api/v1/items",
}


def _fill(tenant: CloudTenant, count: int, size_bytes: int, *, stored: bool) -> str:
    """The demo company with made-up automations up to `count`; the id of an administrator."""
    company = seed_source(tenant)
    missing = max(0, count - len(tenant.automations))
    users, spaces = tuple(company.users.values()), tuple(company.spaces.values())
    if stored:
        # Made once and kept: answering costs the server next to nothing, so that the client is what is measured.
        for number in range(missing):
            recipe = Recipe(seed=number, size_bytes=size_bytes)
            document = {"name": recipe.name(number), "workspace": json.loads(recipe())}
            tenant.add_automation(document, users[number % len(users)])
    else:
        tenant.add_synthetic(missing, size_bytes, owners=users, spaces=("", *spaces))
    return company.users["lena"]


def _edit(tenant: CloudTenant, count: int, editor: Editor) -> list[str]:
    """Change a few blocks of `count` automations, chosen at even distances; their ids."""
    ids = sorted(tenant.automations)
    chosen = ids[:: max(1, len(ids) // count)][:count]
    for ident in chosen:
        tenant.replace_workspace(ident, editor.edit(tenant.automations[ident])["workspace"])
    return chosen


def _rows(tenant: CloudTenant, key: str, path: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    url = f"{tenant.base_url}{path}?limit=100" + ("&listAll=true" if path.startswith("/api/workflows/") else "")
    while url:
        request = Request(method="GET", url=url, headers={"authorization": f"Bearer {key}"})
        page = json.loads(tenant.handle(request).response.body)
        rows += page["data"]
        url = (page["links"].get("next") or {}).get("href") or ""
    return rows


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("automations", type=int)
    parser.add_argument("size_bytes", type=int)
    parser.add_argument("--stored", action="store_true", help="keep the documents instead of making them on each GET")
    parser.add_argument("--delay-ms", type=int, default=0, help="how long each answer takes")
    given = parser.parse_args()
    tenant = CloudTenant("bench")
    key = tenant.api_key(_fill(tenant, given.automations, given.size_bytes, stored=given.stored))
    client_id, client_secret = tenant.oauth_client("m2m")
    with Server(tenant.handle) as server:
        tenant.base_url = server.url
        rows = {kind: _rows(tenant, key, path) for kind, path in _LISTS.items()}
        members = [
            len(_rows(tenant, key, f"/api/v1/spaces/{quote(str(one['id']))}/assignments")) for one in rows["spaces"]
        ]
        tenant.seen.clear()
        if given.delay_ms:
            tenant.faults.append(Fault(effect=Delay(given.delay_ms / 1000), times=None))
        _tell(
            {
                "url": server.url,
                "client_id": client_id,
                "client_secret": client_secret,
                "rows": {kind: len(found) for kind, found in rows.items()},
                "members": members,
            }
        )
        editor = Editor(0)
        for line in sys.stdin:
            if line.strip():
                _tell(_edit(tenant, int(line), editor))
                continue
            seen, tenant.seen[:] = tenant.seen[:], []
            targets = [f"{one.path}?{urlencode(one.query)}" if one.query else one.path for one in seen]
            _tell([[one.method, target] for one, target in zip(seen, targets, strict=True)])
    return 0


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
