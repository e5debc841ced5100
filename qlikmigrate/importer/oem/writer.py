"""Completes what was installed: inputs, name, schedule, and state last; on what existed before it sets single fields.

Whether a PUT resets what it leaves out is not documented. So a PUT on what the run itself made repeats what the run has
set before, and comes out the same either way; on anything else it sends what changes and no more.
Source: the vendor's pages "Update integration" and "Set persisted inputs".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.api.error import ApiError, OutcomeUnknownError, UnauthorizedError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.oem.target import read_automation
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.oem import AVAILABLE, DISABLED, OemAutomation, Schedule

_GIVE_UP_AFTER = 3


class OemWriter:
    """Carries out the steps after an install, and those of updates. `values`: source id → stored inputs by name."""

    def __init__(
        self,
        client: OemClient,
        account: str,
        journal: Journal,
        values: Mapping[str, Mapping[str, Any]],
        clock: Clock,
        sink: Sink,
    ) -> None:
        self._client = client
        self._account = account
        self._journal = journal
        self._values = values
        self._clock = clock
        self._sink = sink
        self._unreachable_in_a_row = 0
        # Read for one step, and good for the next one, which follows at once.
        self._read: dict[str, OemAutomation] = {}
        self.problems: list[Problem] = []

    async def take(self, action: Action, step: Step) -> None:
        """Carry out one step, unless the journal says that it was.

        Raises:
            ObjectError: this automation's work cannot go on.
            AuthError, FailedError: nothing can; resumable.
        """
        key = str(action.seq)
        if step in self._journal.state.of(key).steps:
            return
        ident = self._journal.state.of(key).target_id or action.target_id or ""
        try:
            match step:
                case Step.INPUTS:
                    await self._set_inputs(action, ident)
                case Step.RENAME | Step.SCHEDULE | Step.ENABLE:
                    await self._put(action, step, ident)
                case _:
                    raise ValueError(f"no step of a writer: {step}")
            self._unreachable_in_a_row = 0
        except ApiError as error:
            self._journal.fail(key, error.code, in_doubt=isinstance(error, OutcomeUnknownError))
            self._give_up_on(error)
            raise ObjectError(error.code, error.message) from None

    def _give_up_on(self, error: ApiError) -> None:
        if isinstance(error, UnauthorizedError):
            raise error
        if isinstance(error, UnreachableError):
            self._unreachable_in_a_row += 1
            if self._unreachable_in_a_row >= _GIVE_UP_AFTER:
                raise error

    async def _set_inputs(self, action: Action, ident: str) -> None:
        """Only what the target has and what differs; what it does not have is said."""
        assert action.oem is not None
        now = self._read[ident] = await read_automation(self._client, self._account, ident)
        stored = self._values.get(action.source_id, {})
        wanted = {name: stored[name] for name in action.oem.inputs if name in stored}
        if now.inputs:
            writable = {one.name for one in now.inputs if one.is_writable}
            for name in sorted(wanted.keys() - writable):
                self._tell(
                    "input-missing",
                    f"`{action.name}`: the target's template has no input `{name}` that can be set",
                    f"automation {ident}",
                )
            wanted = {name: value for name, value in wanted.items() if name in writable}
        body = differing(wanted, now)
        key = str(action.seq)
        if body:
            self._journal.intend(key, Step.INPUTS, since=self._clock.now())
            await self._client.call("blend.set-inputs", account=self._account, blend=ident, body=body)
        self._journal.done(key, Step.INPUTS, ident)

    async def _put(self, action: Action, step: Step, ident: str) -> None:
        key = str(action.seq)
        body = put_body(action, step)
        if step is Step.RENAME:
            now = self._read.pop(ident, None) or await read_automation(self._client, self._account, ident)
            if now.name == action.name:
                self._journal.done(key, step, ident)
                return
        self._journal.intend(key, step, since=self._clock.now())
        await self._client.call("blend.update", account=self._account, blend=ident, body=body)
        self._journal.done(key, step, ident)

    def _tell(self, code: str, message: str, where: str) -> None:
        problem = Problem(code=code, severity=Severity.WARNING, message=message, where=where)
        self.problems.append(problem)
        self._sink(problem)


def differing(wanted: Mapping[str, Any], now: OemAutomation) -> dict[str, Any]:
    """Those of `wanted` that the automation has otherwise; all where it shows no inputs."""
    if not now.inputs:
        return dict(wanted)
    there = {one.name: one.value for one in now.inputs}
    return {name: one for name, one in wanted.items() if canonical_hash(one) != canonical_hash(there.get(name))}


def put_body(action: Action, step: Step) -> dict[str, Any]:
    """The members that one step sends: with all that the run set before, where the run made the automation."""
    name: dict[str, Any] = {"name": action.name}
    if action.verb is not Verb.CREATE:
        assert step is Step.RENAME
        return name
    schedule = schedule_body(action.oem.schedule if action.oem else None)
    match step:
        case Step.RENAME:
            return {**name, "state": DISABLED}
        case Step.SCHEDULE:
            return {**name, "state": DISABLED, **schedule}
        case _:
            return {**name, "state": AVAILABLE, **schedule}


def schedule_body(schedule: Schedule | None) -> dict[str, Any]:
    """A schedule's members; nothing where none is known. Source: the example, where only the end may be null."""
    members = schedule.body() if schedule is not None else {}
    return {key: value for key, value in members.items() if value is not None or key == "schedule_stop_at"}
