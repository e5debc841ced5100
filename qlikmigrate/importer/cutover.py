"""From the source to the target, pair by pair, and back: what a cutover and its undo do, journalled and resumable.

Only held automations are pairs. A pair whose source changed since the archive stays as it is. An undo touches nothing
but what the journal says this run's cutover switched.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import UnauthorizedError
from qlikmigrate.api.transport.guard import access_error
from qlikmigrate.importer.activation import LiveResult, next_words
from qlikmigrate.importer.firing import firings
from qlikmigrate.importer.handover import Handover, HandoverError, Window
from qlikmigrate.importer.held import Held
from qlikmigrate.importer.journal import Journal, RunState
from qlikmigrate.importer.plan import Action, Step
from qlikmigrate.importer.readiness import Reason
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.running_job import Running
from qlikmigrate.importer.side import Leg, Side, Standing
from qlikmigrate.importer.source_change import SourceChanges
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink

SOURCE_CHANGED = "source-changed"
DEFAULT_WAIT_S = 3600.0
_TIMES_SHOWN = 10


@frozen(kw_only=True)
class Pair:
    """One automation at both sides. `against`: why it is not switched. `done`: it is at the target already."""

    held: Held
    source_owner_id: str = ""
    against: tuple[Reason, ...] = ()
    done: bool = False


@frozen(kw_only=True)
class CutoverPlan:
    """What a cutover does."""

    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]

    @property
    def switches(self) -> tuple[Pair, ...]:
        """The pairs that are switched."""
        return tuple(one for one in self.pairs if not one.against and not one.done)


def stopped_sources(view: RunView) -> frozenset[str]:
    """Source ids that this run's cutover switched off and that it has not switched on again."""
    return frozenset(one.source_id for one in view.plan.actions if _last(view.state, f"source:{one.seq}", Step.DISABLE))


def touched(view: RunView) -> tuple[Action, ...]:
    """The actions whose pairs this run's cutover switched, the last one first."""
    actions = {one.seq: one for one in view.plan.actions}
    seqs = []
    for key in view.state.objects:
        word, _, number = key.partition(":")
        if word in ("source", "cutover") and number.isdecimal() and int(number) in actions and int(number) not in seqs:
            seqs.append(int(number))
    live = [
        seq
        for seq in seqs
        if _last(view.state, f"source:{seq}", Step.DISABLE) or _last(view.state, f"cutover:{seq}", Step.ENABLE)
    ]
    return tuple(actions[seq] for seq in reversed(live))


def _last(state: RunState, key: str, step: Step) -> bool:
    done = state.objects.get(key)
    return done is not None and (done.in_doubt is step or (bool(done.steps) and done.steps[-1] is step))


def plan_cutover(
    held: Iterable[Held],
    source: Side,
    changes: SourceChanges,
    *,
    selected: Iterable[Action] = (),
    include_unready: bool = False,
    allow: frozenset[str] = frozenset(),
) -> CutoverPlan:
    """Decide on each pair. Pure. `selected`: all actions of the run, whose changes at the source are told as well."""
    pairs: list[Pair] = []
    problems: list[Problem] = []
    for one in held:
        ident = one.action.source_id
        standing = source.listed(ident)
        reasons = list(one.against(include_unready=include_unready, allow=allow))
        if ident in changes.changed and SOURCE_CHANGED not in allow:
            reasons.append(Reason(code=SOURCE_CHANGED, text=f"{changes.changed[ident]} since the archive was taken"))
        if one.own_counterpart:
            reasons = [Reason(code="own-counterpart", text="it is its own counterpart: `activate` starts it")]
        elif standing is Standing.UNKNOWN:
            reasons.append(Reason(code="source-unchecked", text="this identity does not see it at the source"))
        done = one.standing is Standing.ON and standing in (Standing.OFF, Standing.GONE)
        if one.standing is Standing.ON and standing is Standing.ON and not one.own_counterpart:
            message = f"`{one.action.name}` is on at both sides"
            problems.append(_problem("both-on", Severity.WARNING, message, ident))
        owner = str(source.rows.get(ident, {}).get("ownerId") or "")
        pairs.append(Pair(held=one, source_owner_id=owner, against=() if done else tuple(reasons), done=done))
        if not done:
            problems += [_against(one, reason) for reason in reasons]
    held_ids = {one.held.action.source_id for one in pairs}
    for action in selected:
        if action.source_id in changes.changed and action.source_id not in held_ids:
            message = f"`{action.name}`: {changes.changed[action.source_id]} since the archive was taken"
            problems.append(_problem(SOURCE_CHANGED, Severity.WARNING, message, action.source_id))
    for ident, name in changes.created.items():
        message = f"`{name}` was created at the source since the archive was taken"
        problems.append(_problem(SOURCE_CHANGED, Severity.WARNING, message, ident))
    return CutoverPlan(pairs=tuple(pairs), problems=tuple(problems))


