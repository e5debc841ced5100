"""Schedules as the service keeps them: at most one, a placeholder is none, a recurrence wins over an interval.

Source: openapi/workflows-automations.json, Qlik's changelog 258, Qlik's published workspace schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from qlikmigrate.sandbox.switches import BothForms, RecurrenceInterval, ScheduleForms, Switches
from qlikmigrate.sandbox.wire import bad_request

_ORDER = (
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "WKST",
    "BYMONTH",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
)
_FREQUENCY_S = {"MINUTELY": 60, "HOURLY": 3600, "DAILY": 86_400, "WEEKLY": 604_800}
_FREQUENCIES = frozenset(_FREQUENCY_S) | {"MONTHLY", "YEARLY"}
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")


def is_real(schedule: Mapping[str, Any]) -> bool:
    """Whether the schedule would start anything."""
    interval = schedule.get("interval")
    return bool(schedule.get("recurrence")) or (isinstance(interval, int | float) and interval > 0)


def keep(given: Any, switches: Switches, new_id: Callable[[], str]) -> list[dict[str, Any]]:
    """What is stored of the `schedules` of a request.

    Raises:
        ApiError: 400, what is given is no schedule.
    """
    if given is None:
        return []
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise bad_request("schedules must be an array")
    return [_keep_one(one, switches, new_id()) for one in given[:1]]


def _keep_one(one: Any, switches: Switches, ident: str) -> dict[str, Any]:
    if not isinstance(one, Mapping):
        raise bad_request("A schedule must be an object")
    recurrence = one.get("recurrence") or None
    interval = one.get("interval")
    if interval is not None and (not isinstance(interval, int | float) or isinstance(interval, bool)):
        raise bad_request("interval must be a number of seconds")
    if recurrence is not None and not isinstance(recurrence, str):
        raise bad_request("recurrence must be text")
    for name in ("startAt", "stopAt"):
        value = one.get(name)
        if value and not (isinstance(value, str) and _LOCAL.match(value)):
            raise bad_request(f"{name} must be YYYY-MM-DD HH:MM:SS")
    has_interval = interval is not None and interval > 0
    if recurrence and has_interval:
        if switches.both_forms is BothForms.REFUSED:
            raise bad_request("A schedule has either a recurrence or an interval")
        if switches.both_forms is BothForms.INTERVAL_WINS:
            recurrence = None
    if switches.schedule_forms is ScheduleForms.INTERVAL_ONLY:
        recurrence = None
    elif switches.schedule_forms is ScheduleForms.RECURRENCE_ONLY:
        interval, has_interval = -1, False
    if recurrence:
        rule = _rule(recurrence, switches)
        recurrence = _spelled(rule) if switches.rewrites_recurrence else recurrence
        interval = _interval_of(rule, switches)
    elif has_interval and interval is not None:
        interval = max(60, round(interval / 60) * 60)
    else:
        interval = -1
    made = {
        "id": ident,
        "stopAt": one.get("stopAt") or None,
        "startAt": one.get("startAt") or None,
        "interval": interval,
        "timezone": one.get("timezone") or "UTC",
        "nextRunAt": None,
        "lastStartedAt": None,
    }
    return made | ({"recurrence": recurrence} if switches.schedule_forms is not ScheduleForms.INTERVAL_ONLY else {})


def _rule(text: str, switches: Switches) -> dict[str, str]:
    rule: dict[str, str] = {}
    for part in text.removeprefix("RRULE:").strip().split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise bad_request(f"Invalid recurrence: {text}")
        rule[name.strip().upper()] = value.strip().upper()
    frequency = rule.get("FREQ")
    if frequency not in _FREQUENCIES or (frequency == "MINUTELY" and not switches.minutely_accepted):
        raise bad_request(f"Invalid recurrence frequency: {frequency}")
    if not rule.get("INTERVAL", "1").isdecimal() or int(rule.get("INTERVAL", "1")) < 1:
        raise bad_request("Invalid recurrence interval")
    return rule


def _spelled(rule: Mapping[str, str]) -> str:
    shown = {name: value for name, value in rule.items() if (name, value) != ("INTERVAL", "1")}
    names = sorted(shown, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return "RRULE:" + ";".join(f"{name}={shown[name]}" for name in names)


def _interval_of(rule: Mapping[str, str], switches: Switches) -> int | None:
    if switches.recurrence_interval is RecurrenceInterval.MINUS_TWO:
        return -2
    if switches.recurrence_interval is RecurrenceInterval.NULL:
        return None
    step = _FREQUENCY_S.get(rule["FREQ"])
    return step * int(rule.get("INTERVAL", "1")) if step else -2


def started(schedules: list[dict[str, Any]], moment: datetime) -> None:
    """Note a start on the schedule, in place."""
    for schedule in schedules:
        schedule["lastStartedAt"] = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
