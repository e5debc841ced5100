"""What became of a run's objects: the target read again with GETs, object by object, and what to do follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import define, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, ForbiddenError, MissingError, UnauthorizedError
from qlikmigrate.importer.journal import Done, RunState
from qlikmigrate.importer.lost_create import Wanted, find_created
from qlikmigrate.importer.plan import Action, Plan, SpaceAction, Step, Verb
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.target import list_rows
from qlikmigrate.importer.undo import Sighting, SpaceSighting, Undo, Written, undo_of, undo_of_connection, undo_of_space
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse


@frozen(kw_only=True)
class Reach:
    """One automation and the client that reads it. `value` None: nobody here may read it; `gone`: it does not exist."""

    client: CloudClient
    value: Mapping[str, Any] | None = None
    raw: bytes = b""
    gone: bool = False


@frozen(kw_only=True)
class Look:
    """A decision, and what it was made from."""

    undo: Undo
    reach: Reach
    sighting: Sighting


async def check_tenant(client: CloudClient, plan: Plan) -> None:
    """The tenant must be the one that the run wrote to.

    Raises:
        UsageError: it is another.
    """
    facts = await client.tenant()
    if facts.id != plan.target.tenant_id:
        raise UsageError(f"`{client.endpoint.name}` is another tenant than the one of the run")


async def reach(client: CloudClient, ident: str, owner_id: str, *, listed: bool) -> Reach:
    """Read an automation as the caller, else as its owner where that is configured.

    `listed`: the tenant's list shows it, so a 404 only means that it may not be read.

    Raises:
        ApiError: the tenant cannot be read at all.
    """
    refused = False
    for as_owner in (False, True):
        try:
            if as_owner and (client.endpoint.impersonation is None or not owner_id):
                break
            # A token for the owner is asked for only where the caller cannot read it.
            one = await client.as_user(owner_id) if as_owner else client
            answer = await one.call("automation.get", id=ident)
        except ForbiddenError:
            refused = True
        except MissingError:
            continue
        except UnauthorizedError as error:
            # The owner may be gone or inactive by now.
            if error.code != "impersonation-refused":
                raise
        else:
            value = answer.json()
            return Reach(client=one, value=value if isinstance(value, Mapping) else {}, raw=answer.raw)
    return Reach(client=client, gone=not refused and not listed)


@define
class Watch:
    """Looks at what a run wrote. `rows`, `connections`: of the target's lists."""

    view: RunView
    client: CloudClient
    clock: Clock
    force: bool = False
    patient: bool = False
    rows: Mapping[str, Mapping[str, Any]] = field(factory=dict, repr=False)
    connections: Mapping[str, Mapping[str, Any]] = field(factory=dict, repr=False)

    @property
    def plan(self) -> Plan:
        """The run's plan."""
        return self.view.plan

    @property
    def state(self) -> RunState:
        """What the journal says."""
        return self.view.state

    async def open(self) -> None:
        """Read the list of automations."""
        self.rows = {str(row["id"]): row async for row in list_rows(self.client, "automation.list")}

    def owner_of(self, ident: str, action: Action) -> str:
        """Who owns it now, as far as the list tells."""
        return str(self.rows.get(ident, {}).get("ownerId") or action.owner_id)

    async def reach(self, ident: str, action: Action) -> Reach:
        """Read one automation of the run."""
        return await reach(self.client, ident, self.owner_of(ident, action), listed=ident in self.rows)

    def done(self, key: str) -> Done:
        """What the journal says of a key."""
        return self.state.objects.get(key) or Done()

    def written(self, action: Action) -> Written:
        """What the run did with the automation of an action."""
        space_id = action.space_id if action.new_space is None else action.new_space
        if space_id.startswith("new:"):
            space_id = self.done(f"space:{space_id.removeprefix('new:')}").target_id or ""
        return Written(
            run=self.done(str(action.seq)),
            moved=self.done(f"reassign:{action.seq}"),
            undone=self.done(f"rollback:{action.seq}"),
            space_id=space_id,
        )

    async def look(self, action: Action) -> Look:
        """What a rollback does with one automation."""
        written = self.written(action)
        nothing = Reach(client=self.client)
        if action.verb not in (Verb.CREATE, Verb.UPDATE):
            return self._look(action, written, nothing, Sighting())
        if Step.DELETE in written.undone.steps:
            return self._look(action, written, nothing, Sighting(gone=True))
        ident = written.run.target_id or action.target_id
        candidates: tuple[str, ...] = ()
        if ident is None:
            candidates = await self._candidates(action, written)
            ident = candidates[0] if len(candidates) == 1 else None
        if ident is None:
            return self._look(action, written, nothing, Sighting(candidates=candidates))
        found = await self.reach(ident, action)
        before = self.view.folder.pre_image(ident) if action.verb is Verb.UPDATE else None
        sighting = Sighting(
            value=found.value,
            gone=found.gone,
            ran=action.verb is Verb.CREATE and await self.ran(ident, found),
            pre_image=parse(before) if before is not None else None,
            candidates=candidates,
            marked=bool(found.value) and (found.value or {}).get("description") == self._marker(action),
        )
        return self._look(action, written, found, sighting)

    def _look(self, action: Action, written: Written, found: Reach, sighting: Sighting) -> Look:
        undo = undo_of(action, written, sighting, force=self.force)
        return Look(undo=undo, reach=found, sighting=sighting)

    def _marker(self, action: Action) -> str:
        return f"[qlikmigrate {self.state.run_id}-{action.seq}]"

    async def _candidates(self, action: Action, written: Written) -> tuple[str, ...]:
        """What a create may have made whose answer was lost with the process."""
        run = written.run
        if run.in_doubt not in (Step.SHELL, Step.CREATE) or run.since is None:
            return ()
        wanted = Wanted(
            name=action.name,
            space_id=written.space_id,
            creator_id=run.by,
            marker=self._marker(action) if run.in_doubt is Step.SHELL else "",
            since=run.since,
        )
        before = self.plan.target.fingerprint.get(Kind.AUTOMATION.value, {})
        ours = {one.target_id for one in self.state.objects.values() if one.target_id}
        found = await find_created(self.client, wanted, before=before, ours=ours, clock=self.clock, wait=self.patient)
        return tuple(found)

    async def ran(self, ident: str, found: Reach) -> bool:
        """Whether it has a run, whoever started it. The list of runs is asked where the document shows none."""
        if found.value is None:
            return False
        for told in (found.value, self.rows.get(ident, {})):
            if any(told.get(name) for name in ("lastRun", "lastRunAt", "lastRunStatus")):
                return True
        try:
            page = (await found.client.call("run.list", query={"limit": 1}, automation_id=ident)).json()
        except (ForbiddenError, MissingError, UnauthorizedError):
            return False
        return bool(page.get("data"))

    # Connections

    def created_connections(self) -> list[tuple[str, str]]:
        """Journal key and source id of the connections that the run created, the last one first."""
        found = [
            key
            for key, done in self.state.objects.items()
            if key.startswith("connection:") and (Step.CREATE in done.steps or done.in_doubt is Step.CREATE)
        ]
        return [(key, key.removeprefix("connection:")) for key in reversed(found)]

    async def open_connections(self) -> None:
        """Read the list of connections."""
        self.connections = {str(row["id"]): row async for row in list_rows(self.client, "connection.list")}

    def name_of_connection(self, key: str, source_id: str) -> str:
        """What people call it: at the target, else at the source."""
        row = self.connections.get(self.done(key).target_id or "")
        if row is not None:
            return str(row.get("name") or source_id)
        rows = self.plan.rows
        return next((one.source_name for one in rows if one.source_id == source_id and one.source_name), source_id)

    def look_at_connection(self, key: str, used: Collection[str]) -> Undo:
        """What a rollback does with a connection that the run created. `used`: those that kept automations hold."""
        run = self.done(key)
        return undo_of_connection(
            run,
            self.done(f"rollback:{key}"),
            self.connections.get(run.target_id or ""),
            waited=run.consent,
            in_use=run.target_id in used,
        )

    # Spaces

    async def look_at_space(self, space: SpaceAction, deleted: Collection[str]) -> Undo:
        """What a rollback does with a space. `deleted`: the automations that it deletes before."""
        key = f"space:{space.source_id}"
        run = self.done(key)
        row = await self._space_row(space, run)
        contents = await self._contents(str(row["id"]), deleted) if row is not None else 0
        return undo_of_space(
            space,
            run,
            self.done(f"rollback:{key}"),
            SpaceSighting(row=row, contents=contents),
            callers=self.state.callers,
            known=row is not None and row["id"] in self.plan.target.fingerprint.get(Kind.SPACE.value, {}),
        )

    async def _space_row(self, space: SpaceAction, run: Done) -> Mapping[str, Any] | None:
        if run.target_id is None:
            async for row in list_rows(self.client, "space.list", {"name": space.name}):
                if row.get("name") == space.name and run.in_doubt is Step.CREATE:
                    return row
            return None
        try:
            value = (await self.client.call("space.get", id=run.target_id)).json()
        except MissingError:
            return None
        return value if isinstance(value, Mapping) else None

    async def _contents(self, ident: str, deleted: Collection[str]) -> int | None:
        """How many automations, connections and items a space holds; None where one list cannot be had."""
        here = {"filter": f'spaceId eq "{ident}"'}
        queries: tuple[tuple[str, str, Mapping[str, str | int | bool]], ...] = (
            ("automation.list", "id", here),
            ("connection.list", "id", here),
            ("item.list", "resourceId", {"spaceId": ident}),
        )
        found: set[str] = set()
        try:
            for operation, key, query in queries:
                async for row in list_rows(self.client, operation, query):
                    if row.get("spaceId") == ident:
                        found.add(str(row.get(key) or row["id"]))
        except ApiError as error:
            if error.status not in (401, 403):
                raise
            return None
        return len(found - set(deleted))
