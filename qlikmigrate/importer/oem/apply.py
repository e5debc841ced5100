"""Applies a plan in an OEM account: account, connections, installs, inputs, names, schedules, and state last.

Whatever an earlier process may have left on is switched off first. One automation's failure stops no other; an install
whose window cannot be closed stops everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import Entry, LedgerWriter
from qlikmigrate.importer.oem.account_writer import ACCOUNT_KEY
from qlikmigrate.importer.oem.connection_writer import OemConnectionWriter
from qlikmigrate.importer.oem.face import settable, wanted_face
from qlikmigrate.importer.oem.installer import Installer
from qlikmigrate.importer.oem.readback import OemReading, Unverifiable, read_back
from qlikmigrate.importer.oem.runbook import connection_tasks, consent_tasks, tasks_of
from qlikmigrate.importer.oem.target import list_automations, read_states
from qlikmigrate.importer.oem.window import WindowOpenError, switch_off
from qlikmigrate.importer.oem.writer import OemWriter
from qlikmigrate.importer.plan import Action, Plan, Step, Verb
from qlikmigrate.importer.result import ObjectError, Result, count, outcome_of
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import AVAILABLE, OemHolding

_AT_INSTALL = (Step.INSTALL, Step.DISABLE)


@frozen(kw_only=True)
class OemApplyInput:
    """What a run works with. `account`: guid of the target's. `run_name`: as ledgers have it."""

    plan: Plan
    client: OemClient
    account: str
    holding: OemHolding = field(repr=False)
    ledger: LedgerWriter
    run_name: str
    secrets: Values = field(factory=dict, repr=False)
    abort_on_error: bool = False


async def apply_oem(given: OemApplyInput, journal: Journal, *, clock: Clock, sink: Sink) -> Result:
    """Carry out the plan, or go on with it.

    A result is given also where an install's window stayed open: `fatal` says so then.

    Raises:
        AuthError, FailedError: the service cannot be worked with; resumable.
    """
    return await _OemRun(given, journal, clock, sink).run()


