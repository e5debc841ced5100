"""Spaces that a plan creates first, with their members and owner. Names are unique in a tenant, so a lost create is
found again by name; somebody who is a member already is no error.

Source: openapi/spaces.json: `createSpace` answers 409 when the name exists, `createSpaceAssignment` when the assignee
has an assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, ConflictError, OutcomeUnknownError, UnauthorizedError, UnreachableError
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import Member, SpaceAction, Step
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.kernel.event import Problem, Severity, Sink


class SpaceWriter:
    """Creates the spaces of a plan. `problems`: what did not work and stops nothing."""

    def __init__(self, client: CloudClient, journal: Journal, server_now: Callable[[], datetime], sink: Sink) -> None:
        self._client = client
        self._journal = journal
        self._now = server_now
        self._sink = sink
        self.problems: list[Problem] = []

    async def create(self, spaces: Iterable[SpaceAction]) -> dict[str, str]:
        """Source id → target id of every space; those that exist already are taken as they are.

        Raises:
            ApiError: one cannot be created; nothing that needs it was begun.
        """
        made: dict[str, str] = {}
        for space in spaces:
            key = f"space:{space.source_id}"
            if Step.CREATE not in self._journal.state.of(key).steps:
                self._journal.intend(key, Step.CREATE, since=self._now())
                self._journal.done(key, Step.CREATE, await self._create(space))
            ident = made[space.source_id] = str(self._journal.state.of(key).target_id)
            for member in space.members:
                await self._add(space, ident, member)
        return made

    async def hand_over(self, spaces: Iterable[SpaceAction]) -> None:
        """Give the new spaces to their owners."""
        for space in spaces:
            key = f"space:{space.source_id}"
            done = self._journal.state.of(key)
            if not space.owner_id or Step.CHANGE_OWNER in done.steps or not done.target_id:
                continue
            body = {"name": space.name, "description": space.description, "ownerId": space.owner_id}
            self._journal.intend(key, Step.CHANGE_OWNER, since=self._now())
            try:
                await self._client.call("space.update", body=body, id=done.target_id)
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._journal.fail(key, error.code)
                message = f"space `{space.name}` could not be given to its owner: {error.message}"
                self._tell("space-owner-failed", message, f"space {done.target_id}")
            else:
                self._journal.done(key, Step.CHANGE_OWNER, done.target_id)

    async def _create(self, space: SpaceAction) -> str:
        body = {"name": space.name, "type": space.type or "shared", "description": space.description}
        try:
            value = (await self._client.call("space.create", body=body)).json()
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                return str(value["id"])
        except (ConflictError, OutcomeUnknownError):
            pass
        async for row in list_rows(self._client, "space.list", {"name": space.name}):
            if row.get("name") == space.name and row.get("type") == body["type"]:
                return str(row["id"])
        raise FailedError(f"the space `{space.name}` was not created", hint="run again with --resume")

    async def _add(self, space: SpaceAction, ident: str, member: Member) -> None:
        key = f"member:{space.source_id}/{member.assignee_id}"
        if Step.CREATE in self._journal.state.of(key).steps:
            return
        body = {"type": member.type, "assigneeId": member.assignee_id, "roles": list(member.roles)}
        self._journal.intend(key, Step.CREATE, since=self._now())
        try:
            try:
                await self._client.call("assignment.create", body=body, space_id=ident)
            except OutcomeUnknownError:
                # Sent once more: one assignment for each assignee, so twice is once and a 409.
                await self._client.call("assignment.create", body=body, space_id=ident)
        except ConflictError:
            pass
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(key, error.code)
            message = f"user {member.assignee_id} could not be added to space `{space.name}`: {error.message}"
            self._tell("space-member-failed", message, f"space {ident}")
            return
        self._journal.done(key, Step.CREATE, ident)

    def _tell(self, code: str, message: str, where: str) -> None:
        problem = Problem(
            code=code,
            severity=Severity.WARNING,
            message=message,
            where=where,
            hint="--resume tries again; or do it by hand",
        )
        self.problems.append(problem)
        self._sink(problem)
