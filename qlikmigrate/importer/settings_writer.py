"""Raises the target's limit of concurrent runs to the source's; only a rollback of that lowers it again.

Source: openapi/workflows-automations.json, `updateAutomationsSettings`: 409 is documented for the PUT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ConflictError,
    ForbiddenError,
    MissingError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import SettingsAction, Step

_KEY = "settings"
_MEMBER = "maxConcurrentRunsPerAutomation"


async def raise_settings(
    client: CloudClient, action: SettingsAction, journal: Journal, server_now: Callable[[], datetime]
) -> ApiError | None:
    """Bring the setting to at least `action.after`; what stood in the way, or None.

    Raises:
        AuthError, FailedError: the tenant cannot be worked with at all; resumable.
    """
    if Step.PUT in journal.state.of(_KEY).steps:
        return None
    try:
        for last in (False, True):
            if await _current(client) >= action.after:
                break
            # An intent is proof that we wrote: where it is high enough, a rollback has nothing to lower.
            journal.intend(_KEY, Step.PUT, since=server_now())
            try:
                await client.call("settings.put", body={_MEMBER: action.after})
                break
            except ConflictError:
                if last:
                    raise
    except (UnauthorizedError, UnreachableError):
        raise
    except ApiError as error:
        journal.fail(_KEY, error.code)
        return error
    journal.done(_KEY, Step.PUT, "")
    return None


async def lower_settings(client: CloudClient, action: SettingsAction) -> None:
    """Bring the setting back to `action.before`; it was read right before.

    Raises:
        ApiError: it was not carried out.
    """
    try:
        await client.call("settings.put", body={_MEMBER: action.before})
    except ConflictError:
        if await read_max_runs(client) != action.after:
            raise
        await client.call("settings.put", body={_MEMBER: action.before})


async def read_max_runs(client: CloudClient) -> int | None:
    """The setting as it is now; None where it cannot be read."""
    try:
        value = (await client.call("settings.get")).json()
    except (ForbiddenError, MissingError, UnsupportedError):
        return None
    found = value.get(_MEMBER) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) else None


async def _current(client: CloudClient) -> int:
    value = (await client.call("settings.get")).json()
    found = value.get(_MEMBER) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) else 0
