"""Undoes a run into an OEM account as far as that goes: what it switched on is switched off, what remains is listed.

Nothing is deleted and no account is expired. What people changed since is left as it is.
Source: no page of the vendor's documents a call that deletes an automation, or one that brings an account back.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, field, frozen

from qlikmigrate.api.error import ApiError, UnauthorizedError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.oem.account_writer import ACCOUNT_KEY
from qlikmigrate.importer.oem.connection_writer import key_of
from qlikmigrate.importer.oem.restore import close_windows
from qlikmigrate.importer.oem.watch import OemWatch, open_watch, states_now
from qlikmigrate.importer.oem.window import switch_off
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.rollback_book import RollbackResult
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Outcome, Problem, Severity, Sink
from qlikmigrate.model.oem import AVAILABLE, DISABLED

# Between tries to switch off what was told to be off and is on.
_PAUSES_S = (1.0, 5.0, 20.0)


@frozen(kw_only=True)
class _Decision:
    """What becomes of one automation: `disable`, `keep` (with why) or `none`."""

    action: Action
    word: str
    code: str = ""
    reason: str = ""


async def roll_back_oem(
    client: OemClient, view: RunView, *, force: bool, dry_run: bool, clock: Clock, sink: Sink
) -> RollbackResult:
    """Undo the run, go on with undoing it, or with `dry_run` say what that would do, with GETs only.

    Raises:
        UsageError: the account is not there.
        WindowOpenError: something that the run installed may be on and could not be switched off.
        AuthError, FailedError: the service cannot be used; go on by rolling back again.
    """
    if not dry_run and await close_windows(client, view.folder, clock=clock):
        view = RunView.open(view.folder.path)
    watch = await open_watch(client, view, sink=sink)
    decisions = [_decide(watch, action, force=force) for action in view.plan.actions[::-1]]
    book = _Book(sink)
    if dry_run:
        for one in decisions:
            book.take(watch, one, status="planned")
        return book.result(list(_remains(watch)))
    journal = Journal(view.folder.journal_path, run_id=view.folder.path.name, clock=clock)
    try:
        journal.undo()
        await _carry_out(client, watch, decisions, journal, clock, book)
    finally:
        journal.close()
    return book.result(list(_remains(watch)))


def _decide(watch: OemWatch, action: Action, *, force: bool) -> _Decision:
    seen = watch.seen.get(action.seq)
    if action.verb is Verb.UPDATE and seen is not None:
        why = "its inputs and name stay as the run set them: their former values are kept nowhere"
        return _Decision(action=action, word="keep", code="no-pre-image", reason=why)
    if action.verb is not Verb.CREATE or seen is None:
        return _Decision(action=action, word="none")
    if seen.gone:
        return _Decision(action=action, word="none", code="gone-since", reason="it is not there any more")
    # A rollback that was cut short, or that the service did not heed, has decided already and changed it itself.
    begun = watch.view.state.objects.get(f"rollback:{action.seq}")
    changed = watch.changed(action) and watch.view.complete(action) and begun is None
    if changed and not force and seen.state != DISABLED:
        why = "somebody changed it since the run"
        return _Decision(action=action, word="keep", code="changed-since", reason=why)
    on = watch.is_on_by_us(action) or force or not watch.view.complete(action)
    return _Decision(action=action, word="disable" if on and seen.state != DISABLED else "none")


async def _carry_out(
    client: OemClient, watch: OemWatch, decisions: Iterable[_Decision], journal: Journal, clock: Clock, book: _Book
) -> None:
    """Done is what was answered and does not show as on afterwards; what does is told once more to go off."""
    left: list[_Decision] = []
    for one in decisions:
        if one.word == "disable":
            left.append(one)
        else:
            book.take(watch, one, status="done")
    for pause_s in (0.0, *_PAUSES_S):
        await clock.sleep(pause_s)
        told = [one for one in left if await _switch_off(client, watch, one, journal, clock, book)]
        idents = {one.action.seq: _ident(watch, one) for one in told}
        states = await states_now(client, watch.account, idents.values(), watch.connections, sink=book.sink)
        left = [one for one in told if states.get(idents[one.action.seq]) == AVAILABLE]
        for one in told:
            if one not in left:
                journal.done(_key(one), Step.DISABLE, idents[one.action.seq])
                book.take(watch, one, status="done")
        if not left:
            return
    for one in left:
        journal.fail(_key(one), "readback-differs")
        why = "it is still on, whatever it was told: switch it off in the hub"
        book.take(watch, evolve(one, code="readback-differs", reason=why), status="failed")


def _ident(watch: OemWatch, one: _Decision) -> str:
    return str(watch.view.target_of(one.action.seq))


def _key(one: _Decision) -> str:
    return f"rollback:{one.action.seq}"


async def _switch_off(
    client: OemClient, watch: OemWatch, one: _Decision, journal: Journal, clock: Clock, book: _Book
) -> bool:
    """Whether the service said that it did it; where it refused, that is told."""
    journal.intend(_key(one), Step.DISABLE, since=clock.now())
    try:
        await switch_off(client, watch.account, _ident(watch, one), clock)
    except (UnauthorizedError, UnreachableError):
        raise
    except ApiError as error:
        journal.fail(_key(one), error.code)
        book.take(watch, evolve(one, code=error.code, reason=error.message), status="failed")
        return False
    return True


def _remains(watch: OemWatch) -> Iterable[Problem]:
    """What the run made and no call takes away."""
    view = watch.view
    for action in view.plan.actions:
        seen = watch.seen.get(action.seq)
        if action.verb is Verb.CREATE and seen is not None and not seen.gone:
            yield _remainder(f"automation `{action.name}`", f"automation {view.target_of(action.seq)}")
    for one in view.plan.connections:
        done = view.state.objects.get(key_of(one))
        if done is not None and Step.CREATE in done.steps:
            yield _remainder(f"connection `{one.name}`", f"connection {done.target_id}")
    made = view.state.objects.get(ACCOUNT_KEY)
    if made is not None and Step.CREATE in made.steps and view.plan.account is not None:
        yield _remainder(f"account `{view.plan.account.external_id}`", f"account {made.target_id}")


def _remainder(what: str, where: str) -> Problem:
    return Problem(
        code="oem-remains",
        severity=Severity.TODO,
        message=f"{what} is the run's, and stays",
        where=where,
        hint="delete it in the hub if it is not wanted",
    )


@frozen
class _Book:
    """Outcomes in the making."""

    sink: Sink
    outcomes: list[Outcome] = field(factory=list)
    problems: list[Problem] = field(factory=list)

    def take(self, watch: OemWatch, one: _Decision, *, status: str) -> None:
        """One automation is decided on, or done with."""
        ident = watch.view.target_of(one.action.seq)
        kept = one.word == "keep"
        if kept or status == "failed":
            severity = Severity.WARNING if kept else Severity.ERROR
            message = f"`{one.action.name}` is kept: {one.reason}" if kept else f"`{one.action.name}`: {one.reason}"
            hint = "--force switches it off all the same" if one.code == "changed-since" else ""
            problem = Problem(code=one.code, severity=severity, message=message, where=f"automation {ident}", hint=hint)
            self.problems.append(problem)
            self.sink(problem)
        outcome = Outcome(
            kind="automation",
            source_id=one.action.source_id,
            target_id=ident,
            name=one.action.name,
            action="skip" if kept else one.word,
            status="skipped" if kept else status if one.word == "disable" else "done",
            code=one.code,
            reason=one.reason,
        )
        self.outcomes.append(outcome)
        self.sink(outcome)

    def result(self, remains: list[Problem]) -> RollbackResult:
        """Everything, with what stays."""
        for one in remains:
            self.sink(one)
        failed = sum(one.status == "failed" for one in self.outcomes)
        kept = sum(one.status == "skipped" for one in self.outcomes)
        disabled = sum(one.action == "disable" and one.status != "failed" for one in self.outcomes)
        counts = {
            "selected": len(self.outcomes), "disabled": disabled, "kept": kept,
            "untouched": len(self.outcomes) - disabled - kept - failed, "failed": failed,
        }  # fmt: skip
        return RollbackResult(
            outcomes=tuple(self.outcomes),
            problems=(*self.problems, *remains),
            counts={"automations": counts},
            failed=failed,
        )
