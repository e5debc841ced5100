"""The files that a run leaves for people and scripts: report, runbook, id list."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from itertools import groupby

import orjson
from attrs import asdict

from qlikmigrate.importer.plan import Plan
from qlikmigrate.importer.result import Result, Task
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.event import Outcome, Problem, Severity

_TITLES = {
    "automation": "Automations", "connection": "Connections", "space": "Spaces", "settings": "Settings",
    "account": "Account",
}  # fmt: skip
_OUTCOME_HEAD = ("| status | action | name | source id | target id | reason |", "|---|---|---|---|---|---|")


def write_reports(folder: RunFolder, plan: Plan, result: Result) -> None:
    """`report.json`, `report.md`, `runbook.md`, `ids.csv`."""
    folder.write("report.json", report_json(plan, result))
    folder.write("report.md", report_markdown(plan, result))
    folder.write("runbook.md", runbook_markdown(plan, result.tasks))
    folder.write("ids.csv", ids_csv(result.ids))


def report_json(plan: Plan, result: Result) -> str:
    """Everything, for machines."""
    value = {
        "format": "qlikmigrate-report",
        "format_version": 1,
        "archive": asdict(plan.archive),
        "target": {"name": plan.target.name, "tenant_id": plan.target.tenant_id, "host": plan.target.host},
        "counts": {kind: dict(counts) for kind, counts in result.counts.items()},
        "outcomes": [asdict(one) for one in result.outcomes],
        "problems": [asdict(one) for one in result.problems],
        "tasks": [asdict(one) for one in result.tasks],
    }
    if plan.is_oem:
        value["alarms"] = list(result.alarms)
        value["install_windows"] = {"longest_s": max(result.windows.values(), default=0.0), "seconds": result.windows}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def cell(text: str) -> str:
    """`text` as it may stand in a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def report_markdown(plan: Plan, result: Result) -> str:
    """The same for people."""
    counts = result.counts["automations"]
    lines = [
        f"# Restore into `{plan.target.name}`",
        "",
        *[line for alarm in result.alarms for line in (f"**{cell(alarm)}**", "")],
        f"From `{plan.archive.path}` (tenant {plan.archive.tenant_name}) into {plan.target.host}.",
        "",
        "| " + " | ".join(counts) + " |",
        "|" + "---|" * len(counts),
        "| " + " | ".join(str(number) for number in counts.values()) + " |",
        "",
    ]
    if result.windows:
        lines += [window_words(result.windows), ""]
    lines += problem_lines(result.problems)
    by_kind: dict[str, list[Outcome]] = {"automation": []}
    for one in result.outcomes:
        by_kind.setdefault(one.kind, []).append(one)
    for kind, outcomes in by_kind.items():
        lines += [f"## {_TITLES.get(kind, kind)}", "", *_OUTCOME_HEAD]
        lines += [_outcome_line(one) for one in sorted(outcomes, key=lambda one: (one.status, one.name))]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def window_words(windows: Mapping[str, float]) -> str:
    """How long what was installed may have been on."""
    longest = max(windows, key=lambda ident: windows[ident])
    return (
        f"{len(windows)} installed; on for at most {windows[longest]:.3f} s before they were switched off "
        f"(automation {longest})"
    )


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """The problems as a section of their own; nothing where there are none."""
    told = [one for one in problems if one.severity is not Severity.INFO]
    if not told:
        return []
    lines = ["## Problems", "", "| severity | code | message | where |", "|---|---|---|---|"]
    lines += [f"| {p.severity.value} | `{p.code}` | {cell(p.message)} | {cell(p.where)} |" for p in told]
    return [*lines, ""]


def _outcome_line(one: Outcome) -> str:
    reason = f"`{one.code}` {one.reason}" if one.code else one.reason
    return (
        f"| {one.status} | {one.action} | {cell(one.name)} | {one.source_id or ''} | {one.target_id or ''} "
        f"| {cell(reason)} |"
    )


def runbook_markdown(plan: Plan, tasks: Iterable[Task]) -> str:
    """What is left for people, by person."""
    lines = [f"# Runbook: `{plan.target.name}`", ""]
    ordered = sorted(tasks, key=lambda one: one.person)
    if not ordered:
        lines.append("Nothing is left to do.")
    for person, group in groupby(ordered, key=lambda one: one.person):
        lines += [f"## {cell(person)}", ""]
        for task in group:
            lines.append(f"- [ ] {cell(task.message)} ({cell(task.where)}) `{task.code}`")
            if task.hint:
                lines.append(f"      {cell(task.hint)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def ids_csv(ids: Iterable[tuple[str, str, str]]) -> str:
    """`kind,source_id,target_id`, as `--ids` takes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "source_id", "target_id"])
    writer.writerows(sorted(ids))
    return text.getvalue()
