"""Starting what a run held: refused while a source counterpart is on, callees first, journalled, never a second write.

What is done follows from how both tenants are now, so that an activation that was cut short is simply run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen

from qlikmigrate.api.error import ApiError, UnauthorizedError
from qlikmigrate.importer.held import Held
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.readiness import Reason
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.importer.side import Leg, Side, Standing, switch
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.event import Outcome, Problem, Progress, Severity, Sink

SOURCE_ON = "source-on"
SOURCE_UNCHECKED = "source-unchecked"


class Verdict(StrEnum):
    """What activation does with one."""

    START = "start"
    ON = "on"
    SKIP = "skip"


@frozen(kw_only=True)
class Item:
    """One held automation and what is done with it. `source_owner_id`: of its counterpart."""

    held: Held
    verdict: Verdict
    against: tuple[Reason, ...] = ()
    source_owner_id: str = ""


@frozen(kw_only=True)
class ActivationPlan:
    """What an activation does. `errors` refuse it."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    allow: frozenset[str] = frozenset()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse it."""
        return tuple(one for one in self.problems if one.severity is Severity.ERROR)

    @property
    def starts(self) -> tuple[Item, ...]:
        """The automations that are switched on."""
        return tuple(one for one in self.items if one.verdict is Verdict.START)


def plan_activation(
    held: tuple[Held, ...],
    source: Side | None,
    *,
    why_unchecked: str = "",
    standings: Mapping[str, Standing] | None = None,
    include_unready: bool = False,
    allow: frozenset[str] = frozenset(),
) -> ActivationPlan:
    """Decide on each held automation. Pure.

    Args:
        source: None where the source cannot be asked; `why_unchecked` says why.
        standings: source id → how it stands, for those that the source's list does not show.
    """
    items: list[Item] = []
    problems: list[Problem] = []
    waived = SOURCE_ON in allow
    for one in held:
        verdict, against = _verdict(one, include_unready=include_unready, allow=allow)
        owner = str((source.rows.get(one.action.source_id, {}) if source else {}).get("ownerId") or "")
        items.append(Item(held=one, verdict=verdict, against=against, source_owner_id=owner))
        problems += [_unready(one, reason) for reason in against]
        if source is not None and verdict is not Verdict.SKIP and not one.own_counterpart:
            standing = (standings or {}).get(one.action.source_id) or source.listed(one.action.source_id)
            problems += _source_problems(one, verdict, standing, waived=waived, allow=allow)
    if source is None and any(item.verdict is Verdict.START for item in items):
        problems.insert(0, _unchecked("the source tenant", why_unchecked, "", waived=waived or _allows(allow)))
    return ActivationPlan(items=tuple(items), problems=tuple(problems), allow=allow)


def _allows(allow: frozenset[str]) -> bool:
    return SOURCE_UNCHECKED in allow


def _verdict(one: Held, *, include_unready: bool, allow: frozenset[str]) -> tuple[Verdict, tuple[Reason, ...]]:
    if one.standing is Standing.ON:
        return Verdict.ON, ()
    against = one.against(include_unready=include_unready, allow=allow)
    return (Verdict.SKIP, against) if against else (Verdict.START, ())


def _source_problems(
    one: Held, verdict: Verdict, standing: Standing, *, waived: bool, allow: frozenset[str]
) -> list[Problem]:
    name, where = one.action.name, f"automation {one.action.source_id}"
    if standing is Standing.UNKNOWN and verdict is Verdict.START:
        why = "this identity does not see it at the source"
        return [_unchecked(f"`{name}`", why, where, waived=waived or _allows(allow))]
    if standing is not Standing.ON:
        return []
    if verdict is Verdict.ON:
        message = f"`{name}` is on at both sides"
        return [Problem(code="both-on", severity=Severity.WARNING, message=message, where=where)]
    return [
        Problem(
            code=SOURCE_ON,
            severity=Severity.WARNING if waived else Severity.ERROR,
            message=f"`{name}` is still on at the source",
            where=where,
            hint="" if waived else "switch it off there, use `cutover`, or say --allow source-on",
        )
    ]


def _unchecked(what: str, why: str, where: str, *, waived: bool) -> Problem:
    return Problem(
        code=SOURCE_UNCHECKED,
        severity=Severity.WARNING if waived else Severity.ERROR,
        message=f"nobody can tell whether {what} is on at the source: {why}",
        where=where,
        hint="" if waived else "name the source with --source, or say --allow source-on",
    )


