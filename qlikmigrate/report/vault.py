"""Vaults as rows: an object for machines and a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.kernel.clock import rfc3339, to_the_second
from qlikmigrate.report.archive import Row, kibibytes
from qlikmigrate.vault import SnapshotInfo
from qlikmigrate.vault.form import Shown
from qlikmigrate.vault.prune import PrunePlan
from qlikmigrate.vault.verification import VaultDamage

_SHORT_ID_CHARS = 8
_NAMED_SNAPSHOTS = 3


def snapshot_row(
    info: SnapshotInfo, drill: tuple[dict[str, Any] | None, str] = (None, ""), tenant: Shown | None = None
) -> Row:
    """One snapshot of a vault. `drill`: its last one, as a value and in words. `tenant`: whose it is, where the head
    does not say so."""
    shown, who = info.shown, info.shown or tenant or Shown()
    tried, told = drill
    label = who.label or info.tenant
    row: dict[str, Any] = {
        "kind": "snapshot",
        "id": info.id,
        "taken_at": rfc3339(info.taken_at),
        "complete": info.complete,
        "partial": info.partial,
        "tenant": label,
        "tenant_id": who.tenant_id or None,
        "automations": shown.automations if shown else None,
        "drill": tried,
    }
    state = "INCOMPLETE" if not info.complete else "partial" if info.partial else "complete"
    many = f"{shown.automations:6} automations" if shown else "     ? automations"
    taken = to_the_second(info.taken_at)
    return row, f"{taken}  {info.id[:_SHORT_ID_CHARS]}  {state:10} {many}  {label}{told}"


def damage_row(damage: VaultDamage, names: Mapping[str, str]) -> Row:
    """A damage and what it hits. `names`: snapshot id → when it was taken."""
    row: dict[str, Any] = {
        "kind": damage.kind.value if damage.kind else None,
        "id": damage.id,
        "name": damage.name,
        "object": damage.object,
        "snapshots": list(damage.snapshots),
        "status": "damaged",
        "message": damage.message,
    }
    what = damage.object
    if damage.kind:
        what = f"{damage.kind.value} {damage.id}".rstrip() + (f" `{damage.name}`" if damage.name else "")
    shown = [f"{one[:_SHORT_ID_CHARS]} ({names[one]})" if one in names else one for one in damage.snapshots]
    more = f" and {len(shown) - _NAMED_SNAPSHOTS} more" if len(shown) > _NAMED_SNAPSHOTS else ""
    hit = f"; in {', '.join(shown[:_NAMED_SNAPSHOTS])}{more}" if shown else ""
    return row, f"damaged: {what}: {damage.message}{hit}"


def space_row(plan: PrunePlan) -> Row:
    """What a prune does to packs."""
    row: dict[str, Any] = {
        "kind": "space",
        "packs_deleted": len(plan.deleted),
        "packs_marked": len(plan.marked),
        "freed_bytes": plan.freed_bytes,
        "wasted_bytes": plan.wasted_bytes,
        "repacks": plan.repacks,
    }
    words = [
        f"{len(plan.deleted)} packs deleted ({kibibytes(plan.freed_bytes)})" if plan.deleted else "no pack deleted"
    ]
    if plan.marked:
        words.append(f"{len(plan.marked)} marked for later")
    if plan.repacks:
        words.append(f"what stays is written anew: {kibibytes(plan.wasted_bytes)} of it is needed by nobody")
    return row, "space: " + ", ".join(words)
