"""Spaces that a plan creates first. Names are unique in a tenant, so a lost create is found again by name.

Source: openapi/spaces.json: `createSpace` answers 409 when the name exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ConflictError, OutcomeUnknownError
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import SpaceAction, Step
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.error import FailedError


async def create_spaces(
    client: CloudClient, spaces: Iterable[SpaceAction], journal: Journal, server_now: Callable[[], datetime]
) -> dict[str, str]:
    """Source id → target id of every space of the plan; those that exist already are taken as they are.

    Raises:
        ApiError: one cannot be created; nothing that needs it was begun.
    """
    made: dict[str, str] = {}
    for space in spaces:
        key = f"space:{space.source_id}"
        done = journal.state.of(key)
        if Step.CREATE not in done.steps:
            journal.intend(key, Step.CREATE, since=server_now())
            journal.done(key, Step.CREATE, await _create(client, space))
        made[space.source_id] = str(journal.state.of(key).target_id)
    return made


async def _create(client: CloudClient, space: SpaceAction) -> str:
    body = {"name": space.name, "type": space.type or "shared", "description": space.description}
    try:
        value = (await client.call("space.create", body=body)).json()
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
    except (ConflictError, OutcomeUnknownError):
        pass
    async for row in list_rows(client, "space.list", {"name": space.name}):
        if row.get("name") == space.name and row.get("type") == body["type"]:
            return str(row["id"])
    raise FailedError(f"the space `{space.name}` was not created", hint="run again with --resume")
