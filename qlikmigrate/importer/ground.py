"""What automations stand on: settings, spaces with their people, connections. Laid before any of them is created.

What stands on something that failed waits for it, so that a resume brings both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.connection_writer import ConnectionWriter
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import Action, ConnectionAction, Plan, Verb
from qlikmigrate.importer.result import Task, count, outcome_of
from qlikmigrate.importer.runbook import consent_tasks, person_of
from qlikmigrate.importer.settings_writer import raise_settings
from qlikmigrate.importer.space_writer import SpaceWriter
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Outcome, Problem, Severity, Sink
from qlikmigrate.model.kind import Kind

_SETTING = "maxConcurrentRunsPerAutomation"


@frozen(kw_only=True)
class Waiting:
    """Why an automation does not begin. `code` is a stable word."""

    code: str
    reason: str


class Ground:
    """The ground of one run. `spaces`: source id → id of those that the plan creates."""

    def __init__(
        self,
        plan: Plan,
        client: CloudClient,
        target: Target,
        journal: Journal,
        values: Values,
        clock: Clock,
        server_now: Callable[[], datetime],
        sink: Sink,
    ) -> None:
        self._plan = plan
        self._client = client
        self._target = target
        self._journal = journal
        self._now = server_now
        self._sink = sink
        self._space_writer = SpaceWriter(client, journal, server_now, sink)
        self._connections = ConnectionWriter(
            client,
            journal,
            values,
            clock,
            server_now,
            sink,
            caller_id=target.caller.user_id,
            before=plan.target.fingerprint.get(Kind.CONNECTION.value, {}),
        )
        self._settings_error: ApiError | None = None
        self._problems: list[Problem] = []
        self.spaces: dict[str, str] = {}

    @property
    def connections(self) -> Mapping[str, str]:
        """Source id → id of the connections that the run made."""
        return self._connections.made

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was met while it was laid."""
        return (*self._problems, *self._space_writer.problems, *self._connections.problems)

    async def lay(self) -> None:
        """Settings, spaces, connections, in this order; what is done already is passed over.

        Raises:
            AuthError, FailedError: the tenant cannot be worked with, or a space cannot be created; resumable.
        """
        plan = self._plan
        if plan.settings is not None:
            self._settings_error = await raise_settings(self._client, plan.settings, self._journal, self._now)
            if self._settings_error is not None:
                self._note_settings(self._settings_error)
        self.spaces = await self._space_writer.create(plan.spaces)
        if self._target.can_impersonate:
            # Owners are no members: what is created as them in their new space needs them to own it by then.
            await self._space_writer.hand_over(plan.spaces)
        await self._connections.create(plan.connections, self.spaces)

    async def hand_over(self) -> None:
        """Give the spaces to their owners, once nothing more is written into them."""
        await self._space_writer.hand_over(self._plan.spaces)

    def sound_connections(self) -> list[tuple[str, str]]:
        """(source id, id) of those made and complete."""
        return [pair for pair in self.connections.items() if pair[0] not in self._connections.failed]

    def blocked(self) -> dict[str, Waiting]:
        """Source id of an automation → why it has to wait."""
        found: dict[str, Waiting] = {}
        if self._plan.settings is not None and self._settings_error is not None:
            high = [one for one in self._plan.actions if _runs(one) > self._plan.settings.before]
            waits = Waiting(code="settings-failed", reason=f"waits for {_SETTING}")
            found |= {one.source_id: waits for one in high}
        for one in self._plan.connections:
            if one.source_id in self._connections.failed:
                waits = Waiting(code="connection-failed", reason=f"waits for connection `{one.name}`")
                found |= dict.fromkeys(one.used_by, waits)
        return found

    def connection_outcomes(self) -> dict[str, Outcome]:
        """By source id."""
        found: dict[str, Outcome] = {}
        for one in self._plan.connections:
            error = self._connections.failed.get(one.source_id)
            target_id = self.connections.get(one.source_id) or one.target_id
            code, reason = (error.code, error.reason) if error else ("", "")
            if one.verb is Verb.CREATE and not error and not target_id:
                code, reason = "not-started", "stopped before its turn"
            found[one.source_id] = outcome_of(one, target_id=target_id, code=code, reason=reason)
        return found

    def other_outcomes(self) -> list[Outcome]:
        """Spaces and settings."""
        found = [
            Outcome(
                kind="space",
                source_id=one.source_id,
                target_id=self.spaces.get(one.source_id),
                name=one.name,
                action="create",
                status="done",
            )
            for one in self._plan.spaces
        ]
        if self._plan.settings is not None:
            error = self._settings_error
            found.append(
                Outcome(
                    kind="settings",
                    source_id=None,
                    target_id=None,
                    name=_SETTING,
                    action="update",
                    status="failed" if error else "done",
                    code=error.code if error else "",
                    reason=error.message if error else f"raised to {self._plan.settings.after}",
                )
            )
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """By kind; each kind's numbers add up to its `selected`."""
        plan = self._plan
        counts = {
            "connections": count({one.source_id: one for one in plan.connections}, self.connection_outcomes()),
            "spaces": {"selected": len(plan.spaces), "created": len(self.spaces), "failed": 0},
        }
        if plan.settings is not None:
            failed = int(self._settings_error is not None)
            counts["settings"] = {"selected": 1, "updated": 1 - failed, "failed": failed}
        return counts

    def tasks(self) -> list[Task]:
        """Consents that only a connection's owner can give, and what else of the ground is left for people."""
        waiting = [(one, self.connections[one.source_id]) for one in self._plan.connections if self._waits(one)]
        tasks = consent_tasks(waiting, self._target.inventory)
        owners = {f"connection {one.source_id}": one.owner_id for one in self._plan.connections if one.used_by}
        for problem in self._plan.problems:
            if problem.severity is Severity.TODO and problem.where in owners | dict.fromkeys(self._new_spaces(), ""):
                tasks.append(
                    Task(
                        code=problem.code,
                        person=person_of(owners.get(problem.where, ""), self._target.inventory),
                        message=problem.message,
                        where=problem.where,
                        hint=problem.hint,
                    )
                )
        return tasks

    def _new_spaces(self) -> list[str]:
        return [f"space {one.source_id}" for one in self._plan.spaces]

    def _waits(self, one: ConnectionAction) -> bool:
        """This process saw it, or the journal says that an earlier one did."""
        noted = self._journal.state.of(f"connection:{one.source_id}").consent
        return one.source_id in self.connections and (noted or one.source_id in self._connections.consents)

    def _note_settings(self, error: ApiError) -> None:
        message = f"{_SETTING} was not raised: {error.message}"
        problem = Problem(code=error.code, severity=Severity.ERROR, message=message, where="settings")
        self._problems.append(problem)
        self._sink(problem)


def _runs(action: Action) -> int:
    return action.max_concurrent_runs or 0
