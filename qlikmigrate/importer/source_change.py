"""What changed at the source since the archive was taken: by row, and by document where the row tells of a save."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from qlikmigrate.importer.comparison import FIELDS, face_of
from qlikmigrate.importer.side import Side
from qlikmigrate.importer.target import RUN_FIELDS
from qlikmigrate.kernel.event import Progress, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse

# Members that every row has, if only by their absence; others count where both rows have them.
_KNOWN = frozenset({"name", "description", "ownerId", "spaceId", "state", "runMode", "maxConcurrentRuns"})
_APART = RUN_FIELDS | {"workspace", "schedules"}


@frozen(kw_only=True)
class SourceChanges:
    """`changed`: source id → in what. `created`: id → name of what the archive does not know."""

    changed: Mapping[str, str] = field(factory=dict)
    created: Mapping[str, str] = field(factory=dict)


async def find_changes(
    snapshot: Snapshot, source: Side, wanted: Collection[str], *, stopped: Collection[str], sink: Sink
) -> SourceChanges:
    """Compare the source with the archive.

    Args:
        wanted: the source ids that matter.
        stopped: ids that this run switched off itself; being off is no change of theirs.
    """
    before = {document.id: parse(document.raw) for document in snapshot.rows(Kind.AUTOMATION)}
    changed: dict[str, str] = {}
    saved: list[str] = []
    for ident in wanted:
        now = source.rows.get(ident)
        if now is None:
            if source.whole:
                changed[ident] = "deleted"
            continue
        differing = sorted(_differences(before.get(ident, {}), now, own_stop=ident in stopped))
        if differing:
            changed[ident] = "changed: " + ", ".join(differing)
        elif before.get(ident, {}).get("updatedAt") != now.get("updatedAt"):
            saved.append(ident)

    async def compare(ident: str) -> None:
        if fields := await _document_differences(snapshot, source, ident, stopped=ident in stopped):
            changed[ident] = fields
        sink(Progress(phase="compare the source with the archive", done=0, total=len(saved), subject=ident))

    await fan_out(saved, compare, width=source.client.endpoint.limits.concurrency)
    return SourceChanges(changed=changed, created=dict(_created(snapshot, source, before)))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], *, own_stop: bool) -> Iterator[str]:
    for name in ((before.keys() & now.keys()) | _KNOWN) - _APART:
        if name == "state" and own_stop and now.get("state") == "disabled":
            continue
        if canonical_hash(_ordered(before.get(name))) != canonical_hash(_ordered(now.get(name))):
            yield name


def _ordered(value: Any) -> Any:
    """Lists of ids come in no order that counts. Source: openapi/workflows-automations.json and Qlik's tutorial."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return sorted(value)
    return value


async def _document_differences(snapshot: Snapshot, source: Side, ident: str, *, stopped: bool) -> str:
    """In what a saved automation differs. Its row may be the same after an edit inside the workspace."""
    now = await source.document(ident, str(source.rows[ident].get("ownerId") or ""))
    if now is None:
        # Our own switching off is a save as well, and what it was before that was looked at then.
        return "" if stopped else "saved since, and this identity cannot read in what it differs"
    before = face_of(parse(snapshot.detail(Kind.AUTOMATION, ident).raw))
    after = face_of(now)
    differing = [name for name in FIELDS if before.fields.get(name) != after.fields.get(name)]
    differing += ["connections"] if before.bindings != after.bindings else []
    return "changed: " + ", ".join(differing) if differing else ""


def _created(snapshot: Snapshot, source: Side, before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A partial archive knows not of all that was there; what was made later is new."""
    partial = bool(snapshot.manifest.selection)
    for ident, row in source.rows.items():
        if ident not in before and (not partial or _after(row.get("createdAt"), snapshot.capture.started_at)):
            yield ident, str(row.get("name") or "")


def _after(text: Any, moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(str(text)) > moment
    except (TypeError, ValueError):
        return False
