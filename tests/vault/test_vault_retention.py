"""Which snapshots stay: tables worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.vault.retention import Candidate, Decision, Period, Policy, decide

STOCKHOLM = ZoneInfo("Europe/Stockholm")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
LATER = datetime(2099, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """A time, UTC where the text does not say otherwise."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def snapshot(time: str, ident: str = "", **facts: Any) -> Candidate:
    """A snapshot that counts, unless `facts` say otherwise; its id is the time as given."""
    whole = {"tenant": "t", "complete": True, "partial": False, "verified": True}
    return Candidate(id=ident or time, taken_at=at(time), **whole | facts)


def decided(
    candidates: Iterable[Candidate], policy: Policy, now: datetime = LATER
) -> Mapping[str, tuple[bool, tuple[str, ...]]]:
    """Id → whether it stays, and the reasons; oldest first."""
    return {one.candidate.id: (one.keep, one.reasons) for one in decide(candidates, policy, now=now)}


def kept(candidates: Iterable[Candidate], policy: Policy, now: datetime = LATER) -> dict[str, tuple[str, ...]]:
    """Id → why it stays, of those that do."""
    return {ident: reasons for ident, (keep, reasons) in decided(candidates, policy, now).items() if keep}


def test_one_snapshot_serves_several_rules() -> None:
    """Rules know nothing of one another; each keeps the newest of each of its newest buckets."""
    days = [snapshot(f"2026-11-{day:02}T01:30") for day in range(20, 25)]
    found = decided([*days, snapshot("2026-11-24T09:00")], Policy(last=1, daily=3, weekly=2, monthly=12))
    assert found == {
        "2026-11-20T01:30": (False, ("no rule keeps it",)),
        "2026-11-21T01:30": (False, ("no rule keeps it",)),
        "2026-11-22T01:30": (True, ("daily 3 of 3 (2026-11-22)", "weekly 2 of 2 (2026-W47)")),
        "2026-11-23T01:30": (True, ("daily 2 of 3 (2026-11-23)",)),
        "2026-11-24T01:30": (False, ("no rule keeps it",)),
        "2026-11-24T09:00": (
            True, ("last 1 of 1", "daily 1 of 3 (2026-11-24)", "weekly 1 of 2 (2026-W48)", "monthly 1 of 12 (2026-11)")
        ),
    }  # fmt: skip


def test_days_without_a_snapshot_do_not_count() -> None:
    """`daily 2` are the two newest days that have one, however far apart."""
    ones = [snapshot("2026-01-05T01:00"), snapshot("2026-03-01T01:00"), snapshot("2026-11-24T01:00")]
    assert list(kept(ones, Policy(daily=2))) == ["2026-03-01T01:00", "2026-11-24T01:00"]


