"""The example of the page on retention is what the rules say."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from page_script import ROOT, blocks

from qlikmigrate.report.retention import decision_rows, policy_row
from qlikmigrate.vault.retention import Candidate, Period, Policy, decide

STOCKHOLM = ZoneInfo("Europe/Stockholm")
PAGE = (ROOT / "docs" / "vault-retention.md").read_text()


def _candidate(line: str) -> Candidate:
    day, time, ident, *words = line.split()
    return Candidate(
        id=ident,
        tenant="t",
        taken_at=datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=STOCKHOLM),
        complete="incomplete" not in words,
        partial="partial" in words,
        verified=True,
        needs=tuple(words[words.index("needs") + 1 :]) if "needs" in words else (),
    )


def test_the_example_is_decided_as_shown() -> None:
    """Policy and lines of the page are those of a dry run."""
    listed, shown = blocks(PAGE, "text")
    policy = Policy(daily=3, weekly=2, monthly=12, within=Period.parse("1d12h"), zone=STOCKHOLM)
    assert "`--keep-daily 3 --keep-weekly 2 --keep-monthly 12 --keep-within 1d12h`" in PAGE
    now = datetime(2026, 10, 29, 8, tzinfo=STOCKHOLM)
    decisions = decide([_candidate(line) for line in listed.splitlines()], policy, now=now)
    lines = [line for _, line in (policy_row(policy), *decision_rows(decisions))]
    assert shown.splitlines() == lines
