"""What a machine cannot do, as tasks grouped by person. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qlikmigrate.importer.plan import FALLBACK, ConnectionAction, Plan, Step, Verb
from qlikmigrate.importer.result import Task
from qlikmigrate.kernel.event import Outcome, Problem, Severity
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind

# Findings that a person settles at the target; the rest are for reading.
BY_PERSON = {
    "connection-unbound": "choose a connection for the block",
    "call-unresolved": "choose the automation to call, then enable the block",
    "source-id-left": "replace the id, or leave it knowingly",
    "id-in-code": "check the id in the source code",
    "id-in-prose": "check the id",
    "bindings-lost-on-transfer": "choose the connections again",
}


def tasks_of(
    plan: Plan, source: Inventory, target: Inventory, outcomes: Mapping[int, Outcome], problems: Iterable[Problem]
) -> tuple[Task, ...]:
    """Tasks by person and object, without doubles."""
    by_source = {action.source_id: action for action in plan.actions}
    tasks: list[Task] = []

    def person(user_id: str) -> str:
        return person_of(user_id, target)

    owners = {one.source_id: one.name or one.email or one.subject for one in plan.owners}
    by_person = {row.source_id: row.target_id for row in plan.rows if row.kind is Kind.USER and row.rule != FALLBACK}
    for seq, outcome in outcomes.items():
        action = plan.actions[seq - 1]
        if outcome.status != "done" or not outcome.target_id:
            continue
        where = f"automation {outcome.target_id}"
        if action.verb is Verb.CREATE or Step.DISABLE in action.steps:
            if action.held:
                tasks.append(
                    Task(
                        code="held",
                        person=person(action.owner_id),
                        where=where,
                        message=f"`{action.name}` is complete and off: `activate` or `cutover` starts it",
                    )
                )
            if action.stands_in and action.owner_id != by_person.get(action.wanted_owner):
                wanted = owners.get(action.wanted_owner)
                tasks.append(
                    Task(
                        code="owner-to-reassign",
                        person="the administrator",
                        where=where,
                        message=f"`{action.name}` is {wanted or action.wanted_owner}'s, and {person(action.owner_id)} "
                        "stands in",
                        hint="`reassign RUN` gives it to them once they are at the target",
                    )
                )
            row = source.get(Kind.AUTOMATION, action.source_id)
            if action.verb is Verb.CREATE and (action.run_mode or (row.run_mode if row else "")) == "triggered":
                tasks.append(
                    Task(
                        code="caller",
                        person=person(action.owner_id),
                        where=where,
                        message=f"callers of `{action.name}` need its new id and a new execution token",
                        hint=f"it was {action.source_id}",
                    )
                )
    for problem in problems:
        if problem.code not in BY_PERSON or problem.severity is Severity.ERROR:
            continue
        if "].displayValue" in problem.where:
            # The label of a value that is on the list itself.
            continue
        subject = problem.where.removeprefix("automation ").split(":", 1)[0].split(" ", 1)[0]
        found = by_source.get(subject)
        if found is None or found.verb not in (Verb.CREATE, Verb.UPDATE):
            continue
        ident = outcomes[found.seq].target_id or ""
        place = problem.where.partition(": ")[2]
        tasks.append(
            Task(
                code=problem.code,
                person=person(found.owner_id),
                message=f"`{found.name}`: {problem.message}",
                where=f"automation {ident}" + (f", {place}" if place else ""),
                hint=problem.hint or BY_PERSON[problem.code],
            )
        )
    return tuple(sorted(dict.fromkeys(tasks), key=lambda one: (one.person, one.code, one.message, one.where)))


def consent_tasks(connections: Iterable[tuple[ConnectionAction, str]], target: Inventory) -> list[Task]:
    """A task for the owner of each new connection (with its id) that waits for consent. Links are fetched when asked
    for and stored nowhere."""
    return [
        Task(
            code="consent",
            person=person_of(one.owner_id, target),
            message=f"open connection `{one.name}` and give it your consent",
            where=f"connection {ident}",
            hint=f"{len(one.used_by)} automations are bound to it already",
        )
        for one, ident in connections
    ]


def person_of(user_id: str, target: Inventory) -> str:
    """Whom a task is for, as people call them."""
    user = target.get(Kind.USER, user_id)
    return (user.name or user.email or user.subject) if user else "the administrator"