@pytest.mark.parametrize(
    ("zone", "times", "policy", "expected"),
    [
        pytest.param(
            STOCKHOLM,
            # 29 March 2026 has 23 hours: it ends at 22:00 UTC, the day before at 23:00 UTC.
            ["2026-03-28T22:59", "2026-03-28T23:01", "2026-03-29T21:59", "2026-03-29T22:01"],
            {"daily": 9},
            {
                "2026-03-28T22:59": "daily 3 of 9 (2026-03-28)",
                "2026-03-29T21:59": "daily 2 of 9 (2026-03-29)",
                "2026-03-29T22:01": "daily 1 of 9 (2026-03-30)",
            },
            id="day of 23 hours",
        ),
        pytest.param(
            STOCKHOLM,
            # 25 October 2026 has 25 hours: from 22:00 UTC to 23:00 UTC.
            ["2026-10-24T21:59", "2026-10-24T22:01", "2026-10-25T22:59", "2026-10-25T23:01"],
            {"daily": 9},
            {
                "2026-10-24T21:59": "daily 3 of 9 (2026-10-24)",
                "2026-10-25T22:59": "daily 2 of 9 (2026-10-25)",
                "2026-10-25T23:01": "daily 1 of 9 (2026-10-26)",
            },
            id="day of 25 hours",
        ),
        pytest.param(
            STOCKHOLM,
            # 02:10 and 02:50 in summer time, 02:10 in winter time, 03:10.
            ["2026-10-25T00:10", "2026-10-25T00:50", "2026-10-25T01:10", "2026-10-25T02:10"],
            {"hourly": 9},
            {
                "2026-10-25T00:50": "hourly 3 of 9 (2026-10-25 02:00 +0200)",
                "2026-10-25T01:10": "hourly 2 of 9 (2026-10-25 02:00 +0100)",
                "2026-10-25T02:10": "hourly 1 of 9 (2026-10-25 03:00 +0100)",
            },
            id="hour that comes twice",
        ),
        pytest.param(
            KATHMANDU,
            # +05:45: hours begin at a quarter past, the day at 18:15 UTC.
            ["2026-11-23T18:14", "2026-11-23T18:15", "2026-11-23T19:14", "2026-11-23T19:15"],
            {"hourly": 9, "daily": 1},
            {
                "2026-11-23T18:14": "hourly 3 of 9 (2026-11-23 23:00 +0545)",
                "2026-11-23T19:14": "hourly 2 of 9 (2026-11-24 00:00 +0545)",
                "2026-11-23T19:15": "hourly 1 of 9 (2026-11-24 01:00 +0545); daily 1 of 1 (2026-11-24)",
            },
            id="Kathmandu",
        ),
        pytest.param(
            ZoneInfo("Australia/Lord_Howe"),
            # Half an hour back on 5 April 2026 at 15:00 UTC: 01:50 (+11:00), then 01:50 (+10:30).
            ["2026-04-04T14:50", "2026-04-04T15:20"],
            {"hourly": 9},
            {
                "2026-04-04T14:50": "hourly 2 of 9 (2026-04-05 01:00 +1100)",
                "2026-04-04T15:20": "hourly 1 of 9 (2026-04-05 01:00 +1030)",
            },
            id="half an hour that comes twice",
        ),
        pytest.param(
            UTC,
            # 2026 has a week 53, which ends on Sunday 3 January 2027; 2024-12-30 is in week 1 of 2025.
            ["2024-12-29T12:00", "2024-12-30T12:00", "2026-12-27T12:00", "2026-12-28T12:00", "2027-01-03T12:00",
             "2027-01-04T12:00"],
            {"weekly": 9},
            {
                "2024-12-29T12:00": "weekly 5 of 9 (2024-W52)",
                "2024-12-30T12:00": "weekly 4 of 9 (2025-W01)",
                "2026-12-27T12:00": "weekly 3 of 9 (2026-W52)",
                "2027-01-03T12:00": "weekly 2 of 9 (2026-W53)",
                "2027-01-04T12:00": "weekly 1 of 9 (2027-W01)",
            },
            id="ISO weeks",
        ),
        pytest.param(
            UTC,
            ["2028-02-28T12:00", "2028-02-29T12:00", "2028-03-01T12:00"],
            {"daily": 2, "monthly": 9, "yearly": 9},
            {
                "2028-02-29T12:00": "daily 2 of 2 (2028-02-29); monthly 2 of 9 (2028-02)",
                "2028-03-01T12:00": "daily 1 of 2 (2028-03-01); monthly 1 of 9 (2028-03); yearly 1 of 9 (2028)",
            },
            id="leap day",
        ),
        pytest.param(
            STOCKHOLM,
            # 23:30 UTC on New Year's Eve is the next year there.
            ["2026-12-31T22:30", "2026-12-31T23:30"],
            {"monthly": 9, "yearly": 9},
            {
                "2026-12-31T22:30": "monthly 2 of 9 (2026-12); yearly 2 of 9 (2026)",
                "2026-12-31T23:30": "monthly 1 of 9 (2027-01); yearly 1 of 9 (2027)",
            },
            id="year end there",
        ),
        pytest.param(
            UTC,
            ["2026-12-31T22:30", "2026-12-31T23:30"],
            {"monthly": 9, "yearly": 9},
            {"2026-12-31T23:30": "monthly 1 of 9 (2026-12); yearly 1 of 9 (2026)"},
            id="year end in UTC",
        ),
    ],
)  # fmt: skip
def test_calendar(zone: Any, times: list[str], policy: dict[str, int], expected: dict[str, str]) -> None:
    """Buckets are those of the zone's calendar, whatever its clocks do."""
    found = kept([snapshot(time) for time in times], Policy(**policy, zone=zone))
    assert {ident: "; ".join(reasons) for ident, reasons in found.items()} == expected


