"""One backup: lists, documents, lists again until they agree. GETs only; every listed automation is accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping

from attrs import field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ApiError, ForbiddenError, MissingError
from qlikmigrate.exporter.census import Census
from qlikmigrate.exporter.choice import Choice
from qlikmigrate.exporter.fetched import Fetched, fetch
from qlikmigrate.exporter.head import Head, scope_of
from qlikmigrate.exporter.recall import NothingEarlier, Recall
from qlikmigrate.exporter.record import Record
from qlikmigrate.exporter.stray import find_strays
from qlikmigrate.exporter.surroundings import Surroundings
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import PartialError, UsageError
from qlikmigrate.kernel.event import Log, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.earlier import Earlier
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.model.selection import CLOUD_KEYS, Selectors
from qlikmigrate.model.snapshot import SnapshotWriter
from qlikmigrate.remap.secret import has_secrets

_ROUNDS = 3


@frozen(kw_only=True)
class ExportOptions:
    """What a backup is asked for. `abort_on_error`: stop at the first document that cannot be had.

    `full`: read every document, whatever earlier snapshots know. A selection reads all that it may want, too.
    """

    selectors: Selectors = field(factory=Selectors)
    with_calls: bool = False
    accept_unreadable: frozenset[str] = frozenset()
    abort_on_error: bool = False
    full: bool = False


async def export(
    client: CloudClient,
    writer: SnapshotWriter,
    options: ExportOptions,
    *,
    clock: Clock,
    sink: Sink,
    earlier: Earlier | None = None,
) -> Manifest:
    """Take a snapshot of the tenant into `writer`, which is finished on success and abandoned on any error.

    With `earlier`, documents that their list rows vouch for are not asked for again, and `client.counts` says how many.

    Raises:
        AuthError: the identity may not read a list that a backup needs.
        FailedError: the tenant cannot be reached or answers nonsense.
        PartialError: a document cannot be had and `abort_on_error` is set, or a list never comes to its end.
        UsageError: the selection is empty.
    """
    try:
        options.selectors.check(CLOUD_KEYS, "Qlik Cloud")
        return await _Collector(Record(client, writer, clock, sink, client.whoami), options, earlier).run()
    except BaseException:
        writer.abandon()
        raise


@frozen
class _Listing:
    """One reading of the list of automations: lower-case ids seen; who is new, or was held to be gone; who changed."""

    present: set[str]
    fresh: list[Entity]
    edited: list[Entity]


class _Collector:
    def __init__(self, record: Record[CloudClient], options: ExportOptions, earlier: Earlier | None) -> None:
        self._record = record
        self._client = record.client
        self._options = options
        self._census = Census(accepted=options.accept_unreadable)
        self._earlier = earlier or NothingEarlier()
        self._incremental = earlier is not None
        self._started = record.clock.now()
        off = options.full or bool(options.selectors)
        self._recall = Recall(Kind.AUTOMATION, self._earlier, self._started, off)
        self._surroundings = Surroundings(record, Recall(Kind.CONNECTION, self._earlier, self._started, off))
        # All automations ever listed, and the selection among them, which alone is in the census.
        self._known: dict[str, Entity] = {}
        self._left_out: set[str] = set()
        # Listed again after it had been held to be gone: from then on a list's silence about it proves nothing.
        self._returned: set[str] = set()
        self._choice = Choice(options.selectors)
        self._row_hash: dict[str, bytes] = {}
        self._updated_at: dict[str, str] = {}
        self._bare: set[str] = set()
        self._with_secrets: set[str] = set()

    async def run(self) -> Manifest:
        record, options = self._record, self._options
        tenant = await self._client.tenant()
        me = (await self._client.whoami()).json() or {}
        head = Head(tenant, str(me.get("id") or ""), scope_of(me, self._client), options.selectors, options.with_calls)
        head.warn(record)
        self._earlier.begin(tenant, head.identity)
        listing = await self._list_automations()
        await self._surroundings.read_lists()
        strays = await find_strays(record, self._surroundings.of(Kind.ITEM), listing.present, head.scope)
        self._known |= {one.id.lower(): one for one in strays}
        entities = (*self._surroundings.entities, *self._known.values())
        self._choice.inventory = Inventory(tenant=tenant, entities=entities)
        await self._take_in([*listing.fresh, *strays])
        self._check_chosen()
        await self._surroundings.read_details()
        await self._settle()
        self._check_chosen()
        kept = self._census.captured
        manifest = head.manifest(record, self._census, self._surroundings, self._bare & kept, self._with_secrets & kept)
        self._close()
        requests = self._client.counts.as_json()
        capture = Capture(started_at=self._started, finished_at=record.clock.now(), requests=requests)
        record.writer.finish(manifest, capture)
        return manifest

    def _close(self) -> None:
        """Settle with the earlier snapshots."""
        census = self._census
        captured = {key: census.listed[key].id for key in census.captured}
        saved = self._recall.close(captured, census.lost()) + self._surroundings.close()
        if self._incremental:
            self._client.counts.saved = saved
            self._record.sink(Log(message=f"{saved} requests saved: as many documents are known from earlier"))

    def _check_chosen(self) -> None:
        if self._options.selectors and not self._census.listed:
            raise UsageError("the selection is empty", hint="`list` on an archive of the tenant shows names and owners")

    # Lists

    async def _list_automations(self) -> _Listing:
        present: set[str] = set()
        fresh: dict[str, Entity] = {}
        edited: dict[str, Entity] = {}
        async for raw in self._client.rows("automation.list", query={"sort": "id"}):
            row = self._record.row(Kind.AUTOMATION, raw)
            if row is None:
                continue
            one = entity(Kind.AUTOMATION, row)
            key = one.id.lower()
            present.add(key)
            if key not in self._left_out:
                if key in self._census.vanished:
                    self._returned.add(key)
                self._keep_row(one, raw)
                if key not in self._census.listed or key in self._census.vanished:
                    fresh[key] = one
                else:
                    if self._is_edited(one):
                        edited[key] = one
                    self._census.enter(one)
                self._known[key] = one
            self._record.sink(Progress(phase="list automations", done=len(present)))
        return _Listing(present, list(fresh.values()), list(edited.values()))

    def _is_edited(self, now: Entity) -> bool:
        """Whether its row tells of a save that the captured document does not know of."""
        key = now.id.lower()
        if self._recall.taken(key):
            return self._recall.is_outdated(key)
        known = (self._known[key].updated_at, self._updated_at.get(key))
        return key in self._census.captured and now.updated_at not in known

    def _keep_row(self, one: Entity, raw: bytes) -> None:
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        if self._row_hash.get(one.id) != digest:
            self._row_hash[one.id] = digest
            self._recall.see(one, self._record.add(Kind.AUTOMATION, one.id, Part.ROW, raw))

    # Documents

    async def _take_in(self, fresh: list[Entity]) -> None:
        """Read those of `fresh` that the selection may want, and keep those that it does want."""
        fresh = sorted(fresh, key=lambda one: one.id)
        if not self._options.selectors:
            await self._read(self._take_over(fresh))
            return
        read = self._choice.by_row(fresh)
        await self._read(read)
        await self._judge(read)
        self._leave_out([one for one in fresh if one.id.lower() not in self._census.listed])

    def _take_over(self, fresh: list[Entity]) -> list[Entity]:
        """Capture those of `fresh` that an earlier snapshot holds as they are; the others."""
        rest = self._recall.split(fresh)
        for one in fresh:
            reading = self._recall.taken(one.id)
            if reading is not None:
                self._census.enter(one)
                self._mark_captured(one, bare=reading.bare, with_secrets=reading.with_secrets)
        return rest

    async def _judge(self, read: list[Entity]) -> None:
        """Keep those that the selection wants, now that workspaces are known, and what follows them."""
        chosen = {one.id.lower() for one in read if self._passes(one)}
        # What could not be read is judged when it can.
        unjudged = chosen - self._census.captured
        if self._options.with_calls:
            read = [*read, *await self._follow_calls(chosen)]
        self._choice.wanted |= chosen - unjudged
        self._leave_out([one for one in read if one.id.lower() not in chosen])

    def _passes(self, one: Entity, *, called: bool = False) -> bool:
        """Whether the selection wants it. What could not be read cannot be judged, and stays on record."""
        return one.id.lower() not in self._census.captured or self._choice.passes(one, called=called)

    async def _follow_calls(self, chosen: set[str]) -> list[Entity]:
        """Add what the chosen ones call, and so on; an exclusion wins. Returns what was read for it."""
        read: list[Entity] = []
        frontier = set(chosen)
        while frontier:
            called = self._choice.called_by(frontier) - chosen - self._census.vanished
            found = self._choice.not_excluded([self._known[key] for key in sorted(called) if key in self._known])
            await self._read([one for one in found if one.id.lower() not in self._census.captured])
            read += found
            frontier = {one.id.lower() for one in found if self._passes(one, called=True)}
            chosen |= frontier
        return read

    def _leave_out(self, automations: list[Entity]) -> None:
        for one in automations:
            self._left_out.add(one.id.lower())
            # Its row stays: an id found in a workspace can still be named.
            self._record.writer.discard(Kind.AUTOMATION, one.id, Part.DETAIL)
        self._census.drop([one.id for one in automations])

    async def _fan_out(self, automations: list[Entity], work: Callable[[Entity], Awaitable[None]]) -> None:
        await fan_out(automations, work, width=self._client.endpoint.limits.concurrency)

    async def _read(self, automations: list[Entity]) -> None:
        total = len(automations)
        done = 0

        async def read(one: Entity) -> None:
            nonlocal done
            fetched = await self._get(one)
            if fetched is not None:
                self._capture(one, fetched)
            done += 1
            self._record.sink(Progress(phase="read automations", done=done, total=total, subject=one.name))

        for one in automations:
            self._left_out.discard(one.id.lower())
            self._census.enter(one)
        await self._fan_out(automations, read)

    async def _get(self, one: Entity) -> Fetched | None:
        """Its own document; None, and a note in the census, where it cannot be had."""
        try:
            fetched = await self._fetch(one)
        except (ForbiddenError, MissingError) as error:
            self._record.answered()
            self._census.refuse(one.id, error.status or 0)
        except ApiError as error:
            await self._record.bear(error)
            self._fail(one, error.message)
        else:
            self._record.answered()
            return fetched
        return None

    async def _fetch(self, one: Entity) -> Fetched:
        return await fetch(lambda: self._client.call("automation.get", id=one.id), self._record.clock)

    def _fail(self, one: Entity, reason: str) -> None:
        if self._options.abort_on_error:
            raise PartialError(f"automation {one.id} cannot be read: {reason}") from None
        self._census.fail(one.id, reason)

    def _capture(self, one: Entity, fetched: Fetched) -> None:
        raw, value = fetched.answer.raw, fetched.answer.json()
        key = one.id.lower()
        if not isinstance(value, Mapping) or str(value.get("id", "")).lower() != key:
            self._fail(one, "the answer is not this automation")
            return
        if flaw := self._record.add_detail(Kind.AUTOMATION, one.id, raw, fetched.read_at):
            self._fail(one, flaw)
            return
        self._updated_at[key] = str(value.get("updatedAt"))
        self._choice.remember(one.id, value)
        workspace = value.get("workspace")
        # An empty object may come back as an empty list.
        bare, with_secrets = not isinstance(workspace, Mapping | list), has_secrets(raw)
        self._mark_captured(one, bare=bare, with_secrets=with_secrets)
        self._recall.read(entity(Kind.AUTOMATION, value), fetched, bare=bare, with_secrets=with_secrets)

    def _mark_captured(self, one: Entity, *, bare: bool, with_secrets: bool) -> None:
        self._census.capture(one.id)
        for marked, applies in ((self._bare, bare), (self._with_secrets, with_secrets)):
            (marked.add if applies else marked.discard)(one.id.lower())

    # Agreement

    async def _settle(self) -> None:
        """List again until nothing new comes and nothing is gone, three times at most."""
        await self._try_again()
        for _ in range(_ROUNDS):
            listing = await self._list_automations()
            gone = self._census.gone(listing.present)
            await self._take_in(listing.fresh)
            await self._read(listing.edited)
            await self._fan_out(gone, self._check_gone)
            if not listing.fresh and not gone:
                return
        await self._look_once_more({one.id.lower() for one in (*listing.fresh, *gone)})

    async def _try_again(self) -> None:
        """What failed had all its retries at once; by now the tenant may have recovered."""
        failed = self._census.open()
        await self._read(failed)
        if self._options.selectors:
            await self._judge([one for one in failed if one.id.lower() in self._census.captured])

    async def _check_gone(self, one: Entity) -> None:
        """A list that lost an automation is believed only when the automation itself is gone (404)."""
        try:
            fetched = await self._fetch(one)
        except MissingError:
            self._vanish(one)
            return
        except ForbiddenError:
            self._census.refuse(one.id, 403)
        except ApiError as error:
            await self._record.bear(error)
            self._fail(one, error.message)
            return
        else:
            if one.id.lower() not in self._census.captured or self._recall.taken(one.id):
                self._capture(one, fetched)
        self._record.note(
            "list-was-short", Severity.WARNING, "a list of automations left out one that exists", where=one.id
        )

    def _vanish(self, one: Entity) -> None:
        if one.id.lower() in self._returned and one.id.lower() not in self._census.captured:
            self._census.refuse(one.id, 404)
            return
        self._census.vanish(one.id)
        self._record.writer.discard(Kind.AUTOMATION, one.id)
        self._recall.forget(one.id)
        # Should a list name it again, its row is new.
        self._row_hash.pop(one.id, None)

    async def _look_once_more(self, last: set[str]) -> None:
        """Settle the doubts that the last round left: one refused since may be gone, one gone may have been unlisted.

        No newcomer is taken in any more.
        """
        doubtful = last & (self._census.unreadable.keys() | self._census.vanished)
        if not doubtful:
            return
        present: set[str] = set()
        async for raw in self._client.rows("automation.list", query={"sort": "id"}):
            row = self._record.row(Kind.AUTOMATION, raw)
            if row is not None:
                one = entity(Kind.AUTOMATION, row)
                present.add(one.id.lower())
                if one.id.lower() in doubtful and one.id.lower() in self._census.vanished:
                    self._keep_row(one, raw)
        for key in sorted(doubtful):
            one = self._known[key]
            if key in present and key in self._census.vanished:
                await self._read([one])
            elif key not in present and self._census.unreadable.get(key) == 404:
                self._vanish(one)
