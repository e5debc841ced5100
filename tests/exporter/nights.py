"""Nightly backups on a manual clock, each on what the ones before it know, kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import define, field
from motion import Motion, requests_by_path
from stage import staged

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits, OAuthClient
from qlikmigrate.exporter.collector import ExportOptions, export
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import Event
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import CutReason, Document, Part, cut_document
from qlikmigrate.model.earlier import Earlier, Reading
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.model.snapshot import SnapshotWriter
from qlikmigrate.sandbox import BotConnections

Name = tuple[Kind, str]
OWN = (Kind.AUTOMATION, Kind.CONNECTION)


@define
class Taken:
    """One snapshot in memory. `carried`: whose last good version must stay findable."""

    manifest: Manifest
    capture: Capture
    documents: dict[tuple[Kind, str, Part], Document]
    readings: dict[Name, Reading]
    reused: set[Name]
    carried: set[Name]

    def details(self, kind: Kind = Kind.AUTOMATION) -> dict[str, Document]:
        """Id → own document."""
        return {ident: one for (found, ident, part), one in self.documents.items() if (found, part) == (kind, "detail")}

    def ids(self, names: set[Name], kind: Kind = Kind.AUTOMATION) -> set[str]:
        """The ids of that kind among `names`."""
        return {ident for found, ident in names if found is kind}

    def content(self) -> dict[tuple[Kind, str, Part], tuple[object, ...]]:
        """Everything but run data and times."""
        return {
            name: (one.raw, *(cut for cut in one.cuts if cut.reason is CutReason.SECRET))
            for name, one in self.documents.items()
        }


@define
class Shelf:
    """The snapshots of all tenants, oldest first."""

    taken: list[Taken] = field(factory=list)

    def writer(self) -> ShelfWriter:
        return ShelfWriter(self)


@define
class ShelfWriter:
    """Implements `SnapshotWriter` and `Earlier`, and holds its caller to what they ask for."""

    shelf: Shelf
    base: Taken | None = None
    begun: bool = False
    ended: bool = False
    documents: dict[tuple[Kind, str, Part], Document] = field(factory=dict)
    readings: dict[Name, Reading] = field(factory=dict)
    reused: set[Name] = field(factory=set)
    carried: set[Name] = field(factory=set)

    def begin(self, tenant: TenantFacts, identity: str) -> None:
        assert not self.begun, "begun twice"
        self.begun = True
        whole = [one for one in self.shelf.taken if one.manifest.tenant.id == tenant.id and not one.manifest.selection]
        mine = [one for one in whole if one.manifest.identity == identity]
        self.base = mine[-1] if mine else None

    def known(self, kind: Kind, ident: str) -> Reading | None:
        assert self.begun
        assert not self.readings.keys() | self.carried, "asked after the settling began"
        return self.base.readings.get((kind, ident)) if self.base else None

    def remember(self, kind: Kind, ident: str, reading: Reading) -> None:
        self._settle(kind, ident)
        assert self.documents[kind, ident, Part.DETAIL].read_at == reading.read_at
        self.readings[kind, ident] = reading

    def reuse(self, kind: Kind, ident: str) -> None:
        self._settle(kind, ident)
        assert self.base is not None
        assert (kind, ident, Part.DETAIL) not in self.documents, "read, and taken over all the same"
        self.documents[kind, ident, Part.DETAIL] = self.base.documents[kind, ident, Part.DETAIL]
        self.readings[kind, ident] = self.base.readings[kind, ident]
        self.reused.add((kind, ident))

    def carry(self, kind: Kind, ident: str) -> None:
        self._settle(kind, ident)
        assert (kind, ident, Part.DETAIL) not in self.documents
        self.carried.add((kind, ident))

    def _settle(self, kind: Kind, ident: str) -> None:
        assert not self.ended
        assert (kind, ident) not in self.readings.keys() | self.carried, "settled twice"

    def add(self, document: Document) -> None:
        assert not self.ended
        self.documents[document.kind, document.id, document.part] = document

    def discard(self, kind: Kind, ident: str, part: Part | None = None) -> None:
        for one in (part,) if part else Part:
            self.documents.pop((kind, ident, one), None)

    def finish(self, manifest: Manifest, capture: Capture) -> None:
        assert not self.ended
        self.ended = True
        own = {(kind, ident) for kind, ident, part in self.documents if kind in OWN and part is Part.DETAIL}
        assert own == self.readings.keys() or not self.begun, "a document that nobody vouches for"
        counts = manifest.counts["automations"]
        assert counts.captured == sum(kind is Kind.AUTOMATION for kind, _ in own)
        assert counts.listed == counts.captured + counts.unreadable + counts.vanished + counts.missing
        given = (self.documents, self.readings, self.reused, self.carried)
        self.shelf.taken.append(Taken(manifest, capture, *given))

    def abandon(self) -> None:
        self.ended = True


def conforms(writer: ShelfWriter) -> tuple[SnapshotWriter, Earlier]:
    """Checked by types alone."""
    return writer, writer


@define
class Skewed:
    """Another machine's clock: `behind` shows the same time, moved by `off`."""

    behind: ManualClock
    off: timedelta = timedelta()

    def now(self) -> datetime:
        return self.behind.now() + self.off

    def monotonic(self) -> float:
        return self.behind.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.behind.sleep(seconds)


