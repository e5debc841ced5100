"""The target's side of a restore, read with GETs only: what it holds, who we are there, and how it looked."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, ForbiddenError, MissingError, UnsupportedError
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.caller import Caller, caller_of
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse

LISTS = {
    Kind.AUTOMATION: "automation.list",
    Kind.CONNECTION: "connection.list",
    Kind.CONNECTOR: "connector.list",
    Kind.SPACE: "space.list",
    Kind.USER: "user.list",
}
_WATCHED = (Kind.AUTOMATION, Kind.CONNECTION, Kind.SPACE)
# Run data and what follows from the clock: not part of a row's fingerprint.
RUN_FIELDS = frozenset({"updatedAt", "lastRun", "lastRunAt", "lastRunStatus", "duration", "executionToken", "links"})


@frozen(kw_only=True)
class Target:
    """What the target held when it was read. `fingerprint`: kind → id → hash of its row without run data."""

    inventory: Inventory = field(repr=False)
    caller: Caller
    max_runs_setting: int | None
    can_impersonate: bool
    fingerprint: Mapping[str, Mapping[str, str]] = field(repr=False)
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)
    api: str = ""


async def read_target(client: CloudClient, *, sink: Sink, match_items: bool = False) -> Target:
    """Read the lists that matching, planning and the staleness check need.

    Raises:
        AuthError: a list may not be read.
    """
    facts = await client.tenant()
    me = (await client.whoami()).json() or {}
    entities: list[Entity] = []
    fingerprint: dict[str, dict[str, str]] = {}
    rows: dict[str, Mapping[str, Any]] = {}
    lists = dict(LISTS)
    if match_items:
        lists[Kind.ITEM] = "item.list"

    async def read(kind: Kind) -> None:
        found: dict[str, Entity] = {}
        prints: dict[str, str] = {}
        try:
            async for row in list_rows(client, lists[kind]):
                one = entity(kind, row)
                found[one.id] = one
                if kind in _WATCHED:
                    prints[one.id] = row_print(row)
                if kind is Kind.AUTOMATION:
                    rows[one.id] = row
        except MissingError:
            # Connectors are the same in all tenants: where the list does not exist, they are taken to be.
            if kind is not Kind.CONNECTOR:
                raise
            sink(
                Problem(
                    code="connectors-unreadable",
                    severity=Severity.WARNING,
                    message="the target's connectors cannot be listed: each is taken to be there",
                )
            )
        entities.extend(found.values())
        if kind in _WATCHED:
            fingerprint[kind.value] = prints
        sink(Progress(phase=f"read the target's {kind.value}s", done=len(found), total=len(found)))

    # The first list decides the path family, so it goes alone.
    await read(Kind.AUTOMATION)
    await fan_out([kind for kind in lists if kind is not Kind.AUTOMATION], read, width=4)
    return Target(
        inventory=Inventory(tenant=facts, entities=tuple(entities)),
        caller=caller_of(me),
        max_runs_setting=await _max_runs(client),
        can_impersonate=client.endpoint.impersonation is not None,
        fingerprint=fingerprint,
        rows=rows,
        api=client.family,
    )


async def with_unlisted(client: CloudClient, target: Target, written: Collection[str]) -> Target:
    """The target with those of `written` (ids that we wrote earlier) that its list does not show and that exist.

    A list may lag behind a create; what we wrote ourselves must not be made a second time for that.
    """
    found: list[Entity] = []
    rows = dict(target.rows)
    for ident in written:
        if target.inventory.get(Kind.AUTOMATION, ident) is None:
            try:
                answer = await client.call("automation.get", id=ident)
            except (ForbiddenError, MissingError):
                continue
            row = answer.json()
            if isinstance(row, Mapping):
                found.append(entity(Kind.AUTOMATION, row))
                rows[ident] = {key: value for key, value in row.items() if key != "workspace"}
    if not found:
        return target
    inventory = evolve(target.inventory, entities=(*target.inventory.entities, *found))
    return evolve(target, inventory=inventory, rows=rows)


async def list_rows(
    client: CloudClient, operation: str, query: Mapping[str, str | int | bool] | None = None, **ids: str
) -> AsyncIterator[Mapping[str, Any]]:
    """The rows of a list as values; those without an id are passed over. `ids`: of the list's path."""
    async for raw in client.rows(operation, query=query, **ids):
        row = parse(raw)
        if isinstance(row, Mapping) and isinstance(row.get("id"), str):
            # A filled workspace may come with each row; nothing here needs it.
            yield {key: value for key, value in row.items() if key != "workspace"}


def row_print(row: Mapping[str, Any]) -> str:
    """The hash of a list row without run data. Key order and the spelling of emptiness do not count."""
    return hashlib.sha256(canonical_hash(row, without=RUN_FIELDS).encode()).hexdigest()[:32]


async def _max_runs(client: CloudClient) -> int | None:
    try:
        value = (await client.call("settings.get")).json()
    except (UnsupportedError, ForbiddenError, MissingError):
        return None
    found = value.get("maxConcurrentRunsPerAutomation") if isinstance(value, Mapping) else None
    return found if isinstance(found, int) else None


async def read_automation(client: CloudClient, one: Entity) -> tuple[bytes, Mapping[str, Any]]:
    """An automation of the target, read by the caller, else as its owner where that is configured.

    Raises:
        ApiError: neither may read it.
    """
    try:
        answer = await client.call("automation.get", id=one.id)
    except (ForbiddenError, MissingError):
        if client.endpoint.impersonation is None or not one.owner_id:
            raise
        owner = await client.as_user(one.owner_id)
        answer = await owner.call("automation.get", id=one.id)
    value = answer.json()
    return answer.raw, value if isinstance(value, Mapping) else {}


async def read_faces(client: CloudClient, automations: Collection[Entity], *, sink: Sink) -> dict[str, Face | None]:
    """Target id → face; None where it cannot be read."""
    faces: dict[str, Face | None] = {}

    async def read(one: Entity) -> None:
        try:
            _, value = await read_automation(client, one)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            faces[one.id] = None
        else:
            faces[one.id] = face_of(value)
        sink(Progress(phase="compare", done=len(faces), total=len(automations), subject=one.name))

    await fan_out(automations, read, width=client.endpoint.limits.concurrency)
    return faces
