"""A damaged vault brought back to a state in which everything it says is true, with all in it that is whole.

What is whole in damaged packs is written anew, heads that are lost are made from manifests, a manifest that is lost
from what its packs hold. A snapshot that lost something says so from then on. Nothing that could be read is deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from qlikmigrate.archive.codec import Codec
from qlikmigrate.archive.layout import load
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import CorruptError, FailedError, WrongKeyError
from qlikmigrate.kernel.event import Event, Problem, Severity, Sink, discard
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest, Note
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import (
    Config,
    Header,
    Manifested,
    needs_of,
    pack_digest,
    read_manifest,
    shown_of,
    write_manifest,
)
from qlikmigrate.vault.lock import Lock
from qlikmigrate.vault.name import (
    CONFIG,
    PACKS,
    SNAPSHOTS,
    Mark,
    PackName,
    Ref,
    SnapshotName,
    Tombstone,
    sha256,
    write_ranges,
)
from qlikmigrate.vault.pack import What, vault_of
from qlikmigrate.vault.press import Press
from qlikmigrate.vault.rebuild import Rebuilder, pieces_of
from qlikmigrate.vault.sealing import Opening, Sealing
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.store import ImmutableError, ObjectExistsError, Store
from qlikmigrate.vault.stream import PackStream
from qlikmigrate.vault.vault import Vault, read_config, write_config
from qlikmigrate.vault.verification import VaultVerification, damaged_records, verify_packs

_SEALED = b"age-encryption.org/"
_LOST = "lost by damage to the vault"


@frozen(kw_only=True)
class Repaired:
    """What was done. `snapshots`: ids of those that have a new head; `lost`: what could not be saved, as notes by
    snapshot; `saved`: pieces written anew; `records`: damaged ones that tell nothing any more, and are gone."""

    config: bool = False
    heads: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    lost: Mapping[str, tuple[Note, ...]] = field(factory=dict)
    saved: int = 0
    packs: tuple[int, ...] = ()
    records: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything had to be repaired."""
        return bool(self.config or self.heads or self.snapshots or self.packs or self.records)


def repair_config(store: Store) -> bool:
    """Write `vault.json` again where it is lost; what it says follows from heads and packs. Whether that was needed.

    Raises:
        NotFoundError: there is no vault.
        CorruptError: it is of a newer format, or nothing is left that tells the vault's id.
    """
    try:
        read_config(store)
    except CorruptError as error:
        if error.code == "newer-format":
            raise
    else:
        return False
    ids: set[str] = set()
    encrypted = False
    for entry in store.entries(PACKS):
        if PackName.parse(entry.name) is None:
            continue
        start = store.read(entry.name, 0, 128)
        encrypted = encrypted or start.startswith(_SEALED)
        ids.add(vault_of(start))
    for entry in store.entries(SNAPSHOTS):
        name = SnapshotName.parse(entry.name)
        data = store.read(entry.name) if name else b""
        if name is not None and sha256(data) == name.sha256:
            ids.add(load(Header, data, strict=False).vault)
    ids.discard("")
    if len(ids) != 1:
        raise CorruptError(f"nothing is left in {store.location} that tells the id of the vault")
    store.delete(CONFIG)
    with contextlib.suppress(ObjectExistsError):
        store.create(CONFIG, write_config(Config(id=ids.pop(), encrypted=encrypted)))
    return True


def repair(vault: Vault, lock: Lock, *, sink: Sink = discard) -> Repaired:
    """Repair everything but `vault.json`. The lock is held.

    Raises:
        WrongKeyError: the vault is encrypted and cannot be read here.
        LockedError: the lock was lost; run it again.
    """
    if not vault.readable:
        raise WrongKeyError(
            f"the vault {vault.store.location} is encrypted", hint="--identity names a key that opens it", code="no-key"
        )
    if vault.encrypted and vault.sealing is None:
        raise WrongKeyError(f"the vault {vault.store.location} is encrypted", hint="--recipient says for whom")
    vault.refresh()

    def told(event: Event) -> None:
        # To read a large vault takes longer than a lease.
        lock.keep()
        sink(event)

    checked = verify_packs(vault, vault.shelf.packs.keys(), sink=told)
    return _Repair(vault, lock, sink, checked).run()


def open_for_repair(
    store: Store, *, sealing: Sealing | None = None, opening: Opening | None = None, clock: Clock | None = None
) -> tuple[Vault, bool]:
    """A vault whose description may be lost, and whether it was."""
    written = repair_config(store)
    return Vault.open(store, sealing=sealing, opening=opening, clock=clock), written


