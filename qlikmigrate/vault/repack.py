"""A vault's live snapshots written anew into packs of their own: versions in order, each as what differs from the last.

Snapshots keep their ids; each gets a newer head. The old packs are marked and stay until somebody deletes them, so that
whoever reads at this moment finds what the old heads speak of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from qlikmigrate.archive.codec import DICTIONARY_MAX_DOCUMENTS, THOROUGH_LEVEL, Codec, apply_delta, train
from qlikmigrate.kernel.error import CorruptError, FailedError, UsageError
from qlikmigrate.kernel.event import Progress, Sink, discard
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import Manifested, write_manifest, write_moves
from qlikmigrate.vault.lock import Lock
from qlikmigrate.vault.name import Mark, MovesName, Ref, sha256
from qlikmigrate.vault.pack import Piece, What
from qlikmigrate.vault.press import Press, Pressed
from qlikmigrate.vault.rival import is_misled
from qlikmigrate.vault.shelf import MAX_CHAIN_BYTES, MAX_VERSIONS, PieceError, base_of
from qlikmigrate.vault.store import ObjectExistsError
from qlikmigrate.vault.stream import PackStream
from qlikmigrate.vault.vault import Vault


@frozen(kw_only=True)
class Repacked:
    """What was done: snapshots and pieces written anew, and bytes of packs before and after."""

    snapshots: int
    pieces: int
    before_bytes: int
    after_bytes: int


def repack(vault: Vault, lock: Lock, *, sink: Sink = discard) -> Repacked:
    """Write every live snapshot anew. The lock is held; the vault can be read.

    Raises:
        WrongKeyError: the vault is encrypted and cannot be read here.
        UsageError: as `check_repackable`.
        CorruptError: something is damaged; nothing was changed.
        LockedError: the lock was lost; what was written so far is in nobody's way.
    """
    check_repackable(vault)
    vault.refresh()
    return _Repack(vault, lock, sink).run()


def check_repackable(vault: Vault) -> None:
    """Refuse what cannot be written anew here.

    Raises:
        WrongKeyError: the vault is encrypted and cannot be read here.
        UsageError: it is encrypted and nobody said for whom to encrypt, or the store keeps what is deleted.
    """
    refuse_immutable(vault)
    vault.require_key()
    vault.require_recipient()


def refuse_immutable(vault: Vault) -> None:
    """Nothing can be pruned, and nothing is worth writing anew, where deleting frees nothing.

    Raises:
        UsageError: the store keeps what is deleted, or forbids it.
    """
    if vault.store.is_immutable():
        raise UsageError(
            f"{vault.store.location} keeps every version of every object, or forbids deleting: nothing would be freed",
            hint="let the bucket's own rules delete old versions, or keep the vault where objects can be deleted",
            code="immutable-store",
        )


@define
class _Version:
    """One piece and how it is written anew. `before`: the version that it may build on; `number`: its own."""

    old: Ref
    piece: Piece
    before: Ref | None = None
    number: int = 0


@define
class _Repack:
    vault: Vault
    lock: Lock
    sink: Sink
    new: dict[Ref, Ref] = field(factory=dict)

    def run(self) -> Repacked:
        vault = self.vault
        live = vault.catalog.snapshots
        shelf = vault.shelf
        names = shelf.names
        for info in live:
            if is_misled(info, names):
                told = f"snapshot {info.id} of {vault.store.location} was made with other packs than those there"
                raise CorruptError(told, hint="`verify` tells what is damaged")
        old_packs = {one: size for one, (_, size) in shelf.packs.items() if one not in vault.catalog.marked}
        stream = PackStream(vault.store, vault.id, vault.next_sequence(), self.lock, vault.sealing)
        try:
            chains = self._chains(live)
            dictionary = self._dictionary(live)
            places = () if dictionary is None or vault.encrypted else stream.two_dictionaries(dictionary)
            self._write(chains, dictionary, places[0] if places else None, stream)
            manifests = self._write_manifests(live, dictionary, places, stream)
            stream.flush()
            # One damaged byte takes all manifests that build on it, and after this nothing else tells what is whose.
            copies = self._write_manifests(live, dictionary, places, stream)
            stream.flush()
            shelf.refresh()
            self._publish(live, manifests, copies, places)
        except PieceError as error:
            raise shelf.corrupt(error) from None
        now = vault.clock.now()
        self.new |= dict(zip((info.manifest for info in live), manifests, strict=True))
        if vault.encrypted and self.new:
            data = write_moves({old: new for old, new in self.new.items() if old != new})
            vault.store.create(str(MovesName(now, sha256(data))), data)
        for sequence in sorted(old_packs):
            self.lock.check()
            try:
                vault.store.create(str(Mark(sequence, now)), b"")
            except ObjectExistsError:
                continue
        vault.refresh()
        return Repacked(
            snapshots=len(live),
            pieces=len(self.new),
            before_bytes=sum(old_packs.values()),
            after_bytes=stream.stored_bytes,
        )

    def _chains(self, live: Sequence[SnapshotInfo]) -> list[_Version]:
        """Every piece but manifests, the versions of one thing behind each other, in the order of time."""
        groups: dict[tuple[str, str, str], dict[Ref, Piece]] = {}
        shelf = self.vault.shelf

        def take(what: What, kind: Kind, name: str, ref: Ref) -> None:
            groups.setdefault((what.value, kind.value, name), {}).setdefault(ref, shelf.piece(ref))

        # One snapshot at a time is held: of years of nights there would be many lines.
        for info in live:
            found = self.vault.snapshot(info).manifested
            for doc in found.documents:
                take(What.DOCUMENT, doc.kind, doc.id, doc.ref)
            for rows in found.rows:
                take(What.ROWS, rows.kind, rows.first, rows.ref)
                if rows.run is not None:
                    take(What.RUN, rows.kind, rows.first, rows.run)
            for number, ref in enumerate(dict.fromkeys(one.run[0] for one in found.documents if one.run)):
                take(What.RUN, Kind.TENANT, f"{number}", ref)
        versions: list[_Version] = []
        seen: set[Ref] = set()
        for key in sorted(groups):
            chain: list[_Version] = []
            for ref, piece in groups[key].items():
                if ref not in seen:
                    seen.add(ref)
                    chain.append(_numbered(ref, piece, chain))
            versions += chain
        return versions

    def _dictionary(self, live: Sequence[SnapshotInfo]) -> bytes | None:
        """Trained on the newest snapshot: what is read most."""
        if not live:
            return None
        shelf = self.vault.shelf
        documents = self.vault.snapshot(live[-1]).manifested.documents
        refs = [doc.ref for doc in documents[:DICTIONARY_MAX_DOCUMENTS]]
        return train(map(shelf.content, refs), [shelf.piece(ref).size for ref in refs])

    def _write(
        self, versions: Sequence[_Version], dictionary: bytes | None, place: Ref | None, stream: PackStream
    ) -> None:
        shelf = self.vault.shelf

        def works() -> Iterator[tuple[_Version, bytes, bytes | None]]:
            for version in versions:
                base = None if version.before is None else shelf.content(version.before)
                yield version, shelf.content(version.old), base

        pressed = Press(dictionary, level=THOROUGH_LEVEL).run(
            works(), lambda work, _: work[1], base=lambda work: work[2]
        )
        again = Codec(dictionary)
        for done, ((version, text, base), one) in enumerate(pressed, 1):
            self._check(one, text, base, again)
            self.new[version.old] = self._add(stream, version, one, text, dictionary, place, self.new)
            self.sink(Progress(phase="repack", done=done, total=len(versions)))

    def _add(
        self,
        stream: PackStream,
        version: _Version,
        pressed: Pressed,
        text: bytes,
        dictionary: bytes | None,
        place: Ref | None,
        placed: Mapping[Ref, Ref],
    ) -> Ref:
        """Put a version into a pack. `placed`: where those went that it may build on."""
        assert pressed.frame is not None
        frame, whole = pressed.frame, pressed.whole
        base = None if whole or version.before is None else placed[version.before]
        if base is not None and self.vault.encrypted and base.pack != stream.sequence:
            # A frame of an encrypted vault builds on nothing outside its pack.
            frame, whole, base = Codec(dictionary, level=THOROUGH_LEVEL).compress(text), True, None
        if whole and dictionary is not None:
            base = stream.dictionary(dictionary) if self.vault.encrypted else place
        piece = version.piece
        return stream.add(
            piece.what,
            frame,
            size=pressed.size,
            digest=pressed.sha256,
            kind=piece.kind,
            ident=piece.id,
            base=base,
            version=0 if whole else version.number,
        )

    @staticmethod
    def _check(pressed: Pressed, text: bytes, base: bytes | None, codec: Codec) -> None:
        """What goes into a pack comes out of it again: the old one will be deleted."""
        assert pressed.frame is not None
        if pressed.whole:
            again = codec.decompress(pressed.frame, size_bytes=len(text))
        else:
            assert base is not None
            again = apply_delta(pressed.frame, base, size_bytes=len(text))
        if again != text:
            raise FailedError("a piece does not come out of its frame as it went in; nothing was changed")

    def _write_manifests(
        self,
        live: Sequence[SnapshotInfo],
        dictionary: bytes | None,
        places: tuple[Ref, ...],
        stream: PackStream,
    ) -> list[Ref]:
        """Manifests that speak of the new places, each built on one before it of the same tenant."""
        chains: dict[str, _Chain] = {}
        written: list[Ref] = []
        press = Press(dictionary)
        for info in live:
            text = write_manifest(moved(self.vault.snapshot(info).manifested, self.new, places))
            chain = chains.setdefault(info.tenant, _Chain())
            piece = evolve(self.vault.shelf.piece(info.manifest), size=len(text))
            version = _numbered(info.manifest, piece, chain.versions)
            base = chain.texts[version.before] if version.before else None
            ((_, pressed),) = press.run([(text, base)], lambda work, _: work[0], base=lambda work: work[1])
            self._check(pressed, text, base, Codec(dictionary))
            ref = self._add(stream, version, pressed, text, dictionary, places[0] if places else None, chain.placed)
            chain.keep(version, text, ref)
            written.append(ref)
        return written

    def _publish(
        self, live: Sequence[SnapshotInfo], manifests: Sequence[Ref], copies: Sequence[Ref], places: tuple[Ref, ...]
    ) -> None:
        vault = self.vault
        for info, manifest, copy in zip(live, manifests, copies, strict=True):
            found = vault.snapshot(info).manifested
            refs = [manifest, copy, *places, *(self.new[ref] for ref in found.refs() if ref in self.new)]
            packs = frozenset(ref.pack for ref in refs) if vault.encrypted else vault.shelf.reach(refs)
            generation = info.name.generation + 1
            self.lock.check()
            vault.publish(found, manifest, packs, needs=info.needs, partial=info.partial, generation=generation)


@define
class _Chain:
    """The manifests of one tenant, in order. `placed`: old place → new; `texts`: of those that later ones build on."""

    versions: list[_Version] = field(factory=list)
    placed: dict[Ref, Ref] = field(factory=dict)
    texts: dict[Ref, bytes] = field(factory=dict)

    def keep(self, version: _Version, text: bytes, ref: Ref) -> None:
        """The next one was written."""
        number = len(self.versions) % MAX_VERSIONS
        root = len(self.versions) - number
        self.versions.append(version)
        self.placed[version.old] = ref
        self.texts[version.old] = text
        line = {number}
        while number:
            number = base_of(number)
            line.add(number)
        # All others have been built on for the last time.
        wanted = {self.versions[root + one].old for one in line}
        self.texts = {old: kept for old, kept in self.texts.items() if old in wanted}


def _numbered(ref: Ref, piece: Piece, chain: Sequence[_Version]) -> _Version:
    """The next version of a chain, with the one that it builds on."""
    number = len(chain) % MAX_VERSIONS
    if number == 0:
        return _Version(ref, piece)
    # Large ones build on what is soon read.
    root = len(chain) - number
    base = root + base_of(number)
    while base > root and (_depth(base - root) + 1) * piece.size > MAX_CHAIN_BYTES:
        base = root + base_of(base - root)
    if piece.size > MAX_CHAIN_BYTES:
        return _Version(ref, piece)
    return _Version(ref, piece, chain[base].old, number)


def _depth(number: int) -> int:
    """How many versions are read before one of that number."""
    depth = 0
    while number:
        number, depth = base_of(number), depth + 1
    return depth


def moved(one: Manifested, new: Mapping[Ref, Ref], dictionaries: tuple[Ref, ...]) -> Manifested:
    """A manifest whose pieces lie elsewhere."""
    return evolve(
        one,
        dictionaries=dictionaries,
        documents=tuple(
            evolve(doc, ref=new[doc.ref], run=(new[doc.run[0]], doc.run[1]) if doc.run else None)
            for doc in one.documents
        ),
        rows=tuple(evolve(rows, ref=new[rows.ref], run=new[rows.run] if rows.run else None) for rows in one.rows),
    )
