"""What a tenant holds at one time, by id: the only source of an id's meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from qlikmigrate.model.kind import Kind


@frozen(kw_only=True)
class Entity:
    """One object of a tenant, as far as matching and naming need it. A field that the kind lacks is empty.

    `type`: a space's type, or an item's resource type. `space_id` is empty for a personal space. `roles`: names of a
    user's own roles; None where the row does not say, or where groups may bring more.
    """

    kind: Kind
    id: str
    name: str = ""
    owner_id: str = ""
    space_id: str = ""
    connector_id: str = ""
    type: str = ""
    subject: str = ""
    email: str = ""
    status: str = ""
    state: str = ""
    run_mode: str = ""
    created_at: str = ""
    updated_at: str = ""
    connected: bool | None = None
    roles: frozenset[str] | None = None


def as_bool(value: object) -> bool | None:
    """A boolean that may come as text. Source: openapi/automation-connections.json, `isOptional: "false"`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return None


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _roles(row: Mapping[str, Any]) -> frozenset[str] | None:
    """Source: openapi/users.json: `assignedRoles` are the user's own, `assignedGroups` may have others."""
    assigned = row.get("assignedRoles")
    if not isinstance(assigned, list) or row.get("assignedGroups"):
        return None
    return frozenset(str(role.get("name")) for role in assigned if isinstance(role, Mapping))


def entity(kind: Kind, row: Mapping[str, Any]) -> Entity:
    """The typed view of a list row. Unknown fields are ignored, missing ones are empty.

    An item's id is its `resourceId`: that is the id that workspaces hold. Source: openapi/items.json.
    What has a `guid` in place of an `id` is of an OEM account. Source: help.qlik.com, blendr, SaaS API.
    """
    ident = _text(row, "resourceId") if kind is Kind.ITEM else _text(row, "id")
    connector = row.get("connector")
    return Entity(
        kind=kind,
        id=ident or _text(row, "id") or _text(row, "guid"),
        name=_text(row, "name"),
        owner_id=_text(row, "ownerId"),
        space_id=_text(row, "spaceId"),
        connector_id=_text(row, "connectorId") or (_text(connector, "guid") if isinstance(connector, Mapping) else ""),
        type=_text(row, "resourceType") if kind is Kind.ITEM else _text(row, "type"),
        subject=_text(row, "subject"),
        email=_text(row, "email"),
        status=_text(row, "status"),
        state=_text(row, "state"),
        run_mode=_text(row, "runMode") or _text(row, "run_mode"),
        created_at=_text(row, "createdAt") or _text(row, "created_at"),
        updated_at=_text(row, "updatedAt") or _text(row, "updated_at"),
        connected=as_bool(row.get("isConnected", row.get("is_connected"))),
        roles=_roles(row) if kind is Kind.USER else None,
    )


@frozen(kw_only=True)
class TenantFacts:
    """Who a tenant is. `host`: the configured one; `hostnames`: all it answers to, lower case."""

    id: str
    name: str = ""
    host: str = ""
    hostnames: tuple[str, ...] = ()
    region: str = ""

    @property
    def own_host(self) -> str:
        """The host to write into texts: the configured one, unless the tenant names others as its own (a tunnel)."""
        names = [name.lower() for name in self.hostnames]
        return self.host if not names or self.host.lower() in names else names[0]

    def all_hosts(self) -> tuple[str, ...]:
        """Every host of the tenant, lower case, without doubles."""
        return tuple(dict.fromkeys(host.lower() for host in (self.host, *self.hostnames) if host))


@frozen(kw_only=True, slots=False)
class Inventory:
    """A tenant's objects. Ids are found without regard to case; an id may belong to objects of several kinds.

    `is_cloud`: its host is a tenant's of Qlik Cloud, which another tenant's host may take the place of.
    """

    tenant: TenantFacts
    entities: tuple[Entity, ...] = field(default=(), repr=False)
    is_cloud: bool = True

    @cached_property
    def _by_kind(self) -> dict[Kind, dict[str, Entity]]:
        index: dict[Kind, dict[str, Entity]] = {kind: {} for kind in Kind}
        for one in self.entities:
            index[one.kind][one.id.lower()] = one
        return index

    @cached_property
    def by_id(self) -> Mapping[str, tuple[Entity, ...]]:
        """Lower-case id → the objects that carry it."""
        index: dict[str, tuple[Entity, ...]] = {}
        for one in self.entities:
            key = one.id.lower()
            index[key] = (*index.get(key, ()), one)
        return index

    def get(self, kind: Kind, ident: str | None) -> Entity | None:
        """The object of `kind` with that id."""
        return self._by_kind[kind].get(ident.lower()) if ident else None

    def of(self, kind: Kind) -> Iterable[Entity]:
        """All objects of `kind`, in the order read."""
        return self._by_kind[kind].values()

    def __iter__(self) -> Iterator[Entity]:
        return iter(self.entities)
