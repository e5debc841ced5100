"""Which automations a partial backup keeps: what rows decide, what workspaces decide, what follows by calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import define, field

from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.selection import Selectors, select
from qlikmigrate.model.workspace import automations_called, connections_used


@define
class Choice:
    """The selection at work. `wanted`: lower-case ids chosen so far, those that follow by calls included."""

    selectors: Selectors
    inventory: Inventory = field(factory=lambda: Inventory(tenant=TenantFacts(id="")))
    wanted: set[str] = field(factory=set)
    _connections: dict[str, frozenset[str]] = field(factory=dict)
    _calls: dict[str, frozenset[str]] = field(factory=dict)

    def remember(self, ident: str, document: Mapping[str, Any]) -> None:
        """Note what a workspace uses. Without selectors nobody will ask."""
        if self.selectors:
            self._connections[ident.lower()] = frozenset(use.value for use in connections_used(document))
            self._calls[ident.lower()] = frozenset(use.value.lower() for use in automations_called(document))

    def by_row(self, automations: Iterable[Entity]) -> list[Entity]:
        """Those that could be chosen, judged by their list rows."""
        given = list(automations)
        found = {one.id for one in select(given, self.inventory, self.selectors.without_uses(), lambda _: ())}
        return [one for one in given if one.id in found or one.id.lower() in self.wanted]

    def not_excluded(self, automations: Iterable[Entity]) -> list[Entity]:
        """Those that no exclusion names, judged by their list rows."""
        exclusions = Selectors(exclude=self.selectors.without_uses().exclude)
        return select(automations, self.inventory, exclusions, lambda _: ())

    def passes(self, one: Entity, *, called: bool = False) -> bool:
        """Whether one whose document is known is chosen; one that was `called` need only not be excluded."""
        if called:
            rules = Selectors(exclude=self.selectors.exclude)
        elif one.id.lower() in self.wanted:
            return True
        else:
            rules = self.selectors
        return bool(select([one], self.inventory, rules, self._connections_of))

    def called_by(self, callers: Iterable[str]) -> set[str]:
        """Lower-case ids that the workspaces of `callers` call."""
        return set().union(*(self._calls.get(key, frozenset()) for key in callers))

    def _connections_of(self, ident: str) -> Collection[str]:
        return self._connections.get(ident.lower(), frozenset())