@pytest.mark.parametrize(
    ("zone", "newest", "period", "start"),
    [
        (UTC, "2026-11-24T12:00", "30d", "2026-10-25T12:00"),
        (UTC, "2026-11-24T12:00", "30d12h", "2026-10-25T00:00"),
        (UTC, "2026-03-31T12:00", "1m", "2026-02-28T12:00"),
        (UTC, "2028-03-31T12:00", "1m", "2028-02-29T12:00"),
        (UTC, "2028-02-29T12:00", "1y", "2027-02-28T12:00"),
        (UTC, "2027-05-10T12:00", "1y6m", "2025-11-10T12:00"),
        (UTC, "2027-05-10T12:00", "18m", "2025-11-10T12:00"),
        # A day is 25 hours here, and 24 hours are 24 hours.
        (STOCKHOLM, "2026-10-25T12:00+01:00", "1d", "2026-10-24T12:00+02:00"),
        (STOCKHOLM, "2026-10-25T12:00+01:00", "24h", "2026-10-24T13:00+02:00"),
        # 29 March has no 02:30: a day before 02:30 is an hour later by the clock.
        (STOCKHOLM, "2026-03-30T02:30+02:00", "1d", "2026-03-29T03:30+02:00"),
        # The hours pass after the days are counted.
        (STOCKHOLM, "2026-03-30T12:00+02:00", "1d12h", "2026-03-28T23:00+01:00"),
        (KATHMANDU, "2026-03-01T00:10+05:45", "1m", "2026-02-01T00:10+05:45"),
    ],
)
def test_within(zone: Any, newest: str, period: str, start: str) -> None:
    """All that is newer than the newest less the period, and not what is exactly that old."""
    second = timedelta(seconds=1)
    ones = [
        snapshot(newest, "newest"),
        Candidate(id="at", tenant="t", taken_at=at(start), complete=True, partial=False, verified=True),
        Candidate(id="after", tenant="t", taken_at=at(start) + second, complete=True, partial=False, verified=True),
    ]
    policy = Policy(within=Period.parse(period), zone=zone)
    assert kept(ones, policy) == {"after": (f"within {period}",), "newest": (f"within {period}",)}


def test_time_alone_removes_nothing() -> None:
    """Where backups have stopped, `within` goes on from the last good one, not from today."""
    ones = [snapshot("2026-01-01T01:00"), snapshot("2026-01-20T01:00"), snapshot("2026-06-01T01:00", complete=False)]
    policy = Policy(within=Period(days=30))
    assert list(kept(ones, policy, now=at("2026-06-01T02:00"))) == [one.id for one in ones]
    assert decided(ones, policy, now=at("2026-06-01T02:00")) == decided(ones, policy, now=at("2036-06-01T02:00"))


def test_the_newest_stays_even_where_a_day_before_it_is_the_same_moment() -> None:
    """Samoa left out 30 December 2011."""
    one = snapshot("2011-12-31T10:00+14:00")
    assert kept([one], Policy(within=Period(days=1), zone=ZoneInfo("Pacific/Apia"))) == {
        one.id: ("the newest that counts",)
    }


