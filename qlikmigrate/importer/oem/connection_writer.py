"""Creates the connections of a plan, each once. Values go into the request and nowhere else; links are not kept.

Credentials are write-only; where a person must agree, the answer holds a link for that person, which is fetched anew
when somebody asks for it. Source: the vendor's pages "Create datasource in account" and "Get datasource in account".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qlikmigrate.api.error import ApiError, OutcomeUnknownError, ServerError, UnauthorizedError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.connection_plan import Values, values_of
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import ConnectionAction, Step, Verb
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemConnection, connection_of
from qlikmigrate.model.snapshot import parse

_MAX_CREATES = 3


def key_of(action: ConnectionAction) -> str:
    """The connection's key in journals."""
    return f"connection:{action.source_id}"


class OemConnectionWriter:
    """Carries out connection actions. `ready`: source id → target id of what may be handed over; `waiting`: of what a
    person must connect first; `failed`: of what there is not."""

    def __init__(
        self, client: OemClient, account: str, journal: Journal, values: Values, clock: Clock, sink: Sink
    ) -> None:
        self._client = client
        self._account = account
        self._journal = journal
        self._values = values
        self._clock = clock
        self._sink = sink
        self.ready: dict[str, str] = {}
        self.waiting: dict[str, str] = {}
        self.failed: dict[str, ObjectError] = {}
        self.problems: list[Problem] = []

    @property
    def found(self) -> dict[str, str]:
        """Source id → target id of all that there are."""
        return {**self.ready, **self.waiting}

    async def settle(self, actions: Collection[ConnectionAction], *, begin: bool) -> None:
        """Create one after the other what is missing, and see which of all can be used. `begin`: False: only look.

        Raises:
            AuthError, FailedError: the service cannot be worked with at all; resumable.
        """
        for action in actions:
            ident = action.target_id or ""
            try:
                if action.verb is Verb.CREATE:
                    ident = await self._create(action, begin=begin)
                if ident:
                    await self._stand(action, ident)
            except (UnauthorizedError, UnreachableError) as error:
                self._journal.fail(key_of(action), error.code, in_doubt=True)
                raise
            except ApiError as error:
                self._journal.fail(key_of(action), error.code, in_doubt=isinstance(error, OutcomeUnknownError))
                self._fail(action, ObjectError(error.code, error.message))
            except ObjectError as error:
                self._journal.fail(key_of(action), error.code, in_doubt=error.code == "create-ambiguous")
                self._fail(action, error)

    async def _create(self, action: ConnectionAction, *, begin: bool) -> str:
        key = key_of(action)
        state = self._journal.state.of(key)
        if Step.CREATE in state.steps:
            return str(state.target_id)
        if not begin:
            return ""
        if state.in_doubt is Step.CREATE and (found := await self._look(action)):
            self._journal.done(key, Step.CREATE, found)
            return found
        body = self._body(action)
        for _ in range(_MAX_CREATES):
            before = {one.id for one in await self._list()}
            self._journal.intend(key, Step.CREATE, since=self._clock.now(), before=before)
            try:
                answer = await self._client.call("datasource.create", account=self._account, body=body)
                ident = connection_of(answer.json() or {}).id or await self._look(action)
            except OutcomeUnknownError:
                ident = await self._look(action)
            except (UnauthorizedError, UnreachableError, ServerError):
                raise
            except ApiError:
                # An answer that says no is believed only after a look.
                if not (ident := await self._look(action, again=False)):
                    raise
            if ident:
                self._journal.done(key, Step.CREATE, ident)
                return ident
        raise ObjectError("outcome-unknown", "the create was lost again and again")

    def _body(self, action: ConnectionAction) -> dict[str, Any]:
        values = values_of(Entity(kind=Kind.CONNECTION, id=action.source_id, name=action.name), self._values)
        if set(values) != set(action.params):
            reason = "the secrets file no longer has the parameters that the plan was made with"
            raise ObjectError("secrets-changed", reason)
        body: dict[str, Any] = {"name": action.name, "connector_guid": action.connector_id}
        if action.params:
            body["params"] = {name: values[name].reveal() for name in action.params}
        return body

    async def _list(self) -> list[OemConnection]:
        return [connection_of(parse(raw)) async for raw in self._client.rows("datasource.list", account=self._account)]

    async def _look(self, action: ConnectionAction, *, again: bool = True) -> str:
        """What the create in doubt made: at once, and `again` one request timeout later."""
        key = key_of(action)
        ours = {one.target_id for each, one in self._journal.state.objects.items() if each != key}
        for pause in (0.0, self._client.endpoint.limits.timeout_s) if again else (0.0,):
            await self._clock.sleep(pause)
            passed = self._journal.state.of(key).before | ours
            hits = sorted(
                one.id
                for one in await self._list()
                if one.id not in passed and (one.name, one.connector_id) == (action.name, action.connector_id)
            )
            if len(hits) > 1:
                raise ObjectError("create-ambiguous", "a lost create may have made any of: " + ", ".join(hits))
            if hits:
                return hits[0]
        return ""

    async def _stand(self, action: ConnectionAction, ident: str) -> None:
        """Whether it can be used, or waits for a person's consent. The link that says so is passed over."""
        value = (await self._client.call("datasource.get", account=self._account, datasource=ident)).json() or {}
        one = connection_of(value)
        if one.connected is not False:
            self.ready[action.source_id] = ident
        elif link_in(value):
            self.waiting[action.source_id] = ident
            self._journal.consent(key_of(action))
        else:
            self.ready[action.source_id] = ident
            self._tell("connection-not-connected", Severity.WARNING,
                       f"connection `{action.name}` is there and does not connect", f"connection {ident}")  # fmt: skip

    def _fail(self, action: ConnectionAction, error: ObjectError) -> None:
        self.failed[action.source_id] = error
        where = f"connection {action.source_id}"
        self._tell(error.code, Severity.ERROR, f"connection `{action.name}`: {error.reason}", where)

    def _tell(self, code: str, severity: Severity, message: str, where: str) -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where)
        self.problems.append(problem)
        self._sink(problem)


def link_in(value: dict[str, Any]) -> str | None:
    """Where a person connects it. Source: `additional.link` of a write's answer, `link` of a disconnected one's."""
    additional = value.get("additional")
    found = value.get("link") or (additional.get("link") if isinstance(additional, dict) else None)
    return found if isinstance(found, str) and found else None
