"""Schedules keep the source's form; a target that drops it gets the equivalent other one, and nobody calls it drift."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import Rig, make_rig
from stage import DAILY, EVERY_HOUR, document

from qlikmigrate.importer.plan import Verb
from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.schedule_form import is_over, other_form, rule_of, schedule_meaning, step_s
from qlikmigrate.sandbox import Switches
from qlikmigrate.sandbox.switches import ScheduleForms

START = "2026-01-05 07:00:00"  # a Monday
QUARTER = {**EVERY_HOUR, "interval": 900}
MINUTES = {**DAILY, "recurrence": "RRULE:FREQ=MINUTELY;INTERVAL=15"}
WORKDAYS = {**DAILY, "recurrence": "RRULE:FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=7;BYMINUTE=0;BYSECOND=0"}


@given(st.integers(1, 500_000))
def test_interval_and_its_rule_mean_the_same(minutes: int) -> None:
    """Interval → rule → interval gives the same seconds, and all three one meaning."""
    interval = {"startAt": START, "stopAt": None, "timezone": "UTC", "interval": minutes * 60}
    rule = other_form(interval)
    assert rule is not None
    back = other_form(rule)
    assert back == interval
    assert schedule_meaning([interval]) == schedule_meaning([rule]) == schedule_meaning([back])


@pytest.mark.parametrize(
    ("seconds", "rule"),
    [
        (60, "RRULE:FREQ=MINUTELY"),
        (900, "RRULE:FREQ=MINUTELY;INTERVAL=15"),
        (7200, "RRULE:FREQ=HOURLY;INTERVAL=2"),
        (86_400, "RRULE:FREQ=DAILY"),
        (1_209_600, "RRULE:FREQ=WEEKLY;INTERVAL=2"),
    ],
)
def test_rule_takes_the_longest_step_that_divides(seconds: int, rule: str) -> None:
    """MINUTELY is the last resort."""
    assert rule_of(seconds) == rule


@pytest.mark.parametrize(
    ("rule", "seconds"),
    [
        ("RRULE:FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0", 86_400),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=7", 604_800),
        ("FREQ=HOURLY;INTERVAL=3;BYMINUTE=0", 10_800),
        ("FREQ=DAILY;BYHOUR=8", None),
        ("FREQ=WEEKLY;BYDAY=MO,TU", None),
        ("FREQ=MONTHLY;BYMONTHDAY=1", None),
        ("FREQ=DAILY;COUNT=3", None),
        ("FREQ=DAILY;UNTIL=20270101T000000Z", None),
        ("nonsense", None),
    ],
)
def test_only_plain_steps_at_the_anchor_become_intervals(rule: str, seconds: int | None) -> None:
    """A rule that says more than its anchor and a step stays a rule."""
    assert step_s({"startAt": START, "recurrence": rule}) == seconds


def test_end_is_local_to_its_zone() -> None:
    """`stopAt` is read in the schedule's own zone; without one nothing ends."""
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert is_over({"stopAt": "2026-11-01 12:30:00", "timezone": "Europe/Stockholm"}, now)
    assert not is_over({"stopAt": "2026-11-01 12:30:00", "timezone": "UTC"}, now)
    assert not is_over({"stopAt": None}, now)
    assert not is_over({"stopAt": "soon", "timezone": "Nowhere/At-all"}, now)


def scheduled(folder: Path, schedule: dict[str, Any], **target: Any) -> Rig:
    """A rig with one scheduled automation more, whose target answers as `target` says."""
    rig = make_rig(folder)
    rig.source.add_automation(document("clock", schedules=[schedule]), rig.ben_here)
    rig.target.switches = Switches(**target)
    rig.backup()
    return rig


def stored(rig: Rig) -> dict[str, Any]:
    (found,) = [one for one in rig.target.automations.values() if one["name"] == "clock"]
    schedule: dict[str, Any] = found["schedules"][0]
    return schedule


@pytest.mark.parametrize(
    ("schedule", "switches", "kept"),
    [
        (QUARTER, {}, ("interval", 900)),
        (DAILY, {}, ("recurrence", DAILY["recurrence"])),
        (EVERY_HOUR, {"schedule_forms": ScheduleForms.RECURRENCE_ONLY}, ("recurrence", "RRULE:FREQ=HOURLY")),
        (QUARTER, {"schedule_forms": ScheduleForms.RECURRENCE_ONLY}, ("recurrence", MINUTES["recurrence"])),
        (DAILY, {"schedule_forms": ScheduleForms.INTERVAL_ONLY}, ("interval", 86_400)),
        (MINUTES, {"minutely_accepted": False}, ("interval", 900)),
    ],
)
def test_equivalent_form_is_written_and_second_run_is_silent(
    tmp_path: Path, schedule: dict[str, Any], switches: dict[str, Any], kept: tuple[str, Any]
) -> None:
    """Whichever form the target keeps: no drift, nothing lost, and a second plan has no write in it."""
    rig = scheduled(tmp_path, schedule, **switches)
    result = rig.apply(rig.plan())
    assert (result.failed, result.differing) == (0, 0)
    assert stored(rig)[kept[0]] == kept[1]
    assert not {"schedule-lost", "readback-differs"} & {one.code for one in result.problems}
    again = rig.plan()
    assert again.writes == 0
    assert {one.verb for one in again.actions} == {Verb.NONE}
    assert not rig.target.armed_while_enabled


@pytest.mark.parametrize(
    ("schedule", "switches"),
    [
        (WORKDAYS, {"schedule_forms": ScheduleForms.INTERVAL_ONLY}),
        (QUARTER, {"schedule_forms": ScheduleForms.RECURRENCE_ONLY, "minutely_accepted": False}),
    ],
)
def test_schedule_that_fits_neither_form_is_a_problem(
    tmp_path: Path, schedule: dict[str, Any], switches: dict[str, Any]
) -> None:
    """What the target cannot hold is told as lost, and differs when read back; the rest of it is complete."""
    rig = scheduled(tmp_path, schedule, **switches)
    result = rig.apply(rig.plan())
    assert result.failed == 0
    assert result.differing == 1
    assert "schedule-lost" in {one.code for one in result.problems}


def test_lost_form_is_learned_once(tmp_path: Path) -> None:
    """The second interval of a run goes out as a rule at once: one try for the whole run."""
    rig = make_rig(tmp_path)
    for name in ("clock", "clock two", "clock three"):
        rig.source.add_automation(document(name, schedules=[EVERY_HOUR]), rig.ben_here)
    rig.target.switches = Switches(schedule_forms=ScheduleForms.RECURRENCE_ONLY)
    rig.backup()
    plan = rig.plan()
    before = len(rig.target.writes)
    rig.apply(plan)
    made = len(rig.target.writes) - before
    assert plan.writes < made <= plan.writes + 3


def test_plan_tells_past_ends_and_reads_intervals_aloud(tmp_path: Path) -> None:
    """A schedule that is over is a warning, an interval comes with the rule it may become."""
    rig = scheduled(tmp_path, {**EVERY_HOUR, "stopAt": "2026-02-01 00:00:00"})
    problems = {one.code: one for one in rig.plan().problems}
    assert problems["schedule-past"].severity is Severity.WARNING
    assert "2026-02-01" in problems["schedule-past"].message
    assert "every hour" in problems["schedule-interval"].message
    assert "RRULE:FREQ=HOURLY" in problems["schedule-interval"].message
