"""Every call of Qlik Cloud that the product knows, declared once: path, tier, right needed, what may be repeated.

Source: openapi/automations.json, automation-connections.json, automation-connectors.json, their `workflows-` twins,
spaces.json, users.json, tenants.json, items.json, roles.json, groups.json, oauth.json. A test compares the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from attrs import frozen

from qlikmigrate.api.endpoint import Access

Scalar = str | int | bool


class Family(StrEnum):
    """Under which paths an operation exists.

    BOTH: `/api/workflows` and `/api/v1`; WORKFLOWS: the former only; PLATFORM: a path of its own, outside both.
    """

    BOTH = "both"
    WORKFLOWS = "workflows"
    PLATFORM = "platform"


class Retry(StrEnum):
    """SAFE: done twice is done once. ONCE: never sent again but on 429, when it was not carried out."""

    SAFE = "safe"
    ONCE = "once"


class Shape(StrEnum):
    """What a successful answer holds: a page `{data: [...], links}`, an object, plain text, or nothing.

    LIST: a page, or its rows alone. NOTHING: nothing that anybody needs; JSON does no harm. ANY: whatever an automation
    answers, JSON or text or nothing, but no web page.
    """

    PAGE = "page"
    LIST = "list"
    OBJECT = "object"
    TEXT = "text"
    NOTHING = "nothing"
    ANY = "any"


@frozen(kw_only=True)
class Operation:
    """One call.

    `path`: below the family's prefix, or whole for PLATFORM; the object's own id is `{id}`, a parent's `{KIND_id}`.
    `tier`: the rate limit it counts against. `query`: names it takes; `always`: sent unless the caller says otherwise.
    `page_size`: the `limit` sent when all rows are wanted, or the rows of a page where nobody chooses. `body`: members
    of the request; `open_body`: it may have any; `secret_body`: they may hold secrets, so the server's words about them
    are not shown. `success`: documented statuses. `spec`: the document that describes it; the other family's is named
    alike.
    """

    name: str
    method: str
    path: str
    family: Family
    tier: int
    access: Access
    retry: Retry
    shape: Shape
    success: tuple[int, ...]
    spec: str
    query: tuple[str, ...] = ()
    always: tuple[tuple[str, str], ...] = ()
    page_size: int = 0
    body: tuple[str, ...] = ()
    open_body: bool = False
    secret_body: bool = False

    @property
    def id_names(self) -> tuple[str, ...]:
        """The names of the ids in the path, in order."""
        return tuple(_PLACE.findall(self.path))

    def path_under(self, family: str, ids: Mapping[str, str]) -> str:
        """The path under `family` (`workflows` or `v1`), ids percent-encoded.

        Raises:
            ValueError: an id is missing, empty, unknown, or would change the path.
        """
        if set(ids) != set(self.id_names):
            raise ValueError(f"`{self.name}` takes the ids {self.id_names}: {sorted(ids)}")
        if bad := [name for name, value in ids.items() if value in ("", ".", "..")]:
            raise ValueError(f"`{self.name}` needs an id for {bad}")
        prefix = "" if self.family is Family.PLATFORM else f"/api/{family}"
        return prefix + _PLACE.sub(lambda place: quote(ids[place[1]], safe=""), self.path)

    def query_text(self, query: Mapping[str, Scalar]) -> str:
        """`query` and what is always sent, percent-encoded; booleans as `true` and `false`.

        Raises:
            ValueError: the operation has no such query.
        """
        if unknown := set(query) - set(self.query):
            raise ValueError(f"`{self.name}` has no query {sorted(unknown)}")
        asked: dict[str, Scalar] = {**dict(self.always), **query}
        texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in asked.items()}
        return urlencode(texts, quote_via=quote, safe="")

    def content(self, body: bytes | Mapping[str, Any] | None) -> bytes:
        """The request's body as it is sent; bytes stay as they are.

        Raises:
            ValueError: the operation takes no body, or no such member.
        """
        if body is None:
            return b""
        if not self.body and not self.open_body:
            raise ValueError(f"`{self.name}` takes no body")
        if isinstance(body, bytes):
            return body
        if not self.open_body and (unknown := set(body) - set(self.body)):
            raise ValueError(f"`{self.name}` does not take {sorted(unknown)}")
        return orjson.dumps(dict(body))


def named(operations: Mapping[str, Operation], name: str) -> Operation:
    """The operation called `name`.

    Raises:
        ValueError: there is none.
    """
    found = operations.get(name)
    if found is None:
        raise ValueError(f"no operation `{name}`")
    return found


_PLACE = re.compile(r"{(\w+)}")


def _read(
    name: str,
    path: str,
    spec: str,
    *,
    family: Family = Family.BOTH,
    shape: Shape = Shape.OBJECT,
    success: int = 200,
    query: str = "",
    always: tuple[tuple[str, str], ...] = (),
    page_size: int = 0,
) -> Operation:
    return Operation(
        name=name,
        method="GET",
        path=path,
        family=family,
        tier=1,
        access=Access.READ,
        retry=Retry.SAFE,
        shape=shape,
        success=(success,),
        spec=spec,
        query=tuple(query.split()),
        always=always,
        page_size=page_size,
    )


def _write(
    name: str,
    method: str,
    path: str,
    spec: str,
    success: int,
    *,
    retry: Retry = Retry.SAFE,
    family: Family = Family.BOTH,
    access: Access = Access.WRITE,
    body: str = "",
    query: str = "",
    secret_body: bool = False,
) -> Operation:
    return Operation(
        name=name,
        method=method,
        path=path,
        family=family,
        tier=2,
        access=access,
        retry=retry,
        shape=Shape.NOTHING if success == 204 else Shape.OBJECT,
        success=(success,),
        spec=spec,
        query=tuple(query.split()),
        body=tuple(body.split()),
        secret_body=secret_body,
    )


# An ordinary list shows only what the identity owns or shares; Source: openapi/workflows-automations.json, `listAll`.
_ALL = (("listAll", "true"),)
_WORKFLOWS, _PLATFORM = Family.WORKFLOWS, Family.PLATFORM
_CURSORS = "cursor filter limit sort"
_NEXTS = "filter limit next prev sort totalResults"


def _automation() -> tuple[Operation, ...]:
    spec, one = "workflows-automations.json", "/automations/{id}"
    fields = "name description schedules workspace maxConcurrentRuns"
    return (
        _read(
            "automation.list", "/automations", spec,
            shape=Shape.PAGE, query=f"{_CURSORS} listAll", always=_ALL, page_size=200,
        ),
        _write("automation.create", "POST", "/automations", spec, 201, retry=Retry.ONCE, body=f"{fields} spaceId"),
        _read("automation.get", one, spec),
        _write("automation.update", "PUT", one, spec, 200, body=fields),
        _write("automation.delete", "DELETE", one, spec, 204),
        _write("automation.copy", "POST", f"{one}/actions/copy", spec, 201, retry=Retry.ONCE, body="name"),
        _write("automation.change-owner", "POST", f"{one}/actions/change-owner", spec, 204, body="userId"),
        _write("automation.change-space", "POST", f"{one}/actions/change-space", spec, 204, body="spaceId"),
        _write("automation.move", "POST", f"{one}/actions/move", spec, 204, retry=Retry.ONCE, body="userId"),
        _write("automation.enable", "POST", f"{one}/actions/enable", spec, 204, access=Access.STATE),
        _write("automation.disable", "POST", f"{one}/actions/disable", spec, 204, access=Access.STATE),
        _read("settings.get", "/automations/settings", spec, family=_WORKFLOWS),
        _write(
            "settings.put", "PUT", "/automations/settings", spec, 200,
            family=_WORKFLOWS, body="maxConcurrentRunsPerAutomation",
        ),
        _read("usage.get", "/automations/usage", spec, query="filter breakdownBy"),
    )  # fmt: skip


def _run() -> tuple[Operation, ...]:
    spec, runs, once = "workflows-automations.json", "/automations/{automation_id}/runs", Retry.ONCE
    one = f"{runs}/{{id}}"
    return (
        _read("run.list", runs, spec, shape=Shape.PAGE, query=_CURSORS, page_size=200),
        _write("run.create", "POST", runs, spec, 201, retry=once, body="id context"),
        _read("run.get", one, spec),
        _write("run.export", "POST", f"{one}/actions/export", spec, 200, retry=once),
        _write("run.retry", "POST", f"{one}/actions/retry", spec, 204, retry=once),
        _write("run.stop", "POST", f"{one}/actions/stop", spec, 204, retry=once),
        _read("run.debug", f"{one}/debug", spec, family=_WORKFLOWS, shape=Shape.TEXT),
    )


def _connection() -> tuple[Operation, ...]:
    spec, one = "workflows-automation-connections.json", "/automation-connections/{id}"
    return (
        _read(
            "connection.list", "/automation-connections", spec,
            shape=Shape.PAGE, query=f"{_CURSORS} listAll", always=_ALL, page_size=200,
        ),
        _write(
            "connection.create", "POST", "/automation-connections", spec, 201,
            retry=Retry.ONCE, body="connectorId name params spaceId", secret_body=True,
        ),
        _read("connection.get", one, spec),
        _write("connection.update", "PUT", one, spec, 200, body="name params", secret_body=True),
        _write("connection.delete", "DELETE", one, spec, 204, query="forced"),
        _write("connection.change-owner", "POST", f"{one}/actions/change-owner", spec, 204, body="userId"),
        _write("connection.change-space", "POST", f"{one}/actions/change-space", spec, 204, body="spaceId"),
        _write("connection.check", "POST", f"{one}/actions/check", spec, 200),
    )  # fmt: skip


def _connector() -> tuple[Operation, ...]:
    spec, one = "workflows-automation-connectors.json", "/automation-connectors/{id}"
    return (
        _read("connector.list", "/automation-connectors", spec, shape=Shape.PAGE, query=_CURSORS, page_size=200),
        _read("connector.get", one, spec, family=_WORKFLOWS),
        _read("connector.webhooks", f"{one}/webhooks/configuration", spec, family=_WORKFLOWS),
    )


def _list(name: str, path: str, spec: str, query: str) -> Operation:
    return _read(name, path, spec, family=_PLATFORM, shape=Shape.PAGE, query=query, page_size=100)


def _platform() -> tuple[Operation, ...]:
    spaces, space = "/api/v1/spaces", "/api/v1/spaces/{id}"
    assignments, once = "/api/v1/spaces/{space_id}/assignments", Retry.ONCE
    return (
        _list("user.list", "/api/v1/users", "users.json", f"fields {_NEXTS}"),
        _read("user.get", "/api/v1/users/{id}", "users.json", family=_PLATFORM, query="fields"),
        _read("user.me", "/api/v1/users/me", "users.json", family=_PLATFORM, success=301),
        _list("space.list", spaces, "spaces.json", "action environmentId limit name next ownerId prev roles sort type"),
        _read("space.get", space, "spaces.json", family=_PLATFORM),
        _write("space.create", "POST", spaces, "spaces.json", 201,
               family=_PLATFORM, retry=once, body="name type description"),
        _write("space.update", "PUT", space, "spaces.json", 200, family=_PLATFORM, body="name description ownerId"),
        _write("space.delete", "DELETE", space, "spaces.json", 204, family=_PLATFORM),
        _list("assignment.list", assignments, "spaces.json", "assigneeId limit next prev type"),
        _write("assignment.create", "POST", assignments, "spaces.json", 201,
               family=_PLATFORM, retry=once, body="type assigneeId roles"),
        _write("assignment.update", "PUT", f"{assignments}/{{id}}", "spaces.json", 200, family=_PLATFORM, body="roles"),
        _write("assignment.delete", "DELETE", f"{assignments}/{{id}}", "spaces.json", 204, family=_PLATFORM),
        _read("tenant.me", "/api/v1/tenants/me", "tenants.json", family=_PLATFORM, success=302),
        _read("tenant.get", "/api/v1/tenants/{id}", "tenants.json", family=_PLATFORM),
        _list("item.list", "/api/v1/items", "items.json",
              "id limit name next ownerId prev query resourceId resourceIds resourceType sort spaceId spaceType"),
        _list("role.list", "/api/v1/roles", "roles.json", _NEXTS),
        _list("group.list", "/api/v1/groups", "groups.json", f"{_NEXTS} systemGroups"),
        # Minting a token changes nothing in the tenant, so the GET-only client may do it.
        _write("token.create", "POST", "/oauth/token", "oauth.json", 200, family=_PLATFORM, access=Access.READ,
               body="client_id client_secret grant_type scope user_lookup", secret_body=True),
    )  # fmt: skip


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (*_automation(), *_run(), *_connection(), *_connector(), *_platform())}
)

TOKEN = OPERATIONS["token.create"]
