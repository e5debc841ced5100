"""How a run stands by now: its tasks ticked off against the target, and what drifted. Reads only.

Links for consent are fetched when they are asked for, and handed over; nothing keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from attrs import field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, UnauthorizedError
from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.plan import Action, Verb
from qlikmigrate.importer.result import Task, outcome_of
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.runbook import consent_tasks, tasks_of
from qlikmigrate.importer.target import list_rows
from qlikmigrate.importer.tick import Now, Tick, tick
from qlikmigrate.importer.undo import changed_fields
from qlikmigrate.importer.watch import Watch, check_tenant
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Inventory, TenantFacts, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.workspace import connections_used


@frozen(kw_only=True)
class Link:
    """Where a person connects a connection. `redirect` is for that person alone; None: it could not be had."""

    connection_id: str
    name: str
    owner: str
    redirect: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Status:
    """What is settled and what is left. `problems`: drift, and connections that do not work; for information."""

    ticks: tuple[Tick, ...]
    problems: tuple[Problem, ...] = ()
    links: tuple[Link, ...] = field(default=(), repr=False)

    @property
    def left(self) -> int:
        """How many tasks are open."""
        return sum(not one.settled for one in self.ticks)

    def sums(self) -> dict[str, tuple[int, int]]:
        """Code → settled, all."""
        codes = sorted({one.task.code for one in self.ticks})
        mine = {code: [one for one in self.ticks if one.task.code == code] for code in codes}
        return {code: (sum(one.settled for one in ticks), len(ticks)) for code, ticks in mine.items()}


async def read_status(client: CloudClient, view: RunView, *, links: bool, clock: Clock, sink: Sink) -> Status:
    """Read the target again and judge every task of the run. `links`: fetch where people give their consent.

    Raises:
        UsageError: the tenant is not the run's.
        CorruptError: the run's report is damaged.
        AuthError, FailedError: the tenant cannot be read.
    """
    await check_tenant(client, view.plan)
    watch = Watch(view=view, client=client, clock=clock)
    await watch.open()
    users = [entity(Kind.USER, row) async for row in list_rows(client, "user.list")]
    people = Inventory(tenant=TenantFacts(id=view.plan.target.tenant_id), entities=tuple(users))
    connections = {str(row["id"]): row async for row in list_rows(client, "connection.list")}
    actions = {
        ident: action
        for action in view.plan.actions
        if action.verb is not Verb.SKIP and (ident := view.target_of(action.seq))
    }
    documents, gone, ran = await _read(watch, actions, sink)
    connected = {ident: bool(entity(Kind.CONNECTION, row).connected) for ident, row in connections.items()}
    now = Now(
        documents=documents,
        rows=watch.rows,
        gone=gone,
        connected=connected,
        stand_ins={ident: action.owner_id for ident, action in actions.items() if action.stands_in},
        ran=ran,
        source_ids=_source_ids(view),
    )
    ticks = tuple(tick(task, now) for task in read_tasks(view, people))
    waiting = _waiting(documents, connected, ticks)
    problems = [*_drift(watch, actions, documents), *_not_connected(waiting, connections, people, ticks)]
    found = [await _link(client, connections[ident], people) for ident in waiting] if links else []
    return Status(ticks=ticks, problems=tuple(problems), links=tuple(found))


async def _read(
    watch: Watch, actions: Mapping[str, Action], sink: Sink
) -> tuple[dict[str, Mapping[str, Any] | None], set[str], set[str]]:
    documents: dict[str, Mapping[str, Any] | None] = {}
    gone: set[str] = set()
    ran: set[str] = set()

    async def read(ident: str) -> None:
        found = await watch.reach(ident, actions[ident])
        documents[ident] = found.value
        if found.gone:
            gone.add(ident)
        elif await watch.ran(ident, found):
            ran.add(ident)
        sink(Progress(phase="read", done=len(documents), total=len(actions), subject=actions[ident].name))

    await fan_out(actions, read, width=watch.client.endpoint.limits.concurrency)
    return documents, gone, ran


def read_tasks(view: RunView, people: Inventory) -> tuple[Task, ...]:
    """The tasks as the run's report has them; those of a run that died before its report follow from its journal.

    Raises:
        CorruptError: the report is damaged.
    """
    path = view.folder.path / "report.json"
    try:
        value = orjson.loads(path.read_bytes())
        return tuple(Task(**task) for task in value["tasks"])
    except FileNotFoundError:
        return _tasks_from_journal(view, people)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise CorruptError(f"the report {path} is damaged", hint="--resume of the run writes it anew") from None


def _tasks_from_journal(view: RunView, people: Inventory) -> tuple[Task, ...]:
    outcomes = {
        action.seq: outcome_of(
            action, target_id=view.target_of(action.seq), code="" if view.complete(action) else "not-started"
        )
        for action in view.plan.actions
    }
    waiting = [
        (one, done.target_id)
        for one in view.plan.connections
        if (done := view.state.objects.get(f"connection:{one.source_id}")) and done.consent and done.target_id
    ]
    tasks = tasks_of(view.plan, Inventory(tenant=TenantFacts(id="")), people, outcomes, view.plan.problems)
    return (*tasks, *consent_tasks(waiting, people))


def _source_ids(view: RunView) -> frozenset[str]:
    """Ids of the source that mean nothing at the target."""
    mapped = {action.source_id.lower(): view.target_of(action.seq) or "" for action in view.plan.actions}
    rows = {row.source_id.lower(): row.target_id or "" for row in view.plan.rows if row.decision != "keep"}
    return frozenset(old for old, new in {**rows, **mapped}.items() if old and old != new.lower())


def _drift(
    watch: Watch, actions: Mapping[str, Action], documents: Mapping[str, Mapping[str, Any] | None]
) -> Iterable[Problem]:
    """What people changed since the run wrote it: good to know, and none of its tasks."""
    for ident, action in actions.items():
        value, written = documents.get(ident), watch.written(action)
        faces = (*written.moved.faces, *written.run.faces)
        if value is None or not faces or written.undone.steps:
            continue
        fields = changed_fields(face_of(value), faces)
        if fields:
            yield Problem(
                code="drifted",
                severity=Severity.INFO,
                message=f"`{action.name}` was changed since the run: {', '.join(fields)}",
                where=f"automation {ident}",
            )


def _waiting(
    documents: Mapping[str, Mapping[str, Any] | None], connected: Mapping[str, bool], ticks: Iterable[Tick]
) -> list[str]:
    """The connections that do not work, of those that the run's automations or its tasks name."""
    used = {use.value for value in documents.values() if value is not None for use in connections_used(value)}
    used |= {one.task.where.removeprefix("connection ") for one in ticks if one.task.where.startswith("connection ")}
    return sorted(ident for ident in used if connected.get(ident) is False)


