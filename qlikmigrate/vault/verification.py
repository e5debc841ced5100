"""Whether a vault is as it was written: by its names, by the hash of every stored byte, or piece by piece.

Damage is told by the object that has it, and by the snapshots and the automations that it hits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum

from attrs import define, field, frozen

from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.event import Progress, Sink, discard
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import RowsLine
from qlikmigrate.vault.name import (
    CHECKS,
    DRILLS,
    MOVES,
    PACKS,
    SNAPSHOTS,
    CheckName,
    DrillName,
    MovesName,
    PackName,
    Ref,
    SnapshotName,
    sha256,
)
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.rival import is_made_with
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.snapshot import VaultSnapshot
from qlikmigrate.vault.store import ObjectMissingError, Store
from qlikmigrate.vault.vault import Vault


class Level(IntEnum):
    """How deep a verification looks. `CONTENT` needs an identity where the vault is encrypted."""

    STRUCTURE = 1
    HASH = 2
    CONTENT = 3


@frozen(kw_only=True)
class VaultDamage:
    """Something that is not as it was written. `object`: where; `snapshots`: ids of those that it hits.

    `kind`, `id`, `name`: the object of the tenant that it hits; None and empty where it hits none, or nobody can tell.
    """

    object: str
    message: str
    snapshots: tuple[str, ...] = ()
    kind: Kind | None = None
    id: str = ""
    name: str = ""


@frozen(kw_only=True)
class VaultVerification:
    """What was found. `packs`, `pieces`, `bytes`: looked at; `sound`: the packs that are as they were written."""

    level: Level
    damages: tuple[VaultDamage, ...] = ()
    snapshots: int = 0
    packs: int = 0
    packs_in_all: int = 0
    pieces: int = 0
    stored_bytes: int = 0
    sound: frozenset[int] = field(default=frozenset(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages

    @property
    def hit(self) -> frozenset[str]:
        """The snapshots that damage hits."""
        return frozenset(one for damage in self.damages for one in damage.snapshots)


@frozen(kw_only=True)
class Share:
    """A part of the packs: each pack belongs to one of `of` parts, so that all parts together are the whole vault."""

    number: int
    of: int

    @classmethod
    def of_day(cls, day: datetime, of: int) -> Share:
        """The part whose turn it is on a day."""
        return cls(number=day.toordinal() % of, of=of)

    def has(self, name: PackName) -> bool:
        """Whether a pack is in this part."""
        return int(name.sha256[:8], 16) % self.of == self.number


def verify_vault(
    vault: Vault, level: Level = Level.CONTENT, *, share: Share | None = None, sink: Sink = discard
) -> VaultVerification:
    """Check a vault. Damage is in the result, not raised.

    Raises:
        WrongKeyError: content was asked for, and the vault is encrypted for others.
    """
    if level is Level.CONTENT:
        vault.require_key(hint="; `--level hash` needs none")
    return _Check(vault, level, share, sink).run()


def verify_packs(vault: Vault, packs: Collection[int], *, sink: Sink = discard) -> VaultVerification:
    """Whether the stored bytes of some packs are as they were written."""
    check = _Check(vault, Level.HASH, None, sink)
    check.check_hashes(packs)
    return VaultVerification(
        level=Level.HASH,
        damages=tuple(
            VaultDamage(object=check.object_of(one), message=message) for one, message in sorted(check.bad.items())
        ),
        packs=len(packs),
        packs_in_all=len(vault.shelf.packs),
        stored_bytes=check.stored_bytes,
        sound=frozenset(packs) - check.bad.keys(),
    )


def damaged_records(store: Store) -> list[str]:
    """Evidence of drills, records of verifications and lists of moves that are not as they were written, by name."""
    found = []
    for folder, parse_name in ((DRILLS, DrillName.parse), (CHECKS, CheckName.parse), (MOVES, MovesName.parse)):
        for entry in store.entries(folder):
            name = parse_name(entry.name)
            try:
                if name is None or sha256(store.read(entry.name)) != name.sha256:
                    found.append(entry.name)
            except ObjectMissingError:
                continue
    return found


@define
class _Check:
    """One verification."""

    vault: Vault
    level: Level
    share: Share | None
    sink: Sink
    damages: list[VaultDamage] = field(factory=list)
    bad: dict[int, str] = field(factory=dict)
    pieces: int = 0
    stored_bytes: int = 0
    _names: dict[tuple[Kind, str], str] = field(factory=dict)

    def run(self) -> VaultVerification:
        """The outcome."""
        vault = self.vault
        vault.refresh()
        self._check_names()
        live = vault.catalog.snapshots
        for broken in vault.catalog.broken:
            self.damages.append(VaultDamage(object=broken.name, message=broken.message, snapshots=(broken.id,)))
        if vault.readable:
            self._check_heads()
        packs = vault.shelf.packs
        chosen = {one for one, (name, _) in packs.items() if self.share is None or self.share.has(name)}
        if self.level >= Level.HASH:
            self.check_hashes(chosen)
        self._check_presence(live)
        needed = frozenset[int]().union(*(one.packs for one in live))
        # A damaged pack that a repair has set aside, and nobody needs, is none any more.
        for sequence in (self.bad.keys() & vault.catalog.marked) - needed:
            del self.bad[sequence]
        if vault.readable and (self.bad or self.level is Level.CONTENT):
            self._check_pieces(live, chosen if self.level is Level.CONTENT else set())
        else:
            self._tell_packs(live)
        return VaultVerification(
            level=self.level,
            damages=tuple(dict.fromkeys(self.damages)),
            snapshots=len(live),
            packs=len(chosen),
            packs_in_all=len(packs),
            pieces=self.pieces,
            stored_bytes=self.stored_bytes,
            sound=frozenset(chosen - self.bad.keys()) if self.level >= Level.HASH else frozenset(),
        )

    # Names and hashes

    def _check_names(self) -> None:
        """Everything that stands in the folders of a vault is of a vault."""
        store, shelf = self.vault.store, self.vault.shelf
        for entry in store.entries(PACKS):
            if PackName.parse(entry.name) is None:
                self.damages.append(VaultDamage(object=entry.name, message="is no name of a pack"))
        for number, rivals in shelf.rivals.items():
            told = f"has the number of {shelf.names[number]}"
            self.damages += [VaultDamage(object=str(one), message=told) for one in rivals]
        for entry in store.entries(SNAPSHOTS):
            if SnapshotName.parse(entry.name) is None:
                self.damages.append(VaultDamage(object=entry.name, message="is no name of a snapshot"))
        if self.level >= Level.HASH:
            self._check_records()

    def _check_records(self) -> None:
        """Evidence of drills, records of verifications, lists of moves."""
        for name in damaged_records(self.vault.store):
            self.damages.append(VaultDamage(object=name, message="its hash differs"))

    def _check_heads(self) -> None:
        """Each manifest in a pack has a head that speaks of it, or a tombstone."""
        catalog = self.vault.catalog
        told = catalog.told | {one.id for one in catalog.broken}
        for sequence in self.vault.shelf.packs:
            try:
                pieces = self.vault.shelf.pack(sequence).pieces
            except PieceError as error:
                self.bad[sequence] = str(error)
                continue
            for piece in pieces:
                if piece.what is What.MANIFEST and piece.id and piece.id not in told:
                    self.damages.append(
                        VaultDamage(
                            object=f"{SNAPSHOTS}/…-{piece.id}",
                            message="the head of a snapshot is missing",
                            snapshots=(piece.id,),
                        )
                    )

    def check_hashes(self, chosen: Collection[int]) -> None:
        """Hash every stored byte of some packs."""
        total = len(chosen)
        for done, sequence in enumerate(sorted(chosen), 1):
            try:
                self.stored_bytes += len(self.vault.shelf.stored(sequence))
            except PieceError as error:
                self.bad[sequence] = str(error)
            self.sink(Progress(phase="check packs", done=done, total=total))

    def _check_presence(self, live: Sequence[SnapshotInfo]) -> None:
        """The packs that heads speak of are there, under the names that they had."""
        names = self.vault.shelf.names
        for info in live:
            missing = info.packs - names.keys()
            for sequence in missing:
                self.bad.setdefault(sequence, "it is missing")
            if not missing and not is_made_with(info, names):
                self.damages.append(
                    VaultDamage(
                        object=str(info.name),
                        message="a pack that it needs was replaced by another",
                        snapshots=(info.id,),
                    )
                )

    def object_of(self, sequence: int) -> str:
        """The name of a pack, as far as it is known."""
        found = self.vault.shelf.packs.get(sequence)
        return str(found[0]) if found else f"{PACKS}/{sequence:08x}"

    def _tell_packs(self, live: Sequence[SnapshotInfo]) -> None:
        """Damaged packs and the snapshots that need them; what they hold cannot be told."""
        for sequence, message in sorted(self.bad.items()):
            hit = tuple(info.id for info in live if sequence in info.packs)
            self.damages.append(VaultDamage(object=self.object_of(sequence), message=message, snapshots=hit))

    # Pieces

    def _check_pieces(self, live: Sequence[SnapshotInfo], chosen: Collection[int]) -> None:
        """Every piece of the snapshots that lies in `chosen` packs or builds on a damaged one."""
        told: set[int] = set()
        users: dict[Ref, list[tuple[str, Kind | None, str]]] = {}
        bad = self.bad.keys()
        for info in live:
            if not chosen and not info.packs & bad:
                continue
            try:
                snapshot = VaultSnapshot(info, self.vault.shelf)
            except CorruptError as error:
                self.damages.append(
                    VaultDamage(object=self.object_of(info.manifest.pack), message=error.message, snapshots=(info.id,))
                )
                told.add(info.manifest.pack)
                continue
            for ref, kind, ident in _uses(snapshot):
                users.setdefault(ref, []).append((info.id, kind, ident))
        broken = self._broken(users, chosen)
        self._name_objects({(kind, ident) for ref in broken for _, kind, ident in users[ref] if kind and ident})
        for ref, why in broken.items():
            told |= {ref.pack, why.pack}
            hit: dict[tuple[Kind | None, str], list[str]] = {}
            for snapshot_id, kind, ident in users[ref]:
                hit.setdefault((kind, ident), []).append(snapshot_id)
            for (kind, ident), ids in hit.items():
                self.damages.append(
                    VaultDamage(
                        object=self.object_of(why.pack),
                        message=str(why),
                        snapshots=tuple(ids),
                        kind=kind,
                        id=ident,
                        name=self._names.get((kind, ident), "") if kind else "",
                    )
                )
        for sequence, message in sorted(self.bad.items()):
            if sequence not in told:
                hit_ids = tuple(info.id for info in live if sequence in info.packs)
                self.damages.append(VaultDamage(object=self.object_of(sequence), message=message, snapshots=hit_ids))

    def _broken(
        self, users: Mapping[Ref, Sequence[tuple[str, Kind | None, str]]], chosen: Collection[int]
    ) -> dict[Ref, PieceError]:
        shelf = self.vault.shelf
        broken: dict[Ref, PieceError] = {}
        # Versions of one object follow each other, so that each is undone from the one before it.
        order = sorted(users, key=lambda ref: (str(users[ref][0][1]), users[ref][0][2], ref))
        for done, ref in enumerate(order, 1):
            try:
                if (
                    chosen
                    and self.share is not None
                    and ref.pack not in chosen
                    and not shelf.reach([ref]) & self.bad.keys()
                ):
                    continue
                shelf.content(ref)
                self.pieces += 1
            except PieceError as error:
                broken[ref] = error
            self.sink(Progress(phase="check contents", done=done, total=len(order)))
        return broken

    def _name_objects(self, wanted: set[tuple[Kind, str]]) -> None:
        """The names of objects that damage hits, from list rows that are whole, the newest first."""
        seen: set[Ref] = set()
        for info in reversed(self.vault.catalog.snapshots):
            if not wanted:
                return
            try:
                snapshot = VaultSnapshot(info, self.vault.shelf)
            except CorruptError:
                continue
            for line in snapshot.manifested.rows:
                if line.ref not in seen:
                    seen.add(line.ref)
                    for key, name in _row_names(snapshot, line):
                        if key in wanted:
                            wanted.discard(key)
                            self._names[key] = name


def _row_names(snapshot: VaultSnapshot, line: RowsLine) -> Iterator[tuple[tuple[Kind, str], str]]:
    """What list rows that lie together call their objects; nothing where they are damaged."""
    try:
        rows = snapshot.rows_of(line)
    except CorruptError:
        return
    for row in rows:
        with contextlib.suppress(ValueError):
            value = parse(row.raw)
            name = value.get("name") if isinstance(value, dict) else None
            if isinstance(name, str):
                yield (row.kind, row.id), name


def _uses(snapshot: VaultSnapshot) -> Iterator[tuple[Ref, Kind | None, str]]:
    """Each piece of a snapshot, and the object that it belongs to."""
    found = snapshot.manifested
    for dictionary in found.dictionaries:
        yield dictionary, None, ""
    for doc in found.documents:
        yield doc.ref, doc.kind, doc.id
        if doc.run is not None:
            yield doc.run[0], doc.kind, doc.id
    for rows in found.rows:
        yield rows.ref, rows.kind, ""
        if rows.run is not None:
            yield rows.run, rows.kind, ""
