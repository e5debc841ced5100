"""When an OEM schedule starts its blend: each `interval` seconds from its start, and what of it is accepted.

Source: the page on updating an integration. Assumed: a schedule without a start begins when it is switched on, and its
first run comes one interval later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import evolve

from qlikmigrate.sandbox.oem.record import INTERVALS, OemSchedule
from qlikmigrate.sandbox.oem.switches import IntervalForm
from qlikmigrate.sandbox.oem.wire import RefusalError

MEMBERS = ("schedule_start_at", "schedule_stop_at", "schedule_interval", "schedule_timezone")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def changed(schedule: OemSchedule, given: Mapping[str, Any], form: IntervalForm) -> OemSchedule:
    """The schedule with the members of a request.

    Raises:
        RefusalError: 400, a member is not what it may be.
    """
    if "schedule_interval" in given:
        schedule = evolve(schedule, interval=_interval(given["schedule_interval"], form))
    if "schedule_start_at" in given:
        schedule = evolve(schedule, start_at=_moment(given["schedule_start_at"], "schedule_start_at"))
    if "schedule_stop_at" in given:
        schedule = evolve(schedule, stop_at=_moment(given["schedule_stop_at"], "schedule_stop_at"))
    if "schedule_timezone" in given:
        zone = given["schedule_timezone"]
        if not isinstance(zone, str):
            raise RefusalError("schedule_timezone is no text")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise RefusalError("schedule_timezone is not known") from None
        schedule = evolve(schedule, timezone=zone)
    return schedule


def _moment(value: Any, member: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise RefusalError(f"{member} is not YYYY-MM-DD HH:MM:SS")
    _aware(value, "UTC")
    return value


def _interval(value: Any, form: IntervalForm) -> int:
    is_text = isinstance(value, str)
    if is_text and form is IntervalForm.INTEGER_ONLY:
        raise RefusalError("schedule_interval is no integer")
    if not is_text and form is IntervalForm.STRING_ONLY:
        raise RefusalError("schedule_interval is no string")
    if isinstance(value, bool) or not isinstance(value, int | str) or str(value) not in map(str, INTERVALS):
        raise RefusalError("schedule_interval is none of those listed")
    return int(value)


def _aware(text: str | None, zone: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except ValueError:
        raise RefusalError("no such day or time") from None


def next_start(schedule: OemSchedule, activated_at: datetime, after: datetime) -> datetime | None:
    """The first moment after `after` at which it starts its blend; None: never. What starts once is asked once."""
    if schedule.interval < 0:
        return None
    start = _aware(schedule.start_at, schedule.timezone)
    stop = _aware(schedule.stop_at, schedule.timezone)
    if schedule.interval == 0:
        due = start or activated_at
        # What was due before it was switched on is over.
        if due < activated_at:
            return None
    else:
        step = timedelta(seconds=schedule.interval)
        base = start if start is not None else activated_at + step
        due = base if base > after else base + step * ((after - base) // step + 1)
    return None if stop is not None and due > stop else due
