"""Applies a plan as it is: shells, owners, whole documents, then state; journalled, resumable, read back.

One object's failure stops no other. Nothing is written before the target was found to be as the plan saw it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, UnauthorizedError, UnreachableError
from qlikmigrate.importer.comparison import Face
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.document_source import DocumentSource
from qlikmigrate.importer.ground import Ground
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import Entry, LedgerWriter, read_ledger
from qlikmigrate.importer.plan import Action, Plan, Step, Verb
from qlikmigrate.importer.readback import Reading, read_back
from qlikmigrate.importer.result import ObjectError, Result, count, outcome_of
from qlikmigrate.importer.run_folder import RunFolder, run_name
from qlikmigrate.importer.runbook import tasks_of
from qlikmigrate.importer.target import Target, list_rows
from qlikmigrate.importer.writer import Writer
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import StaleError, UsageError
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind

_NAMED_AT_MOST = 5
_FIRST_STEPS = (Step.SHELL, Step.CREATE)


@frozen(kw_only=True)
class ApplyInput:
    """What a run works with. `target`: read by this process, right before. `secrets`: of connections to be created.

    `inputs`: source id → stored inputs that people must enter, in words.
    """

    plan: Plan
    client: CloudClient
    target: Target
    source: Inventory = field(repr=False)
    documents: DocumentSource
    folder: RunFolder
    ledger: LedgerWriter
    abort_on_error: bool = False
    secrets: Values = field(factory=dict, repr=False)
    inputs: Mapping[str, str] = field(factory=dict, repr=False)


def check_fresh(plan: Plan, target: Target) -> None:
    """The target must look as it did when the plan was made.

    Raises:
        StaleError: it does not; names what moved.
    """
    moved = []
    known = {action.target_id for action in plan.actions}
    for kind, before in plan.target.fingerprint.items():
        now = target.fingerprint.get(kind, {})
        moved += [f"{_named(target, kind, ident)} is new" for ident in sorted(now.keys() - before.keys() - known)]
        moved += [f"{kind} {ident} is gone" for ident in sorted(before.keys() - now.keys())]
        changed = [ident for ident in sorted(before) if ident in now and now[ident] != before[ident]]
        moved += [f"{_named(target, kind, ident)} changed" for ident in changed]
    if moved:
        listed = ", ".join(moved[:_NAMED_AT_MOST])
        more = f" and {len(moved) - _NAMED_AT_MOST} more" if len(moved) > _NAMED_AT_MOST else ""
        raise StaleError(f"the target changed since the plan was made: {listed}{more}", hint="make the plan again")


def _named(target: Target, kind: str, ident: str) -> str:
    one = target.inventory.get(Kind(kind), ident)
    return f"{kind} `{one.name}` ({ident})" if one and one.name else f"{kind} {ident}"


async def apply(given: ApplyInput, *, clock: Clock, sink: Sink) -> Result:
    """Apply the plan, or go on with it where the run folder's journal says it was begun.

    Raises:
        StaleError: the target changed since the plan was made; nothing was written.
        UsageError: the run was rolled back.
        AuthError: the tenant no longer knows the identity; resumable.
        FailedError: the tenant cannot be reached; resumable.
    """
    run_id = given.folder.path.name
    journal = Journal(given.folder.journal_path, run_id=run_id, clock=clock)
    try:
        if journal.state.undone:
            raise UsageError(f"the run in {given.folder.path} was rolled back", hint="begin a new one with --run")
        if not journal.state.objects:
            check_fresh(given.plan, given.target)
        journal.act_as(given.target.caller.user_id)
        return await _Run(given, journal, clock, sink).run()
    finally:
        journal.close()


class _Run:
    def __init__(self, given: ApplyInput, journal: Journal, clock: Clock, sink: Sink) -> None:
        self._given = given
        self._journal = journal
        self._sink = sink
        self._actions = {action.seq: action for action in given.plan.actions}
        self._before = given.plan.target.fingerprint.get(Kind.AUTOMATION.value, {})
        self._writer = Writer(
            given.client, given.target, given.documents, journal, given.folder, clock, sink, before=self._before
        )
        self._failed: dict[int, ObjectError] = {}
        self._drifted: set[int] = set()
        self._problems: list[Problem] = list(given.plan.told)
        self._ground = Ground(
            given.plan, given.client, given.target, journal, given.secrets, clock, self._writer.server_now, sink
        )
        self._stopped = False
        self._ended_before = journal.state.finished
        self._run_name = run_name(given.folder, given.plan)
        self._remembered = read_ledger(
            Path(given.plan.options.ledger),
            source_tenant=given.plan.archive.tenant_id,
            target_tenant=given.plan.target.tenant_id,
        )

    async def run(self) -> Result:
        given = self._given
        for seq in self._actions:
            known = self._journal.state.objects.get(str(seq))
            if known is not None and known.target_id:
                given.documents.learn(Kind.AUTOMATION, self._actions[seq].source_id, known.target_id)
        if given.plan.changes:
            await self._writer.greet()
            await self._lay_ground()
            await self._create()
            await self._complete()
            await self._ground.hand_over()
        readings = await self._verify()
        await self._enable(readings)
        await self._look_for_doubles()
        return self._result(readings)

    # Phases

    async def _lay_ground(self) -> None:
        """Settings, spaces and connections; what stands on one that failed does not begin."""
        given, ground = self._given, self._ground
        await ground.lay()
        for source_id, ident in ground.spaces.items():
            given.documents.learn(Kind.SPACE, source_id, ident)
        for source_id, ident in ground.connections.items():
            given.documents.learn(Kind.CONNECTION, source_id, ident)
        for source_id, ident in ground.sound_connections():
            given.ledger.record(Entry(kind=Kind.CONNECTION, source_id=source_id, target_id=ident))
        blocked = ground.blocked()
        for action in self._actions.values():
            waits = blocked.get(action.source_id)
            if waits is not None and action.steps and not self._is_complete(action):
                self._fail(action, ObjectError(waits.code, waits.reason))

    async def _create(self) -> None:
        """One after the other: creates with one natural key must not overlap, and callees come before callers."""
        creates = [one for one in self._actions.values() if one.verb is Verb.CREATE]
        for number, action in enumerate(creates, start=1):
            steps = [step for step in action.steps if step in _FIRST_STEPS]
            if Step.SHELL in action.steps and Step.DISABLE in action.steps:
                steps.append(Step.DISABLE)
            await self._take(action, steps)
            self._sink(Progress(phase="create", done=number, total=len(creates), subject=action.name))

    async def _complete(self) -> None:
        """Everything that needs no order: owners, whole documents, state."""
        done = 0
        open_actions = [one for one in self._actions.values() if any(step not in _FIRST_STEPS for step in one.steps)]

        async def complete(action: Action) -> None:
            nonlocal done
            await self._take(action, [s for s in action.steps if s not in _FIRST_STEPS and s is not Step.ENABLE])
            done += 1
            self._sink(Progress(phase="complete", done=done, total=len(open_actions), subject=action.name))

        await fan_out(open_actions, complete, width=min(4, self._given.client.endpoint.limits.concurrency))

    async def _take(self, action: Action, steps: list[Step]) -> None:
        if action.seq in self._failed or self._stopped:
            return
        space_id = self._space_of(action)
        for step in steps:
            try:
                await self._writer.take(action, step, space_id)
            except ObjectError as error:
                self._fail(action, error)
                return
        if self._is_complete(action):
            self._record(action, self._writer.faces.get(action.seq) or self._unrecorded(action))

    def _unrecorded(self, action: Action) -> Face | None:
        """What an earlier process wrote and was stopped before it told the ledger."""
        sent = self._journal.state.of(str(action.seq)).sent
        if self._ended_before or sent is None:
            return None
        entry = self._remembered.get(Kind.AUTOMATION, action.source_id)
        known = entry is not None and entry.target_id.lower() == self._target_id(action).lower()
        return None if known and entry is not None and entry.run == self._run_name else sent

    def _space_of(self, action: Action) -> str:
        """The space where it is to be, those that this run makes included."""
        space_id = action.space_id if action.new_space is None else action.new_space
        return self._ground.spaces[space_id.removeprefix("new:")] if space_id.startswith("new:") else space_id

    def _is_complete(self, action: Action) -> bool:
        done = self._journal.state.of(str(action.seq)).steps
        return all(step in done for step in action.steps if step is not Step.ENABLE)

    def _fail(self, action: Action, error: ObjectError) -> None:
        self._failed[action.seq] = error
        self._note(error.code, Severity.ERROR, f"`{action.name}`: {error.reason}", f"automation {action.source_id}")
        if self._given.abort_on_error:
            self._stopped = True

    async def _verify(self) -> dict[int, Reading]:
        """Read back what was written; adopted and unchanged objects were compared when the plan was made."""
        readings: dict[int, Reading] = {}
        written = [
            one
            for one in self._actions.values()
            if one.verb in (Verb.CREATE, Verb.UPDATE) and one.seq not in self._failed and self._is_complete(one)
        ]

        async def verify(action: Action) -> None:
            ident = self._target_id(action)
            wanted = self._writer.faces.get(action.seq) or self._wanted_after_resume(action)
            if wanted is not None and action.bind_last and not self._given.target.caller.bot:
                wanted = evolve(wanted, bindings={})
            try:
                reading = await read_back(self._given.client, action, ident, wanted, self._space_of(action))
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._fail(action, ObjectError(error.code, f"cannot be read back: {error.message}"))
                return
            readings[action.seq] = reading
            await self._judge(action, ident, reading)
            self._sink(Progress(phase="verify", done=len(readings), total=len(written), subject=action.name))

        await fan_out(written, verify, width=self._given.client.endpoint.limits.concurrency)
        for action in self._actions.values():
            if action.verb is Verb.ADOPT:
                self._record(action, self._given.documents.face(action.source_id))
        return readings

    def _wanted_after_resume(self, action: Action) -> Face | None:
        """What an earlier process wrote: the document says it, bindings of the target's people apart."""
        if action.own_text:
            return self._journal.state.of(str(action.seq)).sent
        if Step.PUT not in action.steps and action.verb is Verb.UPDATE:
            return None
        _, face = self._given.documents.update(
            action, bind=not action.bind_last or self._given.target.caller.bot, present={}
        )
        return face

    async def _judge(self, action: Action, ident: str, reading: Reading) -> None:
        where = f"automation {ident}"
        if reading.gone:
            self._fail(action, ObjectError("readback-missing", "it is not there when read back"))
            return
        if not reading.readable:
            self._note(
                "readback-unreadable",
                Severity.INFO,
                f"`{action.name}` cannot be read back with this identity; its list row was",
                where,
            )
            return
        if (
            reading.enabled
            and reading.armed
            and (action.held or Step.SHELL in action.steps)
            and not self._is_on(action)
        ):
            await self._given.client.call("automation.disable", id=ident)
            self._note(
                "armed-by-server",
                Severity.WARNING,
                f"`{action.name}` was found enabled and armed, and is off again",
                where,
            )
        elif drift := [one for one in reading.drift if one != "state" or not self._is_on(action)]:
            self._drifted.add(action.seq)
            fields = ", ".join(drift)
            self._note("readback-differs", Severity.ERROR, f"`{action.name}` differs when read back: {fields}", where)

    def _is_on(self, action: Action) -> bool:
        """Whether it was switched on on purpose: by this run, by `activate` or `cutover`, or by people since."""
        keys = (str(action.seq), f"activate:{action.seq}", f"cutover:{action.seq}")
        known = (self._journal.state.objects.get(key) for key in keys)
        return self._ended_before or any(one is not None and Step.ENABLE in one.steps for one in known)

    async def _enable(self, readings: Mapping[int, Reading]) -> None:
        """`--start as-source`: last, callees first, and only what is whole."""
        for action in self._actions.values():
            sound = action.seq in readings and not readings[action.seq].drift
            if Step.ENABLE in action.steps and action.seq not in self._failed and sound:
                await self._take(action, [Step.ENABLE])

    async def _look_for_doubles(self) -> None:
        """A last listing: more than one new object where one was meant is reported, never removed."""
        creates = [one for one in self._actions.values() if one.verb is Verb.CREATE]
        if not creates:
            return
        ours = {self._target_id(one) for one in creates}
        names = {one.name for one in creates}
        async for row in list_rows(self._given.client, "automation.list"):
            ident = str(row["id"])
            if ident not in self._before and ident not in ours and row.get("name") in names:
                self._note(
                    "double-found",
                    Severity.WARNING,
                    f"`{row.get('name')}` appeared during the run and is none of its objects",
                    f"automation {ident}",
                )

    # Result

    def _target_id(self, action: Action) -> str:
        return self._journal.state.of(str(action.seq)).target_id or action.target_id or ""

    def _record(self, action: Action, face: Face | None) -> None:
        if action.adopted:
            face = self._given.documents.face(action.source_id)
        elif action.own_text:
            # What was sent is the target's own; what we last wrote of the source's is as it was.
            return
        if face is not None and action.bind_last and not self._given.target.caller.bot:
            # The bindings that its owner is to make are no change of the source when it is compared again.
            face = self._given.documents.face(action.source_id)
        if face is not None:
            self._given.ledger.record(
                Entry(
                    kind=Kind.AUTOMATION,
                    source_id=action.source_id,
                    target_id=self._target_id(action),
                    face=face,
                    run=self._run_name,
                )
            )

    def _note(self, code: str, severity: Severity, message: str, where: str) -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where)
        self._problems.append(problem)
        self._sink(problem)

    def _result(self, readings: Mapping[int, Reading]) -> Result:
        given = self._given
        outcomes: dict[int, Outcome] = {}
        for seq, action in self._actions.items():
            error = self._failed.get(seq)
            code, reason = (error.code, error.reason) if error else ("", "")
            if not error and action.verb in (Verb.CREATE, Verb.UPDATE) and not self._is_complete(action):
                code, reason = "not-started", "stopped before its turn"
            outcomes[seq] = outcome_of(action, target_id=self._target_id(action) or None, code=code, reason=reason)
            self._sink(outcomes[seq])
        ground = self._ground
        others = (*ground.connection_outcomes().values(), *ground.other_outcomes())
        for one in others:
            self._sink(one)
        everything = (*outcomes.values(), *others)
        failed = sum(1 for one in everything if one.status == "failed")
        if not failed and not self._journal.state.finished:
            self._journal.finish()
        ids = [
            (row.kind.value, row.source_id, row.target_id)
            for row in self._given.plan.rows
            if row.target_id and row.kind is not Kind.AUTOMATION
        ]
        ids += [("space", source_id, ident) for source_id, ident in ground.spaces.items()]
        ids += [
            ("automation", self._actions[seq].source_id, one.target_id)
            for seq, one in outcomes.items()
            if one.target_id
        ]
        ids += [("connection", *pair) for pair in ground.connections.items()]
        problems = tuple(dict.fromkeys((*self._problems, *ground.problems, *self._writer.problems)))
        return Result(
            outcomes=everything,
            problems=problems,
            tasks=(
                *tasks_of(given.plan, given.source, given.target.inventory, outcomes, problems, given.inputs),
                *ground.tasks(),
            ),
            ids=tuple(ids),
            counts={"automations": count(self._actions, outcomes), **ground.counts()},
            failed=failed,
            differing=len(self._drifted),
        )
