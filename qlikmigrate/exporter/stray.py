"""The item list is a second count: automations that it names and their own list does not, if they exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, MissingError
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.inventory import Entity, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Scope


async def find_strays(
    record: Record[CloudClient], items: Iterable[Entity], present: Collection[str], scope: Scope
) -> list[Entity]:
    """Automations among `items` that are not `present` (lower-case ids) and exist, or may, by id.

    Raises:
        ApiError: the identity is refused, or the tenant is gone.
    """
    strays: list[Entity] = []

    async def look(item: Entity) -> None:
        value = None
        try:
            answer = await record.client.call("automation.get", id=item.id)
        except MissingError:
            return
        except ApiError as error:
            await record.bear(error)
            if scope is Scope.IDENTITY:
                return
        else:
            value = answer.json()
        if isinstance(value, Mapping) and str(value.get("id", "")).lower() == item.id.lower():
            one = entity(Kind.AUTOMATION, value)
            # No list has a row for it, so its own document stands in.
            record.add(Kind.AUTOMATION, one.id, Part.ROW, answer.raw)
        else:
            # It is there, or may be: who sees the whole tenant should have had it in the list.
            one = evolve(item, kind=Kind.AUTOMATION, type="")
        strays.append(one)

    named = {one.id.lower(): one for one in items if one.type == "automation"}
    unseen = [one for key, one in named.items() if key not in present]
    await fan_out(unseen, look, width=record.client.endpoint.limits.concurrency)
    return sorted(strays, key=lambda one: one.id)
