"""A restore tried in earnest: restored, read back, read once more as a backup reads, compared, and removed again.

Whatever happens after the first write to a real tenant, an error or a signal, what was created is removed before
anything else, by the rollback of its run: only what is proven ours and untouched goes, and what is left is named.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from attrs import define, evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access
from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.exporter.collector import ExportOptions, export
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.diff import Diff, DiffRequest, Standing
from qlikmigrate.importer.plan import SAME_TENANT, OwnerMode, Plan, Verb
from qlikmigrate.importer.prepare import make_plan
from qlikmigrate.importer.restore import apply_plan
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.rollback import roll_back
from qlikmigrate.importer.rollback_book import RollbackResult
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.kernel.event import Problem, Severity, Sink, discard
from qlikmigrate.model.caller import caller_of
from qlikmigrate.model.difference import Edit
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.ops.evidence import Counts, Removal
from qlikmigrate.ops.rehearsal import Rehearsal

# A client of the drilled tenant that may do what is said and no more.
Connect = Callable[[Access], AbstractAsyncContextManager[CloudClient]]


@frozen(kw_only=True)
class Verdict:
    """What a drill found. `problems`: why it did not pass."""

    counts: Counts
    problems: tuple[Problem, ...]

    @property
    def passed(self) -> bool:
        """Whether everything that was selected came back equal."""
        wanted = self.counts.selected - self.counts.left_out
        return self.counts.equal == wanted and not self.problems


@define
class Drill:
    """One drill of one snapshot into one tenant. `folder`: of its run, whose ledger is a private one.

    `rehearsal`: where it is an embedded one. From a real one, what is created is removed again. `abort_on_error`: start
    nothing new after an object that failed.
    After `carry_out`, also one that raised: `result` of the restore, `removal` and what the rollback said of it.
    """

    connect: Connect
    snapshot: Snapshot
    request: PlanRequest
    folder: RunFolder
    clock: Clock
    sink: Sink
    rehearsal: Rehearsal | None = None
    abort_on_error: bool = False
    phases: dict[str, float] = field(factory=dict)
    result: Result | None = None
    rolled_back: RollbackResult | None = None
    removal: Removal | None = None

    @property
    def removes(self) -> bool:
        """Whether what is created is removed again: an embedded tenant goes as a whole."""
        return self.rehearsal is None

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count what is done within towards a phase."""
        began = self.clock.monotonic()
        try:
            yield
        finally:
            self.phases[phase] = round(self.phases.get(phase, 0.0) + self.clock.monotonic() - began, 3)

    async def plan(self) -> Plan:
        """What would be restored. Sends GETs only.

        Raises:
            AuthError, FailedError, UsageError, CorruptError: as making a plan does.
        """
        with self.timed("plan"):
            async with self.connect(Access.READ) as client:
                plan = await make_plan(client, self.request, clock=self.clock, sink=self.sink)
                me = caller_of((await client.whoami()).json() or {})
        copy = "say --same-tenant copy: the drill makes new ones beside them"
        told = (evolve(one, hint=copy) if one.code == SAME_TENANT else one for one in plan.problems)
        plan = evolve(plan, problems=tuple(told))
        if self.removes and not me.bot:
            plan = evolve(plan, problems=(*_not_removable(plan, me.user_id), *plan.problems))
        return plan

    async def carry_out(self, plan: Plan) -> Verdict:
        """Restore, compare and, where the drill `removes`, leave nothing behind, whatever happened.

        Raises:
            QlikmigrateError, asyncio.CancelledError: what stopped it, after the removal.
        """
        try:
            return await self._try(plan)
        except asyncio.CancelledError:
            # Once more is another wish: that one stops the removal as well.
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            raise
        finally:
            if self.removes and self.folder.started:
                await self._remove()

    async def _try(self, plan: Plan) -> Verdict:
        with self.timed("restore"):
            async with self.connect(Access.WRITE) as client:
                self.result = await apply_plan(
                    client,
                    self.snapshot,
                    plan,
                    self.folder,
                    values=self.request.values,
                    abort_on_error=self.abort_on_error,
                    clock=self.clock,
                    sink=self.sink,
                )
        again = self.folder.path / "read-again.qma"
        try:
            return await self._compare(plan, self.result, again)
        finally:
            again.unlink(missing_ok=True)

    async def _compare(self, plan: Plan, result: Result, again: Path) -> Verdict:
        """The restore has compared what it wrote with what it read back; this compares what a backup sees."""
        view = RunView.open(self.folder.path)
        made = {
            one.source_id: ident
            for one in plan.actions
            if one.verb is Verb.CREATE and (ident := view.target_of(one.seq)) is not None
        }
        failed = {
            one.source_id: one
            for one in result.outcomes
            if one.kind == "automation" and one.source_id and one.status == "failed"
        }
        judged: Counter[str] = Counter()
        problems = list(self._seen_by_us(plan))
        if made:
            with self.timed("read again"):
                await self._read_again(made.values(), again)
            told = {problem.where.rpartition(" ")[2] for problem in result.problems if problem.code in _DIFFERS}
            with self.timed("compare"), open_archive(again) as other:
                for one in Diff(self.snapshot, other, DiffRequest(run=view, values=self.request.values)):
                    if one.old is None:
                        problems += [_surplus(one.name)] if not self.removes else []
                    elif one.old.id in made and one.old.id not in failed:
                        word, problem = _judge(one.standing, one.old.id, one.name, one.edits)
                        # Equal by now and not when it was written: it is not what it was meant to be all the time.
                        judged["different" if word == "equal" and made[one.old.id] in told else word] += 1
                        problems += [problem] if problem else []
        left_out = sum(one.verb is Verb.SKIP and one.code == "mapping" for one in plan.actions)
        settled = judged.total() + left_out
        counts = Counts(
            selected=len(plan.actions),
            created=len(made),
            equal=judged["equal"],
            different=judged["different"],
            unreadable=judged["unreadable"],
            failed=len(plan.actions) - settled,
            left_out=left_out,
        )
        return Verdict(counts=counts, problems=tuple(dict.fromkeys((*_errors(plan, result), *problems))))

    async def _read_again(self, idents: Collection[str], path: Path) -> None:
        chosen = Selectors()
        if self.removes:
            # Of a real tenant, no more than what is ours.
            chosen = Selectors(include=tuple(Selector(key="id", value=ident) for ident in idents))
        with ArchiveWriter(path) as writer:
            async with self.connect(Access.READ) as client:
                await export(client, writer, ExportOptions(selectors=chosen), clock=self.clock, sink=discard)

    def _seen_by_us(self, plan: Plan) -> Iterator[Problem]:
        """What only whoever laid the tenant out can see: which object stands for which, and what was ever armed."""
        if self.rehearsal is None:
            return
        for sighting in self.rehearsal.tenant.armed_while_enabled:
            yield Problem(
                code="drill-armed",
                severity=Severity.ERROR,
                message=f"an automation was enabled and could start by itself, after {sighting.how}",
                where=f"automation {sighting.automation_id}",
            )
        for row in plan.rows:
            known = self.rehearsal.pairs.get((row.kind, row.source_id.lower()))
            if known is not None and row.target_id not in (None, known):
                yield Problem(
                    code="drill-counterpart",
                    severity=Severity.ERROR,
                    message=f"{row.kind} `{row.source_name}` was taken for another one, by the rule {row.rule}",
                    where=f"{row.kind} {row.source_id}",
                )

    async def _remove(self) -> None:
        """Undo the run. A tenant that cannot be reached any more leaves everything, and that is said."""
        view = RunView.open(self.folder.path)
        self.removal = Removal(left=_made(view), run=str(self.folder.path.absolute()))
        with self.timed("remove"):
            try:
                async with self.connect(Access.WRITE) as client:
                    undone = await roll_back(
                        client, view, force=False, abort_on_error=False, clock=self.clock, sink=self.sink
                    )
            except QlikmigrateError as error:
                self.sink(
                    Problem(
                        code="drill-not-removed",
                        severity=Severity.ERROR,
                        message=f"what the drill created could not be removed: {error.message}",
                        where=f"run {self.folder.path}",
                        hint=f"`rollback {self.folder.path}` removes it",
                    )
                )
                return
        self.rolled_back = undone
        left = [one for one in undone.outcomes if one.status in ("skipped", "failed")]
        self.removal = evolve(
            self.removal,
            removed=undone.counts["automations"]["deleted"],
            left=tuple(one.target_id or f"{one.kind} `{one.name}`" for one in left),
        )


