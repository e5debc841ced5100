"""When an automation is armed."""

from __future__ import annotations

from typing import Any

import pytest

from qlikmigrate.model.schedule import is_armed, real_schedule, start_mode

RULE = {"recurrence": "RRULE:FREQ=DAILY", "interval": -2}
HOURLY = {"interval": 3600}
PLACEHOLDER = {"interval": -1, "startAt": None, "stopAt": None, "recurrence": None}


def start(mode: Any) -> dict[str, Any]:
    """A workspace whose StartBlock asks for `mode`."""
    return {
        "blocks": [None, {"type": "Other"}, {"type": "StartBlock", "inputs": [None, {"id": "run_mode", "value": mode}]}]
    }


@pytest.mark.parametrize(
    ("schedules", "real"),
    [
        ([], None),
        (None, None),
        ({}, None),
        ("RRULE", None),
        ([None, 3, "x"], None),
        ([PLACEHOLDER], None),
        ([{"interval": 0}], None),
        ([{"interval": None}], None),
        ([{"interval": "3600", "recurrence": ""}], None),
        ([HOURLY], HOURLY),
        ([RULE], RULE),
        ([PLACEHOLDER, RULE, HOURLY], RULE),
        ([{"interval": 60.0}], {"interval": 60.0}),
    ],
)
def test_real_schedule(schedules: Any, real: Any) -> None:
    """A recurrence, or an interval above zero; placeholders and odd forms are none."""
    assert real_schedule(schedules) == real


@pytest.mark.parametrize(
    ("workspace", "mode"),
    [
        (None, "manual"),
        ([], "manual"),
        ({}, "manual"),
        ({"blocks": None}, "manual"),
        (start(None), "manual"),
        (start("triggered"), "triggered"),
        (start("webhook"), "webhook"),
    ],
)
def test_start_mode(workspace: Any, mode: str) -> None:
    """What the StartBlock asks for; manual where nobody asks."""
    assert start_mode(workspace) == mode


@pytest.mark.parametrize(
    ("document", "armed"),
    [
        ({}, False),
        ({"runMode": "manual", "workspace": start("manual"), "schedules": [PLACEHOLDER]}, False),
        ({"runMode": None}, False),
        ({"runMode": "telepathic"}, True),
        ({"runMode": "manual", "schedules": [HOURLY]}, True),
        ({"runMode": "manual", "workspace": start("webhook")}, True),
        ({"workspace": start("triggered"), "schedules": []}, True),
        ({"runMode": "scheduled", "schedules": []}, True),
    ],
)
def test_armed(document: dict[str, Any], armed: bool) -> None:
    """Anything but manual, and any real schedule, could start it; an unknown mode counts as one that could."""
    assert is_armed(document) is armed
