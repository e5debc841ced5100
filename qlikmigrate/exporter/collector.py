"""One backup: lists, documents, lists again until they agree. GETs only; every listed automation is accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate import __version__
from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ForbiddenError,
    MissingError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from qlikmigrate.exporter.census import Census
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import PartialError, UsageError
from qlikmigrate.kernel.event import Log, Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest, Note, Restorable, Scope
from qlikmigrate.model.selection import Selectors, select
from qlikmigrate.model.snapshot import SnapshotWriter, parse
from qlikmigrate.model.workspace import automations_called, connections_used

_ROUNDS = 3
_GIVE_UP_AFTER = 4

_LISTS = {
    Kind.CONNECTION: "connection.list",
    Kind.CONNECTOR: "connector.list",
    Kind.SPACE: "space.list",
    Kind.USER: "user.list",
    Kind.ITEM: "item.list",
}

# Roles that see every automation of a tenant. Source: openapi/workflows-automations.json, `listAll`.
_WIDE_ROLES = frozenset({"TenantAdmin", "AnalyticsAdmin"})


@frozen(kw_only=True)
class ExportOptions:
    """What a backup is asked for. `abort_on_error`: stop at the first document that cannot be had."""

    selectors: Selectors = field(factory=Selectors)
    with_calls: bool = False
    accept_unreadable: frozenset[str] = frozenset()
    abort_on_error: bool = False


async def export(
    client: CloudClient, writer: SnapshotWriter, options: ExportOptions, *, clock: Clock, sink: Sink
) -> Manifest:
    """Take a snapshot of the tenant into `writer`, which is finished on success and abandoned on any error.

    Raises:
        AuthError: the identity may not read a list that a backup needs.
        FailedError: the tenant cannot be reached or answers nonsense.
        UsageError: the selection is empty.
    """
    try:
        return await _Collector(client, writer, options, clock, sink).run()
    except BaseException:
        writer.abandon()
        raise


class _Collector:
    def __init__(
        self, client: CloudClient, writer: SnapshotWriter, options: ExportOptions, clock: Clock, sink: Sink
    ) -> None:
        self._client = client
        self._writer = writer
        self._options = options
        self._clock = clock
        self._sink = sink
        self._census = Census(accepted=options.accept_unreadable)
        self._entities: list[Entity] = []
        self._row_hash: dict[str, bytes] = {}
        self._problems: list[Problem] = []
        self._connections_of: dict[str, frozenset[str]] = {}
        self._calls_of: dict[str, frozenset[str]] = {}
        self._without_workspace: list[Entity] = []
        self._left_out: set[str] = set()
        self._unreachable_in_a_row = 0

    async def run(self) -> Manifest:
        started = self._clock.now()
        tenant = await self._client.tenant()
        me = (await self._client.whoami()).json() or {}
        scope = _scope(me)
        if scope is Scope.IDENTITY:
            self._note(
                "not-tenant-wide",
                Severity.WARNING,
                "this identity sees only its own part of the tenant",
                hint="use a Trusted OAuth client with scope `admin.automations`",
            )
        present = await self._list_automations()
        await self._list_rest()
        inventory = Inventory(tenant=tenant, entities=(*self._entities, *self._census.listed.values()))
        await self._read_selected(inventory)
        await self._read_connections(inventory)
        await self._read_assignments(inventory)
        await self._read_settings()
        await self._settle(present, inventory)
        manifest = self._manifest(tenant, str(me.get("id") or ""), scope)
        capture = Capture(started_at=started, finished_at=self._clock.now(), requests=self._client.counts.as_json())
        self._writer.finish(manifest, capture)
        return manifest

    # Lists

    async def _list_automations(self) -> set[str]:
        """Enter all that is listed; the lower-case ids seen."""
        present: set[str] = set()
        async for raw in self._client.rows("automation.list", query={"sort": "id"}):
            row = self._row(Kind.AUTOMATION, raw)
            if row is None:
                continue
            one = entity(Kind.AUTOMATION, row)
            present.add(one.id.lower())
            if one.id.lower() not in self._left_out:
                self._census.enter(one)
                self._keep_row(one, raw)
            self._sink(Progress(phase="list automations", done=len(present)))
        return present

    async def _list_rest(self) -> None:
        async def read(kind: Kind) -> None:
            operation = _LISTS[kind]
            found: dict[str, Entity] = {}
            try:
                async for raw in self._client.rows(operation):
                    row = self._row(kind, raw)
                    if row is not None:
                        one = entity(kind, row)
                        found[str(row["id"])] = one
                        self._add_row(kind, str(row["id"]), raw)
            except ApiError as error:
                if kind is not Kind.ITEM or error.status not in (403, 404):
                    raise
                self._note(
                    "items-unreadable",
                    Severity.WARNING,
                    "items cannot be listed: ids of apps and files in workspaces have no name",
                )
            self._entities += found.values()
            self._sink(Progress(phase=f"list {kind.value}s", done=len(found), total=len(found)))

        await fan_out(list(_LISTS), read, width=len(_LISTS))

    def _row(self, kind: Kind, raw: bytes) -> Mapping[str, Any] | None:
        row = parse(raw)
        if isinstance(row, Mapping) and isinstance(row.get("id"), str) and row["id"]:
            return row
        self._note("row-without-id", Severity.ERROR, f"a list of {kind.value}s holds a row without an id")
        return None

    def _keep_row(self, one: Entity, raw: bytes) -> None:
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        if self._row_hash.get(one.id) != digest:
            self._row_hash[one.id] = digest
            self._add_row(Kind.AUTOMATION, one.id, raw)

    def _add_row(self, kind: Kind, ident: str, raw: bytes) -> None:
        kept, cuts = cut_document(kind, raw)
        self._writer.add(Document(kind=kind, id=ident, part=Part.ROW, raw=kept, cuts=cuts, read_at=self._clock.now()))

    # Documents

    async def _read_selected(self, inventory: Inventory) -> None:
        listed = sorted(self._census.listed.values(), key=lambda one: one.id)
        selectors = self._options.selectors
        if not selectors:
            await self._read_automations(listed)
            return
        first = select(listed, inventory, selectors.without_uses(), lambda _: ())
        await self._read_automations(first)
        chosen = select(first, inventory, selectors, lambda ident: self._connections_of.get(ident, frozenset()))
        wanted = {one.id.lower() for one in chosen}
        if self._options.with_calls:
            await self._follow_calls(wanted)
        if not wanted:
            raise UsageError("the selection is empty", hint="`list` on an archive of the tenant shows names and owners")
        self._leave_out([one.id for one in listed if one.id.lower() not in wanted])

    async def _follow_calls(self, wanted: set[str]) -> None:
        frontier = set(wanted)
        while frontier:
            called = set().union(*(self._calls_of.get(self._census.listed[key].id, frozenset()) for key in frontier))
            frontier = {key for key in called if key in self._census.listed and key not in wanted}
            wanted |= frontier
            unread = [self._census.listed[key] for key in sorted(frontier) if key not in self._census.captured]
            await self._read_automations(unread)

    def _leave_out(self, idents: list[str]) -> None:
        for ident in idents:
            self._left_out.add(ident.lower())
            # Its row stays: an id found in a workspace can still be named.
            self._writer.discard(Kind.AUTOMATION, ident, Part.DETAIL)
        self._census.drop(idents)

    async def _read_automations(self, automations: list[Entity]) -> None:
        total = len(automations)
        done = 0

        async def read(one: Entity) -> None:
            nonlocal done
            await self._read_automation(one)
            done += 1
            self._sink(Progress(phase="read automations", done=done, total=total, subject=one.name))

        await fan_out(automations, read, width=self._client.endpoint.limits.concurrency)

    async def _read_automation(self, one: Entity) -> None:
        try:
            answer = await self._client.call("automation.get", id=one.id)
        except (ForbiddenError, MissingError) as error:
            self._census.refuse(one.id, f"the tenant answers {error.status}")
            return
        except UnauthorizedError:
            raise
        except ApiError as error:
            self._note_failure(one, error)
            return
        self._unreachable_in_a_row = 0
        value = answer.json()
        if not isinstance(value, Mapping) or str(value.get("id", "")).lower() != one.id.lower():
            self._census.fail(one.id, "the answer is not this automation")
            return
        if not isinstance(value.get("workspace"), Mapping):
            self._without_workspace.append(one)
        if self._options.selectors:
            self._connections_of[one.id] = frozenset(use.value for use in connections_used(value))
            self._calls_of[one.id] = frozenset(use.value.lower() for use in automations_called(value))
        self._add_detail(Kind.AUTOMATION, one.id, answer.raw)
        self._census.capture(one.id)

    def _note_failure(self, one: Entity, error: ApiError) -> None:
        """One document that fails is on record and tried again; a tenant that is gone ends the backup."""
        if isinstance(error, UnreachableError):
            self._unreachable_in_a_row += 1
            if self._unreachable_in_a_row >= _GIVE_UP_AFTER:
                raise error
        if self._options.abort_on_error:
            raise PartialError(f"automation {one.id} cannot be read: {error.message}") from None
        self._census.fail(one.id, error.message)

    def _add_detail(self, kind: Kind, ident: str, raw: bytes) -> None:
        kept, cuts = cut_document(kind, raw)
        self._writer.add(
            Document(kind=kind, id=ident, part=Part.DETAIL, raw=kept, cuts=cuts, read_at=self._clock.now())
        )

    async def _read_connections(self, inventory: Inventory) -> None:
        withheld: list[str] = []

        async def read(one: Entity) -> None:
            try:
                answer = await self._client.call("connection.get", id=one.id)
            except ApiError as error:
                withheld.append(one.id)
                self._sink(Log(message=f"connection {one.id} is kept by its list row: {error.message}", level="debug"))
                return
            self._add_detail(Kind.CONNECTION, one.id, answer.raw)

        await fan_out(list(inventory.of(Kind.CONNECTION)), read, width=self._client.endpoint.limits.concurrency)
        if withheld:
            self._note(
                "connection-details-withheld",
                Severity.INFO,
                f"{len(withheld)} connections are kept by their list rows: the tenant withholds the rest",
            )

    async def _read_assignments(self, inventory: Inventory) -> None:
        withheld: list[str] = []

        async def read(space: Entity) -> None:
            try:
                async for raw in self._client.rows("assignment.list", space_id=space.id):
                    row = self._row(Kind.ASSIGNMENT, raw)
                    if row is not None:
                        self._add_row(Kind.ASSIGNMENT, f"{space.id}/{row['id']}", raw)
            except ApiError:
                withheld.append(space.id)

        await fan_out(list(inventory.of(Kind.SPACE)), read, width=self._client.endpoint.limits.concurrency)
        if withheld:
            self._note(
                "assignments-withheld",
                Severity.INFO,
                f"the members of {len(withheld)} spaces cannot be read with this identity",
            )

    async def _read_settings(self) -> None:
        try:
            answer = await self._client.call("settings.get")
        except UnsupportedError:
            self._note("not-under-v1", Severity.INFO, "settings and connector details do not exist under /api/v1")
        except (ForbiddenError, MissingError) as error:
            self._note("settings-unreadable", Severity.INFO, f"the settings cannot be read: {error.message}")
        else:
            self._add_detail(Kind.SETTINGS, "", answer.raw)

    # Agreement

    async def _settle(self, present: set[str], inventory: Inventory) -> None:
        """List again until nothing new comes and nothing is gone, three times at most."""
        await self._read_automations(self._census.open())
        await self._check_items(inventory, present)
        for _ in range(_ROUNDS):
            before = set(self._census.listed)
            present = await self._list_automations()
            newcomers = [self._census.listed[key] for key in sorted(self._census.listed.keys() - before)]
            newcomers = self._keep_selected(newcomers, inventory)
            await self._read_automations(newcomers)
            changed = bool(newcomers)
            for one in self._census.gone(present):
                changed = True
                await self._check_gone(one)
            if not changed:
                return

    def _keep_selected(self, newcomers: list[Entity], inventory: Inventory) -> list[Entity]:
        """Newcomers join a partial backup only where their list rows decide it."""
        selectors = self._options.selectors
        if not selectors:
            return newcomers
        kept = [] if selectors.need_workspaces else select(newcomers, inventory, selectors, lambda _: ())
        self._leave_out([one.id for one in newcomers if one not in kept])
        return kept

    async def _check_gone(self, one: Entity) -> None:
        """A list that lost an automation is believed only when the automation itself is gone."""
        try:
            await self._client.call("automation.get", id=one.id)
        except (ForbiddenError, MissingError):
            self._census.vanish(one.id)
            self._writer.discard(Kind.AUTOMATION, one.id)
        else:
            self._note(
                "list-was-short", Severity.WARNING, "a list of automations left out one that exists", where=one.id
            )

    async def _check_items(self, inventory: Inventory, present: set[str]) -> None:
        """The tenant's item list is a second count: what it names and the list does not is asked for by id."""
        if self._options.selectors:
            return
        for item in inventory.of(Kind.ITEM):
            key = item.id.lower()
            if item.type != "automation" or key in present or key in self._census.listed:
                continue
            one = Entity(kind=Kind.AUTOMATION, id=item.id, name=item.name)
            try:
                await self._client.call("automation.get", id=item.id)
            except (ForbiddenError, MissingError):
                continue
            self._census.enter(one)
            await self._read_automation(one)
            self._note(
                "list-was-short",
                Severity.WARNING,
                "the list of automations left out one that the item list names",
                where=item.id,
            )

    # Result

    def _note(self, code: str, severity: Severity, message: str, *, where: str = "", hint: str = "") -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where, hint=hint)
        if problem not in self._problems:
            self._problems.append(problem)
            self._sink(problem)

    def _note_all(self, notes: list[Note], code: str, severity: Severity, hint: str = "") -> None:
        for note in notes:
            self._note(code, severity, f"automation `{note.name}`: {note.reason}", where=note.id, hint=hint)

    def _manifest(self, tenant: TenantFacts, identity: str, scope: Scope) -> Manifest:
        census = self._census
        accepted = {one.lower() for one in self._options.accept_unreadable}
        unreadable = census.unreadable_notes()
        hint = "its owner, or a Trusted OAuth client with scope `admin.automations`, can read it"
        self._note_all([n for n in unreadable if n.id.lower() in accepted], "unreadable-accepted", Severity.INFO)
        self._note_all([n for n in unreadable if n.id.lower() not in accepted], "unreadable", Severity.ERROR, hint)
        self._note_all(census.vanished_notes(), "vanished", Severity.INFO)
        self._note_all(census.missing(), "not-captured", Severity.ERROR, "run the backup again")
        bare = sorted({one.id for one in self._without_workspace if one.id.lower() in census.captured})
        for ident in bare:
            self._note("workspace-withheld", Severity.WARNING, "the tenant gave no workspace", where=ident)
        counts = {"automations": census.counts()}
        for kind in _LISTS:
            found = sum(1 for one in self._entities if one.kind is kind)
            counts[f"{kind.value}s"] = Counts(listed=found, captured=found)
        selectors = self._options.selectors
        return Manifest(
            tool_version=__version__,
            tenant=tenant,
            identity=identity,
            api=self._client.family,
            scope=scope,
            complete=census.complete() and not any(one.code == "row-without-id" for one in self._problems),
            restorable=Restorable.PARTIAL if bare else Restorable.FULL,
            selection=selectors.record(with_calls=self._options.with_calls) if selectors else None,
            counts=counts,
            unreadable=tuple(unreadable),
            vanished=tuple(census.vanished_notes()),
            missing=tuple(census.missing()),
            problems=tuple(sorted(self._problems, key=lambda one: (one.code, one.where, one.message))),
        )


def _scope(me: Mapping[str, Any]) -> Scope:
    roles = {str(role.get("name")) for role in me.get("assignedRoles") or () if isinstance(role, Mapping)}
    roles |= {str(role) for role in me.get("roles") or () if isinstance(role, str)}
    return Scope.TENANT if roles & _WIDE_ROLES else Scope.IDENTITY