_DIFFERS = ("readback-differs", "schedule-lost")


def _made(view: RunView) -> tuple[str, ...]:
    """Ids at the target of all that the run created, as far as answers told."""
    created = {str(one.seq) for one in view.plan.actions if one.verb is Verb.CREATE}
    return tuple(
        done.target_id
        for key, done in view.state.objects.items()
        if done.target_id and (key in created or key.startswith("space:"))
    )


def _not_removable(plan: Plan, caller: str) -> Iterator[Problem]:
    """What this identity gives away it cannot read afterwards, so it could not prove that nobody changed it."""
    given = [
        one for one in plan.actions
        if one.verb is Verb.CREATE and one.owner_mode is OwnerMode.TRANSFER and one.owner_id != caller
    ]  # fmt: skip
    if given:
        yield Problem(
            code="drill-not-removable",
            severity=Severity.ERROR,
            message=f"{len(given)} automations would be given to owners as whom this identity cannot look after them",
            where=f"tenant {plan.target.tenant_id}",
            hint="use a Trusted OAuth client or `impersonation`, or say --owner importer",
        )


def _judge(standing: Standing, ident: str, name: str, edits: Iterable[Edit]) -> tuple[str, Problem | None]:
    """What a comparison comes to; values are not told, they stay in the tenant and in the archive."""
    if standing is Standing.SAME:
        return "equal", None
    if standing is Standing.CHANGED:
        places = list(dict.fromkeys(f"{one.subject.value} {one.name or one.id} {one.place}".rstrip() for one in edits))
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        code, message = "drill-differs", f"`{name}` came back otherwise: {', '.join(places[:5])}{more}"
    elif standing is Standing.REMOVED:
        code, message = "drill-missing", f"`{name}` was created and is not listed"
    else:
        code, message = "drill-unreadable", f"`{name}` was created and cannot be read again"
    word = "unreadable" if code == "drill-unreadable" else "different"
    return word, Problem(code=code, severity=Severity.ERROR, message=message, where=f"automation {ident}")


def _surplus(name: str) -> Problem:
    return Problem(
        code="drill-surplus",
        severity=Severity.ERROR,
        message=f"`{name}` was not meant to be created",
        where="the embedded tenant",
    )


def _errors(plan: Plan, result: Result) -> Iterator[Problem]:
    """What the restore itself calls an error; waived ones of the plan are none."""
    return (one for one in result.problems if one.severity is Severity.ERROR and one not in plan.problems)
