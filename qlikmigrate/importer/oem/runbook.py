"""What people do after a restore into an OEM account, and work orders for what no call can make. Pure.

Names and ids only: no value of an input, no link, no token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from qlikmigrate.importer.oem.planner import HAND_BUILT
from qlikmigrate.importer.plan import Action, ConnectionAction, Plan, Verb
from qlikmigrate.importer.result import Task
from qlikmigrate.kernel.event import Outcome
from qlikmigrate.model.oem import OemHolding, Schedule

ADMINISTRATOR = "the administrator"
_CALLED = ("triggered", "webhook")


def trigger_url(base: str, ident: str) -> str:
    """Where a triggered automation is started. Source: the vendor's page on webhook URLs: `/widgets/GUID`."""
    return f"{base.rstrip('/')}/widgets/{ident}"


def tasks_of(
    plan: Plan,
    holding: OemHolding | None,
    outcomes: Mapping[int, Outcome],
    *,
    base: str,
    unfinished: Collection[int] = (),
) -> list[Task]:
    """Tasks about automations. `base`: the API's address. `unfinished`: whose setup a person has to go through."""
    tasks: list[Task] = []
    for action in plan.actions:
        outcome = outcomes[action.seq]
        if action.code == HAND_BUILT and holding is not None:
            tasks.append(_work_order(plan, holding, action))
        if outcome.status != "done" or not outcome.target_id or action.verb is not Verb.CREATE:
            continue
        tasks += _of_new(plan, action, outcome.target_id, base)
        if action.seq in unfinished:
            tasks.append(_task("setup-incomplete", f"go through the setup of `{action.name}`", outcome.target_id))
    return tasks


def _of_new(plan: Plan, action: Action, ident: str, base: str) -> Iterable[Task]:
    assert action.oem is not None
    if action.held and not action.oem.parts:
        yield _task(
            "held",
            f"`{action.name}` is complete and off: `activate` starts it",
            ident,
            "nobody says whether it was on at the source" if not action.oem.state else "",
        )
    if action.run_mode == "scheduled" and action.oem.schedule is None:
        yield _task(
            "schedule-unknown",
            f"set the schedule of `{action.name}` as it is at the source: nobody says it",
            ident,
            "until then it has its template's",
        )
    if action.run_mode in _CALLED:
        old = trigger_url(f"https://{plan.archive.host}/v1", action.source_id)
        yield _task(
            "caller",
            f"callers of `{action.name}` need its new address {trigger_url(base, ident)} and a new execution token",
            ident,
            f"it was {old}",
        )


def _task(code: str, message: str, ident: str, hint: str = "") -> Task:
    return Task(code=code, person=ADMINISTRATOR, message=message, where=f"automation {ident}", hint=hint)


def consent_tasks(waiting: Iterable[tuple[ConnectionAction, str]]) -> list[Task]:
    """For each connection that waits for a person: links are handed out by `status --links`, and kept nowhere."""
    return [
        Task(
            code="consent",
            person=ADMINISTRATOR,
            message=f"have connection `{one.name}` connected by its person, who has to agree in a browser",
            where=f"connection {ident}",
            hint="`status RUN --links` fetches the link; afterwards --resume installs what waits for it",
        )
        for one, ident in waiting
    ]


def connection_tasks(connections: Iterable[ConnectionAction]) -> list[Task]:
    """For each connection that a person has to make."""
    return [
        Task(
            code="connection-values-missing",
            person=ADMINISTRATOR,
            message=f"make connection `{one.name}`: {one.reason}",
            where=f"connection {one.source_id}",
            hint="name the values in a --secrets file and restore again, or make it in the hub",
        )
        for one in connections
        if one.verb is Verb.SKIP and one.code == "connection-values-missing"
    ]


def _work_order(plan: Plan, holding: OemHolding, action: Action) -> Task:
    """Everything that is known of an automation that was built by hand."""
    one = holding.automations[action.source_id]
    inputs = ", ".join(
        f"{each.name} ({each.label or 'start'}{', required' if each.is_required else ''}"
        f"{', has a value' if each.value is not None else ''})"
        for each in one.inputs
    )
    linked = ", ".join(f"{each.name} ({each.connector_name})" for each in holding.connections_of(one.id))
    parts = [
        f"run mode {one.run_mode or 'unknown'}",
        f"inputs: {inputs or 'none'}",
        f"connections: {linked or 'none that it is linked to'}",
        f"schedule: {_spoken(action.oem.schedule if action.oem else None)}",
        f"state: {(action.oem.state if action.oem else '') or 'unknown'}",
    ]
    if one.id in holding.supplied:
        parts.append(f"workspace: `qlikmigrate cat {plan.archive.path} {one.id} --workspace > {one.id}.json`")
    else:
        parts.append("workspace: none was handed in with the backup")
    return Task(
        code=HAND_BUILT,
        person=ADMINISTRATOR,
        message=f"build `{one.name}` by hand: " + "; ".join(parts),
        where=f"automation {one.id}",
        hint=f"`qlikmigrate show {plan.archive.path} {one.id}` shows all that is known; build it under the same name",
    )


def _spoken(schedule: Schedule | None) -> str:
    if schedule is None:
        return "unknown"
    if not schedule.fires:
        return "none"
    every = "once" if schedule.interval_s == 0 else f"every {schedule.interval_s} s"
    bounds = f", from {schedule.start_at}" if schedule.start_at else ""
    bounds += f", until {schedule.stop_at}" if schedule.stop_at else ""
    return f"{every}{bounds}{f' ({schedule.timezone})' if schedule.timezone else ''}"
