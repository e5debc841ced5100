"""Content by its place: frames read from packs, undone through the versions they build on, checked before given out."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from qlikmigrate.archive.codec import Codec, apply_delta
from qlikmigrate.kernel.error import CorruptError, WrongKeyError
from qlikmigrate.vault.block import Blocks
from qlikmigrate.vault.name import PACKS, PackName, Ref, sha256
from qlikmigrate.vault.pack import OpenPack, Piece, What, check_content, scan
from qlikmigrate.vault.sealing import Opening
from qlikmigrate.vault.store import ObjectMissingError, Store

MAX_VERSIONS = 512
"""After so many versions comes a whole one."""
MAX_DEPTH = 24
"""How many versions may have to be read before one. With steps of eight the digits of any number below 512 in base
eight add up to 21 at most."""
MAX_CHAIN_BYTES = 4 * 1024 * 1024
"""And how many bytes of them, about, so that a large document is read in milliseconds, too."""
_STEP = 8

Choice = Callable[[Mapping[int, Sequence[PackName]]], Mapping[int, PackName]]
"""All packs by number → which one is meant, for numbers that several have."""

_KEPT_BYTES = 4 * 1024 * 1024
_KEPT_PACK_BYTES = 64 * 1024 * 1024
_HINT = "`verify` tells what is damaged"


def base_of(version: int) -> int:
    """Which version a version builds on: the one before it; each eighth on the one eight before, and so on.

    So any of hundreds is read through few others, and one whole version is enough for all of them.
    """
    step = 1
    while version % (step * _STEP) == 0:
        step *= _STEP
    return version - step


class PieceError(ValueError):
    """A piece of content cannot be had. `pack` is where the damage is."""

    def __init__(self, pack: int, message: str) -> None:
        super().__init__(message)
        self.pack = pack


class Shelf:
    """The packs of one vault, opened when they are needed. Threads may read at the same time, one after the other.

    `choose` is asked where packs have one number. `rivals`: number → those that are passed over.
    """

    def __init__(self, store: Store, vault_id: str, opening: Opening | None, choose: Choice = lambda _: {}) -> None:
        self._store = store
        self._choose = choose
        self.rivals: dict[int, tuple[PackName, ...]] = {}
        self._vault_id = vault_id
        self._opening = opening
        self._lock = threading.RLock()
        self._names: dict[int, tuple[PackName, int]] = {}
        self._open: dict[int, OpenPack] = {}
        self._contents: _Kept[Ref] = _Kept(_KEPT_BYTES)
        self._plain: _Kept[int] = _Kept(_KEPT_PACK_BYTES)
        self._codecs: dict[Ref | None, Codec] = {}
        # Packs of an encrypted vault are read as a whole anyhow.
        self._blocks = Blocks(store) if store.reads_at_once > 1 and opening is None else None
        self.refresh()

    def refresh(self) -> None:
        """Look again which packs there are."""
        with self._lock:
            every: dict[int, dict[PackName, int]] = {}
            for entry in self._store.entries(PACKS):
                name = PackName.parse(entry.name)
                if name is not None:
                    every.setdefault(name.sequence, {})[name] = entry.size_bytes
            found = {sequence: next(iter(ones.items())) for sequence, ones in every.items()}
            rivals = {sequence for sequence, ones in every.items() if len(ones) > 1}
            if rivals:
                chosen = self._choose({sequence: tuple(ones) for sequence, ones in every.items()})
                found |= {sequence: (name, every[sequence][name]) for sequence, name in chosen.items()}
            self.rivals = {one: tuple(name for name in every[one] if name != found[one][0]) for one in rivals}
            for sequence in [one for one, name in self._names.items() if found.get(one) != name]:
                self._open.pop(sequence, None)
            self._names = found

    @property
    def packs(self) -> Mapping[int, tuple[PackName, int]]:
        """Sequence number → name and stored size."""
        return self._names

    @property
    def names(self) -> dict[int, PackName]:
        """Sequence number → name."""
        return {sequence: name for sequence, (name, _) in self._names.items()}

    def fetch(self, packs: Iterable[int]) -> None:
        """Packs that are about to be read; where each read takes its time, they are asked for all at once."""
        if self._blocks is not None:
            names = [self._names[one] for one in packs if one in self._names and one not in self._open]
            self._blocks.fetch((str(name), size) for name, size in names)

    def stored(self, sequence: int) -> bytes:
        """The stored bytes of a pack, checked against its name.

        Raises:
            PieceError: it is missing or damaged.
        """
        name, size = self._name(sequence)
        data = self._read(str(name), sequence, 0, None)
        if len(data) != size or sha256(data) != name.sha256:
            raise PieceError(sequence, "its hash differs")
        return data

    def pack(self, sequence: int) -> OpenPack:
        """A pack, opened.

        Raises:
            PieceError: it is missing or damaged.
        """
        with self._lock:
            found = self._open.get(sequence)
            if found is None:
                found = self._open[sequence] = self._load(sequence)
            return found

    def piece(self, ref: Ref) -> Piece:
        """What the index says of a piece.

        Raises:
            PieceError: it is not there.
        """
        pack = self.pack(ref.pack)
        try:
            return pack.piece(ref.number)
        except ValueError as error:
            raise PieceError(ref.pack, str(error)) from None

    def content(self, ref: Ref) -> bytes:
        """A piece's content.

        Raises:
            PieceError: it, or what it builds on, is missing or damaged.
        """
        with self._lock:
            chain = self._chain(ref)
            base: bytes | None = None
            dictionary: Ref | None = None
            for one, piece, kept in reversed(chain):
                if kept is not None:
                    base = kept
                elif piece.what is What.DICTIONARY:
                    dictionary = one
                    continue
                else:
                    base = self._undo(one, piece, base, dictionary)
                    self._contents.put(one, base)
                dictionary = None
            if base is None:
                return self._dictionary(ref)
            try:
                return check_content(chain[0][1], base)
            except ValueError as error:
                raise PieceError(ref.pack, str(error)) from None

    def base_for(self, previous: Ref, size_bytes: int) -> tuple[Ref, int] | None:
        """What the version after `previous` builds on, and its number; None: on nothing, it is to be whole.

        Not always on the version before it: see `base_of`. `size_bytes`: about as large as the versions are.

        Raises:
            PieceError: one of them is missing or damaged.
        """
        line = [previous]
        while (base := self.piece(line[-1]).base) is not None and self.piece(base).what is not What.DICTIONARY:
            line.append(base)
            if len(line) > MAX_DEPTH + 2:
                raise PieceError(previous.pack, "it builds on too many versions")
        version = self.piece(previous).version + 1
        if version >= MAX_VERSIONS:
            return None
        for before, ref in zip(range(len(line) - 1, -1, -1), line, strict=True):
            if self.piece(ref).version <= base_of(version) and (before + 1) * size_bytes <= MAX_CHAIN_BYTES:
                return ref, version
        return None

    def reach(self, refs: Iterable[Ref]) -> frozenset[int]:
        """The packs that these pieces lie in, and those of all that they build on.

        Raises:
            PieceError: a pack is missing or damaged.
        """
        seen: set[Ref] = set()
        todo = list(refs)
        while todo:
            ref = todo.pop()
            if ref in seen:
                continue
            seen.add(ref)
            base = self.piece(ref).base
            if base is not None:
                todo.append(base)
        return frozenset(ref.pack for ref in seen)

    def salvage(self, sequence: int) -> bool:
        """Make what is whole in a damaged pack readable; False where nothing can be had of it.

        Where its index is lost, the frames' own checksums stand for the hashes.
        """
        with self._lock:
            self._open.pop(sequence, None)
            try:
                self.pack(sequence)
            except PieceError:
                pass
            else:
                return True
            name, _ = self._name(sequence)
            try:
                data = self._read(str(name), sequence, 0, None)
            except PieceError:
                return False
            if self._opening is not None:
                opened = io.BytesIO()
                # What stands before the damage can be opened all the same.
                with contextlib.suppress(CorruptError, WrongKeyError):
                    self._opening.open_stream(io.BytesIO(data), opened)
                data = opened.getvalue()
            found = dict(scan(data))
            nothing = Piece(what=What.RUN, offset=len(data), length=1, size=0, sha256="")
            pieces = tuple(found.get(number, nothing) for number in range(max(found, default=-1) + 1))
            self._open[sequence] = OpenPack(pieces, lambda offset, length: data[offset : offset + length])
            return bool(found)

    def corrupt(self, error: PieceError) -> CorruptError:
        """What a reader is told of damage."""
        return CorruptError(f"pack {error.pack:08x} of {self._store.location} is damaged: {error}", hint=_HINT)

    def _chain(self, ref: Ref) -> list[tuple[Ref, Piece, bytes | None]]:
        """A piece and what it builds on, back to the first that stands alone or is in memory."""
        chain: list[tuple[Ref, Piece, bytes | None]] = []
        current: Ref | None = ref
        while current is not None:
            try:
                piece = self.piece(current)
            except PieceError:
                if len(chain) == 0 or chain[-1][1].version:
                    raise
                # What stands alone can only have been made with a dictionary.
                piece = Piece(what=What.DICTIONARY, offset=0, length=0, size=0, sha256="")
            kept = self._contents.get(current)
            chain.append((current, piece, kept))
            if kept is not None:
                break
            if len(chain) > MAX_DEPTH + 2:
                raise PieceError(ref.pack, "it builds on too many versions")
            current = piece.base
        return chain

    def _undo(self, ref: Ref, piece: Piece, base: bytes | None, dictionary: Ref | None) -> bytes:
        try:
            frame = self.pack(ref.pack).frame(ref.number)
            if base is not None:
                return apply_delta(frame, base, size_bytes=piece.size)
            return self._with_dictionary(frame, piece.size, dictionary)
        except PieceError:
            raise
        except ValueError as error:
            raise PieceError(ref.pack, str(error)) from None

    def _with_dictionary(self, frame: bytes, size: int, dictionary: Ref | None) -> bytes:
        """A frame that needs no earlier version. Where its dictionary is damaged, a copy of that one serves."""
        try:
            return self._codec(dictionary).decompress(frame, size_bytes=size)
        except PieceError:
            for spare in self._spares():
                if spare != dictionary:
                    # Frames name the dictionary that they need: another one is refused.
                    with contextlib.suppress(ValueError):
                        return self._codec(spare).decompress(frame, size_bytes=size)
            raise

    def _spares(self) -> Iterator[Ref]:
        """Every dictionary there is."""
        for sequence in sorted(self._names):
            with contextlib.suppress(PieceError):
                for number, piece in enumerate(self.pack(sequence).pieces):
                    if piece.what is What.DICTIONARY:
                        yield Ref(sequence, number)

    def _codec(self, dictionary: Ref | None) -> Codec:
        found = self._codecs.get(dictionary)
        if found is None:
            found = self._codecs[dictionary] = Codec(None if dictionary is None else self._dictionary(dictionary))
        return found

    def _dictionary(self, ref: Ref) -> bytes:
        try:
            piece = self.piece(ref)
            return check_content(
                piece, Codec().decompress(self.pack(ref.pack).frame(ref.number), size_bytes=piece.size)
            )
        except PieceError:
            raise
        except ValueError as error:
            raise PieceError(ref.pack, str(error)) from None

    def _load(self, sequence: int) -> OpenPack:
        name, size = self._name(sequence)

        def read(offset: int, length: int) -> bytes:
            return self._read(str(name), sequence, offset, length)

        if self._opening is not None:
            size = len(self._opened(sequence))

            def read(offset: int, length: int) -> bytes:
                return self._opened(sequence)[offset : offset + length]

        try:
            return OpenPack.load(self._vault_id, size, read)
        except PieceError:
            raise
        except ValueError as error:
            raise PieceError(sequence, str(error)) from None

    def _opened(self, sequence: int) -> bytes:
        """A pack of an encrypted vault in its plain form."""
        found = self._plain.get(sequence)
        if found is None:
            assert self._opening is not None
            try:
                what = f"pack {sequence:08x} of {self._store.location}"
                found = self._opening.open(self.stored(sequence), what=what)
            except CorruptError as error:
                if error.code == "too-much-work":
                    raise  # what is stored is whole
                raise PieceError(sequence, "the encryption does not hold") from None
            self._plain.put(sequence, found)
        return found

    def _name(self, sequence: int) -> tuple[PackName, int]:
        found = self._names.get(sequence)
        if found is None:
            raise PieceError(sequence, "it is missing")
        return found

    def _read(self, name: str, sequence: int, offset: int, length: int | None) -> bytes:
        try:
            if self._blocks is not None and length is not None:
                return self._blocks.read(name, offset, length)
            return self._store.read(name, offset, length)
        except ObjectMissingError:
            raise PieceError(sequence, "it is missing") from None


K = TypeVar("K")


class _Kept(Generic[K]):
    """The last things read, up to so many bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._found: OrderedDict[K, bytes] = OrderedDict()

    def get(self, key: K) -> bytes | None:
        value = self._found.get(key)
        if value is not None:
            self._found.move_to_end(key)
        return value

    def put(self, key: K, value: bytes) -> None:
        if len(value) > self._limit or key in self._found:
            return
        self._found[key] = value
        self._size += len(value)
        while self._size > self._limit:
            self._size -= len(self._found.popitem(last=False)[1])
