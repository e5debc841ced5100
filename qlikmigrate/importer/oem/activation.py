"""Starting what a run into an OEM account held: refused while a source counterpart is on or nobody can tell.

What is done follows from how the account is now, so that an activation that was cut short is simply run again.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.activation import SOURCE_ON, SOURCE_UNCHECKED, LiveResult
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.oem.target import find_account, read_states
from qlikmigrate.importer.oem.watch import OemWatch, open_watch
from qlikmigrate.importer.oem.writer import put_body
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink
from qlikmigrate.model.oem import AVAILABLE, DISABLED, automation_of, connection_of
from qlikmigrate.model.snapshot import parse

_OFF = ("readback-differs", "it is off when read back")


@frozen(kw_only=True)
class OemActivation:
    """What an activation does. `against`: action number → code and reason why it is left off. `on`: on already."""

    watch: OemWatch
    held: tuple[Action, ...]
    against: Mapping[int, tuple[str, str]] = field(factory=dict)
    on: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse it."""
        return tuple(one for one in self.problems if one.severity is Severity.ERROR)

    @property
    def starts(self) -> tuple[Action, ...]:
        """What is switched on."""
        return tuple(one for one in self.held if one.seq not in self.against and one.seq not in self.on)

    def outcome(self, action: Action, *, status: str = "", code: str = "", reason: str = "") -> Outcome:
        """The outcome of one: as planned, where nothing else is said."""
        word, why = self.against.get(action.seq, ("", ""))
        what = "skip" if word else "none" if action.seq in self.on else "enable"
        status = "skipped" if word else "done" if what == "none" else status or "planned"
        return Outcome(
            kind="automation",
            source_id=action.source_id,
            target_id=self.watch.view.target_of(action.seq),
            name=action.name,
            action=what,
            status=status,
            code=code or word,
            reason=reason or why or ("on already" if what == "none" else ""),
        )


async def read_source_states(client: OemClient, view: RunView, *, sink: Sink) -> dict[str, str] | None:
    """States of the source's automations, as far as they show; None where this key pair does not reach the account."""
    account, _ = await find_account(client, view.plan.archive.tenant_id)
    if account is None:
        return None
    states: dict[str, str] = {}
    for action in view.plan.actions:
        if not _is_held(action):
            continue
        try:
            one = automation_of(
                (await client.call("blend.get", account=account.id, blend=action.source_id)).json() or {}
            )
        except MissingError:
            states[action.source_id] = "gone"
            continue
        if one.state:
            states[action.source_id] = one.state
    rows = [connection_of(parse(raw)) async for raw in client.rows("datasource.list", account=account.id)]
    nested = await read_states(client, account.id, {one.id for one in rows}, sink=sink)
    return {**nested, **states}


async def plan_oem_activation(
    client: OemClient,
    view: RunView,
    source: Mapping[str, str] | None,
    *,
    include_unready: bool,
    allow: frozenset[str],
    sink: Sink,
) -> OemActivation:
    """Decide on each held automation. Sends GETs only. `source`: states there; None: nobody can be asked.

    Raises:
        UsageError: the account is not there.
        ApiError: it cannot be read.
    """
    watch = await open_watch(client, view, sink=sink)
    held = tuple(one for one in view.plan.actions if _is_held(one))
    against = {
        one.seq: why for one in held if (why := _against(watch, one, include_unready=include_unready)) is not None
    }
    on = frozenset(one.seq for one in held if one.seq in watch.seen and watch.state_of(one) == AVAILABLE)
    against = {seq: why for seq, why in against.items() if seq not in on}
    made = OemActivation(watch=watch, held=held, against=against, on=on)
    problems = [
        Problem(
            code=against[one.seq][0],
            severity=Severity.TODO,
            message=f"`{one.name}` is not started: {against[one.seq][1]}",
            where=f"automation {view.target_of(one.seq) or one.source_id}",
        )
        for one in held
        if one.seq in against
    ]
    for action in made.starts:
        problems += _source_problem(action, source, allow)
    return OemActivation(watch=watch, held=held, against=against, on=on, problems=tuple(problems))


def _is_held(action: Action) -> bool:
    return action.verb is Verb.CREATE and action.held


def _against(watch: OemWatch, action: Action, *, include_unready: bool) -> tuple[str, str] | None:
    """Why one is left off."""
    assert action.oem is not None
    seen = watch.seen.get(action.seq)
    if seen is None or not watch.view.complete(action):
        return "not-complete", "the run did not complete it"
    if seen.automation is None:
        return "missing", "it is not there any more"
    if include_unready:
        return None
    if action.oem.parts:
        left = [one for one in watch.view.plan.actions if one.source_id in action.oem.parts and _is_held(one)]
        bad = [one for one in left if _against(watch, one, include_unready=False) is not None]
        return ("unready", f"of its parts {len(bad)} are not ready") if bad else None
    if not action.oem.state:
        return "state-unknown", "nobody says whether it is on at the source (--include-unready starts it)"
    if action.run_mode in ("scheduled", "") and action.oem.schedule is None and not watch.changed(action):
        return "schedule-unknown", "its schedule is its template's: nobody has set it (--include-unready starts it)"
    if seen.automation.setup_complete is False:
        return "setup-incomplete", "its setup is not complete (--include-unready starts it)"
    return None


