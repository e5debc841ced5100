"""Archives as rows: an object for machines and a line for people. No secret is ever shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import asdict

from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.jsontext import members
from qlikmigrate.model.document import Document, received
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest
from qlikmigrate.model.schedule import is_armed, real_schedule
from qlikmigrate.model.snapshot import Snapshot, inventory_of, parse
from qlikmigrate.model.workspace import automations_called, blocks, connections_used
from qlikmigrate.remap.secret import mask

# What a machine gets, and the same as one line for people.
Row = tuple[dict[str, Any], str]

_PREFIX_CHARS = 8
_FRACTION = re.compile(r"\.\d+(?=Z|[+-]|$)")


def kibibytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{max(1, round(size_bytes / 1024)):,} KiB"


def snapshot_report(manifest: Manifest, path: str) -> dict[str, Any]:
    """The members of a summary that tell of a snapshot."""
    return {
        "complete": manifest.complete,
        "restorable": manifest.restorable.value,
        "archive": path,
        "counts": {
            kind: {"listed": c.listed, "captured": c.captured, "unreadable": c.unreadable, "vanished": c.vanished}
            for kind, c in manifest.counts.items()
        },
    }


def archive_row(snapshot: Snapshot, path: str) -> Row:
    """One archive among others."""
    manifest = snapshot.manifest
    row: dict[str, Any] = {
        "kind": "archive",
        "path": path,
        "tenant": manifest.tenant.name or manifest.tenant.host,
        "taken_at": rfc3339(snapshot.capture.finished_at),
        "complete": manifest.complete,
        "automations": manifest.counts["automations"].captured,
    }
    state = "complete" if manifest.complete else "INCOMPLETE"
    return row, f"{row['taken_at']}  {state:10} {row['automations']:6} automations  {row['tenant']}  {path}"


def automation_rows(snapshot: Snapshot) -> Iterator[Row]:
    """The captured automations, by name."""
    inventory = inventory_of(snapshot)
    held = set(snapshot.ids(Kind.AUTOMATION))
    ones = [one for one in inventory.of(Kind.AUTOMATION) if one.id in held]
    for one in sorted(ones, key=lambda one: (one.name.casefold(), one.id)):
        owner, space = owner_name(inventory, one), space_name(inventory, one)
        row = {
            "kind": "automation",
            "id": one.id,
            "name": one.name,
            "state": one.state,
            "run_mode": one.run_mode,
            "owner": owner,
            "owner_id": one.owner_id,
            "space": space,
            "space_id": one.space_id,
            "updated_at": _to_the_second(one.updated_at),
        }
        yield row, f"{one.id}  {one.run_mode or '-':9} {one.state or '-':11} {space} / {owner} / {one.name}"


def owner_name(inventory: Inventory, one: Entity) -> str:
    """Who owns it, as people call them."""
    owner = inventory.get(Kind.USER, one.owner_id)
    return (owner.name or owner.subject) if owner else one.owner_id


def space_name(inventory: Inventory, one: Entity) -> str:
    """Where it is; `personal` where that is no shared space."""
    space = inventory.get(Kind.SPACE, one.space_id)
    return space.name if space else one.space_id or "personal"


def describe_archive(snapshot: Snapshot) -> Iterator[Row]:
    """The head of a snapshot."""
    manifest, capture = snapshot.manifest, snapshot.capture
    tenant = manifest.tenant
    pairs: list[tuple[str, Any, str]] = [
        ("tenant", tenant.id, f"{tenant.name or tenant.host} ({tenant.id})"),
        ("host", tenant.host, tenant.host),
        ("taken_at", rfc3339(capture.finished_at), rfc3339(capture.finished_at)),
        ("api", manifest.api, manifest.api),
        ("scope", manifest.scope.value, manifest.scope.value),
        ("complete", manifest.complete, "yes" if manifest.complete else "NO"),
        ("restorable", manifest.restorable.value, manifest.restorable.value),
        ("digest", snapshot.digest, snapshot.digest),
    ]
    if manifest.selection:
        chosen = [f"--include {one}" for one in manifest.selection.include]
        chosen += [f"--exclude {one}" for one in manifest.selection.exclude]
        pairs.append(("selection", chosen, " ".join(chosen)))
    for key, value, text in pairs:
        yield {"kind": "archive", "field": key, "value": value}, f"{key:12} {text}"
    for kind, counts in manifest.counts.items():
        words = ", ".join(f"{number} {word}" for word, number in asdict(counts).items() if number)
        yield {"kind": "count", "of": kind, **asdict(counts)}, f"{kind:12} {words or 'none'}"
    for problem in manifest.problems:
        place = f" ({problem.where})" if problem.where else ""
        yield (
            {"kind": "problem", **asdict(problem)},
            f"{problem.severity.value:12} {problem.message}{place} [{problem.code}]",
        )


def describe_automation(snapshot: Snapshot, one: Entity) -> Iterator[Row]:
    """One automation of a snapshot: what it is and what it uses."""
    inventory = inventory_of(snapshot)
    value = parse(snapshot.detail(Kind.AUTOMATION, one.id).raw)
    owner = inventory.get(Kind.USER, one.owner_id)
    space = inventory.get(Kind.SPACE, one.space_id)
    schedule = real_schedule(value.get("schedules"))
    facts: list[tuple[str, Any]] = [
        ("id", one.id),
        ("name", one.name),
        ("owner", f"{owner.name or owner.subject} ({owner.id})" if owner else one.owner_id),
        ("space", f"{space.name} ({space.id})" if space else one.space_id or "personal"),
        ("state", one.state),
        ("run_mode", one.run_mode),
        ("starts_itself", is_armed(value)),
        ("schedule", (schedule.get("recurrence") or f"every {schedule.get('interval')} s") if schedule else "none"),
        ("blocks", sum(1 for _ in blocks(value))),
        ("updated_at", _to_the_second(one.updated_at)),
    ]
    for key, fact in facts:
        yield {"kind": "automation", "field": key, "value": fact}, f"{key:14} {fact}"
    for use in connections_used(value):
        found = inventory.get(Kind.CONNECTION, use.value)
        name = found.name if found else "unknown"
        yield (
            {"kind": "connection", "id": use.value, "name": name, "block": mask(use.block_name)},
            f"{'uses':14} {name} ({use.value}) in block `{mask(use.block_name)}`",
        )
    for use in automations_called(value):
        found = inventory.get(Kind.AUTOMATION, use.value)
        name = found.name if found else "unknown"
        yield (
            {"kind": "call", "id": use.value, "name": name, "block": mask(use.block_name)},
            f"{'calls':14} {name} ({use.value}) in block `{mask(use.block_name)}`",
        )


def find_automation(snapshot: Snapshot, wanted: str) -> Entity:
    """The one captured automation that an id, the beginning of one (8 or more), or a name means.

    Raises:
        UsageError: none, or more than one.
    """
    held = set(snapshot.ids(Kind.AUTOMATION))
    rows = [one for one in inventory_of(snapshot, (Kind.AUTOMATION,)).of(Kind.AUTOMATION) if one.id in held]
    found = [one for one in rows if one.id.lower() == wanted.lower()] or [one for one in rows if one.name == wanted]
    if not found and len(wanted) >= _PREFIX_CHARS:
        found = [one for one in rows if one.id.lower().startswith(wanted.lower())]
    if not found:
        raise UsageError(f"no automation in the archive: `{wanted}`", hint="`qlikmigrate list ARCHIVE` shows them")
    if len(found) > 1:
        raise UsageError(
            f"`{wanted}` means {len(found)} automations: " + ", ".join(one.id for one in found), hint="give an id"
        )
    return found[0]


def find_document(snapshot: Snapshot, wanted: str) -> Document:
    """The document of the object with that id, else its list row, else of the automation that `wanted` means.

    Raises:
        UsageError: there is none, or more than one.
    """
    for kind in Kind:
        if wanted and wanted in snapshot.ids(kind):
            return snapshot.detail(kind, wanted)
    for kind in Kind:
        for row in snapshot.rows(kind):
            if wanted and row.id == wanted:
                return row
    return snapshot.detail(Kind.AUTOMATION, find_automation(snapshot, wanted).id)


def workspace_of(document: Document) -> bytes:
    """The workspace of an automation, to the byte as it was received.

    Raises:
        UsageError: it has none.
    """
    text = received(document).decode("utf-8")
    span = next((one for one in members(text) if one.key == "workspace"), None)
    if span is None:
        raise UsageError(f"{document.kind.value} {document.id} has no workspace", hint="only automations have one")
    return text[span.start : span.end].encode()


def _to_the_second(time: str) -> str:
    """A time as people want to read it: the service's microseconds are always zero."""
    return _FRACTION.sub("", time)
