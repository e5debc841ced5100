"""Plans told: problems in groups, actions as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import asdict

from qlikmigrate.kernel.event import Outcome, Problem, Severity

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.importer.plan import Action, ConnectionAction, Plan
    from qlikmigrate.importer.preview import Preview


def tell_plan_problems(session: Session, plan: Plan, *, known: bool = False) -> None:
    """A plan's problems; an error that `--allow` waives is told as the warning that it has become."""
    tell_problems(session, plan.told, known=known)


def tell_problems(session: Session, problems: Iterable[Problem], *, known: bool = False) -> None:
    """Problems to people, one of each code and how many more; one by one with `--json` or `--verbose`.

    `known`: they were told when the plan was made, and people need only the errors again.
    """
    output = session.output
    fresh = [one for one in dict.fromkeys(problems) if one not in output.told]
    if output.json or output.verbose:
        for problem in fresh:
            output(problem)
        return
    groups: dict[tuple[str, Severity], list[Problem]] = {}
    for problem in fresh:
        groups.setdefault((problem.code, problem.severity), []).append(problem)
    for group in groups.values():
        output.told.update(group)
        first = group[0]
        if known and first.severity is not Severity.ERROR:
            continue
        shown = group if first.severity is Severity.ERROR else group[:1]
        for problem in shown:
            output.problem(problem)
        if len(group) > len(shown) and output.shows(first):
            output.say(f"  and {len(group) - len(shown)} more of `{first.code}`; --verbose lists them")


def tell_plan(session: Session, plan: Plan, *, saved: str | None) -> None:
    """The plan's actions as rows, what they come to, and its problems."""
    from qlikmigrate.report.plan import plan_rows, plan_summary

    tell_plan_problems(session, plan)
    output = session.output
    everything = output.verbose or output.json
    hint = f"`qlikmigrate show {saved}` lists them" if saved else "--verbose lists them"
    output.rows(plan_rows(plan, everything=everything), hint=hint)
    session.report["counts"] = _counts(plan)
    session.report["forecast"] = asdict(plan.forecast) if plan.forecast else None
    session.closing += plan_summary(plan)


def tell_changes(session: Session, plan: Plan, shown: Preview) -> None:
    """What each update changes, edit by edit; secrets masked."""
    from qlikmigrate.report.difference import Teller, edit_rows

    naming = (shown.target, shown.source)
    teller = Teller(old=naming, new=naming, token_hashes=shown.token_hashes)
    for action, edits in shown.of(plan):
        if not session.output.json:
            session.output.item({}, f"what changes in {action.name}  ({action.target_id})")
        for row, text in edit_rows(action, edits, teller):
            session.output.item(row, text)


def tell_planned(session: Session, plan: Plan) -> None:
    """A dry run: the actions as what would come out."""
    from qlikmigrate.report.plan import plan_summary

    if not session.output.json:
        tell_plan(session, plan, saved=None)
        return
    for outcome in _planned_ground(plan):
        session.output(outcome)
    for one in plan.connections:
        session.output(_planned("connection", one))
    for action in plan.actions:
        session.output(_planned("automation", action))
    session.report["counts"] = _counts(plan)
    session.report["forecast"] = asdict(plan.forecast) if plan.forecast else None
    session.closing += plan_summary(plan)


def _planned(kind: str, action: Action | ConnectionAction) -> Outcome:
    return Outcome(
        kind=kind,
        source_id=action.source_id,
        target_id=action.target_id,
        name=action.name,
        action=action.verb.value,
        status="planned",
        code=action.code,
        reason=action.reason,
    )


def _planned_ground(plan: Plan) -> Iterator[Outcome]:
    """Settings and spaces."""
    if plan.settings is not None:
        yield Outcome(
            kind="settings",
            source_id=None,
            target_id=None,
            name="maxConcurrentRunsPerAutomation",
            action="update",
            status="planned",
            reason=f"from {plan.settings.before} to {plan.settings.after}",
        )
    for one in plan.spaces:
        yield Outcome(
            kind="space", source_id=one.source_id, target_id=None, name=one.name, action="create", status="planned"
        )


def _counts(plan: Plan) -> dict[str, dict[str, int]]:
    counts = {
        "automations": {**plan.counts(), "failed": 0},
        "connections": {**plan.connection_counts(), "failed": 0},
        "spaces": {"selected": len(plan.spaces), "created": len(plan.spaces), "failed": 0},
    }
    if plan.settings is not None:
        counts["settings"] = {"selected": 1, "updated": 1, "failed": 0}
    return counts
