"""Archives, plans and runs as rows: an object for machines and a line for people. No secret is ever shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import asdict

from qlikmigrate.importer.journal import read_state
from qlikmigrate.importer.plan import Action, Plan, Verb
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import is_armed, real_schedule
from qlikmigrate.model.snapshot import Snapshot, inventory_of, parse
from qlikmigrate.model.workspace import automations_called, blocks, connections_used

Row = tuple[dict[str, Any], str]

_SIGNS = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.ADOPT: "=", Verb.NONE: " ", Verb.SKIP: "-"}


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
        ("updated_at", one.updated_at),
    ]
    for key, fact in facts:
        yield {"kind": "automation", "field": key, "value": fact}, f"{key:14} {fact}"
    for use in connections_used(value):
        found = inventory.get(Kind.CONNECTION, use.value)
        name = found.name if found else "unknown"
        yield (
            {"kind": "connection", "id": use.value, "name": name, "block": use.block_name},
            f"{'uses':14} {name} ({use.value}) in block `{use.block_name}`",
        )
    for use in automations_called(value):
        found = inventory.get(Kind.AUTOMATION, use.value)
        name = found.name if found else "unknown"
        yield (
            {"kind": "call", "id": use.value, "name": name, "block": use.block_name},
            f"{'calls':14} {name} ({use.value}) in block `{use.block_name}`",
        )


def plan_rows(plan: Plan, *, everything: bool) -> Iterator[Row]:
    """The actions of a plan; unchanged ones only when `everything` is asked for."""
    for action in plan.actions:
        if everything or action.verb is not Verb.NONE:
            yield _action_row(action)


def _action_row(action: Action) -> Row:
    row = {
        "kind": "automation", "source_id": action.source_id, "target_id": action.target_id, "name": action.name,
        "action": action.verb.value, "steps": [step.value for step in action.steps], "held": action.held,
        "owner_mode": action.owner_mode.value, "fields": list(action.fields), "code": action.code,
        "reason": action.reason,
    }  # fmt: skip
    notes = [action.reason] if action.reason and action.verb is not Verb.CREATE else []
    notes += [", ".join(action.fields)] if action.fields else []
    notes += ["held"] if action.held else []
    note = f"  ({'; '.join(notes)})" if notes else ""
    return row, f"{_SIGNS[action.verb]} {action.verb.value:7} {action.name}{note}"


def plan_summary(plan: Plan) -> list[str]:
    """What a plan comes to, in two lines."""
    counts = plan.counts()
    words = {"created": "to create", "updated": "to update", "adopted": "to adopt", "unchanged": "unchanged",
             "skipped": "skipped"}  # fmt: skip
    told = ", ".join(f"{counts[key]} {word}" for key, word in words.items() if counts[key])
    spaces = f", {len(plan.spaces)} spaces to create" if plan.spaces else ""
    lines = [f"{counts['selected']} automations: {told}{spaces}; {plan.writes} writing calls"]
    if plan.refused:
        lines.append(f"refused: {len(plan.errors)} errors")
    return lines


def describe_plan(plan: Plan, automation: str | None) -> Iterator[Row]:
    """A saved plan, or what it does with one automation (id or name)."""
    if automation is None:
        head = {
            "kind": "plan", "archive": plan.archive.path, "target": plan.target.name, "created_at": plan.created_at,
            "refused": plan.refused, "writes": plan.writes,
        }  # fmt: skip
        yield head, f"plan of {plan.created_at}: {plan.archive.path} → `{plan.target.name}` ({plan.target.host})"
        for problem in plan.problems:
            place = f" ({problem.where})" if problem.where else ""
            yield (
                {"kind": "problem", **asdict(problem)},
                f"{problem.severity.value}: {problem.message}{place} [{problem.code}]",
            )
    for action in plan.actions:
        if automation is None or automation in (action.source_id, action.target_id, action.name):
            yield _action_row(action)
    if automation is None:
        for line in plan_summary(plan):
            yield {"kind": "sum", "text": line}, line


def describe_run(folder: RunFolder) -> Iterator[Row]:
    """How far a run has come."""
    plan = folder.plan()
    state = read_state(folder.journal_path)
    words = "finished" if state.finished else "begun" if state.started else "not begun"
    yield (
        {"kind": "run", "path": str(folder.path), "state": words, "target": plan.target.name},
        f"run {folder.path.name}: {words}; {plan.archive.path} → `{plan.target.name}`",
    )
    for action in plan.actions:
        done = state.objects.get(str(action.seq))
        steps = [step.value for step in done.steps] if done else []
        row, text = _action_row(action)
        row |= {"done": steps, "target_id": (done.target_id if done else None) or action.target_id}
        row["failed"] = done.failed if done else ""
        how = f" [failed: {done.failed}]" if done and done.failed else ""
        yield row, f"{text}  {len(steps)}/{len(action.steps)} writes{how}"
