"""Plans and runs as rows: an object for machines and a line for people. They hold no bodies, so no secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import asdict

from qlikmigrate.importer.journal import read_state
from qlikmigrate.importer.plan import Action, ConnectionAction, Plan, SettingsAction, SpaceAction, Verb
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.report.archive import Row

_SIGNS = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.ADOPT: "=", Verb.NONE: " ", Verb.SKIP: "-"}


def number(many: int, word: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{many:,} {word}" + ("" if many == 1 else "s")


def plan_rows(plan: Plan, *, everything: bool) -> Iterator[Row]:
    """The actions of a plan; unchanged ones only when `everything` is asked for."""
    if plan.settings is not None:
        yield _settings_row(plan.settings)
    for space in plan.spaces:
        yield _space_row(space)
    for connection in plan.connections:
        if everything or connection.verb is Verb.CREATE:
            yield _connection_row(connection)
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


def _settings_row(settings: SettingsAction) -> Row:
    row = {"kind": "settings", "action": "update", "before": settings.before, "after": settings.after}
    return row, f"~ update  maxConcurrentRunsPerAutomation {settings.before} → {settings.after}"


def _space_row(space: SpaceAction) -> Row:
    row = {
        "kind": "space", "source_id": space.source_id, "name": space.name, "action": "create",
        "owner_id": space.owner_id, "members": [asdict(one) for one in space.members],
    }  # fmt: skip
    people = f"  ({len(space.members)} members)" if space.members else ""
    return row, f"+ create  space {space.name}{people}"


def _connection_row(one: ConnectionAction) -> Row:
    row = {
        "kind": "connection", "source_id": one.source_id, "target_id": one.target_id, "name": one.name,
        "action": one.verb.value, "steps": [step.value for step in one.steps], "owner_mode": one.owner_mode.value,
        "params": list(one.params), "used_by": list(one.used_by), "code": one.code, "reason": one.reason,
    }  # fmt: skip
    values = f"  (values for {', '.join(one.params)})" if one.params else ""
    return row, f"{_SIGNS[one.verb]} {one.verb.value:7} connection {one.name}{values}"


def _spoken_time(seconds: float) -> str:
    if seconds < 60:
        return "no waiting" if seconds < 1 else f"at least {seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"at least {minutes} min" if minutes < 120 else f"at least {minutes / 60:.1f} h"


def plan_summary(plan: Plan) -> list[str]:
    """What a plan comes to, in a few lines."""
    counts = plan.counts()
    words = {"created": "to create", "updated": "to update", "adopted": "to adopt", "unchanged": "unchanged",
             "skipped": "skipped"}  # fmt: skip
    told = ", ".join(f"{counts[key]} {word}" for key, word in words.items() if counts[key])
    spaces = f", {number(len(plan.spaces), 'space')} to create" if plan.spaces else ""
    made = plan.connection_counts()["created"]
    spaces += f", {number(made, 'connection')} to create" if made else ""
    lines = [f"{number(counts['selected'], 'automation')}: {told}{spaces}; {number(plan.writes, 'writing call')}"]
    if (calls := plan.forecast) is not None and plan.changes:
        told = f"about {number(calls.tier1, 'reading call')} and {number(calls.token, 'token')}"
        if plan.is_oem:
            # All of them come out of one bucket.
            told = f"about {number(calls.tier1, 'call')} in all"
        lines.append(f"{told}; {_spoken_time(calls.seconds)} under the quota")
    if plan.refused:
        lines.append(f"refused: {number(len(plan.errors), 'error')}")
    return lines


def _chosen(plan: Plan, automation: str | None, made: Mapping[int, str]) -> list[Action]:
    """All actions, or those of one automation, named by id or name. `made`: ids at the target, by action.

    Raises:
        UsageError: there is none.
    """
    if automation is None:
        return list(plan.actions)
    ident = automation.lower()
    found = [
        one
        for one in plan.actions
        if ident in (one.source_id.lower(), (one.target_id or "").lower(), made.get(one.seq, "").lower())
        or automation == one.name
    ]
    if not found:
        raise UsageError(f"no automation in the plan: `{automation}`", hint="`show` without it lists them")
    return found


def describe_plan(plan: Plan, automation: str | None) -> Iterator[Row]:
    """A saved plan, or what it does with one automation (id or name)."""
    chosen = _chosen(plan, automation, {})
    if automation is None:
        head = {
            "kind": "plan", "archive": plan.archive.path, "target": plan.target.name, "created_at": plan.created_at,
            "refused": plan.refused, "writes": plan.writes,
            "forecast": asdict(plan.forecast) if plan.forecast else None,
        }  # fmt: skip
        yield head, f"plan of {plan.created_at}: {plan.archive.path} → `{plan.target.name}` ({plan.target.host})"
        for problem in plan.problems:
            place = f" ({problem.where})" if problem.where else ""
            yield (
                {"kind": "problem", **asdict(problem)},
                f"{problem.severity.value}: {problem.message}{place} [{problem.code}]",
            )
    if automation is None:
        yield from plan_rows(plan, everything=True)
    else:
        for action in chosen:
            yield _action_row(action)
    if automation is None:
        lines = plan_summary(plan)
        yield {"kind": "sum", "text": "; ".join(lines)}, "\n".join(lines)


def describe_run(folder: RunFolder, automation: str | None) -> Iterator[Row]:
    """How far a run has come, or what it did with one automation (id or name)."""
    plan = folder.plan()
    state = read_state(folder.journal_path)
    done_by_seq = {one.seq: state.objects[str(one.seq)] for one in plan.actions if str(one.seq) in state.objects}
    made = {seq: done.target_id for seq, done in done_by_seq.items() if done.target_id}
    chosen = _chosen(plan, automation, made)
    if automation is None:
        words = "finished" if state.finished else "begun" if state.started else "not begun"
        yield (
            {"kind": "run", "path": str(folder.path), "state": words, "target": plan.target.name},
            f"run {folder.path.name}: {words}; {plan.archive.path} → `{plan.target.name}`",
        )
    for action in chosen:
        done = done_by_seq.get(action.seq)
        steps = [step.value for step in done.steps] if done else []
        row, text = _action_row(action)
        row |= {"done": steps, "target_id": (done.target_id if done else None) or action.target_id}
        row["failed"] = done.failed if done else ""
        how = f" [failed: {done.failed}]" if done and done.failed else ""
        yield row, f"{text}  {len(steps)}/{len(action.steps)} writes{how}"