class _OemRun:
    def __init__(self, given: OemApplyInput, journal: Journal, clock: Clock, sink: Sink) -> None:
        self._given = given
        self._client = given.client
        self._account = given.account
        self._journal = journal
        self._clock = clock
        self._sink = sink
        self._actions = {action.seq: action for action in given.plan.actions}
        self._by_source = {action.source_id: action for action in given.plan.actions}
        self._values = {ident: one.stored_inputs() for ident, one in given.holding.automations.items()}
        self._before = set(given.plan.target.fingerprint.get(Kind.AUTOMATION.value, {}))
        self._installer = Installer(given.client, given.account, journal, given.plan.actions, clock)
        self._writer = OemWriter(given.client, given.account, journal, self._values, clock, sink)
        self._connections = OemConnectionWriter(given.client, given.account, journal, given.secrets, clock, sink)
        self._failed: dict[int, ObjectError] = {}
        self._drifted: set[int] = set()
        self._unfinished: set[int] = set()
        self._problems: list[Problem] = list(given.plan.problems)
        self._alarms: list[str] = []
        self._unverifiable = Unverifiable()
        self._stopped = False
        self._ended_before = journal.state.finished

    async def run(self) -> Result:
        fatal: WindowOpenError | None = None
        readings: dict[int, OemReading] = {}
        try:
            for action in self._actions.values():
                await self._installer.close(action)
            await self._connect()
            await self._install()
            await self._complete()
            await self._look_for_runs()
            readings = await self._verify()
            await self._enable(readings)
            await self._look_for_doubles()
        except WindowOpenError as error:
            fatal = error
        return self._result(fatal)

    # Phases

    async def _connect(self) -> None:
        connections = self._given.plan.connections
        await self._connections.settle(connections, begin=self._given.plan.changes)
        for source_id, ident in self._connections.found.items():
            entry = Entry(kind=Kind.CONNECTION, source_id=source_id, target_id=ident, run=self._given.run_name)
            self._given.ledger.record(entry)

    async def _install(self) -> None:
        """One after the other: what an install made is told by what was not there before it."""
        installs = [one for one in self._actions.values() if Step.INSTALL in one.steps]
        for number, action in enumerate(installs, start=1):
            if not self._stopped and Step.DISABLE not in self._journal.state.of(str(action.seq)).steps:
                try:
                    self._check_connections(action)
                    await self._installer.install(action, self._body(action))
                except ObjectError as error:
                    self._fail(action, error)
            self._sink(Progress(phase="install", done=number, total=len(installs), subject=action.name))
        for action in self._actions.values():
            bundle = self._bundle_of(action)
            if bundle is None or action.verb is not Verb.CREATE:
                continue
            if bundle.seq in self._failed:
                self._failed[action.seq] = ObjectError("bundle-failed", "its bundle could not be installed")
            elif self._is_installed(bundle) and not self._journal.state.of(str(action.seq)).target_id:
                self._fail(action, ObjectError("part-missing", "the installed bundle does not have it"))

    def _bundle_of(self, action: Action) -> Action | None:
        return self._by_source.get(action.oem.parent) if action.oem and action.oem.parent else None

    def _is_installed(self, action: Action) -> bool:
        return Step.DISABLE in self._journal.state.of(str(action.seq)).steps

    def _check_connections(self, action: Action) -> None:
        """Its connections can be chosen only now: it waits for those that a person must connect first.

        Raises:
            ObjectError: one is missing, or waits.
        """
        assert action.oem is not None
        for source_id in action.oem.passes:
            name = self._given.holding.connections[source_id].name
            if source_id in self._connections.waiting:
                raise ObjectError(
                    "consent-pending", f"connection `{name}` waits for a person's consent (`status RUN --links`)"
                )
            if source_id not in self._connections.ready:
                raise ObjectError("connection-failed", f"connection `{name}` is not there")

    def _body(self, action: Action) -> dict[str, Any]:
        """Source: "Install template": `account`, `inputs` flat, `datasources` an array of guids."""
        assert action.oem is not None
        body: dict[str, Any] = {"account": self._account}
        stored: dict[str, Any] = {}
        for source_id in (action.source_id, *action.oem.parts):
            stored |= self._values.get(source_id, {})
        if inputs := {name: stored[name] for name in action.oem.at_install if name in stored}:
            body["inputs"] = inputs
        if action.oem.passes:
            body["datasources"] = [self._connections.ready[source_id] for source_id in action.oem.passes]
        return body

    async def _complete(self) -> None:
        """Inputs, name, schedule: of several at a time, each in this order."""
        ones = [one for one in self._actions.values() if any(step not in _AT_INSTALL for step in one.steps)]
        done = 0

        async def complete(action: Action) -> None:
            nonlocal done
            steps = [step for step in action.steps if step not in (*_AT_INSTALL, Step.ENABLE)]
            await self._take(action, steps)
            done += 1
            self._sink(Progress(phase="complete", done=done, total=len(ones), subject=action.name))

        await fan_out(ones, complete, width=min(4, self._client.endpoint.limits.concurrency))

    async def _take(self, action: Action, steps: Iterable[Step]) -> None:
        state = self._journal.state.of(str(action.seq))
        waits = Step.DISABLE in action.steps and Step.DISABLE not in state.steps
        if action.seq in self._failed or self._stopped or waits:
            return
        for step in steps:
            try:
                await self._writer.take(action, step)
            except ObjectError as error:
                self._fail(action, error)
                return

    def _is_complete(self, action: Action) -> bool:
        done = self._journal.state.of(str(action.seq)).steps
        return all(step in done for step in action.steps if step is not Step.ENABLE)

    async def _look_for_runs(self) -> None:
        """What was installed has been off since; a run of it was started by the install itself."""
        if self._ended_before:
            return
        ones = [one for one in self._actions.values() if self._was_installed(one) and not self._is_on(one)]

        async def look(action: Action) -> None:
            ident = self._target_id(action)
            try:
                run = (await self._client.call("run.last", account=self._account, blend=ident)).json()
            except MissingError:
                return
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._note("runs-unreadable", Severity.WARNING,
                           f"nobody can tell whether `{action.name}` ran when it was installed: {error.message}",
                           f"automation {ident}")  # fmt: skip
                return
            if isinstance(run, Mapping) and run.get("guid"):
                when = run.get("starttime") or run.get("created_at") or "at an unknown time"
                self._alarms.append(f"`{action.name}` ({ident}) ran when it was installed: {when}")
                self._note("ran-on-install", Severity.WARNING,
                           f"`{action.name}` ran when it was installed ({when}, {run.get('status')})",
                           f"automation {ident}", "look at what it did; the run is in its history")  # fmt: skip

        await fan_out(ones, look, width=self._client.endpoint.limits.concurrency)

    def _was_installed(self, action: Action) -> bool:
        bundle = action.oem is not None and bool(action.oem.parts)
        done = self._journal.state.of(str(action.seq)).steps
        return action.verb is Verb.CREATE and Step.DISABLE in done and not bundle

    async def _verify(self) -> dict[int, OemReading]:
        """Read back what was written, and remember it; what does not show is counted."""
        readings: dict[int, OemReading] = {}
        written = [
            one
            for one in self._actions.values()
            if one.verb in (Verb.CREATE, Verb.UPDATE) and one.seq not in self._failed and self._is_complete(one)
        ]

        async def read(action: Action) -> None:
            ident, steps = self._target_id(action), self._journal.state.of(str(action.seq)).steps
            try:
                reading = await read_back(
                    self._client, self._account, ident, action, self._values.get(action.source_id, {}), steps
                )
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._fail(action, ObjectError(error.code, f"cannot be read back: {error.message}"))
                return
            readings[action.seq] = reading
            self._sink(Progress(phase="verify", done=len(readings), total=len(written), subject=action.name))

        await fan_out(written, read, width=self._client.endpoint.limits.concurrency)
        readings = await self._with_states(readings)
        for seq, reading in readings.items():
            await self._judge(self._actions[seq], reading)
        for action in self._actions.values():
            if action.verb is Verb.ADOPT:
                self._record(action, None)
        return readings

    async def _with_states(self, readings: Mapping[int, OemReading]) -> dict[int, OemReading]:
        """Where an answer does not show the state, the connections may."""
        found = self._connections.found
        if all(one.state or one.gone for one in readings.values()) or not found:
            return dict(readings)
        states = await read_states(self._client, self._account, set(found.values()), sink=self._sink)
        return {
            seq: evolve(one, state=one.state or states.get(self._target_id(self._actions[seq]), ""))
            for seq, one in readings.items()
        }

    async def _judge(self, action: Action, reading: OemReading) -> None:
        ident = self._target_id(action)
        where = f"automation {ident}"
        if reading.gone or reading.automation is None:
            self._fail(action, ObjectError("readback-missing", "it is not there when read back"))
            return
        created = action.verb is Verb.CREATE
        self._unverifiable.add((*reading.unseen, *(["state"] if created and not reading.state else [])))
        if created and reading.state == AVAILABLE and not self._is_on(action):
            await switch_off(self._client, self._account, ident, self._clock)
            self._note("armed-by-server", Severity.WARNING,
                       f"`{action.name}` was found on, and is off again", where)  # fmt: skip
        if reading.drift:
            self._drifted.add(action.seq)
            fields = ", ".join(reading.drift)
            self._note("readback-differs", Severity.ERROR, f"`{action.name}` differs when read back: {fields}", where)
            return
        before = self._given.holding.automations[action.source_id].setup_complete
        if created and reading.automation.setup_complete is False and before:
            self._unfinished.add(action.seq)
        self._record(action, reading)
        if not self._ended_before:
            self._journal.seen(str(action.seq), reading.updated_at)

    def _is_on(self, action: Action) -> bool:
        """Whether it was switched on on purpose: by this run, by `activate`, or by people since it ended."""
        keys = (str(action.seq), f"activate:{action.seq}")
        known = (self._journal.state.objects.get(key) for key in keys)
        return self._ended_before or any(
            one is not None and (Step.ENABLE in one.steps or one.in_doubt is Step.ENABLE) for one in known
        )

    async def _enable(self, readings: Mapping[int, OemReading]) -> None:
        """Last, parts before their bundle, and only what is whole; what is not manual at the target either waits."""
        ones = [one for one in self._actions.values() if Step.ENABLE in one.steps]
        for action in sorted(ones, key=lambda one: (bool(one.oem and one.oem.parts), one.seq)):
            reading = readings.get(action.seq)
            if reading is None or reading.drift or reading.automation is None or action.seq in self._failed:
                continue
            if action.oem and any(self._by_source[part].seq in self._failed for part in action.oem.parts):
                continue
            if not action.armed and reading.automation.run_mode != action.run_mode:
                self._note("run-mode-differs", Severity.WARNING,
                           f"`{action.name}` is `{reading.automation.run_mode or 'unknown'}` at the target and "
                           f"`{action.run_mode}` at the source: it stays off",
                           f"automation {self._target_id(action)}", "switch it on in the hub")  # fmt: skip
                continue
            await self._take(action, [Step.ENABLE])

    async def _look_for_doubles(self) -> None:
        """A last listing. What a lost install may have made after all is switched off; the rest is reported only."""
        installs = [one for one in self._actions.values() if Step.INSTALL in one.steps]
        if not installs or self._ended_before:
            return
        ours = {one.target_id for one in self._journal.state.objects.values()}
        told = {ident for one in self._journal.state.objects.values() for ident in one.candidates}
        lost = {one.oem.template_id for one in installs
                if one.oem and self._journal.state.of(str(one.seq)).tries > 1}  # fmt: skip
        templates = {one.oem.template_id for one in installs if one.oem}
        found, parts = await list_automations(self._client, self._account)
        for ident, one in found.items():
            if ident in self._before or ident in ours or ident in told or ident in parts:
                continue
            if one.template_id not in templates:
                continue
            off = ""
            if one.template_id in lost:
                await switch_off(self._client, self._account, ident, self._clock)
                off = "; it may be of a lost install, so it was switched off"
                self._alarms.append(f"`{one.name}` ({ident}) appeared during the run, and was switched off")
            self._note("double-found", Severity.WARNING,
                       f"`{one.name}` appeared during the run and is none of its automations{off}",
                       f"automation {ident}")  # fmt: skip

    # Result

    def _target_id(self, action: Action) -> str:
        return self._journal.state.of(str(action.seq)).target_id or action.target_id or ""

    def _record(self, action: Action, reading: OemReading | None) -> None:
        one = self._given.holding.automations[action.source_id]
        there = reading.automation if reading else None
        # A bundle has no inputs but those of its parts.
        names = () if one.is_bundle else settable(one, there)
        entry = Entry(
            kind=Kind.AUTOMATION,
            source_id=action.source_id,
            target_id=self._target_id(action),
            face=wanted_face(one, names),
            run=self._given.run_name,
        )
        self._given.ledger.record(entry)

    def _fail(self, action: Action, error: ObjectError) -> None:
        self._failed[action.seq] = error
        self._note(error.code, Severity.ERROR, f"`{action.name}`: {error.reason}", f"automation {action.source_id}")
        if self._given.abort_on_error:
            self._stopped = True

    def _note(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where, hint=hint)
        self._problems.append(problem)
        self._sink(problem)

    def _result(self, fatal: WindowOpenError | None) -> Result:
        plan, connections = self._given.plan, self._connections
        outcomes: dict[int, Outcome] = {}
        for seq, action in self._actions.items():
            error = self._failed.get(seq)
            code, reason = (error.code, error.reason) if error else ("", "")
            if not error and action.verb in (Verb.CREATE, Verb.UPDATE) and not self._is_complete(action):
                code, reason = "not-started", "stopped before its turn"
            outcomes[seq] = outcome_of(action, target_id=self._target_id(action) or None, code=code, reason=reason)
        linked: dict[str, Outcome] = {}
        for one in plan.connections:
            failure = connections.failed.get(one.source_id)
            ident = connections.found.get(one.source_id) or one.target_id
            code, reason = (failure.code, failure.reason) if failure else ("", "")
            if one.verb is Verb.CREATE and not failure and not ident:
                code, reason = "not-started", "stopped before its turn"
            linked[one.source_id] = outcome_of(one, target_id=ident, code=code, reason=reason)
        everything = (self._account_outcome(), *linked.values(), *outcomes.values())
        for outcome in everything:
            self._sink(outcome)
        failed = sum(1 for one in everything if one.status == "failed")
        if not failed and fatal is None and not self._journal.state.finished:
            self._journal.finish()
        made = sum(bool(one.params) for one in plan.connections if one.source_id in connections.found)
        problems = (
            *self._problems, *connections.problems, *self._writer.problems,
            *self._unverifiable.problems(parameters=made),
        )  # fmt: skip
        return Result(
            outcomes=everything,
            problems=tuple(dict.fromkeys(problems)),
            tasks=self._tasks(outcomes),
            ids=self._ids(outcomes),
            counts={
                "automations": count(self._actions, outcomes),
                "connections": count({one.source_id: one for one in plan.connections}, linked),
            },
            failed=failed,
            differing=len(self._drifted),
            windows=self._windows(),
            alarms=tuple(dict.fromkeys((*self._installer.alarms, *self._alarms))),
            fatal=fatal,
        )

    def _tasks(self, outcomes: Mapping[int, Outcome]) -> tuple[Any, ...]:
        plan = self._given.plan
        waiting = [
            (one, self._connections.waiting[one.source_id])
            for one in plan.connections
            if one.source_id in self._connections.waiting
        ]
        return (
            *consent_tasks(waiting),
            *connection_tasks(plan.connections),
            *tasks_of(
                plan,
                self._given.holding,
                outcomes,
                base=self._client.endpoint.url,
                unfinished=self._unfinished,
            ),
        )

    def _windows(self) -> dict[str, float]:
        found = {}
        for action in self._actions.values():
            done = self._journal.state.objects.get(str(action.seq))
            if done is not None and done.window_s is not None and done.target_id:
                found[done.target_id] = done.window_s
        return found

    def _account_outcome(self) -> Outcome:
        account = self._given.plan.account
        assert account is not None
        made = Step.CREATE in self._journal.state.of(ACCOUNT_KEY).steps
        return Outcome(
            kind="account",
            source_id=account.source_id,
            target_id=self._account,
            name=account.name,
            action="create" if made else "none",
            status="done",
        )

    def _ids(self, outcomes: Mapping[int, Outcome]) -> tuple[tuple[str, str, str], ...]:
        plan = self._given.plan
        ids = [("account", plan.archive.tenant_id, self._account)]
        ids += [(row.kind.value, row.source_id, row.target_id) for row in plan.rows
                if row.target_id and row.kind is Kind.TEMPLATE]  # fmt: skip
        ids += [("connection", *pair) for pair in self._connections.found.items()]
        ids += [("automation", self._actions[seq].source_id, one.target_id)
                for seq, one in outcomes.items() if one.target_id]  # fmt: skip
        return tuple(ids)
