"""A create whose answer was lost: was it carried out? Looked for at once, and again one request timeout later.

Ours is what was absent before the first write, belongs to the creating identity, has the same name and space, and was
created after the intent by the server's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.clock import Clock

# Clocks of one service's parts differ a little, and its `Date` header has whole seconds.
_CLOCK_MARGIN = timedelta(seconds=5)


@frozen(kw_only=True)
class Wanted:
    """What the lost create was to make. `marker`: a shell's description, empty for others.

    `operation`: the list it would show in. `connector_id`: of a connection.
    """

    name: str
    space_id: str
    creator_id: str
    marker: str
    since: datetime
    operation: str = "automation.list"
    connector_id: str = ""


async def find_created(
    client: CloudClient, wanted: Wanted, *, before: Collection[str], ours: Collection[str], clock: Clock, wait: bool
) -> list[str]:
    """The ids that the lost create may have made: none, the one, or more than one, which nobody may guess from.

    `before`: ids that were there before the first write. `ours`: ids that other creates of this run made.
    """
    found = await _look(client, wanted, before, ours)
    if not found and wait:
        await clock.sleep(client.endpoint.limits.timeout_s)
        found = await _look(client, wanted, before, ours)
    return found


async def _look(client: CloudClient, wanted: Wanted, before: Collection[str], ours: Collection[str]) -> list[str]:
    return sorted(
        {
            str(row["id"])
            async for row in list_rows(client, wanted.operation)
            if row["id"] not in before and row["id"] not in ours and _is_ours(row, wanted)
        }
    )


def _is_ours(row: Mapping[str, Any], wanted: Wanted) -> bool:
    if row.get("name") != wanted.name or (row.get("spaceId") or "") != wanted.space_id:
        return False
    if str(row.get("ownerId") or "") != wanted.creator_id:
        return False
    if wanted.marker and row.get("description") not in (None, "", wanted.marker):
        return False
    if wanted.connector_id and row.get("connectorId") != wanted.connector_id:
        return False
    created = parse_time(row.get("createdAt"))
    return created is None or created >= wanted.since - _CLOCK_MARGIN


def parse_time(text: object) -> datetime | None:
    """A time of the API, aware; None for what is none. Source: samples such as `2021-12-23T12:28:21.000000Z`."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
