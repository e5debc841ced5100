"""What an OEM account holds by now, read with GETs. It is found by guid or exact externalid, never by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from qlikmigrate.api.error import MissingError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Progress, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import (
    Account,
    OemAutomation,
    OemConnection,
    OemConnector,
    Template,
    account_of,
    automation_of,
    children_of,
    connection_of,
    connector_of,
    template_of,
)
from qlikmigrate.model.snapshot import parse

T = TypeVar("T")

# What moves without anybody's doing, or stands for nothing that a plan goes by.
_NOT_COMPARED = frozenset({"last_run_at", "updated_at", "admin_sso_url", "is_used", "is_connected", "activation_url"})


@frozen(kw_only=True)
class OemTarget:
    """An account and what its provider offers. `account` None: there is none that is called `word`.

    `automations` and `connections` as their lists show them, those of `details` as their own answers do. `parts`: ids
    of the children of bundles. `states`: of automations, where something shows it. `fingerprint`: kind → id → hash.
    """

    word: str
    account: Account | None
    labels: tuple[str, ...] = ()
    automations: Mapping[str, OemAutomation] = field(factory=dict, repr=False)
    parts: frozenset[str] = frozenset()
    connections: Mapping[str, OemConnection] = field(factory=dict, repr=False)
    templates: Mapping[str, Template] = field(factory=dict, repr=False)
    states: Mapping[str, str] = field(factory=dict, repr=False)
    fingerprint: Mapping[str, Mapping[str, str]] = field(factory=dict, repr=False)

    @property
    def account_id(self) -> str:
        """Its guid; empty where there is none yet."""
        return self.account.id if self.account else ""


async def find_account(client: OemClient, word: str) -> tuple[Account | None, tuple[str, ...]]:
    """The account whose guid or externalid is `word`, and what all of them are called.

    Raises:
        UsageError: several have that externalid.
        ApiError: the list cannot be read.
    """
    accounts = [account_of(parse(raw)) async for raw in client.rows("account.list")]
    found = [one for one in accounts if one.is_meant_by(word)]
    if len(found) > 1:
        listed = ", ".join(sorted(one.id for one in found))
        raise UsageError(f"{len(found)} accounts are called `{word}`: {listed}", hint="name it by its guid")
    if not found and any(not one.external_id for one in accounts):
        # The list may not show an externalid by which the account can be asked for all the same.
        found = [one for one in await _ask(client, word) if one.id in {each.id for each in accounts}]
    if found:
        client.know_account(found[0].id, found[0].external_id)
    return (found[0] if found else None), tuple(sorted(one.label for one in accounts))


async def _ask(client: OemClient, word: str) -> list[Account]:
    try:
        return [account_of((await client.call("account.get", account=word)).json() or {})]
    except MissingError:
        return []


async def list_automations(client: OemClient, account: str) -> tuple[dict[str, OemAutomation], frozenset[str]]:
    """An account's automations by id as the list shows them, parts of bundles included, and the ids of those parts."""
    found: dict[str, OemAutomation] = {}
    parts: set[str] = set()
    async for raw in client.rows("blend.list", account=account):
        parts |= _take(parse(raw), found)
    return found, frozenset(parts)


def _take(value: Mapping[str, Any], found: dict[str, OemAutomation]) -> set[str]:
    one = automation_of(value)
    found.setdefault(one.id, one)
    parts: set[str] = set()
    for child in children_of(value):
        parts |= {automation_of(child).id} | _take(child, found)
    return parts