@define
class _Repair:
    vault: Vault
    lock: Lock
    sink: Sink
    checked: VaultVerification
    stream: PackStream = field(init=False)
    bad: frozenset[int] = frozenset()
    new: dict[Ref, Ref] = field(factory=dict)
    dead: set[Ref] = field(factory=set)
    lost: dict[str, tuple[Note, ...]] = field(factory=dict)
    heads: list[str] = field(factory=list)
    renewed: list[str] = field(factory=list)
    rebuilder: Rebuilder = field(init=False)
    _twins: dict[str, Ref] | None = None

    def run(self) -> Repaired:
        vault = self.vault
        shelf = vault.shelf
        here = frozenset(shelf.packs)
        missing = frozenset().union(*(one.packs for one in vault.catalog.snapshots)) - here
        damaged = here - self.checked.sound
        self._salvage(sorted(damaged))
        self.bad = damaged | missing
        self.rebuilder = Rebuilder(shelf, vault.id, (*vault.catalog.snapshots, *vault.catalog.older))
        self.stream = PackStream(vault.store, vault.id, vault.next_sequence(), self.lock, vault.sealing)
        todo: list[tuple[Manifested, SnapshotInfo | None, int]] = []
        for one in vault.catalog.snapshots:
            manifested = self._manifested(one) if self.bad else None
            if manifested is not None:
                self.rebuilder.remember(manifested, whole=manifested.head.complete or not one.complete)
            if one.packs & self.bad:
                if manifested is None:
                    self._bury(one)
                else:
                    todo.append((manifested, one, one.name.generation + 1))
        todo += [(found, None, generation) for found, generation in self._headless()]
        made = [(self._saved(found), info, generation) for found, info, generation in todo]
        self.stream.flush()
        vault.shelf.refresh()
        for (saved, place), info, generation in made:
            self._publish(saved, place, info, generation)
        records = self._clear(damaged)
        vault.refresh()
        return Repaired(
            heads=tuple(self.heads),
            snapshots=tuple(self.renewed),
            lost=self.lost,
            saved=len(self.new),
            packs=tuple(sorted(damaged)),
            records=records,
        )

    def _salvage(self, damaged: Sequence[int]) -> None:
        """Make readable what is whole in damaged packs.

        Raises:
            WrongKeyError: the key does not open what is whole: what it cannot open must not be taken for lost.
        """
        vault = self.vault
        saved = [one for one in damaged if vault.shelf.salvage(one)]
        if not vault.encrypted:
            return
        for sequence in sorted(self.checked.sound):
            with contextlib.suppress(PieceError):
                vault.shelf.pack(sequence)
        if damaged and not saved and not self.checked.sound:
            raise WrongKeyError(
                f"the key given opens no pack of {vault.store.location}",
                hint="it is the wrong one, or nothing that could be saved is left",
                code="wrong-key",
            )

    def _bury(self, info: SnapshotInfo) -> None:
        """Nothing of a snapshot is left: it gets a tombstone, so that nobody counts on it."""
        self.lost[info.id] = (Note(kind=Kind.TENANT, id="", reason=f"the whole snapshot is {_LOST}"),)
        self.lock.check()
        with contextlib.suppress(ObjectExistsError):
            self.vault.store.create(str(Tombstone(info.id, info.manifest.pack, self.vault.clock.now())), b"")

    # Manifests

    def _manifested(self, info: SnapshotInfo) -> Manifested | None:
        try:
            found = read_manifest(self.vault.shelf.content(info.manifest))
            if found.id == info.id:
                return found
        except ValueError:
            pass
        return self.rebuilder.rebuild(info)

    def _headless(self) -> Iterator[tuple[Manifested, int]]:
        """Manifests of snapshots that have no whole head, and were not removed."""
        catalog = self.vault.catalog
        broken = {one.id for one in catalog.broken}
        told = catalog.told
        generations: dict[str, int] = {}
        for one in catalog.broken:
            name = SnapshotName.parse(one.name)
            if name is not None:
                generations[one.id] = max(generations.get(one.id, 0), name.generation + 1)
        found: dict[str, Manifested] = {}
        for sequence in sorted(self.vault.shelf.packs):
            if sequence in catalog.marked and not broken:
                continue
            for number, piece in enumerate(pieces_of(self.vault.shelf, sequence)):
                if piece.what is not What.MANIFEST or piece.id in told:
                    continue
                with contextlib.suppress(ValueError):
                    one_found = read_manifest(self.vault.shelf.content(Ref(sequence, number)))
                    if one_found.id not in told:
                        found[one_found.id] = one_found
        for ident, one_found in found.items():
            self.heads.append(ident)
            yield one_found, generations.get(ident, 0)

    # Pieces

    def _saved(self, found: Manifested) -> tuple[Manifested, Ref]:
        """The manifest with everything in it that can be had, and its new place."""
        notes: list[Note] = []
        documents = []
        for doc in found.documents:
            ref = self._place(doc.ref)
            if ref is None:
                notes.append(Note(kind=doc.kind, id=doc.id, reason=_LOST))
                continue
            run = self._place(doc.run[0]) if doc.run else None
            documents.append(evolve(doc, ref=ref, run=(run, doc.run[1]) if run and doc.run else None))
        rows = []
        for line in found.rows:
            ref = self._place(line.ref)
            if ref is None:
                notes.append(Note(kind=line.kind, id=line.first, reason=f"list rows from this one on: {_LOST}"))
                continue
            rows.append(evolve(line, ref=ref, run=self._place(line.run) if line.run else None))
        dictionaries = tuple(ref for one in found.dictionaries if (ref := self._place(one)))
        head = found.head
        if notes:
            self.lost[found.id] = tuple(notes)
            head = _less(head, notes, sum(one.kind is Kind.AUTOMATION for one in documents))
        made = evolve(found, head=head, dictionaries=dictionaries, documents=tuple(documents), rows=tuple(rows))
        return made, self._write(What.MANIFEST, "", found.id, write_manifest(made))

    def _place(self, ref: Ref) -> Ref | None:
        """Where a piece is to be found from now on; None where it is lost."""
        if ref in self.new:
            return self.new[ref]
        if ref in self.dead:
            return None
        shelf = self.vault.shelf
        try:
            if not shelf.reach([ref]) & self.bad:
                return ref
            content = shelf.content(ref)
            piece = shelf.piece(ref)
        except PieceError:
            twin = self._twin(ref)
            if twin is None:
                self.dead.add(ref)
            else:
                self.new[ref] = twin
            return twin
        self.new[ref] = self._write(piece.what, piece.kind, piece.id, content)
        return self.new[ref]

    def _twin(self, ref: Ref) -> Ref | None:
        """The same content somewhere else."""
        shelf = self.vault.shelf
        try:
            wanted = shelf.piece(ref).sha256
        except PieceError:
            return None
        if self._twins is None:
            self._twins = {
                piece.sha256: Ref(sequence, number)
                for sequence in sorted(shelf.packs.keys() - self.bad)
                for number, piece in enumerate(pieces_of(self.vault.shelf, sequence))
            }
        found = self._twins.get(wanted)
        try:
            return found if found is not None and wanted and not shelf.reach([found]) & self.bad else None
        except PieceError:
            return None

    def _write(self, what: What, kind: str, ident: str, content: bytes) -> Ref:
        ((_, pressed),) = Press(None).run([content], _as_it_is)
        assert pressed.frame is not None
        return self.stream.add(what, pressed.frame, size=pressed.size, digest=pressed.sha256, kind=kind, ident=ident)

    # The end

    def _publish(self, found: Manifested, place: Ref, info: SnapshotInfo | None, generation: int) -> None:
        vault = self.vault
        refs = [place, *(doc.ref for doc in found.documents), *(doc.run[0] for doc in found.documents if doc.run)]
        refs += [line.ref for line in found.rows] + [line.run for line in found.rows if line.run]
        refs += found.dictionaries
        packs = vault.shelf.reach(refs)
        if packs - vault.shelf.packs.keys():
            raise FailedError("a pack is not there after it was stored")
        head = found.head
        self.lock.check()
        header = Header(
            vault=vault.id,
            id=found.id,
            tenant=found.tenant,
            started_at=found.capture.started_at,
            finished_at=found.capture.finished_at,
            complete=head.complete,
            partial=head.selection is not None,
            needs=info.needs if info else needs_of(found.last_good),
            packs=write_ranges(packs),
            packs_sha256=pack_digest([str(vault.shelf.packs[one][0]) for one in packs]),
            manifest=str(place),
            shown=None if vault.encrypted else shown_of(head),
        )
        vault.publish(header, generation=generation)
        if info is not None:
            self.renewed.append(found.id)

    def _clear(self, damaged: frozenset[int]) -> tuple[str, ...]:
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
        now = vault.clock.now()
        for sequence in sorted(damaged):
            self.lock.check()
            with contextlib.suppress(ObjectExistsError):
                vault.store.create(str(Mark(sequence, now)), b"")
        return tuple(records)


def _less(head: Manifest, notes: list[Note], captured: int) -> Manifest:
    """A head that says what its snapshot has lost."""
    counts = dict(head.counts)
    lost = tuple(one for one in notes if one.kind is Kind.AUTOMATION and one.reason == _LOST)
    if "automations" in counts:
        old = counts["automations"]
        counts["automations"] = evolve(old, captured=captured, missing=old.missing + len(lost))
    problem = Problem(
        code="lost-by-damage",
        severity=Severity.ERROR,
        message=f"damage to the vault took {len(notes)} of its objects",
        where=", ".join(one.id for one in notes[:50]),
    )
    return evolve(
        head, complete=False, counts=counts, missing=(*head.missing, *lost), problems=(*head.problems, problem)
    )


def _as_it_is(content: bytes, _: Codec) -> bytes:
    return content