def _problem(code: str, severity: Severity, message: str, ident: str, hint: str = "") -> Problem:
    return Problem(code=code, severity=severity, message=message, where=f"automation {ident}", hint=hint)


def _against(one: Held, reason: Reason) -> Problem:
    changed = reason.code == SOURCE_CHANGED
    hint = "bring it over with `clone`, or say --allow source-changed" if changed else ""
    severity = Severity.ERROR if reason.code in (SOURCE_CHANGED, "source-unchecked") else Severity.TODO
    message = f"`{one.action.name}` is not switched: {reason.text}"
    return _problem(reason.code, severity, message, one.action.source_id if changed else one.target_id, hint)


def planned_outcomes(plan: CutoverPlan, clock: Clock) -> list[Outcome]:
    """What would come out, with the next firings of what is scheduled."""
    outcomes = []
    for one in plan.pairs:
        what, status, code, reason = "enable", "planned", "", next_words(one.held, clock)
        if one.against:
            what, status, code = "skip", "skipped", one.against[0].code
            reason = "; ".join(reason.text for reason in one.against)
        elif one.done:
            what, reason = "none", "at the target already"
        outcomes.append(_outcome(one.held.action, one.held.target_id, what, status, code, reason))
    return outcomes


def _outcome(action: Action, target_id: str, what: str, status: str, code: str, reason: str) -> Outcome:
    return Outcome(
        kind="automation",
        source_id=action.source_id,
        target_id=target_id or None,
        name=action.name,
        action=what,
        status=status,
        code=code,
        reason=reason,
    )


@frozen(kw_only=True)
class CutoverInput:
    """What a cutover works with. `limit_s`: how long running jobs of one pair are waited for."""

    plan: CutoverPlan
    target: Side
    source: Side
    folder: RunFolder
    running: Running = Running.WAIT
    limit_s: float = DEFAULT_WAIT_S
    abort_on_error: bool = False


async def cutover(given: CutoverInput, *, clock: Clock, sink: Sink) -> LiveResult:
    """Switch the pairs, one after the other.

    Raises:
        AuthError: a tenant no longer knows the identity; run again.
    """
    check_stopping(given.source, given.running)
    journal = Journal(given.folder.journal_path, run_id=given.folder.path.name, clock=clock)
    try:
        work = _Work(given.running, given.limit_s, given.abort_on_error, journal, clock, sink)
        for pair in given.plan.pairs:
            here, there = legs(pair.held, given.source, given.target, source_owner_id=pair.source_owner_id)
            if pair.against:
                reason = "; ".join(one.text for one in pair.against)
                work.tell(pair.held.action, there.id, "skip", "skipped", pair.against[0].code, reason)
            elif pair.done:
                work.tell(pair.held.action, there.id, "none", "done", "", "at the target already")
            else:
                await work.hand_over(pair.held, here, there, "enable", clock)
            sink(Progress(phase="switch", done=len(work.outcomes), total=len(given.plan.pairs)))
        return work.result(given.plan.problems)
    finally:
        journal.close()