def _unready(one: Held, reason: Reason) -> Problem:
    return Problem(
        code=reason.code,
        severity=Severity.TODO,
        message=f"`{one.action.name}` is not started: {reason.text}",
        where=f"automation {one.target_id or one.action.source_id}",
    )


@frozen(kw_only=True)
class LiveResult:
    """What became of the automations of an activation, cutover or undo."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]
    counts: Mapping[str, int]
    failed: int


@frozen(kw_only=True)
class ActivationInput:
    """What an activation works with. `source`: asked once more right before each start."""

    plan: ActivationPlan
    target: Side
    source: Side | None
    folder: RunFolder
    abort_on_error: bool = False
    told: list[Outcome] = field(factory=list)


async def activate(given: ActivationInput, *, clock: Clock, sink: Sink) -> LiveResult:
    """Switch on what the plan says.

    Raises:
        AuthError: the tenant no longer knows the identity; run again.
    """
    journal = Journal(given.folder.journal_path, run_id=given.folder.path.name, clock=clock)
    problems: list[Problem] = list(given.plan.problems)
    outcomes: list[Outcome] = []
    stopped = False
    try:
        for number, item in enumerate(given.plan.items, start=1):
            if item.verdict is not Verdict.START:
                code, reason = "", ""
            elif stopped:
                code, reason = "not-started", "stopped before its turn"
            else:
                code, reason = await _start(given, item, journal, clock)
                stopped = bool(code) and given.abort_on_error
            if code and code != "not-started":
                where = f"automation {item.held.target_id}"
                message = f"`{item.held.action.name}` was not started: {reason}"
                problems.append(Problem(code=code, severity=Severity.ERROR, message=message, where=where))
                sink(problems[-1])
            outcomes.append(outcome_of_item(item, code=code, reason=reason, clock=clock))
            sink(outcomes[-1])
            sink(Progress(phase="start", done=number, total=len(given.plan.items), subject=item.held.action.name))
    finally:
        journal.close()
    return LiveResult(
        outcomes=tuple(outcomes),
        problems=tuple(problems),
        counts=counts_of(given.plan.items, outcomes, word="enabled"),
        failed=sum(1 for one in outcomes if one.status == "failed"),
    )


async def _start(given: ActivationInput, item: Item, journal: Journal, clock: Clock) -> tuple[str, str]:
    """Switch one on; code and reason where that failed."""
    held, source = item.held, given.source
    leg = Leg(side=given.target, key=f"activate:{held.action.seq}", id=held.target_id, owner_id=held.owner_id)
    try:
        if source is not None and SOURCE_ON not in given.plan.allow and not held.own_counterpart:
            standing = await source.standing(held.action.source_id, item.source_owner_id)
            if standing is Standing.ON:
                return SOURCE_ON, "it was switched on at the source meanwhile"
        await switch(leg, True, journal=journal, clock=clock)
    except UnauthorizedError as error:
        if error.status == 401:
            raise
        return error.code, error.message
    except ApiError as error:
        return error.code, error.message
    return "", ""


def outcome_of_item(item: Item, *, code: str = "", reason: str = "", clock: Clock, planned: bool = False) -> Outcome:
    """The outcome of one item: done, skipped with the first reason against it, or failed with `code`."""
    held = item.held
    action, status = "enable", "planned" if planned else "done"
    if code:
        status = "failed"
    elif item.verdict is Verdict.ON:
        action, status, reason = "none", "done", "on already"
    elif item.verdict is Verdict.SKIP:
        action, status, code = "skip", "skipped", item.against[0].code
        reason = "; ".join(one.text for one in item.against)
    else:
        reason = next_words(held, clock)
    return Outcome(
        kind="automation",
        source_id=held.action.source_id,
        target_id=held.target_id or None,
        name=held.action.name,
        action=action,
        status=status,
        code=code,
        reason=reason,
    )


def next_words(held: Held, clock: Clock) -> str:
    """`next firing: …` for what is scheduled."""
    times = held.next_firings(clock.now())
    return "next firing: " + ", ".join(map(rfc3339, times)) if times else ""


def counts_of(items: tuple[Item, ...], outcomes: list[Outcome], *, word: str) -> dict[str, int]:
    """`selected` = `word` + unchanged + skipped + failed."""
    failed = sum(1 for one in outcomes if one.status == "failed")
    skipped = sum(1 for one in outcomes if one.status == "skipped")
    unchanged = sum(1 for one in outcomes if one.status == "done" and one.action == "none")
    done = len(items) - failed - skipped - unchanged
    return {"selected": len(items), word: done, "unchanged": unchanged, "skipped": skipped, "failed": failed}
