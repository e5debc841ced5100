"""Which automations a partial backup of OEM accounts keeps. A bundle is kept as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import define, field

from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.selection import Selectors, select

# Key → the field of an automation that a list may fail to show.
_SHOWN: Mapping[str, Callable[[Entity], str]] = {
    "state": lambda one: one.state,
    "mode": lambda one: one.run_mode,
}


@define
class OemChoice:
    """The selection at work. `connections`: listed ones; `uses`: lower-case id → ids of those it is hard-linked to.

    `undecided`: lower-case ids of those that show nowhere what the selection goes by; they are left out.
    """

    selectors: Selectors
    connections: tuple[Entity, ...] = ()
    uses: Mapping[str, Collection[str]] = field(factory=dict)
    undecided: set[str] = field(factory=set)

    def needs_document(self, one: Entity) -> bool:
        """Whether its row does not show all that the selection goes by."""
        return bool(self._hidden(one))

    def chosen(self, groups: Iterable[Collection[Entity]]) -> list[Entity]:
        """All of each group of which one is selected. A group: a bundle, first, with its children; or one alone."""
        found: list[Entity] = []
        for group in groups:
            members = list(group)
            if not self._excluded(members[0]) and self._select(members, self.selectors):
                found += members
            for one in members:
                if self._hidden(one):
                    self.undecided.add(one.id.lower())
        return found

    def _excluded(self, one: Entity) -> bool:
        return not self._select([one], Selectors(exclude=self.selectors.exclude))

    def _select(self, ones: list[Entity], selectors: Selectors) -> list[Entity]:
        inventory = Inventory(tenant=TenantFacts(id=""), entities=self.connections)
        return select(ones, inventory, selectors, lambda ident: self.uses.get(ident.lower(), ()))

    def _hidden(self, one: Entity) -> list[str]:
        used = {given.key for given in (*self.selectors.include, *self.selectors.exclude)}
        return [key for key, shown in _SHOWN.items() if key in used and not shown(one)]
