"""When an automation starts by itself: its schedule, its run mode, and whether it is armed.

At most one schedule counts; a placeholder (`interval: -1` with null dates) is none.
Source: Qlik's tutorial on deploying an automation to a tenant, and the workspace schema's notes on schedules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def real_schedule(schedules: Any) -> Mapping[str, Any] | None:
    """The schedule that would fire: one with a `recurrence`, or an `interval` above zero seconds."""
    if not isinstance(schedules, Sequence) or isinstance(schedules, str):
        return None
    for schedule in schedules:
        if isinstance(schedule, Mapping) and _fires(schedule):
            return schedule
    return None


def _fires(schedule: Mapping[str, Any]) -> bool:
    if schedule.get("recurrence"):
        return True
    interval = schedule.get("interval")
    return isinstance(interval, int | float) and interval > 0


def start_mode(workspace: Any) -> str:
    """The `run_mode` input of the workspace's StartBlock; `manual` where there is none."""
    if not isinstance(workspace, Mapping):
        return "manual"
    for block in workspace.get("blocks") or ():
        if isinstance(block, Mapping) and block.get("type") == "StartBlock":
            for one in block.get("inputs") or ():
                if isinstance(one, Mapping) and one.get("id") == "run_mode":
                    return str(one.get("value") or "manual")
    return "manual"


def is_armed(document: Mapping[str, Any]) -> bool:
    """Whether the automation could start without a person: a run mode other than manual, or a real schedule."""
    if real_schedule(document.get("schedules")) is not None:
        return True
    if (document.get("runMode") or "manual") != "manual":
        return True
    return start_mode(document.get("workspace")) != "manual"
