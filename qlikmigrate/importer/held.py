"""What waits for its start: each held automation as it is at the target now, ready or not, callees first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.firing import firings
from qlikmigrate.importer.ledger import Ledger, read_ledger
from qlikmigrate.importer.plan import Action, Plan, Verb
from qlikmigrate.importer.readiness import CHANGED, UNREADY, Reason, reasons_against, reasons_unseen
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.runbook import BY_PERSON
from qlikmigrate.importer.side import Side, Standing, read_side, standing_of
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.error import StaleError
from qlikmigrate.kernel.event import Progress, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.graph import call_order
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.model.workspace import automations_called

MISSING = "missing"
NOT_COMPLETE = "not-complete"


@frozen(kw_only=True)
class Held:
    """One held automation. `schedules`: the target's, where it can be read, else the archive's."""

    action: Action
    target_id: str
    owner_id: str
    standing: Standing
    reasons: tuple[Reason, ...] = ()
    schedules: Any = field(default=None, repr=False)
    calls: frozenset[str] = frozenset()

    @property
    def own_counterpart(self) -> bool:
        """A restore into its own tenant found the very automation: there is no second side."""
        return self.target_id.lower() == self.action.source_id.lower()

    def next_firings(self, now: datetime, limit: int = 3) -> list[datetime]:
        """When its schedule would start it next; none for what is not scheduled."""
        return firings(self.schedules, after=now, limit=limit)

    def against(self, *, include_unready: bool, allow: frozenset[str]) -> tuple[Reason, ...]:
        """What speaks against starting it after what the user waived."""
        waived = {UNREADY, CHANGED} if include_unready else set()
        waived |= allow & {CHANGED}
        return tuple(one for one in self.reasons if one.code not in waived)


def check_snapshot(plan: Plan, snapshot: Snapshot) -> None:
    """Raises: StaleError when the archive is not the one that the run was made from."""
    if snapshot.digest != plan.archive.digest:
        raise StaleError(f"the archive {plan.archive.path} changed since the run", hint="bring the run's archive back")


async def read_held(
    view: RunView, snapshot: Snapshot, client: CloudClient, *, sink: Sink
) -> tuple[Side, tuple[Held, ...]]:
    """Read the target, GETs only.

    Raises:
        StaleError: the tenant is another than the run's, or the archive changed.
    """
    plan = view.plan
    check_snapshot(plan, snapshot)
    facts = await client.tenant()
    if facts.id != plan.target.tenant_id:
        raise StaleError(f"`{client.endpoint.name}` is another tenant than the run's: `{plan.target.name}`")
    side = await read_side(client, "target")
    entities: list[Entity] = [entity(Kind.AUTOMATION, row) for row in side.rows.values()]
    connections = {str(row["id"]): row async for row in list_rows(client, "connection.list")}
    ledger = read_ledger(
        Path(plan.options.ledger), source_tenant=plan.archive.tenant_id, target_tenant=plan.target.tenant_id
    )
    actions = [one for one in plan.actions if _is_held(one, view, snapshot, side, ledger)]
    await _add_connections_of_owners(client, connections, {_owner(side, view, one) for one in actions})
    holds = Inventory(
        tenant=facts, entities=(*entities, *(entity(Kind.CONNECTION, row) for row in connections.values()))
    )
    asked_of_people = {
        one.where.removeprefix("automation ").split(":", 1)[0].split(" ", 1)[0]
        for one in plan.problems
        if one.code in BY_PERSON
    }
    found: dict[int, Held] = {}

    async def read(action: Action) -> None:
        found[action.seq] = await _read_one(
            action, view, snapshot, side, holds, ledger, expected_edit=action.source_id in asked_of_people
        )
        sink(Progress(phase="look at what is held", done=len(found), total=len(actions), subject=action.name))

    await fan_out(actions, read, width=client.endpoint.limits.concurrency)
    return side, _callees_first([found[one.seq] for one in actions])


def _is_held(action: Action, view: RunView, snapshot: Snapshot, side: Side, ledger: Ledger) -> bool:
    """Whether an action's automation is one that waits for its start.

    Besides what this run held, that is what an earlier run held and this one found still off: on at the source when
    the archive was taken, or nobody says, off at the target, and written by us.
    """
    if action.held or any(f"{word}:{action.seq}" in view.state.objects for word in ("activate", "cutover", "source")):
        return True
    if not action.armed or action.verb not in (Verb.UPDATE, Verb.NONE, Verb.ADOPT):
        return False
    target_id = view.target_of(action.seq) or ""
    entry = ledger.get(Kind.AUTOMATION, action.source_id)
    if entry is None or entry.target_id.lower() != target_id.lower() or side.listed(target_id) is not Standing.OFF:
        return False
    value = parse(snapshot.detail(Kind.AUTOMATION, action.source_id).raw)
    return standing_of(value) is not Standing.OFF


async def _add_connections_of_owners(
    client: CloudClient, connections: dict[str, Mapping[str, Any]], owners: set[str]
) -> None:
    """A list that shows nothing of other people's is asked once more as each of them, where that may be done."""
    if connections or client.endpoint.impersonation is None:
        return
    for owner_id in sorted(owners - {""}):
        as_owner = await client.as_user(owner_id)
        async for row in list_rows(as_owner, "connection.list"):
            connections[str(row["id"])] = row


def _owner(side: Side, view: RunView, action: Action) -> str:
    row = side.rows.get(view.target_of(action.seq) or "")
    return str((row or {}).get("ownerId") or action.owner_id)


async def _read_one(
    action: Action,
    view: RunView,
    snapshot: Snapshot,
    side: Side,
    holds: Inventory,
    ledger: Ledger,
    *,
    expected_edit: bool,
) -> Held:
    target_id = view.target_of(action.seq) or ""
    owner_id = _owner(side, view, action)
    source = parse(snapshot.detail(Kind.AUTOMATION, action.source_id).raw)
    held = Held(
        action=action,
        target_id=target_id,
        owner_id=owner_id,
        standing=side.listed(target_id) if target_id else Standing.GONE,
        schedules=source.get("schedules"),
    )
    if not target_id or not view.complete(action):
        reason = Reason(code=NOT_COMPLETE, text="the run did not complete it")
        return evolve(held, reasons=(reason,))
    document = await side.document(target_id, owner_id)
    if document is None:
        if held.standing is Standing.GONE:
            return evolve(held, reasons=(Reason(code=MISSING, text="it is not there any more"),))
        return evolve(held, reasons=reasons_unseen(source))
    entry = ledger.get(Kind.AUTOMATION, action.source_id)
    ours = entry is not None and entry.target_id.lower() == target_id.lower()
    return evolve(
        held,
        owner_id=str(document.get("ownerId") or owner_id),
        reasons=reasons_against(
            source=source,
            target=document,
            holds=holds,
            last=entry.face if ours and entry else None,
            expected_edit=expected_edit,
        ),
        schedules=document.get("schedules"),
        calls=frozenset(use.value.lower() for use in automations_called(document)),
    )


def _callees_first(found: list[Held]) -> tuple[Held, ...]:
    by_id = {one.target_id.lower(): one for one in found if one.target_id}
    order = call_order({ident: one.calls for ident, one in by_id.items()})
    ordered = [by_id[ident] for generation in order.generations for ident in generation]
    return (*ordered, *(one for one in found if not one.target_id))