def test_a_very_long_period_reaches_back_to_everything() -> None:
    """No period is too long to be counted."""
    ones = [snapshot("0001-01-01T00:01"), snapshot("2026-01-01T00:00")]
    for period in ("2026y", "999999999y", "999999999m", "999999999d", "999999999h"):
        assert len(kept(ones, Policy(within=Period.parse(period)))) == 2


@pytest.mark.parametrize(
    ("facts", "flaw"),
    [
        ({"complete": False}, "incomplete"),
        ({"partial": True}, "partial"),
        ({"verified": False}, "not verified"),
        ({"complete": False, "partial": True, "verified": False}, "incomplete, partial, not verified"),
    ],
)
def test_what_is_not_whole_never_counts(facts: dict[str, bool], flaw: str) -> None:
    """It takes nobody's place; it goes when one that counts is newer, unless it is recent."""
    ones = [
        snapshot("2026-11-20T01:00"),
        snapshot("2026-11-20T02:00", **facts),
        snapshot("2026-11-23T02:00", **facts),
        snapshot("2026-11-24T01:00"),
        snapshot("2026-11-24T02:00", **facts),
    ]
    assert decided(ones, Policy(daily=2, within=Period(days=2))) == {
        "2026-11-20T01:00": (True, ("daily 2 of 2 (2026-11-20)",)),
        "2026-11-20T02:00": (False, (f"does not count: {flaw}; one that does is newer",)),
        "2026-11-23T02:00": (True, (f"does not count: {flaw}; within 2d",)),
        "2026-11-24T01:00": (True, ("daily 1 of 2 (2026-11-24)", "within 2d")),
        "2026-11-24T02:00": (True, (f"does not count: {flaw}; none that does is newer",)),
    }


def test_what_is_not_whole_at_the_edges() -> None:
    """Of the same moment is not older; exactly as old as the period is not within it."""
    ones = [
        snapshot("2026-11-22T01:00", "old", complete=False),
        snapshot("2026-11-22T01:01", "recent", complete=False),
        snapshot("2026-11-24T01:00", "good"),
        snapshot("2026-11-24T01:00", "beside", complete=False),
    ]
    assert set(kept(ones, Policy(within=Period(days=2)))) == {"recent", "good", "beside"}
    assert set(kept(ones, Policy(last=1))) == {"good", "beside"}


def test_nothing_goes_where_nothing_counts() -> None:
    """Another tenant's good snapshots are no reason to remove anything of this one."""
    ones = [
        snapshot("2026-11-20T01:00", complete=False),
        snapshot("2026-11-21T01:00", verified=False),
        snapshot("2026-11-22T01:00", tenant="other"),
        snapshot("2026-11-23T01:00", tenant="other"),
    ]
    found = decided(ones, Policy(last=1))
    assert {ident: keep for ident, (keep, _) in found.items()} == {
        "2026-11-20T01:00": True, "2026-11-21T01:00": True, "2026-11-22T01:00": False, "2026-11-23T01:00": True,
    }  # fmt: skip
    assert found["2026-11-20T01:00"][1] == ("does not count: incomplete; there is none of its tenant that does",)


def test_tenants_are_decided_apart() -> None:
    """Each has its own `last`."""
    ones = [snapshot(f"2026-11-{day:02}T01:00", tenant="ab"[day % 2]) for day in range(1, 9)]
    assert list(kept(ones, Policy(last=2))) == [f"2026-11-{day:02}T01:00" for day in range(5, 9)]


def test_an_unreadable_header_stays() -> None:
    """Nobody knows what depends on it before it is repaired, even where everything else says that it may go."""
    times = ("2026-11-20T01:00", "2031-11-20T01:00")
    ones = [*(snapshot(time, readable=False) for time in times), snapshot("2026-11-24T01:00")]
    found = kept(ones, Policy(last=1), now=at("2026-11-24T12:00"))
    for time in times:
        assert found[time] == ("does not count: unreadable header; `repair` comes first",)


