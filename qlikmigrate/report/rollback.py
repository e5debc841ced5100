"""What a rollback leaves in the run folder: what was undone, and what was kept and why."""

from __future__ import annotations

import orjson
from attrs import asdict

from qlikmigrate.importer.plan import Plan
from qlikmigrate.importer.rollback_book import RollbackResult
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.report.run import cell, problem_lines


def write_rollback(folder: RunFolder, plan: Plan, result: RollbackResult) -> None:
    """`rollback.json`, `rollback.md`; those of an earlier rollback of the run are replaced."""
    folder.write("rollback.json", rollback_json(plan, result))
    folder.write("rollback.md", rollback_markdown(plan, result))


def rollback_json(plan: Plan, result: RollbackResult) -> str:
    """Everything, for machines."""
    value = {
        "format": "qlikmigrate-rollback",
        "format_version": 1,
        "target": {"name": plan.target.name, "tenant_id": plan.target.tenant_id, "host": plan.target.host},
        "counts": {kind: dict(counts) for kind, counts in result.counts.items()},
        "outcomes": [asdict(one) for one in result.outcomes],
        "problems": [asdict(one) for one in result.problems],
    }
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def rollback_markdown(plan: Plan, result: RollbackResult) -> str:
    """The same for people."""
    lines = [f"# Rollback on `{plan.target.name}`", ""]
    for kind, counts in result.counts.items():
        lines += [f"{kind}: " + ", ".join(f"{number} {word}" for word, number in counts.items()), ""]
    lines += problem_lines(result.problems)
    lines += ["## Objects", "", "| status | action | kind | name | target id | reason |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.status} | {one.action} | {one.kind} | {cell(one.name)} | {one.target_id or ''} "
        f"| {f'`{one.code}` ' if one.code else ''}{cell(one.reason)} |"
        for one in result.outcomes
    ]
    return "\n".join(lines) + "\n"
