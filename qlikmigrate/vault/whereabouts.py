"""Where in packs manifests lie, whether or not a head speaks of them; only whole ones are given out."""

from __future__ import annotations

import contextlib
from functools import cached_property

from qlikmigrate.vault.form import Manifested, read_manifest
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.rebuild import pieces_of
from qlikmigrate.vault.shelf import Shelf


class Whereabouts:
    """The manifests in the packs of a shelf, as they were when somebody first asked."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def read(self, place: Ref, ident: str) -> Manifested | None:
        """The manifest of a snapshot, if it is whole and lies there."""
        with contextlib.suppress(ValueError):
            found = read_manifest(self._shelf.content(place))
            return found if found.id == ident else None
        return None

    @cached_property
    def places(self) -> dict[str, list[Ref]]:
        """Snapshot → where manifests of it lie, the oldest writing first. Under no id: those that are not whole."""
        found: dict[str, list[Ref]] = {}
        for sequence in sorted(self._shelf.packs):
            for number, piece in enumerate(pieces_of(self._shelf, sequence)):
                if piece.what is What.MANIFEST:
                    ref = Ref(sequence, number)
                    found.setdefault(piece.id or self._owner(ref), []).append(ref)
        return found

    def _owner(self, ref: Ref) -> str:
        """Whose manifest a piece is that no index speaks of."""
        try:
            return read_manifest(self._shelf.content(ref)).id
        except ValueError:
            return ""