def check_stopping(side: Side, running: Running) -> None:
    """Running jobs are stopped with write access only, which must be known before the first switch.

    Raises:
        UsageError: the side is opened with less.
    """
    client = side.client
    if running is Running.STOP and client.access is not Access.WRITE:
        raise access_error(client.endpoint, client.access, Access.WRITE, "stopping running jobs")


def legs(held: Held, source: Side, target: Side, *, source_owner_id: str) -> tuple[Leg, Leg]:
    """The two legs of a pair: source, target."""
    seq = held.action.seq
    return (
        Leg(side=source, key=f"source:{seq}", id=held.action.source_id, owner_id=source_owner_id),
        Leg(side=target, key=f"cutover:{seq}", id=held.target_id, owner_id=held.owner_id),
    )


@frozen(kw_only=True)
class UndoInput:
    """What an undo works with. `held`: the pairs that the cutover switched, the last one first."""

    held: tuple[Held, ...]
    target: Side
    source: Side
    folder: RunFolder
    running: Running = Running.WAIT
    limit_s: float = DEFAULT_WAIT_S
    abort_on_error: bool = False


async def undo(given: UndoInput, *, clock: Clock, sink: Sink) -> LiveResult:
    """Switch the pairs back that this run's cutover switched, in reverse order.

    Raises:
        AuthError: a tenant no longer knows the identity; run again.
    """
    check_stopping(given.target, given.running)
    journal = Journal(given.folder.journal_path, run_id=given.folder.path.name, clock=clock)
    try:
        work = _Work(given.running, given.limit_s, given.abort_on_error, journal, clock, sink)
        for held in given.held:
            owner = str(given.source.rows.get(held.action.source_id, {}).get("ownerId") or "")
            source, target = legs(held, given.source, given.target, source_owner_id=owner)
            await work.take_back(held, source, target, clock)
            sink(Progress(phase="switch back", done=len(work.outcomes), total=len(given.held)))
        return work.result(())
    finally:
        journal.close()