def _source_problem(action: Action, source: Mapping[str, str] | None, allow: frozenset[str]) -> list[Problem]:
    state = (source or {}).get(action.source_id, "")
    if state and state != AVAILABLE:
        return []
    code = SOURCE_ON if state else SOURCE_UNCHECKED
    waived = SOURCE_ON in allow or code in allow
    message = f"`{action.name}` is still on at the source" if state else (
        f"nobody can tell whether `{action.name}` is on at the source"
    )  # fmt: skip
    return [
        Problem(
            code=code,
            severity=Severity.WARNING if waived else Severity.ERROR,
            message=message,
            where=f"automation {action.source_id}",
            hint="" if waived else f"say --allow {code} where both are to run, as with a model account",
        )
    ]


async def activate_oem(
    client: OemClient, given: OemActivation, *, abort_on_error: bool, clock: Clock, sink: Sink
) -> LiveResult:
    """Switch on what the plan says; parts of a bundle before the bundle.

    Raises:
        AuthError: the service no longer knows the key pair; run again.
    """
    view = given.watch.view
    journal = Journal(view.folder.journal_path, run_id=view.folder.path.name, clock=clock)
    problems, outcomes = list(given.problems), []
    ended: dict[int, tuple[str, str]] = {}
    unseen: list[int] = []
    starts = {one.seq for one in given.starts}
    ordered = sorted(given.held, key=lambda one: (bool(one.oem and one.oem.parts), one.seq))
    try:
        for number, action in enumerate(ordered, start=1):
            if action.seq in starts:
                if abort_on_error and any(code for code, _ in ended.values()):
                    ended[action.seq] = ("not-started", "stopped before its turn")
                else:
                    try:
                        if not await _start(client, given.watch, action, journal, clock):
                            unseen.append(action.seq)
                        ended[action.seq] = ("", "")
                    except ObjectError as error:
                        ended[action.seq] = (error.code, error.reason)
            sink(Progress(phase="start", done=number, total=len(ordered), subject=action.name))
        shown = await read_states(client, given.watch.account, given.watch.connections, sink=sink) if unseen else {}
        for seq in unseen:
            if shown.get(str(view.target_of(seq))) == DISABLED:
                ended[seq] = _OFF
        for action in ordered:
            code, reason = ended.get(action.seq, ("", ""))
            if code and code != "not-started":
                where = f"automation {view.target_of(action.seq)}"
                message = f"`{action.name}` was not started: {reason}"
                problems.append(Problem(code=code, severity=Severity.ERROR, message=message, where=where))
                sink(problems[-1])
            status = "failed" if code else "done"
            outcomes.append(given.outcome(action, status=status, code=code, reason=reason))
            sink(outcomes[-1])
    finally:
        journal.close()
    failed = sum(one.status == "failed" for one in outcomes)
    skipped = sum(one.status == "skipped" for one in outcomes)
    done = sum(one.status == "done" and one.action == "enable" for one in outcomes)
    counts = {
        "selected": len(outcomes), "enabled": done, "unchanged": len(outcomes) - done - skipped - failed,
        "skipped": skipped, "failed": failed,
    }  # fmt: skip
    return LiveResult(outcomes=tuple(outcomes), problems=tuple(problems), counts=counts, failed=failed)


async def _start(client: OemClient, watch: OemWatch, action: Action, journal: Journal, clock: Clock) -> bool:
    """Switch one on; whether its own answer shows that it is.

    Where nobody has changed it since the run, the PUT repeats what the run has set, and comes out the same whether or
    not the service resets what a PUT leaves out. What people have changed since is theirs: only the state is sent.

    Raises:
        ObjectError: that failed.
        AuthError: the service no longer knows the key pair.
    """
    ident, key = str(watch.view.target_of(action.seq)), f"activate:{action.seq}"
    body = {"state": AVAILABLE} if watch.changed(action) else put_body(action, Step.ENABLE)
    try:
        journal.intend(key, Step.ENABLE, since=clock.now())
        await client.call("blend.update", account=watch.account, blend=ident, body=body)
        journal.done(key, Step.ENABLE, ident)
        value = (await client.call("blend.get", account=watch.account, blend=ident)).json() or {}
    except UnauthorizedError:
        raise
    except ApiError as error:
        raise ObjectError(error.code, error.message) from None
    one = automation_of(value)
    journal.seen(key, str(value.get("updated_at") or ""))
    if one.state and one.state != AVAILABLE:
        raise ObjectError(*_OFF)
    return bool(one.state)