def test_the_last_good_version_stays() -> None:
    """What a snapshot that stays needs, stays with it; need is not passed on, and one that goes needs nothing."""
    ones = [
        snapshot("2026-11-01T01:00", "a" * 16),
        snapshot("2026-11-02T01:00", "b" * 16, needs=("a" * 16,)),
        snapshot("2026-11-03T01:00", "c" * 16, complete=False),
        snapshot("2026-11-04T01:00", "d" * 16),
        snapshot("2026-11-05T01:00", "e" * 16, needs=("d" * 16,)),
        snapshot("2026-11-06T01:00", "f" * 16, needs=("b" * 16, "c" * 16, "b" * 16, "f" * 16, "gone")),
    ]
    reason = "holds the last good version of what is unreadable in ffffffff"
    assert decided(ones, Policy(last=1)) == {
        "a" * 16: (False, ("no rule keeps it",)),
        "b" * 16: (True, (f"no rule keeps it, but it {reason}",)),
        "c" * 16: (True, (f"does not count: incomplete; one that does is newer, but it {reason}",)),
        "d" * 16: (False, ("no rule keeps it",)),
        "e" * 16: (False, ("no rule keeps it",)),
        "f" * 16: (True, ("last 1 of 1",)),
    }


def test_an_incomplete_snapshot_that_stays_holds_what_it_needs() -> None:
    """The night on which an automation could not be read is the one that its last good version is kept for."""
    ones = [
        snapshot("2026-11-01T01:00"),
        snapshot("2026-11-02T01:00"),
        snapshot("2026-11-03T01:00", complete=False, needs=("2026-11-01T01:00",)),
    ]
    assert list(kept(ones, Policy(last=1))) == [one.id for one in ones]
    assert kept(ones, Policy(last=2))["2026-11-01T01:00"] == (
        "last 2 of 2", "holds the last good version of what is unreadable in 2026-11-"
    )  # fmt: skip


def test_many_dependents_are_told_in_one_line() -> None:
    """The newest three are named."""
    nights = [snapshot(f"2026-11-{day:02}T01:00", f"{day:02}" * 8, needs=("first",)) for day in range(1, 8)]
    found = kept([snapshot("2026-10-01T01:00", "first"), *nights], Policy(last=6))
    assert found["first"] == (
        "no rule keeps it, but it holds the last good version of what is unreadable in "
        "07070707, 06060606, 05050505 and 3 more",
    )


def test_a_clock_that_runs_ahead() -> None:
    """A snapshot from the future stays, takes nobody's place, and does not move the period."""
    ones = [
        snapshot("2026-11-22T01:00"),
        snapshot("2026-11-23T01:00"),
        snapshot("2026-11-24T01:00", complete=False),
        snapshot("2031-01-01T00:00"),
        snapshot("2031-01-02T00:00", complete=False),
    ]
    now = at("2026-11-24T12:00")
    assert decided(ones, Policy(last=1, within=Period(hours=12)), now) == {
        "2026-11-22T01:00": (False, ("no rule keeps it",)),
        "2026-11-23T01:00": (True, ("last 1 of 1", "within 12h")),
        "2026-11-24T01:00": (True, ("does not count: incomplete; none that does is newer",)),
        "2031-01-01T00:00": (True, ("taken in the future: a clock is wrong",)),
        "2031-01-02T00:00": (True, ("taken in the future: a clock is wrong",)),
    }
    assert len(kept(ones, Policy(last=1), now=at("1970-01-01"))) == len(ones)
    assert list(kept([snapshot("2026-11-24T12:00")], Policy(last=1), now=now)) == ["2026-11-24T12:00"]


