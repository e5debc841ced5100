"""What a dry run of a prune tells."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from qlikmigrate.report.retention import decision_counts, decision_rows, policy_row
from qlikmigrate.vault.retention import Candidate, Decision, Period, Policy, decide


def _decisions(*tenants: str) -> tuple[Decision, ...]:
    ones = [
        Candidate(
            id=f"{number:x}" * 16,
            tenant=tenant,
            taken_at=datetime(2026, 11, 20 + number, 1, 30, tzinfo=UTC),
            complete=number != 1,
            partial=False,
            verified=True,
        )
        for number, tenant in enumerate(tenants)
    ]
    return decide(ones, Policy(last=1, weekly=1), now=datetime(2026, 12, 1, tzinfo=UTC))


def test_rows_for_machines_and_people() -> None:
    """All facts and reasons in the row; time, short id and reasons in the line."""
    rows = list(decision_rows(_decisions("tag", "tag", "tag"), tenants={"tag": "prod"}))
    assert [line for _, line in rows] == [
        "remove  2026-11-20T01:30:00Z  00000000  no rule keeps it",
        "remove  2026-11-21T01:30:00Z  11111111  does not count: incomplete; one that does is newer",
        "keep    2026-11-22T01:30:00Z  22222222  last 1 of 1; weekly 1 of 1 (2026-W47)",
    ]
    assert rows[1][0] == {
        "kind": "snapshot", "id": "1" * 16, "tenant": "prod", "taken_at": "2026-11-21T01:30:00Z",
        "complete": False, "partial": False, "verified": True, "readable": True,
        "keep": False, "reasons": ["does not count: incomplete; one that does is newer"],
    }  # fmt: skip
    assert rows[2][0]["reasons"] == ["last 1 of 1", "weekly 1 of 1 (2026-W47)"]


def test_several_tenants_are_named() -> None:
    """By name where it is known, by tag where not; what has none says so."""
    rows = list(decision_rows(_decisions("tag", "", "other"), tenants={"tag": "prod"}))
    assert [line.split("  ")[-2] for _, line in rows] == ["prod", "unknown tenant", "other"]
    assert [row["tenant"] for row, _ in rows] == ["prod", "", "other"]


def test_the_policy_is_told_first() -> None:
    """Rules that there are, and whose calendar."""
    policy = Policy(last=3, daily=0, monthly=12, within=Period(days=30), zone=ZoneInfo("Asia/Kathmandu"))
    row, line = policy_row(policy)
    assert line == "keep last 3, monthly 12, within 30d; calendar of Asia/Kathmandu"
    assert row == {"kind": "policy", "last": 3, "monthly": 12, "within": "30d", "zone": "Asia/Kathmandu"}
    assert policy_row(Policy(weekly=4))[1] == "keep weekly 4; calendar of UTC"
    assert policy_row(Policy(within=Period(months=1)))[1] == "keep within 1m; calendar of UTC"


def test_counts_add_up() -> None:
    """Listed are those that stay and those that go."""
    assert decision_counts(_decisions("a", "a", "a")) == {"listed": 3, "kept": 1, "removed": 2}
    assert decision_counts(()) == {"listed": 0, "kept": 0, "removed": 0}
