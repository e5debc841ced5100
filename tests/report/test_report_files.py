"""What a run leaves for people and scripts."""

from __future__ import annotations

import csv
import io
import json

from stage import PLATFORM_OPERATIONS, Stage, bound_block, document

from qlikmigrate.importer.result import Task
from qlikmigrate.report.archive import kibibytes
from qlikmigrate.report.plan import number
from qlikmigrate.report.run import ids_csv


def test_reports_of_a_run(stage: Stage) -> None:
    """Counts, outcomes and problems in both reports, tasks by person, ids as `--ids` takes them; no body, no secret."""
    here = stage.source
    connection = here.tenant.add_connection(PLATFORM_OPERATIONS, "Only here", here.users["ben"])
    here.tenant.add_automation(document("has | a bar", bound_block(1, connection)), here.users["ben"])
    stage.backup()
    ended = stage.restore()
    assert ended.code == 0
    place = stage.folder / "run-0"
    report = json.loads((place / "report.json").read_text())
    assert report["format_version"] == 1
    assert report["counts"] == ended.summary["counts"]
    assert {(one["kind"], one["name"], one["status"]) for one in report["outcomes"]} == {
        ("automation", "has | a bar", "done"),
        ("connection", "Only here", "skipped"),
    }
    markdown = (place / "report.md").read_text()
    assert "| 1 | 1 | 0 | 0 | 0 | 0 | 0 |" in markdown
    assert "has \\| a bar" in markdown
    assert "`connection-unbound`" in markdown
    runbook = (place / "runbook.md").read_text()
    assert "## Ben Example" in runbook
    assert "- [ ] " in runbook
    rows = list(csv.DictReader(io.StringIO((place / "ids.csv").read_text())))
    (made,) = [row for row in rows if row["kind"] == "automation"]
    assert made == {
        "kind": "automation",
        "source_id": here.one("has | a bar")["id"],
        "target_id": stage.target.one("has | a bar")["id"],
    }
    for name in ("report.json", "report.md", "runbook.md", "plan.json", "journal.jsonl"):
        text = (place / name).read_text()
        assert "StartBlock" not in text
        assert not [word for word in (*stage.target.bot[1:], *stage.target.web[1:]) if word in text]
    assert stage.cli("plan", stage.folder / "a.qma", "target", "--ids", place / "ids.csv").code == 0


def test_small_words() -> None:
    """Numbers, sizes and lists read well at their edges."""
    assert [number(n, "task") for n in (0, 1, 2, 1000)] == ["0 tasks", "1 task", "2 tasks", "1,000 tasks"]
    assert [kibibytes(n) for n in (1, 1024, 2_000_000)] == ["1 KiB", "1 KiB", "1,953 KiB"]
    assert ids_csv([("user", "b", "c"), ("space", 'a "x", y', "d")]).splitlines() == [
        "kind,source_id,target_id", 'space,"a ""x"", y",d', "user,b,c"
    ]  # fmt: skip


def test_tasks_cannot_break_the_runbook(stage: Stage) -> None:
    """Line ends and bars in names stay within their line."""
    from qlikmigrate.importer.plan import read_plan
    from qlikmigrate.report.run import runbook_markdown

    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    stage.cli("plan", stage.folder / "a.qma", "target", "-o", stage.folder / "plan.json")
    plan = read_plan(stage.folder / "plan.json")
    assert "Nothing is left to do." in runbook_markdown(plan, ())
    text = runbook_markdown(plan, [Task(code="held", person="A\n# B", message="m\n\n# x", where="w", hint="h")])
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Runbook: `target`", "## A # B"]