def test_hours_that_come_twice_are_in_order() -> None:
    """02:10 in winter time is after 02:50 in summer time, though given in one zone."""
    summer = datetime(2026, 10, 25, 2, 50, tzinfo=STOCKHOLM, fold=0)
    winter = datetime(2026, 10, 25, 2, 10, tzinfo=STOCKHOLM, fold=1)
    ones = [
        Candidate(id=ident, tenant="t", taken_at=moment, complete=True, partial=False, verified=True)
        for ident, moment in (("winter", winter), ("summer", summer))
    ]
    assert list(decided(ones, Policy(last=1, zone=STOCKHOLM))) == ["summer", "winter"]
    assert list(kept(ones, Policy(last=1, zone=STOCKHOLM))) == ["winter"]


def test_snapshots_of_one_moment_go_by_id() -> None:
    """Which of two is the newer does not depend on chance."""
    ones = [snapshot("2026-11-24T01:00", ident) for ident in "bca"]
    assert list(kept(ones, Policy(last=1))) == list(kept(ones[::-1], Policy(daily=1))) == ["c"]


@pytest.mark.parametrize("given", [{}, {"last": 0}, {"daily": 0, "within": Period()}, {"within": Period.parse("0d")}])
def test_an_empty_policy_is_refused(given: dict[str, Any]) -> None:
    """Nothing, zeros and a period of nothing are no rules."""
    with pytest.raises(UsageError) as refusal:
        Policy(**given)
    assert refusal.value.code == "empty-policy"
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("name", ["last", "hourly", "daily", "weekly", "monthly", "yearly"])
def test_a_negative_number_is_refused(name: str) -> None:
    """Even beside a rule that is in order; 0 is no rule."""
    with pytest.raises(UsageError, match=f"--keep-{name} cannot be negative: -1"):
        Policy(**{"last": 1, "daily": 1, name: -1})
    other = "daily" if name == "last" else "last"
    assert Policy(**{other: 2, name: 0}).numbers == {other: 2}


@pytest.mark.parametrize(
    ("text", "period", "told"),
    [
        ("30d12h", Period(days=30, hours=12), "30d12h"),
        ("1y6m", Period(years=1, months=6), "1y6m"),
        (" 1y0m2d ", Period(years=1, days=2), "1y2d"),
        ("0h", Period(), "0d"),
    ],
)
def test_a_period_is_read_and_told(text: str, period: Period, told: str) -> None:
    """What is told is read again as the same."""
    assert Period.parse(text) == period == Period.parse(told)
    assert str(period) == told
    assert bool(period) is (told != "0d")


@pytest.mark.parametrize(
    "text", ["", " ", "30", "d", "-1d", "1.5d", "1h1d", "1d1d", "1d 1h", "1w", "1D", "1" * 10 + "d"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    """The hint shows how to write one."""
    with pytest.raises(UsageError, match=f"not a period: `{re.escape(text)}`") as refusal:
        Period.parse(text)
    assert "`30d12h`" in refusal.value.hint


def test_mistakes_of_the_caller() -> None:
    """Times without a zone and two snapshots of one id are no questions that have an answer."""
    with pytest.raises(ValueError, match="zone"):
        Candidate(
            id="a", tenant="t", taken_at=datetime(2026, 1, 1), complete=True, partial=False, verified=True
        )  # fmt: skip
    with pytest.raises(ValueError, match="zone"):
        decide([], Policy(last=1), now=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="one id"):
        decide([snapshot("2026-01-01"), snapshot("2026-01-01")], Policy(last=1), now=LATER)


def test_no_snapshot_no_decision() -> None:
    """An empty vault is in order."""
    assert decide([], Policy(last=1), now=LATER) == ()


def test_decisions_are_in_order_of_time() -> None:
    """Oldest first across tenants, whatever zones the times are told in."""
    ones = [
        snapshot("2026-11-24T03:00+05:45"),
        snapshot("2026-11-24T01:00", tenant="other"),
        snapshot("2026-11-23T23:00-03:00"),
    ]
    found: tuple[Decision, ...] = decide(ones, Policy(last=1), now=LATER)
    assert [one.candidate.id for one in found] == [one.id for one in ones]
