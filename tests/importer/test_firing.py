"""When schedules fire: intervals in elapsed time, rules on the clock of their zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import DAILY, EVERY_HOUR

from qlikmigrate.importer.firing import firings

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def told(schedule: dict[str, Any], after: datetime = NOON, limit: int = 2) -> list[str]:
    return [f"{one:%Y-%m-%d %H:%M}" for one in firings([schedule], after=after, limit=limit)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (EVERY_HOUR, ["2026-11-01 13:00", "2026-11-01 14:00"]),
        (DAILY, ["2026-11-02 06:00", "2026-11-03 06:00"]),
        # A start in the future is the first firing.
        ({"startAt": "2027-01-01 00:00:00", "interval": 86400}, ["2027-01-01 00:00", "2027-01-02 00:00"]),
        # Anchored at the start, not at the hour, however long ago that was.
        (
            {"startAt": "2019-05-05 05:05:00", "recurrence": "FREQ=MINUTELY;INTERVAL=7"},
            ["2026-11-01 12:05", "2026-11-01 12:12"],
        ),
        # On the zone's own clock: seven in the morning stays seven when summer time ends.
        (
            {"startAt": "2026-03-27 07:00:00", "timezone": "Europe/Stockholm", "recurrence": "RRULE:FREQ=DAILY"},
            ["2026-11-02 06:00", "2026-11-03 06:00"],
        ),
        ({"startAt": "2020-01-31 07:00:00", "recurrence": "FREQ=MONTHLY"}, ["2026-12-31 07:00", "2027-01-31 07:00"]),
        (DAILY | {"stopAt": "2026-11-02 12:00:00"}, ["2026-11-02 06:00"]),
        (DAILY | {"recurrence": DAILY["recurrence"] + ";UNTIL=20261102T060000Z"}, ["2026-11-02 06:00"]),
        (DAILY | {"recurrence": DAILY["recurrence"] + ";COUNT=3"}, []),
        # Without a start, a rule that names its hour still says enough, and an interval does not.
        (
            {"timezone": "Asia/Tokyo", "recurrence": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0"},
            ["2026-11-02 00:00", "2026-11-09 00:00"],
        ),
        ({"interval": 3600}, []),
        ({"startAt": None, "stopAt": None, "interval": -1, "timezone": "Europe/London"}, []),
        (DAILY | {"timezone": "Nowhere/Land"}, []),
        (DAILY | {"recurrence": "every day"}, []),
        ({"startAt": "2026-01-01 00:00:00", "recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, []),
    ],
)
def test_next_firings(schedule: dict[str, Any], expected: list[str]) -> None:
    """The first two instants after noon, as a calendar says them."""
    assert told(schedule) == expected


def test_change_of_clocks() -> None:
    """A time that is skipped fires once, shifted; a time that comes twice fires once."""
    rule = {"startAt": "2026-01-01 02:30:00", "timezone": "Europe/Stockholm", "recurrence": "FREQ=DAILY"}
    spring = told(rule, datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert spring == ["2026-03-29 01:30", "2026-03-30 00:30"]
    autumn = told(rule, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert autumn == ["2026-10-25 00:30", "2026-10-26 01:30"]


@given(st.integers(1, 5000), st.integers(0, 500_000), st.integers(1, 300))
def test_interval_and_rule_agree(minutes: int, late: int, window: int) -> None:
    """The same steps told as interval and as rule fire at the same instants, all of them within the window."""
    start = {"startAt": "2026-01-05 07:00:00", "timezone": "UTC"}
    after = datetime(2026, 1, 5, 7, tzinfo=UTC) + timedelta(minutes=late)
    before = after + timedelta(minutes=minutes * window / 10)
    interval = firings([start | {"interval": minutes * 60}], after=after, before=before)
    rule = firings([start | {"recurrence": f"FREQ=MINUTELY;INTERVAL={minutes}"}], after=after, before=before)
    if before - after < timedelta(days=45):
        assert interval == rule
    assert all(after < one <= before for one in interval)
