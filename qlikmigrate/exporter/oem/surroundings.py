"""What the automations of OEM accounts live among: connections, and the connectors and templates that are referred to.

A list of connections must be whole; a detail that is not to be had leaves the list row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from attrs import define, field

from qlikmigrate.api.answer import Answer
from qlikmigrate.api.error import ApiError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.exporter.oem.account_list import AccountList
from qlikmigrate.exporter.oem.bundle import child_rows
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.event import Log, Progress, Severity
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.inventory import Entity, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Counts
from qlikmigrate.model.oem import Account, OemConnection, connection_of
from qlikmigrate.model.snapshot import parse


@define
class OemSurroundings:
    """Reads everything but the automations. `held`: account guid → its connections by id."""

    record: Record[OemClient]
    accounts: AccountList
    held: dict[str, dict[str, OemConnection]] = field(factory=dict)
    entities: list[Entity] = field(factory=list)
    _counts: dict[str, Counts] = field(factory=dict)

    @property
    def connections(self) -> Iterable[OemConnection]:
        """Those of all accounts."""
        return (one for held in self.held.values() for one in held.values())

    def uses(self) -> Mapping[str, set[str]]:
        """Lower-case id of an automation → ids of the connections that it is hard-linked to."""
        found: dict[str, set[str]] = {}
        for one in self.connections:
            for ident in one.used_by:
                found.setdefault(ident.lower(), set()).add(one.id)
        return found

    def state_of(self, ident: str) -> str:
        """What a connection says of the state of an automation that is hard-linked to it."""
        return next((state for one in self.connections if (state := one.states.get(ident))), "")

    def counts(self) -> dict[str, Counts]:
        """The sums for the manifest. A connection is captured by its list row at least."""
        held = sum(len(one) for one in self.held.values())
        return {"connections": Counts(listed=held, captured=held), **self._counts}

    def forget(self, accounts: Collection[str]) -> None:
        """Leave out what was held by other accounts than these (lower-case guids): they are gone."""
        for guid in [one for one in self.held if one.lower() not in accounts]:
            for ident in self.held.pop(guid):
                self.record.writer.discard(Kind.CONNECTION, ident)
                self.entities = [one for one in self.entities if one.id != ident]

    async def read_connections(self, accounts: Iterable[Account]) -> None:
        """The connections of each account, with whom they serve.

        Raises:
            ApiError: the list of the only account cannot be read, or the API is gone.
        """
        listed: list[tuple[Account, Entity]] = []

        async def list_one(account: Account) -> None:
            rows: dict[str, Entity] = {}
            try:
                async for raw in self.record.client.rows("datasource.list", account=account.id):
                    value = self.record.row(Kind.CONNECTION, raw)
                    if value is not None:
                        one = rows[str(value["guid"]).lower()] = entity(Kind.CONNECTION, value)
                        self.record.add(Kind.CONNECTION, one.id, Part.ROW, raw)
                        self.held.setdefault(account.id, {})[one.id] = connection_of(value)
            except ApiError as error:
                self.accounts.refuse(account, error, "list of connections")
            listed.extend((account, one) for one in rows.values())
            self.record.sink(Progress(phase="list connections", done=len(listed)))

        width = self.record.client.endpoint.limits.concurrency
        await fan_out(list(accounts), list_one, width=width)
        self.entities += [one for _, one in listed]
        await fan_out(sorted(listed, key=lambda pair: pair[1].id), self._read_connection, width=width)

    async def _read_connection(self, pair: tuple[Account, Entity]) -> None:
        account, one = pair
        record = self.record
        try:
            answer = await record.client.call("datasource.get", account=account.id, datasource=one.id)
        except ApiError as error:
            await record.bear(error)
            flaw = error.message
        else:
            record.answered()
            value = answer.json()
            same = str(value.get("guid", "")).lower() == one.id.lower()
            flaw = "" if same else "the answer is not this connection"
            flaw = flaw or record.add_detail(Kind.CONNECTION, one.id, answer.raw)
            if not flaw:
                self.held[account.id][one.id] = connection_of(value)
        if flaw:
            record.sink(Log(message=f"connection {one.id} is kept by its list row: {flaw}", level="debug"))
            record.note(
                "connection-detail-failed",
                Severity.WARNING,
                "a connection is kept by its list row: the rest could not be read",
                where=one.id,
            )

    async def read_connectors(self) -> None:
        """The connectors of the connections, once each: they name what a restore will ask for.

        Raises:
            ApiError: the API is gone.
        """
        names = {one.connector_id: one.connector_name for one in self.connections if one.connector_id}
        client = self.record.client
        lost = await self._read_each(Kind.CONNECTOR, names, lambda one: client.call("connector.get", connector=one))
        for ident in lost:
            self.record.note(
                "connector-unreadable",
                Severity.WARNING,
                f"the connector `{names[ident]}` cannot be read: which values a connection of it needs is not known",
                where=ident,
            )

    async def read_templates(self, referred: Collection[str]) -> None:
        """The templates that automations were installed from, once each.

        Raises:
            ApiError: the API is gone.
        """
        record = self.record
        rows: dict[str, bytes] = {}
        wanted = {ident.lower() for ident in referred}
        if not wanted:
            self._counts["templates"] = Counts()
            return
        try:
            async for raw in record.client.rows("template.list"):
                if record.row(Kind.TEMPLATE, raw) is None:
                    continue
                for each in (raw, *child_rows(raw)):
                    ident = parse(each).get("guid")
                    if isinstance(ident, str) and ident.lower() in wanted:
                        # What the list itself names goes before what a bundle says of it.
                        rows = {**rows, ident: each} if each is raw else {ident: each, **rows}
        except ApiError as error:
            await record.bear(error)
            record.note("template-unreadable", Severity.WARNING, f"the templates cannot be listed: {error.message}")
        for ident, raw in rows.items():
            record.add(Kind.TEMPLATE, ident, Part.ROW, raw)
        client = record.client
        lost = await self._read_each(Kind.TEMPLATE, referred, lambda one: client.call("template.get", template=one))
        listed = {ident.lower() for ident in rows}
        for ident in lost:
            if ident.lower() not in listed:
                record.note(
                    "template-unreadable",
                    Severity.WARNING,
                    "a template that automations were installed from cannot be read: its name is not known",
                    where=ident,
                )

    async def _read_each(
        self, kind: Kind, idents: Collection[str], ask: Callable[[str], Awaitable[Answer]]
    ) -> list[str]:
        """Read each object's own answer; ids of those that cannot be had."""
        record, lost = self.record, list[str]()

        async def read(ident: str) -> None:
            try:
                answer = await ask(ident)
            except ApiError as error:
                await record.bear(error)
                lost.append(ident)
                return
            record.answered()
            same = str(answer.json().get("guid", "")).lower() == ident.lower()
            if not same or record.add_detail(kind, ident, answer.raw):
                lost.append(ident)

        await fan_out(sorted(idents), read, width=record.client.endpoint.limits.concurrency)
        self._counts[f"{kind.value}s"] = Counts(
            listed=len(idents), captured=len(idents) - len(lost), unreadable=len(lost)
        )
        return sorted(lost)

    async def read_runs(self, automations: Iterable[tuple[Account, str]], newest: int) -> None:
        """What the API says of the newest runs of each automation.

        Raises:
            ApiError: the API is gone.
        """
        record = self.record
        lost: list[str] = []
        kept = 0

        async def read(pair: tuple[Account, str]) -> None:
            nonlocal kept
            account, blend = pair
            found: dict[str, tuple[str, bytes]] = {}
            try:
                async for raw in record.client.rows("run.list", account=account.id, blend=blend):
                    value = record.row(Kind.RUN, raw)
                    if value is not None:
                        found[str(value["guid"])] = (str(value.get("created_at") or value.get("starttime") or ""), raw)
            except ApiError as error:
                await record.bear(error)
                lost.append(blend)
                return
            record.answered()
            # Source: no page says in which order runs are listed.
            for ident in sorted(found, key=lambda ident: (found[ident][0], ident), reverse=True)[:newest]:
                record.add(Kind.RUN, f"{blend}/{ident}", Part.ROW, found[ident][1])
                kept += 1

        await fan_out(list(automations), read, width=record.client.endpoint.limits.concurrency)
        self._counts["runs"] = Counts(listed=kept, captured=kept)
        if lost:
            record.note(
                "runs-unreadable", Severity.WARNING, f"the runs of {len(lost)} automations cannot be listed",
                where=", ".join(sorted(lost)[:20]),
            )  # fmt: skip
