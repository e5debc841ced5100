"""One side of a switch-over: whether an automation is on there, asked at the moment, and switching it, journalled.

What cannot be seen is `unknown`, never taken for off.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MissingError,
    UnauthorizedError,
)
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import Step
from qlikmigrate.importer.target import list_rows, read_automation
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.model.caller import caller_of
from qlikmigrate.model.inventory import entity
from qlikmigrate.model.kind import Kind

# Answers that say no: the call was not carried out.
_REFUSALS = (ForbiddenError, MissingError, InvalidError, ConflictError, UnauthorizedError)


class Standing(StrEnum):
    """Whether an automation would start at its next occasion."""

    ON = "on"
    OFF = "off"
    GONE = "gone"
    UNKNOWN = "unknown"


def standing_of(row: Mapping[str, Any]) -> Standing:
    """What a row or document says. Source: openapi/workflows-automations.json: available, unavailable, disabled."""
    state = row.get("state")
    if state in ("disabled", "unavailable"):
        return Standing.OFF
    return Standing.ON if state else Standing.UNKNOWN


@frozen(kw_only=True)
class Side:
    """A tenant as a side. `rows`: its automations by id when it was read. `whole`: the list shows everybody's."""

    word: str
    client: CloudClient
    rows: Mapping[str, Mapping[str, Any]] = field(repr=False)
    whole: bool

    def listed(self, ident: str) -> Standing:
        """As the list said when the side was read."""
        row = self.rows.get(ident)
        if row is None:
            return Standing.GONE if self.whole else Standing.UNKNOWN
        return standing_of(row)

    async def document(self, ident: str, owner_id: str) -> Mapping[str, Any] | None:
        """Its document now; None where this identity may not read it, or it is gone."""
        try:
            return (await read_automation(self.client, entity(Kind.AUTOMATION, {"id": ident, "ownerId": owner_id})))[1]
        except (ForbiddenError, MissingError):
            return None

    async def standing(self, ident: str, owner_id: str) -> Standing:
        """As it is now.

        Raises:
            ApiError: the tenant does not answer.
        """
        value = await self.document(ident, owner_id)
        if value is not None:
            return standing_of(value)
        # Lists show more than documents to some identities; the owner may be another by now.
        for query in ({"filter": f'ownerId eq "{owner_id}"'} if owner_id else {}, {}):
            async for row in list_rows(self.client, "automation.list", query):
                if row["id"] == ident:
                    return standing_of(row)
        return Standing.GONE if self.whole else Standing.UNKNOWN


async def read_side(client: CloudClient, word: str) -> Side:
    """Read a side's list of automations.

    Raises:
        AuthError: it may not be read.
    """
    rows = {str(row["id"]): row async for row in list_rows(client, "automation.list")}
    caller = caller_of((await client.whoami()).json() or {})
    return Side(word=word, client=client, rows=rows, whole=caller.bot or caller.sees_all)


@frozen(kw_only=True)
class Leg:
    """One automation on one side. `key`: its key in the journal."""

    side: Side
    key: str
    id: str
    owner_id: str

    async def standing(self) -> Standing:
        """As it is now."""
        return await self.side.standing(self.id, self.owner_id)


async def turn(leg: Leg, on: bool, *, journal: Journal, clock: Clock) -> None:
    """Switch on or off: intent, call, outcome.

    Raises:
        ApiError: it was refused, or nobody can tell; the journal knows which.
    """
    step = Step.ENABLE if on else Step.DISABLE
    journal.intend(leg.key, step, since=clock.now())
    try:
        await _call(leg, f"automation.{step.value}")
    except ApiError as error:
        journal.fail(leg.key, error.code, in_doubt=not isinstance(error, _REFUSALS))
        raise
    journal.done(leg.key, step, leg.id)


async def switch(leg: Leg, on: bool, *, journal: Journal, clock: Clock) -> None:
    """`turn`, and where the answer was an error, look what became of it.

    Raises:
        ApiError: it is not as wanted, or nobody can tell.
    """
    try:
        await turn(leg, on, journal=journal, clock=clock)
    except ApiError as error:
        try:
            reached = await leg.standing() is (Standing.ON if on else Standing.OFF)
        except ApiError:
            raise error from None
        if not reached:
            raise
        journal.done(leg.key, Step.ENABLE if on else Step.DISABLE, leg.id)


async def _call(leg: Leg, operation: str) -> None:
    client = leg.side.client
    try:
        await client.call(operation, id=leg.id)
    except (ForbiddenError, MissingError):
        if client.endpoint.impersonation is None or not leg.owner_id:
            raise
        owner = await client.as_user(leg.owner_id)
        await owner.call(operation, id=leg.id)
