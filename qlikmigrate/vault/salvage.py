"""Pieces of damaged packs that are whole, stored again, each once; or found once more in a pack that is whole."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from qlikmigrate.archive.codec import Codec
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.press import Press
from qlikmigrate.vault.rebuild import pieces_of
from qlikmigrate.vault.shelf import PieceError, Shelf
from qlikmigrate.vault.stream import PackStream


@define
class Salvage:
    """What of `shelf` can be had in spite of `bad` packs. New pieces go into `stream`."""

    shelf: Shelf
    stream: PackStream
    bad: frozenset[int]
    _new: dict[Ref, Ref] = field(factory=dict)
    _written: set[Ref] = field(factory=set)
    _dead: set[Ref] = field(factory=set)
    _twins: dict[str, Ref] | None = None

    @property
    def saved(self) -> int:
        """How many pieces lie elsewhere now."""
        return len(self._new)

    def place(self, ref: Ref) -> Ref | None:
        """Where a piece is to be found from now on; None where it is lost."""
        if ref in self._new:
            return self._new[ref]
        if ref in self._dead:
            return None
        try:
            if not self.shelf.reach([ref]) & self.bad:
                return ref
            content = self.shelf.content(ref)
            piece = self.shelf.piece(ref)
        except PieceError:
            twin = self._twin(ref)
            if twin is None:
                self._dead.add(ref)
            else:
                self._new[ref] = twin
            return twin
        self._new[ref] = self.write(piece.what, piece.kind, piece.id, content)
        return self._new[ref]

    def write(self, what: What, kind: str, ident: str, content: bytes) -> Ref:
        """Store a content, whole and with nothing that it builds on."""
        ((_, pressed),) = Press(None).run([content], _as_it_is)
        assert pressed.frame is not None
        ref = self.stream.add(what, pressed.frame, size=pressed.size, digest=pressed.sha256, kind=kind, ident=ident)
        self._written.add(ref)
        return ref

    def packs_of(self, refs: Iterable[Ref]) -> frozenset[int]:
        """The packs that pieces need, those written just now among them.

        Raises:
            PieceError: one cannot be had.
        """
        known = list(refs)
        new = frozenset(ref.pack for ref in known if ref in self._written)
        return new | self.shelf.reach(ref for ref in known if ref not in self._written)

    def _twin(self, ref: Ref) -> Ref | None:
        """The same content somewhere else."""
        try:
            wanted = self.shelf.piece(ref).sha256
        except PieceError:
            return None
        if self._twins is None:
            self._twins = {
                piece.sha256: Ref(sequence, number)
                for sequence in sorted(self.shelf.packs.keys() - self.bad)
                for number, piece in enumerate(pieces_of(self.shelf, sequence))
            }
        found = self._twins.get(wanted)
        try:
            return found if found is not None and wanted and not self.shelf.reach([found]) & self.bad else None
        except PieceError:
            return None


def _as_it_is(content: bytes, _: Codec) -> bytes:
    return content
