"""Who is the own owner of what somebody stands in for, and which of their connections it is bound to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from qlikmigrate.importer.plan import Action, Plan, Step
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.workspace import blocks, connections_used
from qlikmigrate.remap.matching import QLIK_CLOUD_SERVICES, match


@frozen(kw_only=True)
class Handover:
    """One automation that somebody stands in for. `owner_id`: its own owner at the target, None where there is none.

    `code`, `reason`: why nothing is done.
    """

    action: Action
    target_id: str
    owner_id: str | None = None
    code: str = ""
    reason: str = ""


def own_owners(plan: Plan, users: Inventory) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Source user → their own user at the target, for those for whom somebody stood in; and what is ambiguous.

    The rules are those of every matching: subject, then e-mail address, active users only.
    """
    people = [
        Entity(kind=Kind.USER, id=one.source_id, name=one.name, subject=one.subject, email=one.email)
        for one in plan.owners
    ]
    # No ids of two tenants are the same user's here: a user of the same id would have been matched in the first place.
    source = Inventory(tenant=TenantFacts(id=""), entities=tuple(people))
    found = match(source, Inventory(tenant=TenantFacts(id=""), entities=tuple(users.of(Kind.USER))))
    known = {
        row.source_id: row.target_id
        for row in plan.rows
        if row.kind is Kind.USER and row.target_id and row.rule != "fallback"
    }
    owners = {one.id: hit for one in people if (hit := found.target_of(Kind.USER, one.id))}
    return {**known, **owners}, found.problems


def handovers(view: RunView, target: Target) -> tuple[list[Handover], tuple[Problem, ...]]:
    """What is to be given to whom, by the lists of the target. Pure."""
    owners, problems = own_owners(view.plan, target.inventory)
    found = []
    for action in view.plan.actions:
        ident = view.target_of(action.seq)
        if not action.stands_in or ident is None:
            continue
        one = Handover(action=action, target_id=ident, owner_id=owners.get(action.wanted_owner))
        row = target.rows.get(ident)
        begun = view.state.objects.get(f"reassign:{action.seq}")
        if row is None:
            one = evolve(one, code="gone-since", reason="somebody deleted it since")
        elif one.owner_id is None:
            one = evolve(one, code="owner-missing", reason="its owner is not at the target yet")
        elif not view.complete(action):
            one = evolve(one, code="not-complete", reason="the run did not complete it: --resume of the run first")
        elif row.get("ownerId") == one.owner_id and (begun is None or Step.PUT in begun.steps):
            one = evolve(one, code="settled", reason="it is its owner's")
        elif row.get("ownerId") not in (action.owner_id, one.owner_id):
            one = evolve(one, code="owner-changed", reason="somebody gave it to another owner since")
        found.append(one)
    return found, problems


def wanted_bindings(plan: Plan, source: Inventory, document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Block → (connector at the target, connection's name) of a source document."""
    connectors = {
        row.source_id.lower(): row.target_id or row.source_id for row in plan.rows if row.kind is Kind.CONNECTOR
    }
    return bindings_by_key(document, source, connectors)


def bindings_by_key(
    document: Mapping[str, Any], inventory: Inventory, connectors: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Block → (connector, connection's name) of a document of the tenant that `inventory` is of.

    `connectors`: lower-case id there → id at the target, where they differ.
    """
    names = {index: str(block.get("id") or index) for index, block in blocks(document)}
    found = {}
    for use in connections_used(document):
        one = inventory.get(Kind.CONNECTION, use.value)
        if one is not None:
            connector = connectors.get(one.connector_id.lower(), one.connector_id)
            found[names[use.block_index]] = (connector.lower(), one.name)
    return found


def counterparts(wanted: Mapping[str, tuple[str, str]], owner_id: str, target: Inventory) -> dict[str, str]:
    """Block → the owner's connection with that natural key; blocks for which there is none, or more, are left out."""
    mine = [one for one in target.of(Kind.CONNECTION) if one.owner_id == owner_id]
    chosen = {}
    for block, (connector, name) in wanted.items():
        hits = [
            one.id
            for one in mine
            if one.connector_id.lower() == connector and (connector == QLIK_CLOUD_SERVICES or one.name == name)
        ]
        if len(hits) == 1:
            chosen[block] = hits[0]
    return chosen