async def read_target(client: OemClient, word: str, *, sink: Sink) -> OemTarget:
    """Read the account that `word` means. Sends GETs only.

    Raises:
        UsageError: several accounts are called that.
        ApiError: something cannot be read.
    """
    account, labels = await find_account(client, word)
    templates: dict[str, Template] = {}
    prints: dict[str, dict[str, str]] = {kind.value: {} for kind in (Kind.AUTOMATION, Kind.CONNECTION, Kind.TEMPLATE)}
    async for raw in client.rows("template.list"):
        value = parse(raw)
        one = template_of(value)
        templates[one.id] = one
        prints[Kind.TEMPLATE.value][one.id] = row_hash(value)
    target = OemTarget(word=word, account=account, labels=labels, templates=templates)
    if account is None:
        return evolve(target, fingerprint=prints)
    automations: dict[str, OemAutomation] = {}
    connections: dict[str, OemConnection] = {}
    parts: set[str] = set()
    async for raw in client.rows("blend.list", account=account.id):
        value = parse(raw)
        parts |= _take(value, automations)
        prints[Kind.AUTOMATION.value][automation_of(value).id] = row_hash(value)
    async for raw in client.rows("datasource.list", account=account.id):
        value = parse(raw)
        found = connection_of(value)
        connections[found.id] = found
        prints[Kind.CONNECTION.value][found.id] = row_hash(value)
    sink(Progress(phase="read", done=len(automations), total=len(automations)))
    return evolve(
        target,
        automations=automations,
        parts=frozenset(parts),
        connections=connections,
        states={ident: one.state for ident, one in automations.items() if one.state},
        fingerprint=prints,
    )


def row_hash(value: Mapping[str, Any]) -> str:
    """The hash of a list row without what changes by itself."""
    kept = {key: _plain(one) for key, one in value.items() if key not in _NOT_COMPARED}
    return canonical_hash(kept)


def _plain(value: Any) -> Any:
    """The same for the rows of a bundle's parts within its own."""
    if isinstance(value, list):
        return [
            {key: one for key, one in each.items() if key not in _NOT_COMPARED} if isinstance(each, dict) else each
            for each in value
        ]
    return value


async def read_automation(client: OemClient, account: str, ident: str) -> OemAutomation:
    """One automation with its inputs.

    Raises:
        MissingError: it is not there.
    """
    return automation_of((await client.call("blend.get", account=account, blend=ident)).json() or {})


async def with_details(client: OemClient, target: OemTarget, idents: Collection[str], *, sink: Sink) -> OemTarget:
    """The target with the inputs of these automations, as far as they can be read."""
    found = await _each(
        client, sorted(idents), lambda ident: read_automation(client, target.account_id, ident), sink, "read inputs"
    )
    states = {ident: one.state for ident, one in found.items() if one.state}
    return evolve(target, automations={**target.automations, **found}, states={**target.states, **states})


async def read_states(client: OemClient, account: str, connections: Collection[str], *, sink: Sink) -> dict[str, str]:
    """States of automations as the connections show them that they are hard-linked to.

    Source: "Get datasource in account": the blends within an answer have `state`, others may not.
    """
    return (await read_links(client, account, connections, sink=sink))[0]


async def read_links(
    client: OemClient, account: str, connections: Collection[str], *, sink: Sink
) -> tuple[dict[str, str], dict[str, OemConnection]]:
    """The same states, and the connections with what is hard-linked to them."""
    states: dict[str, str] = {}

    async def read(ident: str) -> OemConnection:
        value = (await client.call("datasource.get", account=account, datasource=ident)).json() or {}
        connection = connection_of(value)
        states.update(connection.states)
        return connection

    found = await _each(client, sorted(connections), read, sink, "read connections")
    return states, found


async def read_connector(client: OemClient, ident: str) -> OemConnector | None:
    """A connector of the target; None where it does not know the guid."""
    try:
        return connector_of((await client.call("connector.get", connector=ident)).json() or {})
    except MissingError:
        return None


async def find_connector(client: OemClient, name: str) -> list[str]:
    """Guids of the public list's connectors of exactly this name."""
    found = [connector_of(parse(raw)) async for raw in client.rows("connector.public-list")]
    return sorted({one.id for one in found if one.name == name and one.id})


async def _each(
    client: OemClient, idents: Collection[str], read: Callable[[str], Any], sink: Sink, phase: str
) -> dict[str, Any]:
    """What `read` gives for each; what is gone is left out."""
    found: dict[str, Any] = {}
    done = 0

    async def one(ident: str) -> None:
        nonlocal done
        with contextlib.suppress(MissingError):
            found[ident] = await read(ident)
        done += 1
        sink(Progress(phase=phase, done=done, total=len(idents), subject=ident))

    await fan_out(idents, one, width=client.endpoint.limits.concurrency)
    return found
