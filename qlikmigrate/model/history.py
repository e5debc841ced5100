"""What became of one automation from snapshot to snapshot. Pure.

A snapshot is asked nothing once the next one is, so that only one need be open. Silence is never taken for a deletion:
what a snapshot was not asked for, could not see or did not get to is no news.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from attrs import evolve, field, frozen

from qlikmigrate.kernel.error import CorruptError, UsageError
from qlikmigrate.model.difference import Edit, compare
from qlikmigrate.model.inventory import Entity, Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest, Note, Scope
from qlikmigrate.model.oem import is_oem
from qlikmigrate.model.oem_face import compare_faces, face_in
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.model.workspace import automations_called, blocks, connections_used, connectors_used

_PREFIX_CHARS = 8
_ID_START = re.compile(rf"[0-9A-Za-z-]{{{_PREFIX_CHARS},}}")


@frozen(kw_only=True)
class SnapshotLabel:
    """Which snapshot of several: `id` is what people name it by."""

    id: str
    taken_at: datetime
    complete: bool = True


Labelled = tuple[SnapshotLabel, Snapshot]
# What stands for an automation's document without reading it, the same for the same bytes; None: unknown.
ContentKey = Callable[[Snapshot, str], Hashable | None]


class Arrival(StrEnum):
    """How a version came about. `SEEN`: it is in the first snapshot that could show it, so it may be older."""

    SEEN = "seen"
    APPEARED = "appeared"
    CHANGED = "changed"
    RETURNED = "returned"


class Reason(StrEnum):
    """Why there is no version: listed and not given, or not there any more."""

    UNREADABLE = "unreadable"
    GONE = "gone"


@frozen(kw_only=True)
class Version:
    """A state of the automation that `snapshots` snapshots show, from `first` to `last`, or that came back in `first`.

    `edits`: from the version before. `names`: the objects that it refers to; `names_before`: those of the one before.
    `blocks`: how many it has.
    """

    first: SnapshotLabel
    last: SnapshotLabel
    snapshots: int = 1
    arrival: Arrival
    automation: Entity
    blocks: int
    edits: tuple[Edit, ...] = ()
    names: Inventory = field(repr=False)
    names_before: Inventory | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Absence:
    """A stretch without a version. `why`: what the tenant said.

    `successors`: ids of automations of the same name that came up in it: it may have been made anew.
    """

    first: SnapshotLabel
    last: SnapshotLabel
    snapshots: int = 1
    reason: Reason
    why: str = ""
    successors: tuple[str, ...] = ()


Entry = Version | Absence


def find_in_history(opened: Callable[[], Iterable[Labelled]], wanted: str) -> str:
    """The id of the automation that an id, the beginning of one (8 or more) or a name means in any snapshot.

    `opened`: all snapshots, oldest first; called once more where a name has to be looked for.

    Raises:
        UsageError: none, or more than one: the same beginning, or a name that several had, if at different times.
    """
    found: dict[str, list[SnapshotLabel]] = {}
    start = wanted.lower() if _ID_START.fullmatch(wanted) else None
    for label, snapshot in opened():
        for ident in (*snapshot.ids(Kind.AUTOMATION), *(note.id for note in _notes(snapshot.manifest))):
            if ident.lower() == wanted.lower():
                return ident
            if start and ident.lower().startswith(start):
                found.setdefault(ident, []).append(label)
    if not found:
        for label, snapshot in opened():
            for ident in _ids_named(snapshot, wanted):
                found.setdefault(ident, []).append(label)
    if not found:
        raise UsageError(f"no automation in any snapshot: `{wanted}`", hint="`qlikmigrate list` shows them")
    if len(found) > 1:
        told = (
            f"{ident} ({seen[0].taken_at:%Y-%m-%d} to {seen[-1].taken_at:%Y-%m-%d})" for ident, seen in found.items()
        )
        raise UsageError(f"`{wanted}` meant {len(found)} automations: {', '.join(told)}", hint="give an id")
    return next(iter(found))


def history(opened: Iterable[Labelled], ident: str, *, content_key: ContentKey | None = None) -> Iterator[Entry]:
    """The versions of an automation, and the stretches without one, oldest first.

    `opened`: snapshots, oldest first; those of other tenants are passed over. With `content_key`, a document is read
    only where it may differ from the one before.

    Raises:
        CorruptError: a document is damaged.
    """
    yield from _Reader(ident, content_key).read(opened)


def newest(entries: Iterable[Entry], *, limit: int | None = None, since: datetime | None = None) -> list[Entry]:
    """The last `limit` entries that began at or after `since`, newest first."""
    found = [one for one in entries if since is None or one.first.taken_at >= since]
    return found[::-1][:limit]


def token_hashes(snapshot: Snapshot) -> frozenset[str]:
    """SHA-256 of the execution tokens of all automations of a snapshot: reads every document."""
    details = (snapshot.detail(Kind.AUTOMATION, ident) for ident in snapshot.ids(Kind.AUTOMATION))
    return frozenset(cut.sha256 for detail in details for cut in detail.cuts if cut.sha256)


class _Standing(StrEnum):
    HELD = "held"
    UNREADABLE = "unreadable"
    GONE = "gone"
    UNKNOWN = "unknown"


class _Reader:
    """Reads on from snapshot to snapshot; holds the last version's document, and nothing that is open."""

    def __init__(self, ident: str, content_key: ContentKey | None) -> None:
        self._ident = ident
        self._content_key = content_key
        self._entry: Entry | None = None
        self._value: Mapping[str, Any] | None = None
        self._names: Inventory | None = None
        self._key: Hashable | None = None
        # Tenant and identity of the last snapshot that knew of it.
        self._view: tuple[str, str] | None = None
        # Tenants, and identities with a view of their own, that did not have it before it came up.
        self._without: set[tuple[str, str]] = set()
        # Automations that were there while it was held: they are no successors.
        self._others: set[str] = set()

    def read(self, opened: Iterable[Labelled]) -> Iterator[Entry]:
        for label, snapshot in opened:
            standing, why = self._standing(label, snapshot)
            before = self._entry
            match standing:
                case _Standing.UNKNOWN:
                    continue
                case _Standing.HELD:
                    self._entry = self._held(label, snapshot)
                case _Standing.UNREADABLE:
                    self._entry = self._absent(label, Reason.UNREADABLE, why)
                case _Standing.GONE if self._view is None:
                    self._without.add(_view(snapshot.manifest))
                    continue
                case _Standing.GONE:
                    self._entry = self._with_successors(self._absent(label, Reason.GONE, why), snapshot)
                case _ as never:
                    assert_never(never)
            if standing is not _Standing.GONE:
                self._view = (snapshot.manifest.tenant.id, snapshot.manifest.identity)
            if before is not None and self._entry.snapshots == 1:
                yield before
        if self._entry is not None:
            yield self._entry

    def _standing(self, label: SnapshotLabel, snapshot: Snapshot) -> tuple[_Standing, str]:
        """What a snapshot says of the automation, and why."""
        manifest = snapshot.manifest
        if self._view is not None and manifest.tenant.id != self._view[0]:
            return _Standing.UNKNOWN, ""
        if self._ident in snapshot.ids(Kind.AUTOMATION):
            return _Standing.HELD, ""
        for note in _notes(manifest):
            if note.id == self._ident:
                gone = note in manifest.vanished
                return (_Standing.GONE if gone else _Standing.UNREADABLE), note.reason
        own_view = manifest.scope is Scope.IDENTITY and self._view is not None and manifest.identity != self._view[1]
        if manifest.selection is not None or own_view or not (label.complete and manifest.complete):
            return _Standing.UNKNOWN, ""
        return _Standing.GONE, ""

    def _held(self, label: SnapshotLabel, snapshot: Snapshot) -> Version:
        entry, before = self._entry, self._value
        key = self._content_key(snapshot, self._ident) if self._content_key else None
        value = before if key is not None and key == self._key else None
        if value is None:
            value = face_in(snapshot, self._ident) if is_oem(snapshot) else _value(snapshot, self._ident)
        compared = compare_faces if is_oem(snapshot) else compare
        edits = compared(before, value) if before is not None and before is not value else ()
        self._key, self._value = key, value
        self._others.update(snapshot.ids(Kind.AUTOMATION))
        if isinstance(entry, Version) and not edits:
            return evolve(entry, last=label, snapshots=entry.snapshots + 1)
        names_before, self._names = self._names, _names(snapshot, value)
        return Version(
            first=label,
            last=label,
            arrival=self._arrival(snapshot.manifest, is_first=before is None),
            automation=_entity(snapshot, self._ident, value),
            blocks=sum(1 for _ in blocks(value)),
            edits=edits,
            names=self._names,
            names_before=names_before,
        )

    def _arrival(self, manifest: Manifest, *, is_first: bool) -> Arrival:
        if not is_first:
            return Arrival.CHANGED if isinstance(self._entry, Version) else Arrival.RETURNED
        # One that could not be read before it was first held has been there.
        is_new = self._entry is None and not self._without.isdisjoint({_view(manifest), (manifest.tenant.id, "")})
        return Arrival.APPEARED if is_new else Arrival.SEEN

    def _absent(self, label: SnapshotLabel, reason: Reason, why: str) -> Absence:
        entry = self._entry
        if isinstance(entry, Absence) and entry.reason is reason:
            return evolve(entry, last=label, snapshots=entry.snapshots + 1)
        return Absence(first=label, last=label, reason=reason, why=why)

    def _with_successors(self, absence: Absence, snapshot: Snapshot) -> Absence:
        """Only what came up after it was last held is read, and each once."""
        if self._value is None:
            return absence
        new = sorted(set(snapshot.ids(Kind.AUTOMATION)) - self._others)
        self._others.update(new)
        name = self._value.get("name")
        same = tuple(ident for ident in new if _value(snapshot, ident).get("name") == name)
        return evolve(absence, successors=(*absence.successors, *same))