class _Work:
    """The pairs done so far, and what is told of them."""

    def __init__(
        self, running: Running, limit_s: float, abort_on_error: bool, journal: Journal, clock: Clock, sink: Sink
    ) -> None:
        self._abort = abort_on_error
        self._journal = journal
        self._sink = sink
        self._stopped = False
        self.outcomes: list[Outcome] = []
        self.problems: list[Problem] = []
        self._how = Handover(journal=journal, clock=clock, running=running, limit_s=limit_s, waiting=self._waiting)

    def _waiting(self, name: str, count: int) -> None:
        self._sink(Progress(phase="wait for running jobs", done=0, total=count, subject=name))

    async def hand_over(self, held: Held, here: Leg, there: Leg, action: str, clock: Clock) -> None:
        """Hand one pair over, and tell how that went."""
        if self._stopped:
            self.tell(held.action, held.target_id, action, "failed", "not-started", "stopped before its turn")
            return
        try:
            window = await self._how.carry_out(held.action.name, here, there)
        except HandoverError as error:
            self._fail(held, action, error)
            return
        missed = self._missed(held, window)
        words = [f"on at the {there.side.word}", missed]
        if action == "enable":
            words.append(next_words(held, clock))
        self.tell(held.action, held.target_id, action, "done", "", "; ".join(filter(None, words)))

    async def take_back(self, held: Held, source: Leg, target: Leg, clock: Clock) -> None:
        """Undo one pair: only what the journal says, and only while it is as the cutover left it."""
        if self._stopped:
            self.tell(held.action, held.target_id, "disable", "failed", "not-started", "stopped before its turn")
            return
        stopped, started = self._how.did(source, Step.DISABLE), self._how.did(target, Step.ENABLE)
        in_doubt = {self._journal.state.of(leg.key).in_doubt for leg in (source, target)} - {None}
        here, there = held.standing, source.side.listed(source.id)
        if here is Standing.ON and not started:
            self._leave(held, "somebody switched it on at the target")
        elif stopped and there is Standing.GONE:
            self._leave(held, "it is not there any more at the source")
        elif not stopped:
            await self._only_off(held, target)
        else:
            if here is not Standing.ON and started and not in_doubt:
                self._note(held, f"it was {here.value} at the target already")
            if there is Standing.ON and not in_doubt:
                self._note(held, "somebody had switched it on at the source")
            await self.hand_over(held, target, source, "disable", clock)
            if self.outcomes[-1].status == "done":
                self._release(source, target)

    def _release(self, source: Leg, target: Leg) -> None:
        """What somebody else switched meanwhile is no longer as this run left it, and no longer this run's."""
        if self._how.did(source, Step.DISABLE):
            self._journal.done(source.key, Step.ENABLE, source.id)
        if self._how.did(target, Step.ENABLE):
            self._journal.done(target.key, Step.DISABLE, target.id)

    async def _only_off(self, held: Held, target: Leg) -> None:
        """A pair whose source this run never stopped: the target goes off, the source is left as it is."""
        try:
            await self._how.off(target)
        except HandoverError as error:
            self._fail(held, "disable", error)
            return
        self.tell(held.action, held.target_id, "disable", "done", "", "off; the source was not stopped by this run")

    def _fail(self, held: Held, action: str, error: HandoverError) -> None:
        self._say(error.code, Severity.ERROR, f"`{held.action.name}`: {error.reason}", held)
        if error.window is not None:
            self._missed(held, error.window)
        self.tell(held.action, held.target_id, action, "failed", error.code, error.reason)
        self._stopped = self._abort
        if error.fatal is not None:
            fatal: UnauthorizedError = error.fatal
            raise fatal

    def _leave(self, held: Held, why: str) -> None:
        self._say("state-changed", Severity.ERROR, f"`{held.action.name}` is left as it is: {why}", held)
        self.tell(held.action, held.target_id, "disable", "failed", "state-changed", why)

    def _note(self, held: Held, why: str) -> None:
        self._say("state-changed", Severity.WARNING, f"`{held.action.name}`: {why}", held)

    def _missed(self, held: Held, window: Window) -> str:
        """Tell the firings that fell into the time in which it was off at both sides."""
        if window.since is None:
            return ""
        times = firings(held.schedules, after=window.since, before=window.until, limit=_TIMES_SHOWN)
        if not times:
            return ""
        told = ", ".join(map(rfc3339, times))
        self._say("firing-missed", Severity.INFO, f"`{held.action.name}` did not start at {told}", held)
        return f"missed firing: {told}"

    def _say(self, code: str, severity: Severity, message: str, held: Held) -> None:
        problem = _problem(code, severity, message, held.target_id)
        self.problems.append(problem)
        self._sink(problem)

    def tell(self, action: Action, target_id: str, what: str, status: str, code: str, reason: str) -> None:
        """The outcome of one pair."""
        outcome = _outcome(action, target_id, what, status, code, reason)
        self.outcomes.append(outcome)
        self._sink(outcome)

    def result(self, problems: Iterable[Problem]) -> LiveResult:
        """What all pairs came to. A pair left for a change at its source makes the cutover partial."""
        failed = sum(1 for one in self.outcomes if one.status == "failed")
        skipped = sum(1 for one in self.outcomes if one.status == "skipped")
        unchanged = sum(1 for one in self.outcomes if one.status == "done" and one.action == "none")
        return LiveResult(
            outcomes=tuple(self.outcomes),
            problems=(*problems, *self.problems),
            counts={
                "selected": len(self.outcomes),
                "switched": len(self.outcomes) - failed - skipped - unchanged,
                "unchanged": unchanged,
                "skipped": skipped,
                "failed": failed,
            },
            failed=failed + sum(1 for one in self.outcomes if one.code in (SOURCE_CHANGED, "source-unchecked")),
        )
