"""Applies a plan in an OEM account: account, connections, installs, inputs, names, schedules, and state last.

Whatever an earlier process may have left on is switched off first. One automation's failure stops no other; an install
whose window cannot be closed stops everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import Entry, LedgerWriter
from qlikmigrate.importer.oem.aftermath import Aftermath
from qlikmigrate.importer.oem.connection_writer import OemConnectionWriter
from qlikmigrate.importer.oem.installer import Installer
from qlikmigrate.importer.oem.readback import OemReading, Unverifiable
from qlikmigrate.importer.oem.tally import Tally
from qlikmigrate.importer.oem.window import WindowOpenError
from qlikmigrate.importer.oem.writer import OemWriter
from qlikmigrate.importer.plan import Action, Plan, Step, Verb
from qlikmigrate.importer.result import ObjectError, Result
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemHolding

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
        self._values = {ident: one.stored_inputs() for ident, one in given.holding.automations.items()}
        self._book = Tally(
            plan=given.plan,
            journal=journal,
            sink=sink,
            account=given.account,
            base=given.client.endpoint.url,
            abort_on_error=given.abort_on_error,
        )
        self._installer = Installer(
            given.client, given.account, journal, given.plan.actions, clock, alarms=self._book.alarms
        )
        self._writer = OemWriter(given.client, given.account, journal, self._values, clock, sink)
        self._connections = OemConnectionWriter(given.client, given.account, journal, given.secrets, clock, sink)
        self._unverifiable = Unverifiable()

    async def run(self) -> Result:
        fatal: WindowOpenError | None = None
        try:
            await self._connect()
            await self._install()
            await self._complete()
            aftermath = self._aftermath()
            await aftermath.look_for_runs()
            await self._enable(await aftermath.verify())
            await aftermath.look_for_doubles()
        except WindowOpenError as error:
            fatal = error
        found = self._connections.found
        made = sum(bool(one.params) for one in self._given.plan.connections if one.source_id in found)
        others = (
            *self._connections.problems, *self._writer.problems, *self._unverifiable.problems(parameters=made),
        )  # fmt: skip
        return self._book.result(self._given.holding, self._connections, others, fatal)

    def _aftermath(self) -> Aftermath:
        return Aftermath(
            client=self._client,
            book=self._book,
            journal=self._journal,
            ledger=self._given.ledger,
            holding=self._given.holding,
            values=self._values,
            connections=self._connections.found,
            run_name=self._given.run_name,
            clock=self._clock,
            sink=self._sink,
            unverifiable=self._unverifiable,
        )

    # Phases

    async def _connect(self) -> None:
        connections = self._given.plan.connections
        await self._connections.settle(connections, begin=self._given.plan.changes)
        for source_id, ident in self._connections.found.items():
            entry = Entry(kind=Kind.CONNECTION, source_id=source_id, target_id=ident, run=self._given.run_name)
            self._given.ledger.record(entry)

    async def _install(self) -> None:
        """One after the other: what an install made is told by what was not there before it."""
        installs = [one for one in self._book.actions.values() if Step.INSTALL in one.steps]
        for number, action in enumerate(installs, start=1):
            if not self._book.stopped and Step.DISABLE not in self._journal.state.of(str(action.seq)).steps:
                try:
                    if not await self._installer.settle(action):
                        self._check_connections(action)
                        await self._installer.install(action, self._body(action))
                except ObjectError as error:
                    self._book.fail(action, error)
            self._sink(Progress(phase="install", done=number, total=len(installs), subject=action.name))
        for action in self._book.actions.values():
            bundle = self._bundle_of(action)
            if bundle is None or action.verb is not Verb.CREATE:
                continue
            if bundle.seq in self._book.failed:
                self._book.failed[action.seq] = ObjectError("bundle-failed", "its bundle could not be installed")
            elif self._is_installed(bundle) and not self._journal.state.of(str(action.seq)).target_id:
                self._book.fail(action, ObjectError("part-missing", "the installed bundle does not have it"))

    def _bundle_of(self, action: Action) -> Action | None:
        return self._book.by_source.get(action.oem.parent) if action.oem and action.oem.parent else None

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
        ones = [one for one in self._book.actions.values() if any(step not in _AT_INSTALL for step in one.steps)]
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
        if action.seq in self._book.failed or self._book.stopped or waits:
            return
        for step in steps:
            try:
                await self._writer.take(action, step)
            except ObjectError as error:
                self._book.fail(action, error)
                return

    async def _enable(self, readings: Mapping[int, OemReading]) -> None:
        """Last, parts before their bundle, and only what is whole; what is not manual at the target either waits."""
        ones = [one for one in self._book.actions.values() if Step.ENABLE in one.steps]
        for action in sorted(ones, key=lambda one: (bool(one.oem and one.oem.parts), one.seq)):
            reading = readings.get(action.seq)
            if reading is None or reading.drift or reading.automation is None or action.seq in self._book.failed:
                continue
            if action.oem and any(self._book.by_source[part].seq in self._book.failed for part in action.oem.parts):
                continue
            if not action.armed and reading.automation.run_mode != action.run_mode:
                self._book.note("run-mode-differs", Severity.WARNING,
                           f"`{action.name}` is `{reading.automation.run_mode or 'unknown'}` at the target and "
                           f"`{action.run_mode}` at the source: it stays off",
                           f"automation {self._book.target_id(action)}", "switch it on in the hub")  # fmt: skip
                continue
            await self._take(action, [Step.ENABLE])
