"""What a rewrite needs to know, prepared once a run: each token is then settled in a time that no inventory changes."""

from __future__ import annotations

from collections import abc
from enum import StrEnum
from functools import cached_property

from attrs import field, frozen

from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap import reference
from qlikmigrate.remap.mapping import PENDING, Decision, Mapping


class Action(StrEnum):
    """What becomes of one reference."""

    MAP = "map"
    SAME = "same"  # means the same at the target, or is kept knowingly
    NULL = "null"
    PENDING = "pending"
    LEFT = "left"


@frozen
class Resolution:
    """The answer for one id as an object of one kind. `new`, `name`: id and name at the target."""

    kind: Kind
    action: Action
    source: Entity
    new: str = ""
    name: str = ""


@frozen(kw_only=True, slots=False)
class Rewriting:
    """From `source` to `target` by `mapping`.

    `published`: connector id at the target → the endpoint, snippet and event guids that it publishes, for as many
    connectors as were read; None: nothing is checked.
    """

    source: Inventory
    target: Inventory
    mapping: Mapping
    published: abc.Mapping[str, abc.Collection[str]] | None = None
    _resolved: dict[str, tuple[Resolution, ...]] = field(factory=dict, init=False, repr=False, eq=False)

    @cached_property
    def ids(self) -> reference.IdIndex:
        """All ids that mean something."""
        known = {*self.source.by_id, *self.mapping.by_id}
        if self.source.tenant.id:
            known.add(self.source.tenant.id.lower())
        return reference.IdIndex(frozenset(known))

    @cached_property
    def catalogue(self) -> frozenset[str]:
        """Every guid that the target's connectors publish, lower case."""
        return frozenset(guid.lower() for guids in (self.published or {}).values() for guid in guids)

    @cached_property
    def published_by(self) -> abc.Mapping[str, frozenset[str]]:
        """Lower-case connector id → its guids, lower case."""
        return {
            connector.lower(): frozenset(guid.lower() for guid in guids)
            for connector, guids in (self.published or {}).items()
        }

    @cached_property
    def source_hosts(self) -> frozenset[str]:
        """Hosts that reach the source tenant and not the target."""
        return frozenset(self.source.tenant.all_hosts()) - frozenset(self.target.tenant.all_hosts())

    @cached_property
    def target_hosts(self) -> frozenset[str]:
        return frozenset(self.target.tenant.all_hosts()) | {host.lower() for host in self.mapping.hosts.values()}

    @cached_property
    def hosts(self) -> reference.HostIndex:
        """Finds the source's hosts, mapped ones, and any other of Qlik Cloud."""
        return reference.HostIndex(frozenset({*self.source_hosts, *self.mapping.hosts}))

    @cached_property
    def target_has_connectors(self) -> bool:
        """Whether the target's connectors are known at all."""
        return any(True for _ in self.target.of(Kind.CONNECTOR))

    def resolve(self, ident: str, kind: Kind | None = None) -> Resolution | None:
        """What becomes of an id; None when it means nothing, or, without `kind`, too many things.

        `kind`: what the position asks for.
        """
        found = self.resolutions(ident)
        if kind is not None:
            return next((one for one in found if one.kind is kind), None)
        distinct = {(one.action, one.new.lower()): one for one in found}
        return next(iter(distinct.values())) if len(distinct) == 1 else None

    def resolutions(self, ident: str) -> tuple[Resolution, ...]:
        """What becomes of an id, for every kind that it may be."""
        key = ident.lower()
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = tuple(self._resolve_all(key))
        return found

    def is_left_alone(self, ident: str) -> bool:
        """Whether references to it need neither change nor word."""
        return all(one.action is Action.SAME for one in self.resolutions(ident))

    def is_known_elsewhere(self, ident: str) -> bool:
        """Whether an id that the source does not know means something at the target, or is the target's own."""
        key = ident.lower()
        return key in self.target.by_id or key in self.catalogue or key == self.target.tenant.id.lower()

    def _resolve_all(self, key: str) -> abc.Iterator[Resolution]:
        met = set()
        tenant = self.source.tenant
        ones = [*self.source.by_id.get(key, ()), *(row.source for row in self.mapping.by_id.get(key, ()))]
        if key == tenant.id.lower():
            ones.append(Entity(kind=Kind.TENANT, id=tenant.id, name=tenant.name))
        for one in ones:
            if one.kind not in met:
                met.add(one.kind)
                yield self._resolve(one)

    def _resolve(self, one: Entity) -> Resolution:
        row = self.mapping.row_of(one.kind, one.id)
        action = Action.LEFT
        if row is not None and row.decision is Decision.KEEP:
            action = Action.SAME
        elif row is not None and row.decision in (Decision.NULL, Decision.DROP):
            action = Action.NULL
        elif row is not None and row.target_id is not None:
            action = Action.SAME if row.target_id.lower() == one.id.lower() else Action.MAP
            name = row.target_name
            if not name and (there := self.target.get(one.kind, row.target_id)) is not None:
                name = there.name
            return Resolution(one.kind, action, one, row.target_id, name)
        elif row is not None and row.rule == PENDING:
            action = Action.PENDING
        elif self._means_the_same(one):
            action = Action.SAME
        return Resolution(one.kind, action, one)

    def _means_the_same(self, one: Entity) -> bool:
        if one.kind is Kind.TENANT:
            return self.target.tenant.id.lower() == one.id.lower()
        if one.kind is Kind.CONNECTOR and not self.target_has_connectors:
            return True
        return self.target.get(one.kind, one.id) is not None
