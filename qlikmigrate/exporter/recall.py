"""Which own documents of a kind a backup takes over from an earlier snapshot, and what the next one may take over.

Taken over is only what the newest list row vouches for. Once asked for, a document is never taken over any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from qlikmigrate.exporter.fetched import Fetched
from qlikmigrate.model.document import Document
from qlikmigrate.model.earlier import Earlier, Reading, row_hash
from qlikmigrate.model.inventory import Entity, TenantFacts
from qlikmigrate.model.kind import Kind

_LONGEST = timedelta(days=7)
# Each backup reads at least one in so many anew, the oldest first.
_SHARE = 7


@frozen
class _Row:
    """An object's newest list row."""

    one: Entity
    digest: bytes


@frozen
class _Ahead:
    """A document that tells of a later save than the row before it: the next row may be the one it goes with."""

    document: Entity
    settled: bool


@define
class Recall:
    """The objects of one kind, by lower-case id. `now`: when the backup began. `off`: everything is read."""

    kind: Kind
    earlier: Earlier
    now: datetime
    off: bool = False
    _rows: dict[str, _Row] = field(factory=dict)
    _known: dict[str, Reading] = field(factory=dict)
    _taken: dict[str, Reading] = field(factory=dict)
    _readings: dict[str, Reading] = field(factory=dict)
    _ahead: dict[str, _Ahead] = field(factory=dict)
    _asked: set[str] = field(factory=set)

    def see(self, one: Entity, row: Document) -> None:
        """A list shows `one` with this row."""
        key = one.id.lower()
        self._rows[key] = seen = _Row(one, row_hash(row))
        ahead = self._ahead.get(key)
        if ahead is not None and ahead.document == one:
            self._readings[key] = evolve(self._readings[key], row_hash=seen.digest, settled=ahead.settled)
            del self._ahead[key]

    def split(self, listed: Iterable[Entity]) -> list[Entity]:
        """Those of `listed` that must be asked for, in their order; the others are taken over from now on."""
        given = list(listed)
        if self.off:
            return given
        found: dict[str, Reading] = {}
        for one in given:
            reading = self.earlier.known(self.kind, one.id) if one.id.lower() in self._rows else None
            if reading is not None:
                found[one.id.lower()] = reading
        self._known |= found
        holds = {key: reading for key, reading in found.items() if self._holds(key, reading)}
        oldest = sorted(holds, key=lambda key: (holds[key].read_at, key))
        asked = len(self._known) - len(self._taken) - len(holds)
        due = -(-len(self._known) // _SHARE) - asked
        self._taken |= {key: holds[key] for key in oldest[max(due, 0) :]}
        return [one for one in given if one.id.lower() not in self._taken]

    def taken(self, ident: str) -> Reading | None:
        """The earlier reading of a document that is taken over."""
        return self._taken.get(ident.lower())

    def is_outdated(self, ident: str) -> bool:
        """Whether the newest row no longer vouches for a document that was taken over."""
        key = ident.lower()
        return key in self._taken and self._taken[key].row_hash != self._rows[key].digest

    def read(self, document: Entity, fetched: Fetched, *, bare: bool = False, with_secrets: bool = False) -> None:
        """Its own document was read and is in the writer's hands."""
        key = document.id.lower()
        self.forget(key)
        # One that no list names yet goes with no row, so far.
        row = self._rows.get(key)
        settled = fetched.is_settled(document.updated_at)
        agrees = row is not None and row.one.updated_at == document.updated_at
        if not agrees:
            self._ahead[key] = _Ahead(document, settled)
        self._readings[key] = Reading(
            row_hash=row.digest if row else b"",
            read_at=fetched.read_at,
            settled=settled and agrees,
            bare=bare,
            with_secrets=with_secrets,
        )

    def forget(self, ident: str) -> None:
        """It was asked for, and what was held of it holds no more."""
        key = ident.lower()
        self._asked.add(key)
        for place in (self._taken, self._readings, self._ahead):
            place.pop(key, None)

    def close(self, captured: Mapping[str, str], lost: Iterable[str]) -> int:
        """Tell what came of it; how many documents were taken over.

        `captured`: lower-case ids → ids, of all whose document or row must do; `lost`: ids whose document is not had.
        """
        for key in sorted(captured.keys() & self._readings.keys()):
            self.earlier.remember(self.kind, captured[key], self._readings[key])
        taken = sorted(captured.keys() & self._taken.keys())
        for key in taken:
            self.earlier.reuse(self.kind, captured[key])
        for ident in lost:
            self.earlier.carry(self.kind, ident)
        return len(taken)

    def _holds(self, key: str, reading: Reading) -> bool:
        """Whether the earlier document is the tenant's own still, as far as its row can tell."""
        return (
            key not in self._asked
            and reading.settled
            and reading.row_hash == self._rows[key].digest
            # A clock that was set back makes readings of the future, whose age nobody knows.
            and timedelta() <= self.now - reading.read_at < _LONGEST
        )


class NothingEarlier:
    """The first snapshot there is, or one that owes nothing to others."""

    def begin(self, tenant: TenantFacts, identity: str) -> None:
        """Nothing is known of it."""

    def known(self, kind: Kind, ident: str) -> Reading | None:
        """Nothing."""

    def remember(self, kind: Kind, ident: str, reading: Reading) -> None:
        """Nobody will ask."""

    def reuse(self, kind: Kind, ident: str) -> None:
        """Never called: nothing is known."""

    def carry(self, kind: Kind, ident: str) -> None:
        """There is no earlier version."""
