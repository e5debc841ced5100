"""A damaged vault brought back to a state in which everything it says is true, with all in it that is whole.

What is whole in damaged packs is written anew, heads that are lost are made from manifests, a manifest that is lost
from what its packs hold. A snapshot that lost something says so from then on. Nothing that a snapshot needs is deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from attrs import define, evolve, field, frozen

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import WrongKeyError
from qlikmigrate.kernel.event import Event, Sink, discard
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Note
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.description import repair_config
from qlikmigrate.vault.form import (
    DAMAGE_CODES,
    LastGood,
    Manifested,
    needs_of,
    write_manifest,
)
from qlikmigrate.vault.lock import Lock
from qlikmigrate.vault.loss import LOST, Losses
from qlikmigrate.vault.name import Mark, Ref, SnapshotName, Tombstone
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.rebuild import Rebuilder
from qlikmigrate.vault.rival import is_misled, strangers
from qlikmigrate.vault.salvage import Salvage
from qlikmigrate.vault.sealing import Opening, Sealing
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.store import ImmutableError, ObjectExistsError, Store
from qlikmigrate.vault.stream import PackStream
from qlikmigrate.vault.vault import Vault
from qlikmigrate.vault.verification import damaged_records, verify_packs
from qlikmigrate.vault.whereabouts import Whereabouts

_ALL_LOST = 1_000_000
# What the tombstone of a snapshot says that was not let go, but lost.
_BURIED = b"lost\n"


@frozen(kw_only=True)
class Repaired:
    """What was done. `snapshots`: ids of those that have a new head; `lost`: what could not be saved, as notes by
    snapshot; `saved`: pieces that lie elsewhere now; `packs`: damaged ones, set aside; `strangers`: packs that no
    snapshot was made with, under the numbers of others, which are gone; `records`: damaged ones, which tell nothing any
    more and are gone."""

    heads: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    lost: Mapping[str, tuple[Note, ...]] = field(factory=dict)
    saved: int = 0
    packs: tuple[int, ...] = ()
    broken: int = 0
    strangers: tuple[str, ...] = ()
    records: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything had to be repaired."""
        aside = self.packs or self.broken or self.strangers or self.records
        return bool(self.heads or self.snapshots or self.lost or aside)


def repair(vault: Vault, lock: Lock, *, sink: Sink = discard) -> Repaired:
    """Repair everything but `vault.json`. The lock is held.

    Raises:
        WrongKeyError: the vault is encrypted and cannot be read here.
        UsageError: it is encrypted and nobody said for whom to encrypt.
        LockedError: the lock was lost; run it again.
    """
    vault.require_key()
    vault.require_recipient()
    vault.refresh()

    def told(event: Event) -> None:
        # To read a large vault takes longer than a lease.
        lock.keep()
        sink(event)

    checked = verify_packs(vault, vault.shelf.packs.keys(), sink=told)
    return _Repair(vault, lock, frozenset(vault.shelf.packs) - checked.sound, sink).run()


def open_for_repair(
    store: Store, *, sealing: Sealing | None = None, opening: Opening | None = None, clock: Clock | None = None
) -> tuple[Vault, bool]:
    """A vault whose description may be lost, and whether it was."""
    written = repair_config(store)
    return Vault.open(store, sealing=sealing, opening=opening, clock=clock), written


@frozen(kw_only=True)
class _Case:
    """A snapshot as a repair finds it: by its head, or where only a manifest is left, by that. `at`: when it ended."""

    at: datetime
    id: str
    info: SnapshotInfo | None = None
    manifest: Ref | None = None
    generation: int


@frozen(kw_only=True)
class _Made:
    """A snapshot that gets a new head once all packs are stored. `found`: its manifest, without what it speaks of."""

    found: Manifested
    place: Ref
    packs: frozenset[int]
    needs: frozenset[str]
    partial: bool
    case: _Case


