"""Probes a tenant with harmless reads and says what this identity may do there, and how to get what it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError, UnreachableError, UnsupportedError
from qlikmigrate.model.caller import Caller, caller_of
from qlikmigrate.model.snapshot import parse

_BOT_HINT = "use an OAuth client, marked Trusted, with scope `admin.automations`"
_LISTS = ("connection.list", "connector.list", "space.list", "user.list", "item.list")


@frozen(kw_only=True)
class Check:
    """One answer. `ok` is None where it is neither good nor bad."""

    check: str
    ok: bool | None
    message: str
    hint: str = ""


async def examine(client: CloudClient) -> list[Check]:
    """All checks, in order.

    Raises:
        AuthError: the tenant does not know the identity at all.
        FailedError: the tenant cannot be reached.
    """
    facts = await client.tenant()
    checks = [
        Check(check="tenant", ok=True, message=f"{facts.name or facts.host} ({facts.id}) {facts.region}".rstrip())
    ]
    me = (await client.whoami()).json() or {}
    caller = caller_of(me)
    checks.append(_identity(me, caller))
    checks += await _automations(client, me, caller)
    for operation in _LISTS:
        checks.append(await _can_list(client, operation))
    checks.append(await _settings(client))
    checks += _writing(client, caller)
    return checks


async def _automations(client: CloudClient, me: Mapping[str, Any], caller: Caller) -> list[Check]:
    """Which path family there is, and how much of the tenant's automations shows."""
    name = "list automations"
    try:
        rows = await _first_rows(client, "automation.list")
    except UnauthorizedError as error:
        if error.status == 401:
            raise
        return [Check(check=name, ok=False, message=error.message, hint=_BOT_HINT)]
    current = client.family == "workflows"
    wide = caller.sees_all
    return [
        Check(
            check="api",
            ok=current or None,
            message=f"/api/{client.family}",
            hint="" if current else "settings and connector details do not exist there",
        ),
        Check(
            check=name,
            ok=wide,
            message="of the whole tenant" if wide else "only this identity's own part of the tenant",
            hint="" if wide else _BOT_HINT,
        ),
        await _foreign_definition(client, me, rows),
    ]


def _identity(me: Mapping[str, Any], caller: Caller) -> Check:
    what = "OAuth client" if caller.bot else "user"
    name = me.get("name") or me.get("subject") or me.get("id")
    listed = ", ".join(sorted(caller.roles)) or "none"
    return Check(check="identity", ok=True, message=f"{what} `{name}` ({me.get('id')}), roles: {listed}")


async def _first_rows(client: CloudClient, operation: str, most: int = 200) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    async for raw in client.rows(operation):
        value = parse(raw)
        if isinstance(value, Mapping):
            rows.append(value)
        if len(rows) >= most:
            break
    return rows


async def _foreign_definition(client: CloudClient, me: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> Check:
    """Somebody else's automation, read: what a backup of the whole tenant needs."""
    name = "read other people's automations"
    foreign = next((row for row in rows if row.get("ownerId") != me.get("id")), None)
    if foreign is None:
        return Check(check=name, ok=None, message="there is none to try it on")
    try:
        await client.call("automation.get", id=str(foreign["id"]))
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return Check(check=name, ok=False, message=f"the tenant answers {error.status}", hint=_BOT_HINT)
    return Check(check=name, ok=True, message="yes")


async def _can_list(client: CloudClient, operation: str) -> Check:
    name = f"list {operation.partition('.')[0]}s"
    try:
        rows = await _first_rows(client, operation, most=1)
    except UnsupportedError:
        return Check(check=name, ok=None, message="does not exist under /api/v1")
    except MissingError:
        return Check(check=name, ok=False, message="this list does not exist here (404)")
    except UnreachableError:
        raise
    except ApiError as error:
        if error.status == 401:
            raise
        return Check(check=name, ok=False, message=error.message, hint="the roles or scopes of the identity lack it")
    return Check(check=name, ok=True, message="yes" if rows else "yes, and there is none")


async def _settings(client: CloudClient) -> Check:
    try:
        value = (await client.call("settings.get")).json()
    except UnsupportedError:
        return Check(check="settings", ok=None, message="do not exist under /api/v1")
    except (UnauthorizedError, ApiError) as error:
        return Check(check="settings", ok=None, message=error.message)
    runs = value.get("maxConcurrentRunsPerAutomation") if isinstance(value, Mapping) else None
    return Check(check="settings", ok=True, message=f"maxConcurrentRunsPerAutomation: {runs}")


def _writing(client: CloudClient, caller: Caller) -> list[Check]:
    endpoint = client.endpoint
    access = endpoint.access.value
    checks = [
        Check(
            check="access",
            ok=None,
            message=f'`access = "{access}"` in the tenants file',
            hint="" if access == "write" else 'a restore into it needs `access = "write"`',
        )
    ]
    if access == "read":
        return checks
    if endpoint.impersonation is not None:
        how = "impersonate: created as each owner, connections stay bound"
    elif caller.bot:
        how = "transfer: created, given to the owner, then bound"
    elif caller.may_transfer:
        how = "transfer: created and given to the owner; connections are left to be bound by hand"
    else:
        how = "only the identity itself can own what it creates"
    hint = "" if endpoint.impersonation is not None else "`impersonation` in the tenants file creates as each owner"
    checks.append(Check(check="owners", ok=None, message=how, hint=hint))
    return checks
