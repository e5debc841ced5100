"""Schedules and states that people hand in, in one file: checked as a whole before anything is asked of an account.

A cell that is empty says nothing: whatever it would be is then unknown, never off.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attrs import field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.oem import AVAILABLE, DISABLED, INTERVALS, SCHEDULE_FIELDS

COLUMNS = ("automation", *SCHEDULE_FIELDS, "state")
_TIME = "%Y-%m-%d %H:%M:%S"


@frozen(kw_only=True)
class ScheduleEntry:
    """What a line says of one automation. `word`: its guid or its name. `value`: only what is said."""

    word: str
    value: Mapping[str, str | int] = field(repr=False)

    def document(self) -> bytes:
        """As a snapshot keeps it."""
        return json.dumps(self.value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read_schedules(path: Path) -> tuple[ScheduleEntry, ...]:
    """The entries of a CSV file with a header line, or of a JSON file with an array of objects.

    Raises:
        UsageError: it cannot be read, or says something that the API would not take.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the schedules {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the schedules {path} are no UTF-8 text") from None
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text)
    entries = []
    for place, row in rows:
        try:
            entries.append(_entry(row))
        except ValueError as error:
            raise UsageError(f"{path}, {place}: {error}") from None
    words = [one.word for one in entries]
    for word in words:
        if words.count(word) > 1:
            raise UsageError(f"{path} names the automation `{word}` twice")
    return tuple(entries)


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    head = text.partition("\n")[0]
    # What a spreadsheet writes where the comma is a part of numbers.
    separator = ";" if ";" in head and "," not in head else ","
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV: {error}") from None
    columns = [one.strip() for one in lines[0]] if lines else []
    if "automation" not in columns or len(set(columns)) != len(columns):
        raise UsageError(f"{path} has no header line with each column once", hint=f"columns: {', '.join(COLUMNS)}")
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise UsageError(f"{path}, line {number}: {len(cells)} cells under {len(columns)} columns")
        yield f"line {number}", dict(zip(columns, cells, strict=True))


def _json_rows(path: Path, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no JSON") from None
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise UsageError(f"{path} is no array of objects", hint=f"members: {', '.join(COLUMNS)}")
    for number, one in enumerate(value, 1):
        yield f"entry {number}", one


def _entry(row: Mapping[str, Any]) -> ScheduleEntry:
    """Raises: ValueError with what is wrong."""
    if unknown := sorted(set(row) - set(COLUMNS)):
        raise ValueError(f"no column is called `{unknown[0]}`; there are: {', '.join(COLUMNS)}")
    told: dict[str, str] = {}
    for key, value in row.items():
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise ValueError(f"`{key}` is no text")
        if value is not None and str(value).strip():
            told[key] = str(value).strip()
    word = told.pop("automation", "")
    if not word:
        raise ValueError("`automation` is empty: the guid or the name of one is wanted")
    return ScheduleEntry(word=word, value=_checked(told))


def _checked(told: Mapping[str, str]) -> dict[str, str | int]:
    found: dict[str, str | int] = dict(told)
    times = {key: _time(key, told[key]) for key in ("schedule_start_at", "schedule_stop_at") if key in told}
    if len(times) > 1 and times["schedule_stop_at"] <= times["schedule_start_at"]:
        raise ValueError("`schedule_stop_at` is not after `schedule_start_at`")
    if "schedule_interval" in told:
        found["schedule_interval"] = _interval(told["schedule_interval"])
    elif told.keys() & set(SCHEDULE_FIELDS):
        raise ValueError("a schedule needs `schedule_interval`: -1 is off, 0 once, else seconds")
    if "schedule_timezone" in told:
        _check_zone(told["schedule_timezone"])
    if told.get("state", AVAILABLE) not in (AVAILABLE, DISABLED):
        raise ValueError(f"`state` is `{AVAILABLE}` or `{DISABLED}`, not `{told['state']}`")
    return found


def _time(key: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, _TIME)
    except ValueError:
        raise ValueError(f"`{key}` is no time like 2026-01-31 07:00:00: `{text}`") from None


def _interval(text: str) -> int:
    if text.removeprefix("-").isdecimal() and int(text) in INTERVALS:
        return int(text)
    raise ValueError(f"`schedule_interval` is none of {', '.join(map(str, INTERVALS))}: `{text}`")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"`schedule_timezone` is no zone like Europe/London: `{name}`") from None
