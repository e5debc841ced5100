"""An embedded tenant laid out from what a snapshot says its own held, for a restore to be tried on.

Everything has a counterpart, under another id, as in a tenant that was prepared well. What the snapshot does not know
of is stood in for and counted: a rehearsal proves nothing about that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import define, field

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, Endpoint, Limits, OAuthClient
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.plan import PlanOptions
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.selection import Selectors
from qlikmigrate.model.snapshot import Snapshot, inventory_of, parse
from qlikmigrate.remap.mapping_file import Entry, MappingFile
from qlikmigrate.remap.matching import QLIK_CLOUD_SERVICES
from qlikmigrate.sandbox import CloudTenant, Connector, Server
from qlikmigrate.sandbox.catalogue import BUILT_IN
from qlikmigrate.sandbox.wire import ApiError

NAME = "embedded"
# No tenant has this host. Source: RFC 2606.
_HOST = "embedded.invalid"
_STAND_IN = "qlikmigrate-drill\\stand-in"
# Roles in a space with which one may keep automations there. Source: Qlik's help on permissions in shared spaces.
_MAKERS = frozenset({"producer", "facilitator", "codeveloper", "operator"})
# Nobody shares the embedded tenant.
_LIMITS = Limits(tier1_per_minute=10_000_000, tier2_per_minute=10_000_000, share=1.0)

Key = tuple[Kind, str]


@define
class Rehearsal:
    """An embedded tenant behind a loopback socket while entered.

    `pairs`: (kind, lower-case source id) → id here, of all that was laid out. `decisions`: which is which where natural
    keys cannot tell. `stood_in`: what the snapshot does not hold, by kind, and how many.
    """

    tenant: CloudTenant
    endpoint: Endpoint
    fallback: str
    pairs: Mapping[Key, str] = field(repr=False)
    decisions: MappingFile = field(repr=False)
    stood_in: Mapping[str, int]
    _server: Server
    _clock: Clock

    @classmethod
    def lay_out(cls, snapshot: Snapshot, *, clock: Clock) -> Rehearsal:
        """Make the tenant.

        Raises:
            CorruptError: the snapshot is damaged.
        """
        # The same snapshot, the same ids, whoever drills it.
        tenant = CloudTenant(NAME, host=_HOST, clock=clock, seed=int(snapshot.digest[:12], 16))
        layout = _Layout(snapshot, tenant)
        layout.run()
        server = Server(tenant.handle)
        tenant.base_url = server.url
        bot, web = (tenant.oauth_client(kind) for kind in ("m2m", "impersonation"))
        endpoint = Endpoint(
            name=NAME,
            url=server.url,
            access=Access.WRITE,
            credentials=OAuthClient(client_id=bot[0], client_secret=Secret(bot[1])),
            impersonation=OAuthClient(client_id=web[0], client_secret=Secret(web[1])),
            limits=_LIMITS,
        )
        return cls(
            tenant=tenant,
            endpoint=endpoint,
            fallback=layout.fallback,
            pairs=layout.pairs,
            decisions=MappingFile(entries=tuple(layout.entries)),
            stood_in=dict(layout.stood_in),
            server=server,
            clock=clock,
        )

    def connect(self, access: Access) -> CloudClient:
        """A client of the tenant that may do what `access` says."""
        return CloudClient.open(self.endpoint, access=access, clock=self._clock, sink=discard)

    def request(self, snapshot: Snapshot, archive: str, selectors: Selectors, ledger: Path) -> PlanRequest:
        """What is restored into it: everything as at the source, and nothing that only a real target can settle."""
        options = PlanOptions(
            fallback_owner=self.fallback, settings=True, allow=("value-missing",), ledger=str(ledger.absolute())
        )
        return PlanRequest(
            archive=archive,
            snapshot=snapshot,
            selectors=selectors,
            decisions=self.decisions,
            options=options,
            match_items=True,
        )

    def __enter__(self) -> Rehearsal:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


class _Layout:
    def __init__(self, snapshot: Snapshot, tenant: CloudTenant) -> None:
        self._snapshot = snapshot
        self._tenant = tenant
        self._inventory: Inventory = inventory_of(snapshot)
        self._automations = list(_automations(snapshot))
        self.pairs: dict[Key, str] = {}
        self.entries: list[Entry] = []
        self.stood_in: Counter[str] = Counter()
        self.fallback = tenant.add_user(_STAND_IN, "Stand-in of the drill", "")

    def run(self) -> None:
        self._add_users()
        self._add_spaces()
        self._add_connectors()
        self._add_connections()
        self._add_items()

    def _sorted(self, kind: Kind) -> list[Entity]:
        return sorted(self._inventory.of(kind), key=lambda one: one.id)

    def _pair(self, one: Entity, ident: str) -> None:
        self.pairs[one.kind, one.id.lower()] = ident

    def _decide(self, kind: Kind | None, source_id: str, ident: str) -> None:
        self.entries.append(Entry(kind=kind, source=source_id, target=ident))

    def _owner(self, source_id: str) -> str:
        return self.pairs.get((Kind.USER, source_id.lower()), self.fallback)

    def _add_users(self) -> None:
        """Everybody is active here: whoever is not at the source still owns something."""
        users = self._sorted(Kind.USER)
        subjects = Counter(one.subject for one in users)
        for number, one in enumerate(users):
            known = bool(one.subject) and subjects[one.subject] == 1 and one.subject != _STAND_IN
            subject = one.subject if known else f"qlikmigrate-drill\\user-{number}"
            ident = self._tenant.add_user(subject, one.name, one.email)
            self._pair(one, ident)
            if not known:
                self._decide(Kind.USER, one.id, ident)
        owners = {one.owner_id.lower() for one in self._automations}
        lost = {ident for ident in owners if (Kind.USER, ident) not in self.pairs}
        self.stood_in["owners"] += len(lost)

    def _add_spaces(self) -> None:
        documents = {
            str(value.get("id")).lower(): value for value in _values(self._snapshot, Kind.SPACE) if value.get("id")
        }
        roles = self._roles()
        for one in self._sorted(Kind.SPACE):
            owner = self._owner(one.owner_id)
            description = str(documents.get(one.id.lower(), {}).get("description") or "")
            try:
                ident = self._tenant.add_space(one.name, one.type, owner=owner, description=description)
            except ApiError:
                # The service would not take it either: the restore will say what that leads to.
                continue
            self._pair(one, ident)
        for source_id in sorted({one.space_id for one in self._automations if one.space_id}):
            if self._inventory.get(Kind.SPACE, source_id) is None:
                self.stood_in["spaces"] += 1
                ident = self._tenant.add_space(f"Not listed {self.stood_in['spaces']}", owner=self.fallback)
                self.pairs[Kind.SPACE, source_id.lower()] = ident
                self._decide(Kind.SPACE, source_id, ident)
        self._add_members(roles)

    def _roles(self) -> dict[tuple[str, str], set[str]]:
        """(space, user), lower-case ids of the source → roles."""
        found: dict[tuple[str, str], set[str]] = {}
        for document in self._snapshot.rows(Kind.ASSIGNMENT):
            value = parse(document.raw)
            if isinstance(value, Mapping) and value.get("type", "user") == "user":
                key = (document.id.partition("/")[0].lower(), str(value.get("assigneeId")).lower())
                found.setdefault(key, set()).update(str(role) for role in value.get("roles") or ())
        return found

    def _add_members(self, roles: dict[tuple[str, str], set[str]]) -> None:
        """Whoever owns an automation in a space may keep it there, whatever the snapshot knows of their roles."""
        for one in self._automations:
            space = self._inventory.get(Kind.SPACE, one.space_id)
            if one.space_id and not (space and space.owner_id.lower() == one.owner_id.lower()):
                held = roles.setdefault((one.space_id.lower(), one.owner_id.lower()), set())
                if held.isdisjoint(_MAKERS):
                    held.add("producer")
                    self.stood_in["space roles"] += 1
        here: dict[tuple[str, str], set[str]] = {}
        for (space_id, user_id), held in roles.items():
            there = self.pairs.get((Kind.SPACE, space_id))
            if there is not None:
                here.setdefault((there, self._owner(user_id)), set()).update(held)
        for (there, user), held in sorted(here.items()):
            # Roles that the service has come to know since are not needed here.
            with suppress(ApiError):
                self._tenant.add_member(there, user, sorted(held))
                continue
            with suppress(ApiError):
                self._tenant.add_member(there, user, sorted(held & _MAKERS))

    def _add_connectors(self) -> None:
        known = {one.id for one in BUILT_IN}
        names = {one.id: one.name for one in self._sorted(Kind.CONNECTOR)}
        used = {one.connector_id for one in self._sorted(Kind.CONNECTION) if one.connector_id}
        for ident in sorted((names.keys() | used) - known):
            self._tenant.add_connector(Connector(id=ident, name=names.get(ident) or ident))

    def _add_connections(self) -> None:
        """Without the values of their parameters, which no snapshot holds."""
        managed = {
            str(one["ownerId"]): ident
            for ident, one in self._tenant.connections.items()
            if one["connectorId"] == QLIK_CLOUD_SERVICES
        }

        def add(one: Entity, owner: str, space: str) -> str:
            if one.connector_id == QLIK_CLOUD_SERVICES and owner in managed:
                return managed.pop(owner)
            return self._tenant.add_connection(one.connector_id, one.name, owner, space, connected=bool(one.connected))

        def natural_key(one: Entity) -> tuple[str, ...]:
            owner = one.owner_id.lower()
            if one.connector_id == QLIK_CLOUD_SERVICES:
                return (one.connector_id, owner)
            return (one.connector_id, one.name, owner, one.space_id.lower())

        listed = [one for one in self._sorted(Kind.CONNECTION) if one.connector_id]
        self._add_owned(listed, add, natural_key)

    def _add_items(self) -> None:
        """As names for ids: an item's content is in no snapshot."""

        def add(one: Entity, owner: str, space: str) -> str:
            return self._tenant.add_item(one.type, one.name, owner, space)

        def natural_key(one: Entity) -> tuple[str, ...]:
            return (one.type, one.name, one.space_id.lower())

        self._add_owned(self._sorted(Kind.ITEM), add, natural_key)

    def _add_owned(
        self,
        ones: list[Entity],
        add: Callable[[Entity, str, str], str],
        natural_key: Callable[[Entity], tuple[str, ...]],
    ) -> None:
        """Add what has an owner and a space; say which is which among those whose natural keys are the same."""
        twins = Counter(natural_key(one) for one in ones)
        for one in ones:
            space = self.pairs.get((Kind.SPACE, one.space_id.lower()), "") if one.space_id else ""
            ident = add(one, self._owner(one.owner_id), space)
            self._pair(one, ident)
            orphan = one.kind is Kind.CONNECTION and (Kind.USER, one.owner_id.lower()) not in self.pairs
            lost = bool(one.space_id) and not space
            if twins[natural_key(one)] > 1 or orphan or lost:
                self._decide(Kind.CONNECTION if one.kind is Kind.CONNECTION else None, one.id, ident)


def _automations(snapshot: Snapshot) -> Iterator[Entity]:
    for ident in snapshot.ids(Kind.AUTOMATION):
        value = parse(snapshot.detail(Kind.AUTOMATION, ident).raw)
        if isinstance(value, Mapping):
            yield entity(Kind.AUTOMATION, value)


def _values(snapshot: Snapshot, kind: Kind) -> Iterator[Mapping[str, Any]]:
    for document in snapshot.rows(kind):
        value = parse(document.raw)
        if isinstance(value, Mapping):
            yield value
