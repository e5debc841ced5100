"""How a run into an OEM account stands by now: its tasks ticked off, and what drifted. Reads only.

Links for consent are fetched when they are asked for, and handed over; nothing keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.oem.connection_writer import key_of, link_in
from qlikmigrate.importer.oem.planner import HAND_BUILT
from qlikmigrate.importer.oem.runbook import ADMINISTRATOR, consent_tasks, tasks_of
from qlikmigrate.importer.oem.target import list_automations
from qlikmigrate.importer.oem.watch import OemWatch, open_watch, ran
from qlikmigrate.importer.plan import Action
from qlikmigrate.importer.result import Task, outcome_of
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.status import Link, Status
from qlikmigrate.importer.tick import Tick
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.oem import AVAILABLE


async def read_oem_status(client: OemClient, view: RunView, *, links: bool, sink: Sink) -> Status:
    """Read the account again and judge every task of the run. `links`: fetch where people give their consent.

    Raises:
        UsageError: the account is not there.
        CorruptError: the run's report is damaged.
        AuthError, FailedError: the account cannot be read.
    """
    watch = await open_watch(client, view, sink=sink)
    tasks = _tasks(view, client.endpoint.url)
    judge = _Judge(client, watch)
    opened = list(_open(view))
    ticks = [_still_open(one) for one in opened] + [await judge.tick(task) for task in tasks]
    waiting = [ident for ident, one in sorted(watch.connections.items()) if one.connected is False]
    found = [await _link(client, watch, ident) for ident in waiting] if links else []
    return Status(ticks=tuple(ticks), problems=(*opened, *_drift(watch)), links=tuple(found))


def _tasks(view: RunView, base: str) -> tuple[Task, ...]:
    """As the run's report has them; those of a run that died before its report follow from its journal."""
    path = view.folder.path / "report.json"
    try:
        return tuple(Task(**task) for task in orjson.loads(path.read_bytes())["tasks"])
    except FileNotFoundError:
        pass
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise CorruptError(f"the report {path} is damaged", hint="--resume of the run writes it anew") from None
    outcomes = {
        one.seq: outcome_of(one, target_id=view.target_of(one.seq), code="" if view.complete(one) else "not-started")
        for one in view.plan.actions
    }
    waiting = [
        (one, done.target_id)
        for one in view.plan.connections
        if (done := view.state.objects.get(key_of(one))) and done.consent and done.target_id
    ]
    return (*consent_tasks(waiting), *tasks_of(view.plan, None, outcomes, base=base))


class _Judge:
    def __init__(self, client: OemClient, watch: OemWatch) -> None:
        self._client = client
        self._watch = watch
        self._actions = {watch.view.target_of(one.seq): one for one in watch.view.plan.actions}
        self._names: set[str] | None = None

    async def tick(self, task: Task) -> Tick:
        """Judge one task. What nobody can tell from here is open."""
        kind, _, ident = task.where.partition(" ")
        if task.code == HAND_BUILT:
            return await self._built(task, ident)
        if kind == "connection":
            return self._connection(task, ident)
        action = self._actions.get(ident)
        if action is None:
            return Tick(task=task, settled=False, note="cannot be checked")
        seen = self._watch.seen[action.seq]
        if seen.automation is None:
            return Tick(task=task, settled=True, note="it is gone")
        match task.code:
            case "held":
                state = self._watch.state_of(action)
                note = {AVAILABLE: "switched on", "": "nobody can tell whether it is on"}.get(state, "off")
                return Tick(task=task, settled=state == AVAILABLE, note=note)
            case "caller":
                called = await ran(self._client, self._watch.account, ident)
                return Tick(task=task, settled=called, note="it ran" if called else "nobody has called it yet")
            case "setup-incomplete":
                done = seen.automation.setup_complete is True
                return Tick(task=task, settled=done, note="its setup is complete" if done else "not complete")
        return Tick(task=task, settled=False, note="cannot be checked: the service does not show it")

    def _connection(self, task: Task, ident: str) -> Tick:
        found = self._watch.connections.get(ident)
        if task.code != "consent":
            # One that people were to make is known by its name at the source.
            named = next((one.name for one in self._watch.view.plan.connections if one.source_id == ident), "")
            there = any(one.name == named for one in self._watch.connections.values())
            return Tick(task=task, settled=there, note="it is there" if there else "it is not there")
        if found is None:
            return Tick(task=task, settled=False, note="it cannot be seen")
        connected = found.connected is not False
        return Tick(task=task, settled=connected, note="connected" if connected else "not connected")

    async def _built(self, task: Task, ident: str) -> Tick:
        if self._names is None:
            found, _ = await list_automations(self._client, self._watch.account)
            self._names = {one.name for one in found.values() if not one.template_id}
        name = next((one.name for one in self._watch.view.plan.actions if one.source_id == ident), "")
        there = name in self._names
        note = "one of that name is there: restore again, and its inputs are set" if there else "it is not there"
        return Tick(task=task, settled=there, note=note)


def _still_open(problem: Problem) -> Tick:
    """Nothing is more of a task than what may be on."""
    task = Task(
        code=problem.code, person=ADMINISTRATOR, message=problem.message, where=problem.where, hint=problem.hint
    )
    return Tick(task=task, settled=False, note=problem.hint)


def _open(view: RunView) -> Iterable[Problem]:
    for action in view.plan.actions:
        done = view.state.objects.get(str(action.seq))
        if done is not None and done.window_is_open:
            yield Problem(
                code="window-open",
                severity=Severity.ERROR,
                message=f"`{action.name}` was being installed when the run was cut short, and may be on",
                where=f"account {view.plan.target.name}",
                hint="--resume of the run switches it off first of all",
            )


def _drift(watch: OemWatch) -> Iterable[Problem]:
    """What people changed since the run: good to know, and none of its tasks."""
    for action in watch.view.plan.actions:
        seen = watch.seen.get(action.seq)
        if seen is None or not _is_complete(watch, action):
            continue
        if seen.automation is None:
            message = f"`{action.name}` is gone"
        elif seen.automation.name != action.name:
            message = f"`{action.name}` is called `{seen.automation.name}` now"
        elif watch.changed(action):
            message = f"`{action.name}` was changed since the run"
        else:
            continue
        where = f"automation {watch.view.target_of(action.seq)}"
        yield Problem(code="drifted", severity=Severity.INFO, message=message, where=where)


def _is_complete(watch: OemWatch, action: Action) -> bool:
    return bool(action.steps) and watch.view.complete(action)


async def _link(client: OemClient, watch: OemWatch, ident: str) -> Link:
    value = (await client.call("datasource.get", account=watch.account, datasource=ident)).json() or {}
    return Link(
        connection_id=ident,
        name=watch.connections[ident].name,
        owner=ADMINISTRATOR,
        redirect=link_in(value),
    )
