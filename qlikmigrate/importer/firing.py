"""When a schedule starts an automation: the instants that follow from it. Pure; nothing is asked of the service.

An `interval` counts in elapsed time from `startAt`; a `recurrence` (RFC 5545) counts on the clock of its time zone. A
time that a change of clocks skips is taken by the offset before it, one that comes twice is the first of the two.
Source: openapi/workflows-automations.json, `schedules`; Qlik's changelog 258. Assumed: a schedule without `startAt`
that has an interval only counts from a moment that nobody tells, so no instants follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from qlikmigrate.model.schedule import real_schedule

_STEPS = {
    "SECONDLY": timedelta(seconds=1),
    "MINUTELY": timedelta(minutes=1),
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}
_UNTIL = re.compile(r"UNTIL=(\d{8})(?:T(\d{6})(Z?))?", re.IGNORECASE)
# A rule that never comes true must end somewhere; a rule in short steps sooner, as each step costs time.
_HORIZON = timedelta(days=5 * 366)
_HORIZONS = {"SECONDLY": timedelta(days=2), "MINUTELY": timedelta(days=45), "HOURLY": timedelta(days=400)}


def firings(schedules: Any, *, after: datetime, before: datetime | None = None, limit: int = 100) -> list[datetime]:
    """The instants (aware, UTC) after `after` and not after `before` at which a document's `schedules` start it.

    At most `limit`, the first ones. None follow from what is no schedule, or one that cannot be understood.
    """
    schedule = real_schedule(schedules)
    if schedule is None or limit <= 0:
        return []
    found: list[datetime] = []
    try:
        for moment in _instants(schedule, after):
            if before is not None and moment > before:
                break
            if moment > after and moment not in found[-1:]:
                found.append(moment)
                if len(found) == limit:
                    break
    except (ValueError, TypeError, OverflowError, OSError):
        # An unknown zone (ZoneInfoNotFoundError is a KeyError) is caught where the zone is made.
        return []
    return found


def _instants(schedule: Mapping[str, Any], after: datetime) -> Iterator[datetime]:
    zone = _zone(schedule.get("timezone"))
    start, stop = _local(schedule.get("startAt")), _local(schedule.get("stopAt"))
    end = _instant(stop, zone) if stop else None
    rule = schedule.get("recurrence")
    moments = _recurring(str(rule), start, zone, after) if rule else _spaced(schedule, start, zone, after)
    for moment in moments:
        if end is not None and moment > end:
            return
        yield moment


def _spaced(schedule: Mapping[str, Any], start: datetime | None, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    if start is None:
        return
    step = timedelta(seconds=float(schedule["interval"]))
    first = _instant(start, zone)
    moment = first + max(0, (after - first) // step) * step
    while True:
        yield moment
        moment += step


def _recurring(text: str, start: datetime | None, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    local_after = after.astimezone(zone).replace(tzinfo=None)
    text = _UNTIL.sub(lambda match: _local_until(match, zone), text.strip().removeprefix("RRULE:"))
    begin = start or local_after.replace(hour=0, minute=0, second=0, microsecond=0)
    parts = dict(part.upper().split("=", 1) for part in text.split(";") if "=" in part)
    frequency, counted = parts.get("FREQ", ""), "COUNT" in parts
    if frequency in _STEPS and not counted and local_after > begin:
        # Whole periods are skipped: a rule in minutes that began years ago would else be walked through.
        period = _STEPS[frequency] * int(parts.get("INTERVAL", "1"))
        begin += max(0, (local_after - begin) // period - 1) * period
    rule = rrulestr(text, dtstart=begin)
    assert isinstance(rule, rrule)
    if not counted and "UNTIL" not in parts:
        rule = rule.replace(until=max(begin, local_after) + _HORIZONS.get(frequency, _HORIZON))
    for moment in rule:
        yield _instant(moment, zone)


def _local_until(match: re.Match[str], zone: ZoneInfo) -> str:
    """UNTIL on the zone's own clock, as the beginning is."""
    moment = datetime.strptime(match[1] + (match[2] or "235959"), "%Y%m%d%H%M%S")
    if match[3]:
        moment = moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    return f"UNTIL={moment:%Y%m%dT%H%M%S}"


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(str(name or "UTC"))
    except KeyError:
        raise ValueError(f"no such time zone: {name}") from None


def _local(value: Any) -> datetime | None:
    """`YYYY-MM-DD HH:MM:SS` on the clock of the schedule's zone."""
    return datetime.fromisoformat(value).replace(tzinfo=None) if isinstance(value, str) and value else None


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)
