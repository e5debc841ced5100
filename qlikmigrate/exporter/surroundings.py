"""What automations live among: connections, connectors, spaces with members, users, items, settings.

A list that must be whole raises when it is not; a detail that the tenant withholds leaves its list row.
"""

from __future__ import annotations

from attrs import define, field

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, UnsupportedError
from qlikmigrate.exporter.fetched import fetch
from qlikmigrate.exporter.recall import Recall
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.event import Log, Progress, Severity
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.inventory import Entity, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Counts

_LISTS = {
    Kind.CONNECTION: "connection.list",
    Kind.CONNECTOR: "connector.list",
    Kind.SPACE: "space.list",
    Kind.USER: "user.list",
    Kind.ITEM: "item.list",
}


@define
class Surroundings:
    """Reads everything but the automations. `entities`: what the lists held. `recall`: of connections."""

    record: Record[CloudClient]
    recall: Recall
    entities: list[Entity] = field(factory=list)
    _lost: list[str] = field(factory=list)

    async def read_lists(self) -> None:
        """All lists at once.

        Raises:
            ApiError: one that a backup needs cannot be read to its end.
        """
        await fan_out(list(_LISTS), self._read_list, width=len(_LISTS))

    async def read_details(self) -> None:
        """Connections, members of spaces, settings.

        Raises:
            ApiError: the identity is refused, or the tenant is gone.
        """
        await self._read_connections()
        await self._read_assignments()
        await self._read_settings()

    def close(self) -> int:
        """Settle with the earlier snapshots; how many documents were taken over."""
        return self.recall.close({one.id.lower(): one.id for one in self.of(Kind.CONNECTION)}, self._lost)

    def of(self, kind: Kind) -> list[Entity]:
        """The listed objects of a kind."""
        return [one for one in self.entities if one.kind is kind]

    def counts(self) -> dict[str, Counts]:
        """The sums for the manifest; each of these objects is captured by its list row at least."""
        sums = {kind: len(self.of(kind)) for kind in _LISTS}
        return {f"{kind.value}s": Counts(listed=number, captured=number) for kind, number in sums.items()}

    async def _read_list(self, kind: Kind) -> None:
        record = self.record
        found: dict[str, Entity] = {}
        try:
            async for raw in record.client.rows(_LISTS[kind]):
                row = record.row(kind, raw)
                if row is not None:
                    found[str(row["id"])] = one = entity(kind, row)
                    kept = record.add(kind, str(row["id"]), Part.ROW, raw)
                    if kind is self.recall.kind:
                        self.recall.see(one, kept)
        except ApiError as error:
            if kind is Kind.ITEM and error.status in (403, 404):
                record.note(
                    "items-unreadable",
                    Severity.WARNING,
                    "items cannot be listed: ids of apps and files in workspaces have no name",
                )
            elif kind is Kind.CONNECTOR and error.status == 404:
                # They are the same in all tenants.
                record.note(
                    "connectors-unreadable",
                    Severity.WARNING,
                    "connectors cannot be listed: they are known by their ids alone",
                )
            else:
                raise
        self.entities += found.values()
        record.sink(Progress(phase=f"list {kind.value}s", done=len(found), total=len(found)))

    async def _read_connections(self) -> None:
        record = self.record
        withheld: list[str] = []
        failed: list[str] = []

        async def read(one: Entity) -> None:
            try:
                fetched = await fetch(lambda: record.client.call("connection.get", id=one.id), record.clock)
            except ApiError as error:
                await record.bear(error)
                (withheld if error.status in (403, 404) else failed).append(one.id)
                record.sink(Log(message=f"connection {one.id} is kept by its list row: {error.message}", level="debug"))
                return
            record.answered()
            raw, value = fetched.answer.raw, fetched.answer.json()
            flaw = "" if str(value.get("id", "")).lower() == one.id.lower() else "the answer is not this connection"
            if flaw := flaw or record.add_detail(Kind.CONNECTION, one.id, raw, fetched.read_at):
                failed.append(one.id)
                record.sink(Log(message=f"connection {one.id} is kept by its list row: {flaw}", level="debug"))
            else:
                self.recall.read(entity(Kind.CONNECTION, value), fetched)

        connections = self.recall.split(self.of(Kind.CONNECTION))
        await fan_out(connections, read, width=record.client.endpoint.limits.concurrency)
        self._lost = sorted([*withheld, *failed])
        if withheld:
            record.note(
                "connection-details-withheld",
                Severity.INFO,
                f"{len(withheld)} connections are kept by their list rows: the tenant withholds the rest",
            )
        for ident in sorted(failed):
            record.note(
                "connection-detail-failed",
                Severity.WARNING,
                "a connection is kept by its list row: the rest could not be read",
                where=ident,
            )

    async def _read_assignments(self) -> None:
        record = self.record
        withheld: list[str] = []

        async def read(space: Entity) -> None:
            try:
                async for raw in record.client.rows("assignment.list", space_id=space.id):
                    row = record.row(Kind.ASSIGNMENT, raw)
                    if row is not None:
                        record.add(Kind.ASSIGNMENT, f"{space.id}/{row['id']}", Part.ROW, raw)
            except ApiError as error:
                await record.bear(error)
                if error.status in (403, 404):
                    withheld.append(space.id)
                    return
                record.note(
                    "assignments-failed", Severity.WARNING, "the members of a space could not be read", where=space.id
                )
            else:
                record.answered()

        await fan_out(self.of(Kind.SPACE), read, width=record.client.endpoint.limits.concurrency)
        if withheld:
            record.note(
                "assignments-withheld",
                Severity.INFO,
                f"the members of {len(withheld)} spaces cannot be read with this identity",
            )

    async def _read_settings(self) -> None:
        record = self.record
        try:
            answer = await record.client.call("settings.get")
        except UnsupportedError:
            record.note("not-under-v1", Severity.INFO, "settings and connector details do not exist under /api/v1")
        except ApiError as error:
            await record.bear(error)
            severity = Severity.INFO if error.status in (403, 404) else Severity.WARNING
            record.note("settings-unreadable", severity, f"the settings cannot be read: {error.message}")
        else:
            if flaw := record.add_detail(Kind.SETTINGS, "", answer.raw):
                record.note("settings-unreadable", Severity.WARNING, f"the settings cannot be stored: {flaw}")
