"""Gives automations to their own owners who have appeared at the target since the run; until then somebody stood in.

What was off is off afterwards. The run history is lost and connections are detached: the service does that whenever an
automation changes hands. Source: openapi/workflows-automations.json, `change-owner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, ConflictError, UnauthorizedError, UnreachableError
from qlikmigrate.importer.body import full_body, with_bindings
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import Entry, LedgerWriter, read_ledger
from qlikmigrate.importer.own_owner import Handover, bindings_by_key, counterparts, handovers
from qlikmigrate.importer.plan import Step
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.target import Target, read_target
from qlikmigrate.importer.watch import Reach, Watch, check_tenant, reach
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import AuthError
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import is_armed
from qlikmigrate.model.snapshot import parse


@frozen(kw_only=True)
class ReassignResult:
    """What was given to whom. `counts`: reassigned + settled + waiting + skipped + failed = selected."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]
    counts: Mapping[str, int]
    failed: int = 0


@frozen(kw_only=True)
class ReassignInput:
    """What a reassignment works with. `wanted`: source id → block → (connector at the target, name of connection).

    It says what each block was bound to at the source; where the archive is gone, the target's bindings say it.
    """

    view: RunView
    client: CloudClient
    wanted: Mapping[str, Mapping[str, tuple[str, str]]] = field(factory=dict, repr=False)
    abort_on_error: bool = False


async def preview_reassign(client: CloudClient, view: RunView, *, sink: Sink) -> ReassignResult:
    """Who would get what. Sends GETs only.

    Raises:
        UsageError: the tenant is not the run's.
        AuthError, FailedError: the tenant cannot be read.
    """
    await check_tenant(client, view.plan)
    target = await read_target(client, sink=sink)
    found, problems = handovers(view, target)
    book = _Book(sink)
    for problem in problems:
        book.note(problem)
    for one in found:
        book.take(one, "planned")
    return book.result()


async def reassign(given: ReassignInput, *, clock: Clock, sink: Sink) -> ReassignResult:
    """Give every automation to its own owner who is there by now, or go on with it.

    Raises:
        UsageError: the tenant is not the run's.
        AuthError: this identity may not change owners, or is not known any more.
        FailedError: the tenant cannot be reached; go on by calling it again.
    """
    view, client = given.view, given.client
    await check_tenant(client, view.plan)
    target = await read_target(client, sink=sink)
    journal = Journal(view.folder.journal_path, run_id=view.folder.path.name, clock=clock)
    try:
        view = evolve(view, state=journal.state)
        found, problems = handovers(view, target)
        book = _Book(sink)
        for problem in problems:
            book.note(problem)
        if any(not one.code for one in found) and not target.caller.may_transfer:
            raise AuthError(
                "this identity may not change owners",
                hint="use an administrator's key, or an OAuth client with `admin.automations`",
                code="owner-not-settable",
            )
        worker = _Reassign(evolve(given, view=view), target, journal, clock, book)
        stopped = False
        for number, one in enumerate(found, start=1):
            if stopped and not one.code:
                one = evolve(one, code="not-started", reason="stopped before its turn")
            stopped = (await worker.take(one) and given.abort_on_error) or stopped
            sink(Progress(phase="reassign", done=number, total=len(found), subject=one.action.name))
        return book.result()
    finally:
        journal.close()


