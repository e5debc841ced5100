"""Probes the OEM API with harmless reads and says what this key pair reaches, and what the API gives to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import InvalidError, MissingError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.model.oem import Account, account_of, automation_of, connection_of
from qlikmigrate.model.snapshot import parse
from qlikmigrate.ops.doctor import Check

_MOST_NAMES = 20
# Source: the reference pages of accounts, integrations, templates and datasources, by what they lack.
_NEVER = {
    "schedules": ("can be set, not read", "a schedule file beside a backup brings them along"),
    "credentials of connections": ("can be set, not read", "a restore takes them from a secrets file"),
    "consent to OAuth connections": ("a person gives it in a browser", "links are valid for 30 minutes"),
    "hand-built automations": ("nothing creates one but the install of a template", "a restore lists them for people"),
    "deleting automations": ("no call is documented", "a rollback switches off and lists"),
    "users": ("cannot be listed", ""),
}


async def examine(client: OemClient, account: str) -> list[Check]:
    """All checks, in order. `account`: the one that is meant, by guid or externalid; empty for all.

    Raises:
        AuthError: the service does not know the key pair.
        FailedError: the service cannot be reached.
    """
    checks = await _service(client)
    if any(one.ok is False for one in checks):
        return checks
    listed, accounts = await _accounts(client)
    checks.append(listed)
    if account:
        checks += await _one_account(client, accounts, account)
    else:
        checks += [_shown(one) for one in accounts[:_MOST_NAMES]]
        if len(accounts) > _MOST_NAMES:
            checks.append(Check(check="account", ok=None, message=f"and {len(accounts) - _MOST_NAMES} more"))
    checks += [_rate(client), _access(client)]
    checks += [Check(check=name, ok=None, message=what, hint=hint) for name, (what, hint) in _NEVER.items()]
    return checks


async def _service(client: OemClient) -> list[Check]:
    """Whether anybody answers, and knows the key pair."""
    place = client.endpoint
    api = Check(check="api", ok=True, message=f"{place.base} answers")
    name = "key pair"
    try:
        rows = (await client.call("template.list", query={"page": 1})).json()
    except UnreachableError as error:
        raise UnreachableError(
            f"the OEM API does not answer at {place.base}: {error.message.partition('got no answer: ')[2]}",
            operation=error.operation,
            hint=error.hint
            if "certificate" in error.message
            else f"check `url` of `[tenants.{place.table}]`, the "
            "network and the proxy; whether the service is still offered only Qlik can tell",
        ) from None
    except (InvalidError, MissingError) as error:
        # Source: the pages know no other status than 400, so a refused key may well be one.
        hint = f"check `app_id`, `api_key` and `url` of `[tenants.{place.table}]`"
        return [api, Check(check=name, ok=False, message=f"the service answers {error.status}", hint=hint)]
    count = len(rows if isinstance(rows, list) else rows["data"])
    templates = f"{count} templates on its first page" if count else "there are no templates"
    return [api, Check(check=name, ok=True, message=f"app `{place.credentials.app_id}` is known; {templates}")]


async def _accounts(client: OemClient) -> tuple[Check, list[Account]]:
    accounts: dict[str, Account] = {}
    try:
        async for raw in client.rows("account.list"):
            value = parse(raw)
            if isinstance(value, Mapping):
                one = account_of(value)
                accounts[one.id] = one
    except (InvalidError, MissingError) as error:
        hint = "is it the key pair of a provider (SaaS Admin), not of one account?"
        return Check(check="list accounts", ok=False, message=error.message, hint=hint), []
    found = sorted(accounts.values(), key=lambda one: (one.label, one.id))
    return Check(check="list accounts", ok=True, message=f"{len(found)} accounts"), found


def _shown(one: Account) -> Check:
    return Check(check="account", ok=None, message=f"{one.label}: {one.name or 'no name'} ({one.id})")


async def _one_account(client: OemClient, accounts: list[Account], word: str) -> list[Check]:
    """Whether the account exists, and what it holds."""
    found = [one for one in accounts if one.is_meant_by(word)]
    if len(found) != 1:
        what = "several accounts are" if found else "no account is"
        names = ", ".join(one.label for one in accounts[:_MOST_NAMES])
        hint = f"there are: {names}" if names else "the provider has none that this key pair lists"
        return [Check(check="account", ok=False, message=f"{what} called `{word}`", hint=hint)]
    (one,) = found
    client.know_account(one.id, one.external_id)
    return [
        Check(check="account", ok=True, message=f"{one.label}: {one.name or 'no name'} ({one.id})"),
        *await _automations(client, one),
        await _connections(client, one),
    ]


async def _automations(client: OemClient, account: Account) -> list[Check]:
    name = "list automations"
    try:
        rows = [parse(raw) async for raw in client.rows("blend.list", account=account.id)]
        blends = [automation_of(row) for row in rows if isinstance(row, Mapping)]
        detail: Any = None
        if blends:
            detail = (await client.call("blend.get", account=account.id, blend=blends[0].id)).json()
    except (InvalidError, MissingError) as error:
        return [Check(check=name, ok=False, message=error.message, hint="the account may have expired")]
    built = sum(1 for one in blends if not one.template_id)
    message = f"{len(blends)} automations, {built} of them built by hand" if blends else "yes, and there is none"
    return [Check(check=name, ok=True, message=message), _workspaces(detail), _states(detail)]


def _workspaces(detail: Any) -> Check:
    """Source: no page has such a member; it is looked for, since one may appear."""
    if isinstance(detail, Mapping) and any(detail.get(name) for name in ("workspace", "blocks")):
        return Check(check="workspaces", ok=True, message="the service gives them, which no page says")
    hint = "workspace files of yours, handed to a backup, are kept in the archive"
    return Check(check="workspaces", ok=None, message="the API does not give them", hint=hint)


def _states(detail: Any) -> Check:
    """Source: the examples of "Get integration" lack `state`, those of datasources have it."""
    if isinstance(detail, Mapping) and detail.get("state"):
        return Check(check="on or off", ok=True, message="can be read")
    said = "nothing to try it on" if detail is None else "not said of an automation"
    return Check(check="on or off", ok=None, message=said, hint="a schedule file beside a backup may say it")


async def _connections(client: OemClient, account: Account) -> Check:
    name = "list connections"
    try:
        rows = [parse(raw) async for raw in client.rows("datasource.list", account=account.id)]
    except (InvalidError, MissingError) as error:
        return Check(check=name, ok=False, message=error.message, hint="the account may have expired")
    found = [connection_of(row) for row in rows if isinstance(row, Mapping)]
    dead = sum(1 for one in found if one.connected is False)
    message = f"{len(found)} connections, {dead} of them not connected" if found else "yes, and there is none"
    return Check(check=name, ok=True, message=message)


def _rate(client: OemClient) -> Check:
    limits, quota = client.endpoint.limits, client.quota
    ours = f"this tool keeps to {limits.per_minute * limits.share:g} of {limits.per_minute} a minute"
    if quota.limit is None:
        return Check(check="rate", ok=None, message=f"the service does not say its limit; {ours}")
    fits = quota.limit >= limits.per_minute
    hint = "" if fits else f"write `limits = {{ per_minute = {quota.limit} }}` under [tenants.{client.endpoint.table}]"
    left = "" if quota.remaining is None else f", {quota.remaining} left"
    return Check(check="rate", ok=fits, message=f"{quota.limit} calls a minute{left}; {ours}", hint=hint)


def _access(client: OemClient) -> Check:
    access = client.endpoint.access
    hint = "" if access is Access.WRITE else 'a restore into it needs `access = "write"`'
    return Check(check="access", ok=None, message=f'`access = "{access}"` in the tenants file', hint=hint)
