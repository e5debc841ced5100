"""The two forms of a schedule, `interval` (seconds) and `recurrence` (RRULE), and what either says. Pure.

A form is turned into the other only where both start at the same moments: plain fixed steps, anchored at `startAt`.
Source: Qlik's changelog 258 (`interval` is deprecated for `recurrence`), openapi/workflows-automations.json,
`schedules`: an interval is in seconds and a multiple of 60.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from qlikmigrate.model.schedule import real_schedule

# Longest first: MINUTELY is taken only where nothing else divides evenly, as no text of Qlik says that it is accepted.
_STEPS_S = {"WEEKLY": 604_800, "DAILY": 86_400, "HOURLY": 3_600, "MINUTELY": 60}
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# Parts that only repeat what the anchor says, by the frequency that they may stand beside.
_ANCHORED = {
    "WEEKLY": ("BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND"),
    "DAILY": ("BYHOUR", "BYMINUTE", "BYSECOND"),
    "HOURLY": ("BYMINUTE", "BYSECOND"),
    "MINUTELY": ("BYSECOND",),
}


def schedule_meaning(schedules: Any) -> Mapping[str, Any] | None:
    """What a schedule says, whatever form the service gave it; None: there is none.

    `recurrence` wins over `interval`, and the service rewrites the rule. Source: Qlik's workspace skill, on schedules.
    """
    schedule = real_schedule(schedules)
    if schedule is None:
        return None
    meaning = {key: schedule.get(key) for key in ("startAt", "stopAt", "timezone")}
    every_s = step_s(schedule)
    if every_s is not None:
        meaning["every_s"] = every_s
    elif schedule.get("recurrence"):
        meaning["recurrence"] = normal_rule(str(schedule["recurrence"]))
    else:
        meaning["interval"] = schedule.get("interval")
    return meaning


def normal_rule(rule: str) -> str:
    """An RRULE with its parts in order and defaults left out (RFC 5545, section 3.3.10)."""
    parts = rule.strip().upper().removeprefix("RRULE:").split(";")
    return ";".join(sorted(part for part in parts if part and part not in ("INTERVAL=1", "WKST=MO")))


def step_s(schedule: Mapping[str, Any]) -> int | None:
    """Seconds between two starts of a schedule of plain fixed steps; None for any other."""
    recurrence = schedule.get("recurrence")
    if not recurrence:
        interval = schedule.get("interval")
        whole = isinstance(interval, int | float) and interval > 0 and interval % 60 == 0
        return int(interval) if whole and interval is not None else None
    rule = _parts(str(recurrence))
    step = _STEPS_S.get(rule.pop("FREQ", ""))
    number = rule.pop("INTERVAL", "1")
    rule.pop("WKST", None)
    if step is None or not number.isdecimal() or int(number) < 1:
        return None
    frequency = next(name for name, seconds in _STEPS_S.items() if seconds == step)
    if any(name not in _ANCHORED[frequency] for name in rule):
        return None
    if rule and rule != {name: _anchor(schedule).get(name) for name in rule}:
        return None
    return step * int(number)


def other_form(schedule: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same schedule in the form that it has not: an interval becomes a recurrence and the other way round.

    None where the other form cannot say it.
    """
    every_s = step_s(schedule)
    if every_s is None:
        return None
    made = {key: schedule.get(key) for key in ("startAt", "stopAt", "timezone")}
    if schedule.get("recurrence"):
        return {**made, "interval": every_s}
    return {**made, "recurrence": rule_of(every_s)}


def rule_of(every_s: int) -> str:
    """The RRULE that starts every so many seconds, a multiple of 60."""
    frequency, step = next((name, step) for name, step in _STEPS_S.items() if every_s % step == 0)
    number = every_s // step
    return f"RRULE:FREQ={frequency}" + (f";INTERVAL={number}" if number > 1 else "")


def is_minutely(schedule: Mapping[str, Any] | None) -> bool:
    """Whether its rule counts minutes, which a service may refuse."""
    return schedule is not None and "FREQ=MINUTELY" in str(schedule.get("recurrence") or "").upper()


def is_over(schedule: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether its `stopAt`, local to its `timezone`, has passed: it would never start again."""
    stop = _local(schedule.get("stopAt")) if schedule else None
    if schedule is None or stop is None:
        return False
    try:
        zone: Any = ZoneInfo(str(schedule.get("timezone") or "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return stop.replace(tzinfo=stop.tzinfo or zone) < now


def _parts(rule: str) -> dict[str, str]:
    named = (part.partition("=") for part in normal_rule(rule).split(";"))
    return {name.strip(): value.strip() for name, _, value in named}


def _anchor(schedule: Mapping[str, Any]) -> dict[str, str]:
    start = _local(schedule.get("startAt"))
    if start is None:
        return {}
    return {
        "BYDAY": _DAYS[start.weekday()],
        "BYHOUR": str(start.hour),
        "BYMINUTE": str(start.minute),
        "BYSECOND": str(start.second),
    }


def _local(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
