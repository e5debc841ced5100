"""Runs that are still under way on an automation: seen, waited for within a limit, or stopped."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, InvalidError, OutcomeUnknownError
from qlikmigrate.importer.side import Leg
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.clock import Clock

# Source: openapi/workflows-automations.json, `status` of a run; `paused` from the automations' lastRunStatus.
ACTIVE = ("running", "starting", "queued", "not started", "must stop", "paused")
_FIRST_POLL_S = 2.0
_LONGEST_POLL_S = 30.0


class Running(StrEnum):
    """What is done about running jobs."""

    WAIT = "wait"
    STOP = "stop"


class StillRunningError(Exception):
    """Jobs were still running when the limit was reached; `count` of them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


async def active_runs(leg: Leg) -> list[str]:
    """Ids of the runs that are under way.

    Raises:
        ApiError: they cannot be seen.
    """
    client = leg.side.client
    try:
        asked = " or ".join(f'status eq "{status}"' for status in ACTIVE)
        return await _active(client, leg.id, {"filter": asked})
    except InvalidError:
        # A tenant that does not take the filter shows them all.
        return await _active(client, leg.id, {})


async def _active(client: CloudClient, ident: str, query: dict[str, str | int | bool]) -> list[str]:
    rows = list_rows(client, "run.list", query, automation_id=ident)
    return [str(row["id"]) async for row in rows if row.get("status") in ACTIVE]


async def settle_runs(leg: Leg, how: Running, *, limit_s: float, clock: Clock, waiting: Callable[[int], None]) -> None:
    """Come back when nothing runs any more. `waiting` hears how many still do, each time it was looked.

    Raises:
        StillRunningError: the limit was reached.
        ApiError: runs cannot be seen, or not be stopped.
    """
    began, pause_s = clock.monotonic(), _FIRST_POLL_S
    asked_to_stop: set[str] = set()
    while running := await active_runs(leg):
        if clock.monotonic() - began >= limit_s:
            raise StillRunningError(len(running))
        if how is Running.STOP:
            for run_id in running:
                if run_id not in asked_to_stop:
                    await _stop(leg, run_id)
                    asked_to_stop.add(run_id)
        waiting(len(running))
        await clock.sleep(min(pause_s, max(0.1, limit_s - (clock.monotonic() - began))))
        pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)


async def _stop(leg: Leg, run_id: str) -> None:
    try:
        await leg.side.client.call("run.stop", automation_id=leg.id, id=run_id)
    except OutcomeUnknownError:
        # The next look tells whether it was stopped.
        return
    except ApiError as error:
        if error.status not in (404, 409):
            raise
        # It ended on its own.
