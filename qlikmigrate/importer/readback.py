"""Read back what was written and compare canonically. Drift is told by field; what cannot be read is said."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError
from qlikmigrate.importer.comparison import FIELDS, Face, face_of
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.target import read_automation
from qlikmigrate.model.inventory import entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import is_armed


@frozen(kw_only=True)
class Reading:
    """One object as it is now. `drift`: fields that differ. `readable`: False where only its list row could be seen."""

    drift: tuple[str, ...] = ()
    readable: bool = True
    enabled: bool = False
    armed: bool = False
    gone: bool = False


async def read_back(client: CloudClient, action: Action, ident: str, wanted: Face | None, space_id: str) -> Reading:
    """Compare an automation of the target with what was to be written, in the space `space_id`.

    Raises:
        ApiError: the tenant cannot be read at all.
    """
    one = entity(Kind.AUTOMATION, {"id": ident, "ownerId": action.new_owner or action.owner_id})
    try:
        _, value = await read_automation(client, one)
    except MissingError:
        return Reading(gone=True, readable=False)
    except ForbiddenError:
        return Reading(readable=False)
    drift = (*_differences(action, wanted, value, space_id), *_unsynced(action, value, space_id))
    return Reading(drift=drift, enabled=value.get("state") != "disabled", armed=is_armed(value))


def _unsynced(action: Action, value: Mapping[str, object], space_id: str) -> tuple[str, ...]:
    """Of what `--sync` brings over: what did not arrive. What is switched on comes after it was read back."""
    wrong = {
        "owner": value.get("ownerId") not in (None, action.new_owner),
        "space": (value.get("spaceId") or "") != space_id,
        "maxConcurrentRuns": value.get("maxConcurrentRuns") not in (None, action.max_concurrent_runs),
        "state": Step.DISABLE in action.steps and value.get("state") != "disabled",
    }
    return tuple(name for name in action.synced if wrong[name])


def _differences(action: Action, wanted: Face | None, value: Mapping[str, object], space_id: str) -> tuple[str, ...]:
    if wanted is None:
        return ()
    found = face_of(value)
    drift = [name for name in FIELDS if wanted.fields.get(name) != found.fields.get(name)]
    if any(found.bindings.get(block) != connection for block, connection in wanted.bindings.items()):
        drift.append("bindings")
    if action.verb is Verb.CREATE:
        if action.owner_id and value.get("ownerId") not in (None, action.owner_id):
            drift.append("owner")
        if (value.get("spaceId") or "") != space_id:
            drift.append("space")
        if Step.DISABLE in action.steps and Step.ENABLE not in action.steps and value.get("state") != "disabled":
            drift.append("state")
    return tuple(drift)