def _not_connected(
    waiting: Iterable[str], connections: Mapping[str, Mapping[str, Any]], people: Inventory, ticks: Iterable[Tick]
) -> Iterable[Problem]:
    told = {one.task.where for one in ticks}
    for ident in waiting:
        if f"connection {ident}" not in told:
            owner = _person(people, str(connections[ident].get("ownerId") or ""))
            yield Problem(
                code="not-connected",
                severity=Severity.INFO,
                message=f"connection `{connections[ident].get('name')}` of {owner} does not work",
                where=f"connection {ident}",
                hint="its owner opens it in the hub; --links shows where consent is given",
            )


def _person(people: Inventory, ident: str) -> str:
    user = people.get(Kind.USER, ident)
    return (user.name or user.email or user.subject) if user else "somebody unknown"


async def _link(client: CloudClient, row: Mapping[str, Any], people: Inventory) -> Link:
    """Where consent is given, asked for as the connection's owner where that is configured."""
    ident, owner_id = str(row["id"]), str(row.get("ownerId") or "")
    redirect: object = None
    try:
        if client.endpoint.impersonation is not None and owner_id:
            client = await client.as_user(owner_id)
        value = (await client.call("connection.get", id=ident)).json()
        redirect = value.get("redirect") if isinstance(value, Mapping) else None
    except UnauthorizedError as error:
        if error.code != "impersonation-refused":
            raise
    except ApiError as error:
        if error.status not in (403, 404):
            raise
    return Link(
        connection_id=ident,
        name=str(row.get("name") or ""),
        owner=_person(people, owner_id),
        redirect=redirect if isinstance(redirect, str) and redirect else None,
    )