@define
class _Repair:
    """One repair. `damaged`: packs that are not as they were written."""

    vault: Vault
    lock: Lock
    damaged: frozenset[int]
    sink: Sink
    bad: frozenset[int] = frozenset()
    losses: Losses = field(factory=Losses)
    manifests: Whereabouts = field(init=False)
    rebuilder: Rebuilder = field(init=False)
    salvage: Salvage = field(init=False)
    # Tenant, kind and id → the last snapshot so far that holds the object.
    _holders: dict[tuple[str, Kind, str], str] = field(factory=dict)

    def run(self) -> Repaired:
        vault = self.vault
        back = self._exhume()
        catalog = vault.catalog
        missing = frozenset[int]().union(*(one.packs for one in catalog.snapshots)) - vault.shelf.packs.keys()
        self._make_readable()
        self.bad = self.damaged | missing
        self.manifests = Whereabouts(vault.shelf)
        self.rebuilder = Rebuilder(vault.shelf, vault.id, (*catalog.snapshots, *catalog.older))
        stream = PackStream(vault.store, vault.id, vault.next_sequence(), self.lock, vault.sealing)
        self.salvage = Salvage(vault.shelf, stream, self.bad)
        headless = tuple(self._headless())
        cases = [
            _Case(at=one.taken_at, id=one.id, info=one, generation=one.name.generation + 1) for one in self._live()
        ]
        made = [
            one
            for case in sorted((*cases, *headless), key=lambda case: (case.at, case.id))
            if (one := self._mend(case))
        ]
        stream.flush()
        vault.shelf.refresh()
        for one in made:
            self.lock.check()
            vault.publish(
                one.found,
                one.place,
                one.packs,
                needs=one.needs,
                partial=one.partial,
                generation=one.case.generation,
            )
        aside, records = self._clear()
        # Where a head is broken nobody knows what its snapshot was made with.
        gone = () if catalog.broken else self._remove_strangers()
        vault.refresh()
        if problem := self.losses.of_run_data():
            self.sink(problem)
        return Repaired(
            heads=(*back, *(one.id for one in headless)),
            snapshots=tuple(one.found.id for one in made if one.case.info),
            lost=self.losses.notes,
            saved=self.salvage.saved,
            packs=aside,
            broken=len(catalog.broken),
            strangers=gone,
            records=records,
        )

    def _make_readable(self) -> None:
        """Make readable what is whole in damaged packs.

        Raises:
            WrongKeyError: the key does not open what is whole: what it cannot open must not be taken for lost.
        """
        vault = self.vault
        saved = [one for one in sorted(self.damaged) if vault.shelf.salvage(one)]
        if not vault.encrypted:
            return
        sound = vault.shelf.packs.keys() - self.damaged
        for sequence in sorted(sound):
            with contextlib.suppress(PieceError):
                vault.shelf.pack(sequence)
        if self.damaged and not saved and not sound:
            raise WrongKeyError(
                f"the key given opens no pack of {vault.store.location}",
                hint="it is the wrong one, or nothing that could be saved is left",
                code="wrong-key",
            )

    def _live(self) -> Sequence[SnapshotInfo]:
        """The snapshots to look at: none where all packs are whole, and none lost anything before.

        What lies in other packs than those that a snapshot was made with must not be taken for its own.
        """
        names = self.vault.shelf.names
        live = [one for one in self.vault.catalog.snapshots if not is_misled(one, names)]
        return live if self.bad or any(self._fuller(one) for one in live) else ()

    def _mend(self, case: _Case) -> _Made | None:
        """What becomes of one snapshot; None where it stays as it is, or nothing is left of it."""
        info = case.info
        fuller = self._fuller(info) if info else None
        found, place = self._found(case, fuller)
        if found is None:
            if info is not None:
                self._bury(info.id, info.manifest.pack)
            return None
        self.rebuilder.remember(found, whole=found.head.complete or info is None or not info.complete)
        made = None
        if info is None or fuller or info.packs & self.bad or self.losses.hit(found):
            needs = frozenset((fuller or info).needs if info else ())
            partial = info.partial if info else found.head.selection is not None
            found, made = self._saved(found, place, case, needs, partial=partial)
        for doc in found.documents:
            self._holders[found.tenant, doc.kind, doc.id.lower()] = found.id
        return made

    def _fuller(self, info: SnapshotInfo) -> SnapshotInfo | None:
        """An older head of a snapshot that has lost something since, where all that it speaks of is there again."""
        sound = self.vault.shelf.packs.keys() - self.damaged
        older = [one for one in self.vault.catalog.older if one.id == info.id and one.packs <= sound]
        losses = self._losses(info) if older else 0
        fuller = [one for one in older if self._losses(one) < losses]
        return max(fuller, key=lambda one: one.name.generation, default=None)

    def _losses(self, info: SnapshotInfo) -> int:
        """How often a snapshot has lost something, as the manifest says that a head speaks of."""
        found = self.manifests.read(info.manifest, info.id)
        return sum(one.code in DAMAGE_CODES for one in found.head.problems) if found else _ALL_LOST

    def _bury(self, ident: str, pack: int) -> None:
        """Nothing of a snapshot is left: it gets a tombstone, so that nobody counts on it."""
        self.losses.whole(ident)
        self.lock.check()
        with contextlib.suppress(ObjectExistsError):
            self.vault.store.create(str(Tombstone(ident, pack, self.vault.clock.now())), _BURIED)

    def _exhume(self) -> tuple[str, ...]:
        """Snapshots that a repair gave up, and of which all is there again, are live again."""
        vault, store = self.vault, self.vault.store
        sound = vault.shelf.packs.keys() - self.damaged
        back = []
        for info in vault.catalog.gone:
            stones = [str(one) for one in vault.catalog.tombstones if one.id == info.id]
            if info.packs <= sound and all(store.read(one) == _BURIED for one in stones):
                for one in stones:
                    self.lock.check()
                    store.delete(one)
                back.append(info.id)
        vault.refresh()
        return tuple(back)

    # Manifests

    def _found(self, case: _Case, fuller: SnapshotInfo | None) -> tuple[Manifested | None, Ref | None]:
        """A manifest and where it lies: where a head says, or a copy from another writing, or one made again."""
        info = case.info
        if info is None:
            assert case.manifest is not None
            return self.manifests.read(case.manifest, case.id), case.manifest
        places = [fuller.manifest] if fuller else []
        places += [info.manifest, *reversed(self.manifests.places.get(info.id, ()) if info.packs & self.bad else ())]
        for place in places:
            found = self.manifests.read(place, info.id)
            if found is not None:
                return found, place
        heads = [one for one in (info, *self.vault.catalog.older) if one.id == info.id]
        return self.rebuilder.rebuild(min(heads, key=lambda one: one.name.generation)), None

    def _headless(self) -> Iterator[_Case]:
        """Manifests of snapshots that have no whole head, and were not removed."""
        catalog = self.vault.catalog
        broken = {one.id: one for one in catalog.broken}
        told = catalog.told
        for ident, places in self.manifests.places.items():
            if not ident or ident in told:
                continue
            if ident not in broken and all(one.pack in catalog.marked for one in places):
                continue
            names = [SnapshotName.parse(one.name) for one in catalog.broken if one.id == ident]
            # Not the first writing: what lies around it may be others'.
            generation = max((name.generation for name in names if name), default=0) + 1
            for place in reversed(places):
                found = self.manifests.read(place, ident)
                if found is not None:
                    yield _Case(at=found.capture.finished_at, id=ident, manifest=place, generation=generation)
                    break
            else:
                self._bury(ident, places[-1].pack)

    # Pieces

    def _saved(
        self, found: Manifested, at: Ref | None, case: _Case, needs: frozenset[str], *, partial: bool
    ) -> tuple[Manifested, _Made]:
        """The manifest, which lies `at`, with everything in it that can be had, and the head to come."""
        place = self.salvage.place
        notes: list[Note] = []
        documents = []
        for doc in found.documents:
            ref = place(doc.ref)
            if ref is None:
                notes.append(Note(kind=doc.kind, id=doc.id, reason=LOST))
                continue
            run = place(doc.run[0]) if doc.run else None
            if doc.run and not run:
                self.losses.run_data(found.id, doc.kind, doc.id)
            documents.append(evolve(doc, ref=ref, run=(run, doc.run[1]) if run and doc.run else None))
        rows = []
        for line in found.rows:
            ref = place(line.ref)
            if ref is None:
                notes.append(Note(kind=line.kind, id=line.first, reason=f"list rows from this one on: {LOST}"))
                continue
            run = place(line.run) if line.run else None
            if line.run and not run:
                self.losses.run_data(found.id, line.kind, line.first)
            rows.append(evolve(line, ref=ref, run=run))
        head = found.head
        if notes:
            captured = sum(one.kind is Kind.AUTOMATION for one in documents)
            head = self.losses.add(found.id, head, notes, captured=captured)
        last_good = self._last_good(found, notes)
        made = evolve(
            found,
            head=head,
            dictionaries=tuple(ref for one in found.dictionaries if (ref := place(one))),
            documents=tuple(documents),
            rows=tuple(rows),
            last_good=last_good,
        )
        if at is None or made != found or place(at) != at:
            at = self.salvage.write(What.MANIFEST, "", found.id, write_manifest(made))
        return made, _Made(
            found=evolve(made, documents=(), rows=()),
            place=at,
            packs=self.salvage.packs_of((at, *made.refs())),
            needs=needs | set(needs_of(last_good)),
            partial=partial,
            case=case,
        )

    def _last_good(self, found: Manifested, notes: Sequence[Note]) -> tuple[LastGood, ...]:
        """Where the last good version is of what could not be read, and of what is lost now."""
        # An object has several lines where nobody could tell which of some snapshots holds it.
        lines = [one for one in found.last_good if not self.losses.has(one)]
        told = {(one.kind, one.id) for one in lines}
        wanted = {(one.kind, one.id) for one in found.last_good} - told
        wanted |= {(note.kind, note.id) for note in notes if note.reason == LOST}
        for kind, ident in wanted:
            holder = self._holders.get((found.tenant, kind, ident.lower()))
            if holder is not None:
                lines.append(LastGood(kind=kind, id=ident, snapshot=holder))
        return tuple(sorted(lines, key=lambda one: (one.kind, one.id, one.snapshot)))

    # The end

    def _clear(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Heads and records that are none go; damaged packs are marked, so that nothing builds on them any more."""
        vault = self.vault
        records = damaged_records(vault.store)
        for name in records:
            self.lock.check()
            with contextlib.suppress(ImmutableError):
                vault.store.delete(name)
        for broken in vault.catalog.broken:
            self.lock.check()
            with contextlib.suppress(ImmutableError):
                vault.store.delete(broken.name)
        aside = sorted(self.damaged - vault.catalog.marked)
        for sequence in aside:
            self.lock.check()
            with contextlib.suppress(ObjectExistsError):
                vault.store.create(str(Mark(sequence, vault.clock.now())), b"")
        return tuple(aside), tuple(records)

    def _remove_strangers(self) -> tuple[str, ...]:
        """Packs go that bear the numbers of others, where every snapshot that needs the number was made with those."""
        vault = self.vault
        vault.refresh()
        gone = []
        for one in strangers(vault.catalog.heads, vault.shelf.names, vault.shelf.rivals):
            self.lock.check()
            with contextlib.suppress(ImmutableError):
                vault.store.delete(str(one))
                gone.append(str(one))
        return tuple(gone)
