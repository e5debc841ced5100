"""What a machine cannot do, as tasks grouped by person. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qlikmigrate.importer.plan import FALLBACK, ConnectionAction, Plan, Step, Verb
from qlikmigrate.importer.result import Task
from qlikmigrate.kernel.event import Outcome, Problem, Severity
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem_view import PERSISTED_INPUT, WORKSPACE_MISSING

# Findings that a person settles at the target; the rest are for reading.
BY_PERSON = {
    "connection-unbound": "choose a connection for the block",
    "call-unresolved": "choose the automation to call, then enable the block",
    "source-id-left": "replace the id, or leave it knowingly",
    "id-in-code": "check the id in the source code",
    "id-in-prose": "check the id",
    "bindings-lost-on-transfer": "choose the connections again",
    # Of what comes from an OEM account.
    "state-unknown": "switch it on if it was on",
    "schedule-unknown": "enter its schedule",
    "schedule-once": "start it at its time",
    PERSISTED_INPUT: "enter the stored inputs",
}


def tasks_of(
    plan: Plan,
    source: Inventory,
    target: Inventory,
    outcomes: Mapping[int, Outcome],
    problems: Iterable[Problem],
    inputs: Mapping[str, str] | None = None,
) -> tuple[Task, ...]:
    """Tasks by person and object, without doubles.

    `inputs`: source id → stored inputs of an OEM automation in words, where the archive is at hand.
    """
    by_source = {action.source_id: action for action in plan.actions}
    tasks: list[Task] = []

    def person(user_id: str) -> str:
        return person_of(user_id, target)

    # In an OEM account nothing is switched off from here.
    starting = "`activate` or `cutover` starts" if plan.archive.is_cloud else "`activate` starts"
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
                        message=f"`{action.name}` is complete and off: {starting} it",
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
        if problem.code == WORKSPACE_MISSING:
            # There is no object at the target that it could be about.
            tasks.append(
                Task(
                    code=problem.code,
                    person="the administrator",
                    message=problem.message,
                    where=problem.where,
                    hint=problem.hint,
                )
            )
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
        named = f"`{found.name}`"
        told = problem.message if problem.message.startswith(named) else f"{named}: {problem.message}"
        if problem.code == PERSISTED_INPUT and inputs and subject in inputs:
            told = f"{named} has stored inputs: {inputs[subject]}"
        tasks.append(
            Task(
                code=problem.code,
                person=person(found.owner_id),
                message=told,
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