def _view(manifest: Manifest) -> tuple[str, str]:
    """A tenant, and whose view of it a snapshot is; nobody's own for a whole tenant's."""
    return manifest.tenant.id, manifest.identity if manifest.scope is Scope.IDENTITY else ""


def _notes(manifest: Manifest) -> Iterator[Note]:
    for note in (*manifest.unreadable, *manifest.missing, *manifest.vanished):
        if note.kind is Kind.AUTOMATION:
            yield note


def _ids_named(snapshot: Snapshot, name: str) -> Iterator[str]:
    """Ids of the listed automations of that name. Only rows in which it may stand are taken apart."""
    text = json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for row in snapshot.rows(Kind.AUTOMATION):
        # A backslash may spell any letter.
        if text in row.raw or b"\\" in row.raw:
            value = parse(row.raw)
            if isinstance(value, Mapping) and value.get("name") == name:
                yield row.id


def _value(snapshot: Snapshot, ident: str) -> Mapping[str, Any]:
    value = parse(snapshot.detail(Kind.AUTOMATION, ident).raw)
    if not isinstance(value, Mapping):
        raise CorruptError(f"automation {ident} is no object")
    return value


def _entity(snapshot: Snapshot, ident: str, value: Mapping[str, Any]) -> Entity:
    """Its own document says more than its row, which stands in for what it lacks."""
    if value.get("ownerId"):
        return entity(Kind.AUTOMATION, value)
    rows = (parse(row.raw) for row in snapshot.rows(Kind.AUTOMATION) if row.id == ident)
    return entity(Kind.AUTOMATION, {**next(rows, {}), **value})


def _names(snapshot: Snapshot, value: Mapping[str, Any]) -> Inventory:
    """The objects that a document refers to, as far as the snapshot lists them."""
    wanted: Mapping[Kind, Collection[object]] = {
        Kind.USER: {value.get("ownerId")},
        Kind.SPACE: {value.get("spaceId")},
        Kind.CONNECTION: {use.value for use in connections_used(value)},
        Kind.CONNECTOR: {use.value for use in connectors_used(value)},
        Kind.AUTOMATION: {use.value for use in automations_called(value)},
    }
    found = []
    for kind, idents in wanted.items():
        lower = {ident.lower() for ident in idents if isinstance(ident, str) and ident}
        if lower:
            found += [entity(kind, parse(row.raw)) for row in snapshot.rows(kind) if row.id.lower() in lower]
    return Inventory(tenant=snapshot.manifest.tenant, entities=tuple(found))