class _Book:
    """Outcomes and problems in the making."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._outcomes: list[Outcome] = []
        self._problems: list[Problem] = []
        self._counts = dict.fromkeys(("selected", "reassigned", "settled", "waiting", "skipped", "failed"), 0)

    def take(self, one: Handover, status: str, *, error: ApiError | None = None) -> None:
        code, reason = one.code, one.reason or "its owner is at the target"
        word = {"": "reassigned", "settled": "settled", "owner-missing": "waiting"}.get(code, "skipped")
        if error is not None:
            word, status, code, reason = "failed", "failed", error.code, error.message
        elif code:
            status = "done" if code == "settled" else "skipped"
        outcome = Outcome(
            kind="automation",
            source_id=one.action.source_id,
            target_id=one.target_id,
            name=one.action.name,
            action="update" if not one.code else "none" if code == "settled" else "skip",
            status=status,
            code="" if code == "settled" else code,
            reason=reason,
        )
        self._counts["selected"] += 1
        self._counts[word] += 1
        self._outcomes.append(outcome)
        self._sink(outcome)

    def tell(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        self.note(Problem(code=code, severity=severity, message=message, where=where, hint=hint))

    def note(self, problem: Problem) -> None:
        self._problems.append(problem)
        self._sink(problem)

    def result(self) -> ReassignResult:
        return ReassignResult(
            outcomes=tuple(self._outcomes),
            problems=tuple(self._problems),
            counts=self._counts,
            failed=self._counts["failed"],
        )


class _Reassign:
    def __init__(self, given: ReassignInput, target: Target, journal: Journal, clock: Clock, book: _Book) -> None:
        self._given = given
        self._client = given.client
        self._target = target
        self._journal = journal
        self._clock = clock
        self._book = book

    async def take(self, one: Handover) -> bool:
        """Give one automation to its owner; whether that failed."""
        if one.code or one.owner_id is None:
            self._book.take(one, "skipped")
            return False
        try:
            await self._give(one, one.owner_id)
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(_key(one), error.code)
            where = f"automation {one.target_id}"
            self._book.tell(error.code, Severity.ERROR, f"`{one.action.name}`: {error.message}", where)
            self._book.take(one, "failed", error=error)
            return True
        self._book.take(one, "done")
        return False

    async def _give(self, one: Handover, owner_id: str) -> None:
        key, where = _key(one), f"automation {one.target_id}"
        before = await self._read(one.target_id, one.action.owner_id)
        done = self._journal.state.of(key)
        shown = before.value or self._target.rows.get(one.target_id, {})
        off = done.off or (Step.CHANGE_OWNER not in done.steps and shown.get("state") == "disabled")
        wanted = dict(self._given.wanted.get(one.action.source_id, {}))
        if not wanted and before.value is not None:
            wanted = bindings_by_key(before.value, self._target.inventory, {})
        if Step.CHANGE_OWNER not in done.steps:
            if shown.get("lastRunAt") or shown.get("lastRun"):
                self._book.tell(
                    "history-lost", Severity.WARNING, f"the run history of `{one.action.name}` is lost", where
                )
            self._journal.intend(key, Step.CHANGE_OWNER, since=self._clock.now(), by=owner_id, off=off)
            if shown.get("ownerId") != owner_id:
                await self._client.call("automation.change-owner", body={"userId": owner_id}, id=one.target_id)
        after = await self._read(one.target_id, owner_id)
        await self._check_off(one, after, owner_id, off=off)
        if Step.CHANGE_OWNER not in done.steps:
            face = face_of(after.value) if after.value is not None else None
            self._journal.done(key, Step.CHANGE_OWNER, one.target_id, face=face)
        await self._bind(one, owner_id, after, wanted, off=off)

    async def _read(self, ident: str, owner_id: str) -> Reach:
        return await reach(self._client, ident, owner_id, listed=True)

    async def _check_off(self, one: Handover, after: Reach, owner_id: str, *, off: bool) -> None:
        """What was off stays off, whatever a change of owner does to it."""
        shown = after.value
        if shown is None:
            watch = Watch(view=self._given.view, client=self._client, clock=self._clock)
            await watch.open()
            shown = watch.rows.get(one.target_id, {})
        if off and shown.get("state") != "disabled":
            await self._client.call("automation.disable", id=one.target_id)
            if is_armed(shown):
                self._book.tell(
                    "armed-by-server",
                    Severity.WARNING,
                    f"`{one.action.name}` was enabled by its change of owner, and is off again",
                    f"automation {one.target_id}",
                )

    async def _bind(
        self, one: Handover, owner_id: str, after: Reach, wanted: Mapping[str, tuple[str, str]], *, off: bool
    ) -> None:
        """Bind to the new owner's connections what was detached, where this identity may write."""
        key, where = _key(one), f"automation {one.target_id}"
        chosen = counterparts(wanted, owner_id, self._target.inventory)
        may = after.value is not None and (
            self._target.caller.bot or self._target.caller.user_id == owner_id or after.client is not self._client
        )
        left = sorted(set(wanted) - set(chosen)) if may else sorted(wanted)
        if left:
            self._book.tell(
                "connection-unbound" if may else "bindings-lost-on-transfer",
                Severity.TODO,
                f"`{one.action.name}`: {len(left)} blocks have to be bound by its owner",
                where,
                "the change of owner detached them",
            )
        value = after.value or {}
        if may and chosen and face_of(value).bindings != {**face_of(value).bindings, **chosen}:
            runs = value.get("maxConcurrentRuns")
            raw = with_bindings(after.raw, chosen, only_gaps=False)
            body = full_body(raw, space_id=None, max_concurrent_runs=runs if isinstance(runs, int) else None)
            face = face_of(parse(body))
            self._journal.intend(key, Step.PUT, since=self._clock.now(), by=owner_id, face=face, off=off)
            try:
                answer = (await after.client.call("automation.update", body=body, id=one.target_id)).json()
            except ConflictError:
                # Open in an editor, or read by another process since: read once more, then tried once more.
                await after.client.call("automation.get", id=one.target_id)
                answer = (await after.client.call("automation.update", body=body, id=one.target_id)).json()
            if off and answer.get("state") != "disabled":
                await self._client.call("automation.disable", id=one.target_id)
            self._journal.done(key, Step.PUT, one.target_id, face=face_of(answer))
            self._record(one, face)
        else:
            self._journal.intend(key, Step.PUT, since=self._clock.now(), by=owner_id, off=off)
            self._journal.done(key, Step.PUT, one.target_id)

    def _record(self, one: Handover, face: Face) -> None:
        """The ledger has our last write: its fields as they were written, with the bindings of the new owner."""
        plan = self._given.view.plan
        pair = {"source_tenant": plan.archive.tenant_id, "target_tenant": plan.target.tenant_id}
        path = Path(plan.options.ledger)
        entry = read_ledger(path, **pair).get(Kind.AUTOMATION, one.action.source_id)
        if entry is None or entry.face is None or entry.target_id.lower() != one.target_id.lower():
            return
        with LedgerWriter(path, **pair) as writer:
            writer.record(
                Entry(
                    kind=Kind.AUTOMATION,
                    source_id=entry.source_id,
                    target_id=entry.target_id,
                    face=Face(fields=entry.face.fields, bindings=face.bindings),
                    run=entry.run,
                )
            )


def _key(one: Handover) -> str:
    return f"reassign:{one.action.seq}"
