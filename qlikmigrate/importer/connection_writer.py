"""Creates the connections of a plan, each once. Parameter values go into the request and nowhere else.

Matched connections are never written, and no value that was read from a tenant is sent to one.
Source: openapi/workflows-automation-connections.json: a create names parameters by `name`; `redirect` is where a person
gives consent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from qlikmigrate.api.answer import Answer
from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ForbiddenError,
    MissingError,
    OutcomeUnknownError,
    UnauthorizedError,
    UnreachableError,
)
from qlikmigrate.importer.connection_plan import Values, values_of
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.lost_create import Wanted, find_created
from qlikmigrate.importer.plan import ConnectionAction, OwnerMode, Step, Verb
from qlikmigrate.importer.target import list_rows
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.inventory import Entity, as_bool
from qlikmigrate.model.kind import Kind

_MAX_CREATES = 3


class ConnectionObjectError(Exception):
    """One connection's work cannot go on. `code` is a stable word."""

    def __init__(self, *, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ConnectionWriter:
    """Carries out the steps of connection actions. `consents`: source ids whose owner must give consent."""

    def __init__(
        self,
        client: CloudClient,
        journal: Journal,
        values: Values,
        clock: Clock,
        server_now: Callable[[], datetime],
        sink: Sink,
        *,
        caller_id: str,
        before: Collection[str],
    ) -> None:
        """`before`: ids of the connections that were at the target when the plan was made."""
        self._client = client
        self._journal = journal
        self._values = values
        self._clock = clock
        self._now = server_now
        self._sink = sink
        self._caller_id = caller_id
        self._before = before
        self.made: dict[str, str] = {}
        self.failed: dict[str, ConnectionObjectError] = {}
        self.consents: set[str] = set()
        self.problems: list[Problem] = []

    async def create(self, actions: Collection[ConnectionAction], spaces: Mapping[str, str]) -> None:
        """Create one after the other. `spaces`: source id → id of those that this run made.

        Raises:
            AuthError, FailedError: the tenant cannot be worked with at all; resumable.
        """
        for action in actions:
            if action.verb is not Verb.CREATE:
                continue
            key = _key(action)
            try:
                for step in action.steps:
                    if step not in self._journal.state.of(key).steps:
                        await self._take(action, step, spaces)
            except (UnauthorizedError, UnreachableError) as error:
                self._journal.fail(key, error.code, in_doubt=True)
                raise
            except ApiError as error:
                self._journal.fail(key, error.code, in_doubt=isinstance(error, OutcomeUnknownError))
                self._fail(action, error.code, error.message)
            except ConnectionObjectError as error:
                self._journal.fail(key, error.code, in_doubt=error.code == "create-ambiguous")
                self._fail(action, error.code, error.reason)
            if Step.CREATE in self._journal.state.of(key).steps:
                self.made[action.source_id] = str(self._journal.state.of(key).target_id)

    async def _take(self, action: ConnectionAction, step: Step, spaces: Mapping[str, str]) -> None:
        match step:
            case Step.CREATE:
                await self._create(action, spaces)
            case Step.CHECK:
                await self._check(action)
            case _:
                await self._give(action, step)

    async def _create(self, action: ConnectionAction, spaces: Mapping[str, str]) -> None:
        key = _key(action)
        client = await self._client_of(action)
        space_id = action.space_id
        if space_id.startswith("new:"):
            space_id = spaces[space_id.removeprefix("new:")]
        creator = action.owner_id if action.owner_mode is OwnerMode.IMPERSONATE else self._caller_id
        state = self._journal.state.of(key)
        if state.in_doubt is Step.CREATE and state.since is not None:
            found = await self._look(client, action, space_id, state.since, state.by)
            if found:
                self._journal.done(key, Step.CREATE, found)
                return
        body = self._body(action, space_id)
        for _ in range(_MAX_CREATES):
            since = self._now()
            self._journal.intend(key, Step.CREATE, since=since, by=creator)
            try:
                ident = _id_in(await client.call("connection.create", body=body))
            except OutcomeUnknownError:
                ident = ""
            ident = ident or await self._look(client, action, space_id, since, creator)
            if ident:
                self._journal.done(key, Step.CREATE, ident)
                return
        raise ConnectionObjectError(code="outcome-unknown", reason="the create was lost again and again")

    def _body(self, action: ConnectionAction, space_id: str) -> dict[str, Any]:
        values = values_of(Entity(kind=Kind.CONNECTION, id=action.source_id, name=action.name), self._values)
        if set(values) != set(action.params):
            raise ConnectionObjectError(
                code="secrets-changed",
                reason="the secrets file no longer has the parameters that the plan was made with",
            )
        body: dict[str, Any] = {
            "connectorId": action.connector_id,
            "name": action.name,
            "params": [{"name": name, "value": values[name].reveal()} for name in action.params],
        }
        return body | ({"spaceId": space_id} if space_id else {})

    async def _look(
        self, client: CloudClient, action: ConnectionAction, space_id: str, since: datetime, creator: str
    ) -> str:
        wanted = Wanted(
            name=action.name,
            space_id=space_id,
            creator_id=creator,
            marker="",
            since=since,
            operation="connection.list",
            connector_id=action.connector_id,
        )
        ours = {one.target_id for one in self._journal.state.objects.values() if one.target_id}
        found = await find_created(client, wanted, before=self._before, ours=ours, clock=self._clock, wait=True)
        if len(found) > 1:
            raise ConnectionObjectError(
                code="create-ambiguous", reason="a lost create may have made any of: " + ", ".join(found)
            )
        return found[0] if found else ""

    async def _check(self, action: ConnectionAction) -> None:
        """Ask the service to try it; where it waits for a person's consent, that is their task."""
        key, ident = _key(action), self._id_of(action)
        client = await self._client_of(action)
        self._journal.intend(key, Step.CHECK, since=self._now())
        try:
            value = (await client.call("connection.check", id=ident)).json() or {}
            connected = as_bool(value.get("connected", value.get("is_connected")))
            if not connected:
                await self._tell_unconnected(client, action, ident)
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._tell(
                "connection-not-connected",
                Severity.WARNING,
                f"connection `{action.name}` could not be checked: {error.message}",
                f"connection {ident}",
            )
        self._journal.done(key, Step.CHECK, ident)

    async def _tell_unconnected(self, client: CloudClient, action: ConnectionAction, ident: str) -> None:
        detail = (await client.call("connection.get", id=ident)).json() or {}
        if detail.get("redirect"):
            self.consents.add(action.source_id)
            self._journal.note("consent", key=_key(action))
            return
        self._tell(
            "connection-not-connected",
            Severity.WARNING,
            f"connection `{action.name}` was created and does not connect",
            f"connection {ident}",
        )

    async def _give(self, action: ConnectionAction, step: Step) -> None:
        key, ident = _key(action), self._id_of(action)
        self._journal.intend(key, step, since=self._now())
        try:
            await self._client.call("connection.change-owner", body={"userId": action.owner_id}, id=ident)
        except (ForbiddenError, MissingError):
            # Carried out before, its answer lost: it is no longer ours to give.
            owner = await self._owner_of(ident)
            if owner not in (None, action.owner_id):
                raise
        self._journal.done(key, step, ident)

    async def _owner_of(self, ident: str) -> str | None:
        """Whose it is by the list; None where the list no longer shows it."""
        async for row in list_rows(self._client, "connection.list"):
            if row["id"] == ident:
                return str(row.get("ownerId") or "")
        return None

    async def _client_of(self, action: ConnectionAction) -> CloudClient:
        if action.owner_mode is OwnerMode.IMPERSONATE:
            return await self._client.as_user(action.owner_id)
        return self._client

    def _id_of(self, action: ConnectionAction) -> str:
        return str(self._journal.state.of(_key(action)).target_id)

    def _fail(self, action: ConnectionAction, code: str, reason: str) -> None:
        self.failed[action.source_id] = ConnectionObjectError(code=code, reason=reason)
        self._tell(code, Severity.ERROR, f"connection `{action.name}`: {reason}", f"connection {action.source_id}")

    def _tell(self, code: str, severity: Severity, message: str, where: str) -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where)
        self.problems.append(problem)
        self._sink(problem)


def _key(action: ConnectionAction) -> str:
    return f"connection:{action.source_id}"


def _id_in(answer: Answer) -> str:
    value = answer.json()
    ident = value.get("id") if isinstance(value, Mapping) else None
    return ident if isinstance(ident, str) else ""
