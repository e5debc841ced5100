"""Compares the automations and connections of two snapshots of OEM accounts.

Within one account by guid, across accounts by name and template, or connector. What is not known is no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from attrs import evolve, frozen

from qlikmigrate.importer.diff import Compared, Standing
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.history import token_hashes
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest
from qlikmigrate.model.oem import OemAutomation, OemConnection, OemHolding
from qlikmigrate.model.oem_face import automation_face, compare_faces, connection_face
from qlikmigrate.model.oem_selection import holdings, selected_in
from qlikmigrate.model.selection import OEM_KEYS, Selectors
from qlikmigrate.model.snapshot import Snapshot

T = TypeVar("T", OemAutomation, OemConnection)


@frozen
class _Side:
    """A snapshot and one of the accounts in it. `chosen`: ids of the automations that the selection names."""

    snapshot: Snapshot
    holding: OemHolding
    chosen: frozenset[str]

    @property
    def lost(self) -> frozenset[str]:
        """Ids of what the snapshot lists and does not hold."""
        manifest = self.snapshot.manifest
        return frozenset(note.id for note in (*manifest.unreadable, *manifest.missing))


class OemDiff:
    """Two snapshots, ready to be compared.

    Raises (when made):
        UsageError: a selector means nothing here, or which accounts are to be compared is not said.
        CorruptError: a document is damaged.
    """

    def __init__(self, old: Snapshot, new: Snapshot, selectors: Selectors) -> None:
        selectors.check(OEM_KEYS, "an OEM account")
        self.problems: list[Problem] = []
        self.token_hashes = token_hashes(old) | token_hashes(new)
        self._selectors = selectors
        here, there = ({held.account.id: held for held in holdings(one, selectors)} for one in (old, new))
        shared = sorted(here.keys() & there.keys())
        if shared:
            # One account of many is compared with itself alone.
            both = not any(len(one) == 1 for one in (here, there))
            idents = sorted(here.keys() | there.keys()) if both else shared
            pairs = [(here.get(ident), there.get(ident)) for ident in idents]
        elif len(here) == len(there) == 1:
            pairs = [(next(iter(here.values())), next(iter(there.values())))]
        else:
            raise UsageError("which accounts are to be compared is not said", hint="--include account=ONE")
        self._pairs = [
            tuple(self._side(one, side) for one, side in zip((old, new), pair, strict=True)) for pair in pairs
        ]
        if selectors.without("account") and not any(side and side.chosen for pair in self._pairs for side in pair):
            raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")

    @property
    def namings(self) -> tuple[tuple[Inventory, ...], tuple[Inventory, ...]]:
        """Where ids in edits have names: nowhere, since edits of OEM automations hold names."""
        return (), ()

    def __iter__(self) -> Iterator[Compared]:
        """The selected automations of both sides by name, then the connections where nothing is selected."""
        for old, new in self._pairs:
            yield from sorted(self._automations(old, new), key=lambda one: one.name.casefold())
            if not self._selectors.without("account"):
                yield from sorted(self._connections(old, new), key=lambda one: one.name.casefold())

    def _side(self, snapshot: Snapshot, holding: OemHolding | None) -> _Side | None:
        if holding is None:
            return None
        return _Side(snapshot, holding, selected_in(holding, self._selectors))

    def _automations(self, old: _Side | None, new: _Side | None) -> Iterator[Compared]:
        here, there = (side.holding.automations if side else {} for side in (old, new))

        def key(side: _Side) -> Callable[[OemAutomation], tuple[str, str]]:
            templates = side.holding.templates
            return lambda one: (one.name, templates[one.template_id].name if one.template_id in templates else "")

        for one, other in self._matched(here, there, old, new, key):
            chosen = (old and one and one.id in old.chosen) or (new and other and other.id in new.chosen)
            if chosen:
                yield _compared(
                    Kind.AUTOMATION, one, other, old, new,
                    lambda side, found: automation_face(side.snapshot, side.holding, found.id),
                )  # fmt: skip

    def _connections(self, old: _Side | None, new: _Side | None) -> Iterator[Compared]:
        here, there = (side.holding.connections if side else {} for side in (old, new))

        def key(side: _Side) -> Callable[[OemConnection], tuple[str, str]]:
            return lambda one: (one.name, one.connector_name or one.connector_id)

        for one, other in self._matched(here, there, old, new, key):
            yield _compared(Kind.CONNECTION, one, other, old, new, lambda _, found: connection_face(found))

    def _matched(
        self,
        here: Mapping[str, T],
        there: Mapping[str, T],
        old: _Side | None,
        new: _Side | None,
        key: Callable[[_Side], Callable[[T], tuple[str, str]]],
    ) -> Iterator[tuple[T | None, T | None]]:
        if old is None or new is None or old.holding.account.id == new.holding.account.id:
            for ident in dict.fromkeys((*here, *there)):
                yield here.get(ident), there.get(ident)
            return
        sides = [(here, key(old)), (there, key(new))]
        counted = [Counter(keyed(one) for one in ones.values()) for ones, keyed in sides]
        by_key = {key(new)(one): one for one in there.values()}
        met = set()
        for one in here.values():
            name = key(old)(one)
            other = by_key.get(name) if counted[0][name] == counted[1][name] == 1 else None
            if other is None and counted[1][name]:
                self._tell_ambiguous(name[0], one.id)
            met |= {other.id} if other else set()
            yield one, other
        for other in there.values():
            if other.id not in met:
                yield None, other

    def _tell_ambiguous(self, name: str, ident: str) -> None:
        self.problems.append(
            Problem(
                code="ambiguous-match",
                severity=Severity.WARNING,
                message=f"several are called `{name}`: they are told as removed and added",
                where=ident,
            )
        )


def _entity(kind: Kind, one: OemAutomation | OemConnection) -> Entity:
    if isinstance(one, OemAutomation):
        return Entity(kind=kind, id=one.id, name=one.name, state=one.state, run_mode=one.run_mode)
    return Entity(kind=kind, id=one.id, name=one.name, connector_id=one.connector_id)


def _compared(
    kind: Kind,
    one: T | None,
    other: T | None,
    old: _Side | None,
    new: _Side | None,
    face: Callable[[_Side, T], Mapping[str, Any]],
) -> Compared:
    told = Compared(
        standing=Standing.SAME,
        old=_entity(kind, one) if one else None,
        new=_entity(kind, other) if other else None,
    )
    if one is not None and other is not None and old is not None and new is not None:
        edits = compare_faces(face(old, one), face(new, other))
        return evolve(told, standing=Standing.CHANGED if edits else Standing.SAME, edits=edits)
    ident = one.id if one else other.id if other else ""
    silent = new if one else old
    if silent is not None and ident in silent.lost:
        return evolve(told, standing=Standing.UNREADABLE)
    if silent is not None and _is_narrow(silent.snapshot.manifest, kind):
        return evolve(told, standing=Standing.UNKNOWN)
    return evolve(told, standing=Standing.REMOVED if one else Standing.ADDED)


def _is_narrow(manifest: Manifest, kind: Kind) -> bool:
    """Whether the silence of a snapshot says nothing: selectors choose automations; connections are all in it."""
    return kind is Kind.AUTOMATION and manifest.selection is not None
