"""Connections that the caller's list does not show: nobody creates a second one because the first was hidden.

A bot's rights do not cover other people's connections, and whether its list shows them is open: where an owner has not
even the connection that the system makes for each user, their list is asked for as themselves.
Source: Qlik's changelog 241; Qlik's automation-builder skill on the system's connection.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError, UnauthorizedError
from qlikmigrate.importer.ledger import Ledger
from qlikmigrate.importer.target import Target, list_rows
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Mapping as IdMapping


def is_hidden(inventory: Inventory, owner: str) -> bool:
    """Whether the list showed nothing of what `owner` has."""
    return not any(one.owner_id == owner for one in inventory.of(Kind.CONNECTION))


async def with_hidden(
    client: CloudClient, target: Target, used: Iterable[Entity], mapping: IdMapping, ledger: Ledger
) -> Target:
    """The target with the connections of those owners of `used` whom the list leaves out."""
    found: dict[str, Entity] = {}
    asked: set[str] = set()
    for one in used:
        owner = mapping.target_of(Kind.USER, one.owner_id)
        if owner is None or not is_hidden(target.inventory, owner):
            continue
        if target.can_impersonate and owner not in asked:
            asked.add(owner)
            for there in await _of_owner(client, owner):
                found[there.id] = there
        entry = ledger.get(Kind.CONNECTION, one.id)
        if entry is not None and entry.target_id not in found and await _exists(client, entry.target_id):
            found[entry.target_id] = evolve(one, id=entry.target_id, owner_id=owner, space_id="")
    if not found:
        return target
    known = [one for one in found.values() if target.inventory.get(Kind.CONNECTION, one.id) is None]
    return evolve(target, inventory=evolve(target.inventory, entities=(*target.inventory.entities, *known)))


async def _of_owner(client: CloudClient, owner: str) -> list[Entity]:
    try:
        user = await client.as_user(owner)
        rows = [row async for row in list_rows(user, "connection.list")]
    except UnauthorizedError:
        # Preflight tells that this client may not act as them.
        return []
    return [entity(Kind.CONNECTION, row) for row in rows if row.get("ownerId") == owner]


async def _exists(client: CloudClient, ident: str) -> bool:
    """Whether what we made is still there: refused to us is there, gone is not."""
    try:
        await client.call("connection.get", id=ident)
    except ForbiddenError:
        return True
    except MissingError:
        return False
    return True
