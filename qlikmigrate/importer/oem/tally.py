"""What a run into an OEM account has come to so far, and its result: outcomes, problems, counts that add up."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.oem.account_writer import ACCOUNT_KEY
from qlikmigrate.importer.oem.connection_writer import OemConnectionWriter
from qlikmigrate.importer.oem.runbook import connection_tasks, consent_tasks, tasks_of
from qlikmigrate.importer.oem.window import WindowOpenError
from qlikmigrate.importer.plan import Action, Plan, Step, Verb
from qlikmigrate.importer.result import ObjectError, Result, Task, count, outcome_of
from qlikmigrate.kernel.event import Outcome, Problem, Severity, Sink
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemHolding


@define
class Tally:
    """Takes down what happens. `account`: guid of the target's; `base`: the API's address.

    `failed`: by action number; `drifted`: those that differ when read back; `unfinished`: whose setup a person has to
    go through. `alarms`: sentences that nobody may overlook. `stopped`: nothing new is begun.
    """

    plan: Plan
    journal: Journal
    sink: Sink
    account: str
    base: str
    abort_on_error: bool = False
    failed: dict[int, ObjectError] = field(factory=dict)
    drifted: set[int] = field(factory=set)
    unfinished: set[int] = field(factory=set)
    problems: list[Problem] = field(init=False)
    alarms: list[str] = field(factory=list)
    stopped: bool = False
    actions: dict[int, Action] = field(init=False)
    by_source: dict[str, Action] = field(init=False)
    ended_before: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.actions = {action.seq: action for action in self.plan.actions}
        self.by_source = {action.source_id: action for action in self.plan.actions}
        self.problems = list(self.plan.told)
        self.ended_before = self.journal.state.finished

    def target_id(self, action: Action) -> str:
        """Its id at the target; empty where it has none."""
        return self.journal.state.of(str(action.seq)).target_id or action.target_id or ""

    def steps(self, action: Action) -> list[Step]:
        """What was carried out of it."""
        return self.journal.state.of(str(action.seq)).steps

    def is_complete(self, action: Action) -> bool:
        """Whether every write of it was carried out, switching it on apart."""
        done = self.steps(action)
        return all(step in done for step in action.steps if step is not Step.ENABLE)

    def is_on(self, action: Action) -> bool:
        """Whether it was switched on on purpose: by this run, by `activate`, or by people since it ended."""
        known = (self.journal.state.objects.get(key) for key in (str(action.seq), f"activate:{action.seq}"))
        return self.ended_before or any(
            one is not None and (Step.ENABLE in one.steps or one.in_doubt is Step.ENABLE) for one in known
        )

    def fail(self, action: Action, error: ObjectError) -> None:
        """The work on one automation cannot go on."""
        self.failed[action.seq] = error
        self.note(error.code, Severity.ERROR, f"`{action.name}`: {error.reason}", f"automation {action.source_id}")
        if self.abort_on_error:
            self.stopped = True

    def note(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        """A problem."""
        problem = Problem(code=code, severity=severity, message=message, where=where, hint=hint)
        self.problems.append(problem)
        self.sink(problem)

    def result(
        self,
        holding: OemHolding,
        connections: OemConnectionWriter,
        others: tuple[Problem, ...],
        fatal: WindowOpenError | None,
    ) -> Result:
        """Everything so far. `others`: problems that were told elsewhere. A run that is whole is finished with this."""
        outcomes = {seq: self._outcome(action) for seq, action in self.actions.items()}
        linked = self._linked(connections)
        everything = (self._account_outcome(), *linked.values(), *outcomes.values())
        for one in everything:
            self.sink(one)
        failed = sum(1 for one in everything if one.status == "failed")
        if not failed and fatal is None and not self.journal.state.finished:
            self.journal.finish()
        return Result(
            outcomes=everything,
            problems=tuple(dict.fromkeys((*self.problems, *others))),
            tasks=self._tasks(holding, connections, outcomes),
            ids=self._ids(connections, outcomes),
            counts={
                "automations": count(self.actions, outcomes),
                "connections": count({one.source_id: one for one in self.plan.connections}, linked),
            },
            failed=failed,
            differing=len(self.drifted),
            windows=self._windows(),
            alarms=tuple(dict.fromkeys(self.alarms)),
            fatal=fatal,
        )

    def _outcome(self, action: Action) -> Outcome:
        error = self.failed.get(action.seq)
        code, reason = (error.code, error.reason) if error else ("", "")
        if not error and action.verb in (Verb.CREATE, Verb.UPDATE) and not self.is_complete(action):
            code, reason = "not-started", "stopped before its turn"
        return outcome_of(action, target_id=self.target_id(action) or None, code=code, reason=reason)

    def _linked(self, connections: OemConnectionWriter) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for one in self.plan.connections:
            failure = connections.failed.get(one.source_id)
            ident = connections.found.get(one.source_id) or one.target_id
            code, reason = (failure.code, failure.reason) if failure else ("", "")
            if one.verb is Verb.CREATE and not failure and not ident:
                code, reason = "not-started", "stopped before its turn"
            found[one.source_id] = outcome_of(one, target_id=ident, code=code, reason=reason)
        return found

    def _account_outcome(self) -> Outcome:
        account = self.plan.account
        assert account is not None
        made = Step.CREATE in self.journal.state.of(ACCOUNT_KEY).steps
        return Outcome(
            kind="account",
            source_id=account.source_id,
            target_id=self.account,
            name=account.name,
            action="create" if made else "none",
            status="done",
        )

    def _tasks(
        self, holding: OemHolding, connections: OemConnectionWriter, outcomes: Mapping[int, Outcome]
    ) -> tuple[Task, ...]:
        waiting = [
            (one, connections.waiting[one.source_id])
            for one in self.plan.connections
            if one.source_id in connections.waiting
        ]
        return (
            *consent_tasks(waiting),
            *connection_tasks(self.plan.connections),
            *tasks_of(self.plan, holding, outcomes, base=self.base, unfinished=self.unfinished),
        )

    def _windows(self) -> dict[str, float]:
        found = {}
        for action in self.actions.values():
            done = self.journal.state.objects.get(str(action.seq))
            if done is not None and done.window_s is not None and done.target_id:
                found[done.target_id] = done.window_s
        return found

    def _ids(
        self, connections: OemConnectionWriter, outcomes: Mapping[int, Outcome]
    ) -> tuple[tuple[str, str, str], ...]:
        ids = [("account", self.plan.archive.tenant_id, self.account)]
        ids += [(row.kind.value, row.source_id, row.target_id) for row in self.plan.rows
                if row.target_id and row.kind is Kind.TEMPLATE]  # fmt: skip
        ids += [("connection", *pair) for pair in connections.found.items()]
        ids += [("automation", self.actions[seq].source_id, one.target_id)
                for seq, one in outcomes.items() if one.target_id]  # fmt: skip
        return tuple(ids)
