"""One backup of OEM accounts: lists, documents, lists again until they agree. GETs only; no listed automation is lost.

Every document is read each time: no page says that a change of an input shows in the row of its automation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.api.error import ApiError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.exporter.census import Census
from qlikmigrate.exporter.fetched import Fetched, fetch
from qlikmigrate.exporter.oem.account_list import REFUSALS, AccountList
from qlikmigrate.exporter.oem.bundle import child_rows
from qlikmigrate.exporter.oem.choice import OemChoice
from qlikmigrate.exporter.oem.export_option import OemExportOptions
from qlikmigrate.exporter.oem.findings import Findings
from qlikmigrate.exporter.oem.head import manifest_of
from qlikmigrate.exporter.oem.own_document import add_memberships, add_supply
from qlikmigrate.exporter.oem.surroundings import OemSurroundings
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import PartialError, UsageError
from qlikmigrate.kernel.event import Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.inventory import Entity, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.model.oem import Account, automation_of
from qlikmigrate.model.selection import OEM_KEYS
from qlikmigrate.model.snapshot import SnapshotWriter, parse

_ROUNDS = 3
_GONE = (400, 404)


async def export_oem(
    client: OemClient, writer: SnapshotWriter, options: OemExportOptions, *, clock: Clock, sink: Sink
) -> Manifest:
    """Take a snapshot of one account, or of all, into `writer`: finished on success and abandoned on any error.

    Raises:
        AuthError: the key pair is not taken.
        FailedError: the API cannot be reached or answers nonsense.
        PartialError: a document cannot be had and `abort_on_error` is set, or a list never comes to its end.
        UsageError: there is no such account, the selection is empty, or a selector is none of OEM accounts.
    """
    try:
        options.selectors.check(OEM_KEYS, "an OEM account")
        return await _Collector(client, writer, options, clock, sink).run()
    except BaseException:
        writer.abandon()
        raise


@frozen
class _Listing:
    """One reading of all lists: lower-case ids seen; who is new, or was held to be gone; who changed.

    `only`: lower-case ids of those that it is read for; None: all.
    """

    only: Collection[str] | None = None
    present: set[str] = field(factory=set)
    fresh: dict[str, Entity] = field(factory=dict)
    edited: dict[str, Entity] = field(factory=dict)


class _Collector:
    def __init__(
        self, client: OemClient, writer: SnapshotWriter, options: OemExportOptions, clock: Clock, sink: Sink
    ) -> None:
        self._client = client
        self._options = options
        record = Record(client, writer, clock, sink, self._probe, id_member="guid", facts=options.facts())
        self._record: Record[OemClient] = record
        self._started = clock.now()
        self._census = Census(accepted=options.accept_unreadable)
        selectors = options.selectors
        self._accounts = AccountList(record, options.account, selectors.of("account"), options.accept_unreadable)
        self._surroundings = OemSurroundings(record, self._accounts)
        self._choice = OemChoice(selectors.without("account"))
        self._findings = Findings()
        # By lower-case id: whose it is, its newest entity, its newest row without run data, a bundle's children.
        self._home: dict[str, Account] = {}
        self._known: dict[str, Entity] = {}
        self._rows: dict[str, bytes] = {}
        self._children: dict[str, tuple[str, ...]] = {}
        self._left_out: set[str] = set()
        # Listed again after it had been held to be gone: from then on a list's silence about it proves nothing.
        self._returned: set[str] = set()

    async def _probe(self) -> None:
        async for _ in self._client.rows("account.list"):
            return

    async def run(self) -> Manifest:
        record, options = self._record, self._options
        await self._accounts.read()
        listing = await self._list()
        await self._read_connections(self._accounts.present)
        await self._take_in(listing.fresh.values())
        self._check_chosen()
        await self._settle()
        self._check_chosen()
        await self._surroundings.read_connectors()
        await self._surroundings.read_templates(
            {one.template_id for one in self._findings.blends.values() if one.template_id}
        )
        if options.runs:
            # A bundle has no runs: its children have. Source: "Get run".
            pairs = [(self._home[one.id.lower()], one.id) for one in self._findings.single()]
            await self._surroundings.read_runs(pairs, options.runs)
        names = {one.id: self._known[one.id.lower()].name for one in self._findings.blends.values()}
        add_supply(record, options.supply, self._findings, names)
        home = {ident: self._home[ident.lower()] for ident in self._findings.blends}
        add_memberships(record, self._accounts.found.values(), home, self._surroundings.held)
        if self._choice.undecided:
            record.note(
                "selector-undecided",
                Severity.WARNING,
                f"{len(self._choice.undecided)} automations show no state or mode: the selection goes on without it",
            )
        manifest = manifest_of(
            record, self._census, self._accounts, self._surroundings, self._findings, options.selectors,
            input_values=options.input_values,
        )  # fmt: skip
        requests = self._client.counts.as_json()
        capture = Capture(started_at=self._started, finished_at=record.clock.now(), requests=requests)
        record.writer.finish(manifest, capture)
        return manifest

    def _check_chosen(self) -> None:
        if self._choice.selectors and not self._census.listed:
            raise UsageError("the selection is empty", hint="`list` on an archive of the account shows names")

    async def _read_connections(self, accounts: Iterable[Account]) -> None:
        await self._surroundings.read_connections(accounts)
        self._choice.connections = tuple(self._surroundings.entities)
        self._choice.uses = self._surroundings.uses()

    # Lists

    async def _list(self, only: Collection[str] | None = None) -> _Listing:
        listing = _Listing(only)

        async def read(account: Account) -> None:
            own: dict[str, tuple[Mapping[str, Any], bytes]] = {}
            try:
                async for raw in self._client.rows("blend.list", account=account.id):
                    row = self._record.row(Kind.AUTOMATION, raw)
                    if row is not None:
                        own[str(row["guid"]).lower()] = (row, raw)
            except ApiError as error:
                self._accounts.refuse(account, error, "list of automations")
            for row, raw in list(own.values()):
                self._enter_row(account, row, raw, listing)
            for row, raw in list(own.values()):
                self._enter_children(account, row, raw, listing, own)
            self._record.sink(Progress(phase="list automations", done=len(listing.present)))

        await fan_out(self._accounts.present, read, width=self._client.endpoint.limits.concurrency)
        # What an account that is not to be read any more held is neither there nor gone.
        listing.present.update(key for key, home in self._home.items() if home.id.lower() in self._accounts.refused)
        return listing

    def _enter_children(
        self, account: Account, row: Mapping[str, Any], raw: bytes, listing: _Listing, own: Collection[str]
    ) -> None:
        bundle = str(row["guid"]).lower()
        named = self._note_children(bundle, row)
        for child in child_rows(raw):
            value = parse(child)
            key = str(value.get("guid") or "").lower()
            if key and key not in own:
                self._enter_row(account, value, child, listing)
        if not named:
            # Its own answer may say what its row does not.
            listing.present.update(key.lower() for key in self._children.get(bundle, ()))

    def _note_children(self, bundle: str, value: Mapping[str, Any]) -> bool:
        """Keep what a row or an answer says of a bundle's children; whether it says anything."""
        children = automation_of(value).children
        if children:
            self._children[bundle] = children
        return bool(children)

    def _enter_row(self, account: Account, row: Mapping[str, Any], raw: bytes, listing: _Listing) -> None:
        one = entity(Kind.AUTOMATION, row)
        key = one.id.lower()
        self._home[key] = account
        listing.present.add(key)
        if key in self._left_out or (listing.only is not None and key not in listing.only):
            return
        if key in self._census.vanished:
            self._returned.add(key)
        before = self._rows.get(key)
        self._rows[key] = self._record.add(Kind.AUTOMATION, one.id, Part.ROW, raw).raw
        if key not in self._census.listed or key in self._census.vanished:
            listing.fresh[key] = one
        else:
            self._census.enter(one)
            if key in self._census.captured and before != self._rows[key]:
                listing.edited[key] = one
        self._known[key] = one

    # Documents

    async def _take_in(self, fresh: Iterable[Entity]) -> None:
        """Read those of `fresh` that the selection wants, and the children that only their own answers name."""
        pending = sorted(fresh, key=lambda one: one.id)
        while pending:
            if self._choice.selectors:
                await self._judge(pending)
            else:
                await self._read(pending)
            pending = self._children_found()

    async def _judge(self, fresh: list[Entity]) -> None:
        for one in fresh:
            if not one.state:
                self._known[one.id.lower()] = evolve(one, state=self._surroundings.state_of(one.id))
        fresh = [self._known[one.id.lower()] for one in fresh]
        await self._read([one for one in fresh if self._choice.needs_document(one)])
        chosen = {one.id.lower() for one in self._choice.chosen(self._groups(fresh))}
        await self._read([one for one in fresh if one.id.lower() in chosen - self._census.captured])
        left = [one for one in fresh if one.id.lower() not in chosen]
        for one in left:
            self._left_out.add(one.id.lower())
            # Its row stays: an id found in a workspace can still be named.
            self._record.writer.discard(Kind.AUTOMATION, one.id, Part.DETAIL)
            self._findings.forget(one.id)
        self._census.drop([one.id for one in left])

    def _groups(self, fresh: list[Entity]) -> Iterable[list[Entity]]:
        """Bundles with their children, and all others alone; a child that came later follows its bundle."""
        bundle_of = {child.lower(): bundle for bundle, children in self._children.items() for child in children}
        heads = dict.fromkeys(bundle_of.get(one.id.lower(), one.id.lower()) for one in fresh)
        for head in heads:
            members = dict.fromkeys([head, *(child.lower() for child in self._children.get(head, ()))])
            yield [self._known[key] for key in members if key in self._known]

    def _children_found(self) -> list[Entity]:
        found = []
        for bundle, children in sorted(self._children.items()):
            for child in children:
                key = child.lower()
                if bundle in self._census.captured and key not in self._census.listed and key not in self._left_out:
                    self._home[key] = self._home[bundle]
                    found.append(self._known.setdefault(key, Entity(kind=Kind.AUTOMATION, id=child)))
        return found

    async def _read(self, automations: Iterable[Entity]) -> None:
        wanted = list(automations)
        done = 0

        async def read(one: Entity) -> None:
            nonlocal done
            fetched = await self._get(one)
            if fetched is not None:
                self._capture(one, fetched)
            done += 1
            self._record.sink(Progress(phase="read automations", done=done, total=len(wanted), subject=one.name))

        for one in wanted:
            self._census.enter(one)
        await self._fan_out(wanted, read)

    async def _fan_out(self, automations: Iterable[Entity], work: Callable[[Entity], Awaitable[None]]) -> None:
        await fan_out(automations, work, width=self._client.endpoint.limits.concurrency)

    async def _fetch(self, one: Entity) -> Fetched:
        account = self._home[one.id.lower()]
        return await fetch(lambda: self._client.call("blend.get", account=account.id, blend=one.id), self._record.clock)

    async def _get(self, one: Entity) -> Fetched | None:
        """Its own document; None, and a note in the census, where it cannot be had."""
        try:
            fetched = await self._fetch(one)
        except ApiError as error:
            if error.status in REFUSALS:
                self._record.answered()
                self._census.refuse(one.id, error.status or 0)
                return None
            await self._record.bear(error)
            self._fail(one, error.message)
            return None
        self._record.answered()
        return fetched

    def _fail(self, one: Entity, reason: str) -> None:
        if self._options.abort_on_error:
            raise PartialError(f"automation {one.id} cannot be read: {reason}") from None
        self._census.fail(one.id, reason)

    def _capture(self, one: Entity, fetched: Fetched) -> None:
        raw, value = fetched.answer.raw, fetched.answer.json()
        key = one.id.lower()
        if not isinstance(value, Mapping) or str(value.get("guid", "")).lower() != key:
            self._fail(one, "the answer is not this automation")
            return
        if flaw := self._record.add_detail(Kind.AUTOMATION, one.id, raw, fetched.read_at):
            self._fail(one, flaw)
            return
        self._census.capture(one.id)
        self._learn(one, value)
        if self._note_children(key, value):
            self._keep_child_rows(raw)

    def _keep_child_rows(self, raw: bytes) -> None:
        for child in child_rows(raw):
            value = parse(child)
            ident = value.get("guid")
            if isinstance(ident, str) and ident and ident.lower() not in self._rows:
                # No list has a row for it, so what its bundle says stands in.
                self._rows[ident.lower()] = self._record.add(Kind.AUTOMATION, ident, Part.ROW, child).raw
                self._known[ident.lower()] = entity(Kind.AUTOMATION, value)

    def _learn(self, one: Entity, value: Mapping[str, Any]) -> None:
        told = entity(Kind.AUTOMATION, value)
        self._known[one.id.lower()] = evolve(
            told, state=told.state or one.state, run_mode=told.run_mode or one.run_mode, name=told.name or one.name
        )
        self._findings.learn(one.id, value, run_mode=one.run_mode, input_values=self._options.input_values)

    # Agreement

    async def _settle(self) -> None:
        """List again until nothing new comes and nothing is gone, three times at most."""
        # What failed had all its retries at once; by now the API may have recovered.
        await self._read(self._census.open())
        for _ in range(_ROUNDS):
            if self._accounts.of_all:
                fresh = await self._accounts.read()
                self._surroundings.forget(self._accounts.found)
                await self._read_connections(fresh)
            listing = await self._list()
            gone = self._census.gone(listing.present)
            await self._take_in(listing.fresh.values())
            await self._read(listing.edited.values())
            await self._fan_out(gone, self._check_gone)
            if not listing.fresh and not gone:
                return
        await self._look_once_more({one.id.lower() for one in (*listing.fresh.values(), *gone)})

    async def _check_gone(self, one: Entity) -> None:
        """A list that lost an automation is believed only when the automation itself is gone."""
        try:
            fetched = await self._fetch(one)
        except ApiError as error:
            if error.status in _GONE:
                self._vanish(one)
            elif error.status == 403:
                self._census.refuse(one.id, 403)
            else:
                await self._record.bear(error)
                self._fail(one, error.message)
            return
        if one.id.lower() not in self._census.captured:
            self._capture(one, fetched)
        self._record.note(
            "list-was-short", Severity.WARNING, "a list of automations left out one that exists", where=one.id
        )

    def _vanish(self, one: Entity) -> None:
        key = one.id.lower()
        if key in self._returned and key not in self._census.captured:
            self._census.refuse(one.id, 404)
            return
        self._census.vanish(one.id)
        self._record.writer.discard(Kind.AUTOMATION, one.id)
        self._findings.forget(one.id)
        self._children.pop(key, None)
        # Should a list name it again, its row is new.
        self._rows.pop(key, None)

    async def _look_once_more(self, last: set[str]) -> None:
        """Settle the doubts that the last round left; no newcomer is taken in any more."""
        doubtful = last & (self._census.unreadable.keys() | self._census.vanished)
        if not doubtful:
            return
        listing = await self._list(doubtful)
        for key in sorted(doubtful):
            one = self._known[key]
            if key in listing.present and key in self._census.vanished:
                await self._read([one])
            elif key not in listing.present and self._census.unreadable.get(key) in _GONE:
                self._vanish(one)
