"""Which accounts and automations of a snapshot of OEM selectors choose. Pure.

`uses` goes by hard links alone: of connections that an automation finds by itself nothing is known.
"""

from __future__ import annotations

from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemHolding, accounts_in, read_holding
from qlikmigrate.model.selection import Selectors, select
from qlikmigrate.model.snapshot import Snapshot


def holdings(snapshot: Snapshot, selectors: Selectors | None = None) -> list[OemHolding]:
    """What each account held, of those that `account` selectors choose; of a snapshot of one account always that one.

    Raises:
        CorruptError: what is stored is damaged.
    """
    accounts = accounts_in(snapshot)
    if selectors is not None and len(accounts) > 1:
        include, exclude = selectors.of("account").include, selectors.of("account").exclude
        accounts = [one for one in accounts if not include or any(one.is_meant_by(each.value) for each in include)]
        accounts = [one for one in accounts if not any(one.is_meant_by(each.value) for each in exclude)]
    return [read_holding(snapshot, one.id) for one in accounts]


def selected_in(holding: OemHolding, selectors: Selectors) -> frozenset[str]:
    """Ids of the automations of an account that `selectors` choose, those of accounts apart."""
    ones = [
        Entity(kind=Kind.AUTOMATION, id=one.id, name=one.name, state=one.state, run_mode=one.run_mode)
        for one in holding.automations.values()
    ]
    connections = tuple(Entity(kind=Kind.CONNECTION, id=one.id, name=one.name) for one in holding.connections.values())
    inventory = Inventory(tenant=TenantFacts(id=holding.account.id), entities=connections)

    def connections_of(ident: str) -> list[str]:
        return [one.id for one in holding.connections_of(ident)]

    return frozenset(one.id for one in select(ones, inventory, selectors.without("account"), connections_of))


def selected_ids(snapshot: Snapshot, selectors: Selectors) -> frozenset[str]:
    """Ids of the automations of all accounts that `selectors` choose."""
    return frozenset().union(*(selected_in(one, selectors) for one in holdings(snapshot, selectors)))