@define
class Night:
    """One backup. `asked`: ids whose own documents were asked for, in order; `events`: what was told."""

    taken: Taken
    requests: Counter[str]
    asked: list[str]
    events: list[Event]

    @property
    def saved(self) -> int:
        return self.taken.capture.requests["saved"]

    def asked_of(self, tenant_ids: Any) -> list[str]:
        """Those asked for that are among the given ids, sorted."""
        return sorted(ident for ident in self.asked if ident in tenant_ids)


@define
class Nights:
    """A tenant in motion, and its backups. `clock` is the tenant's; `ours` shows the same but for what `skew` says."""

    motion: Motion
    clock: ManualClock
    shelf: Shelf = field(factory=Shelf)
    skew: timedelta = timedelta()
    tick_s: float = 0.0
    limits: Limits = field(factory=lambda: Limits(tier1_per_minute=1_000_000, timeout_s=20.0))

    @property
    def tenant(self) -> Any:
        return self.motion.tenant

    @property
    def ids(self) -> list[str]:
        """All automations there are, sorted."""
        return sorted(self.tenant.automations)

    def seed(self, count: int) -> list[str]:
        """Automations A0, A1, …, one made each second, and an hour of quiet."""
        found = []
        for index in range(count):
            found.append(self.motion.create(f"A{index}"))
            self.clock.advance(1)
        self.clock.advance(3600)
        return found

    def record(self, ident: str) -> Any:
        """What the service stores: for changes that no API makes."""
        return self.tenant._shelf.records[ident]

    def api(self, method: str, path: str, body: Any = None, who: str = "ada") -> int:
        """Somebody's call, past the motion; the status."""
        key = self.tenant.api_key(self.motion.stage.source.users[who])
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
        url = f"{self.tenant.base_url}{path}"
        return int(self.tenant.handle(Request(method=method, url=url, headers=headers, body=raw)).response.status)

    def act(self, ident: str, action: str, body: Any = None) -> None:
        """An administrator's action on an automation."""
        assert self.api("POST", f"/api/v1/automations/{ident}/actions/{action}", body) == 204

    def stored(self, ident: str) -> Any:
        """The automation as it is now, secrets and run data apart."""
        return json.loads(cut_document(Kind.AUTOMATION, self.record(ident).detail())[0])

    def backup(self, *, days: float = 0.0, key: str = "", earlier: bool = True, **options: Any) -> Night:
        """One backup, `days` after the last. `key`: by that API key instead of the bot."""
        self.clock.advance(days * 86_400)
        first = len(self.tenant.seen)
        self.motion.lists = 0
        writer = self.shelf.writer()
        events: list[Event] = []
        ours = Skewed(self.clock, self.skew)
        bot = self.motion.stage.source.bot
        endpoint = Endpoint(
            name="source",
            url=self.tenant.base_url,
            credentials=ApiKey(key=Secret(key)) if key else OAuthClient(client_id=bot[0], client_secret=Secret(bot[1])),
            limits=self.limits,
            handler=self._handle,
        )

        async def work() -> Manifest:
            async with CloudClient.open(endpoint, access=Access.READ, clock=ours, sink=events.append) as client:
                how = ExportOptions(**options)
                known = writer if earlier else None
                return await export(client, writer, how, clock=ours, sink=events.append, earlier=known)

        manifest = asyncio.run(work())
        taken = self.shelf.taken[-1]
        assert taken.manifest is manifest
        # Only what the backup itself asked: people's own calls write.
        seen = [one for one in self.tenant.seen[first:] if one.method == "GET"]
        asked = [one.path.rpartition("/")[2] for one in seen if _is_own(one.path)]
        return Night(taken, requests_by_path(SimpleNamespace(seen=seen)), asked, events)

    def full(self) -> Taken:
        """What a backup that knows of nothing would hold right now; it leaves no trace."""
        kept, self.shelf = self.shelf, Shelf()
        try:
            return self.backup(earlier=False).taken
        finally:
            self.shelf = kept

    def _handle(self, request: Request) -> Reply:
        self.clock.advance(self.tick_s)
        return self.motion._handle(request)


def _is_own(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 5 and parts[3] in ("automations", "automation-connections") and parts[4] != "settings"


@contextmanager
def nights(folder: Path, **switches: Any) -> Iterator[Nights]:
    """A tenant with its clock standing still between two requests; the bot reads connections, too."""
    clock = ManualClock()
    switches.setdefault("bot_connections", BotConnections.READ)
    with staged(folder, None, clock=clock, **switches) as stage:
        yield Nights(Motion(stage), clock)


def least(known: int, changed: int = 0) -> int:
    """How many of `known` documents the rule wants read when the rows of `changed` no longer vouch for theirs."""
    return max(changed, -(-known // 7))
