"""What damage took from snapshots for good, and how they say so: one that lost an object is incomplete from then on."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field

from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest, Note
from qlikmigrate.vault.form import LastGood, Manifested

LOST = "lost by damage to the vault"

_NAMED = 50


@define
class Losses:
    """The losses that one repair finds. `notes`: snapshot → what of it is lost."""

    notes: dict[str, tuple[Note, ...]] = field(factory=dict)
    # Snapshot → objects that are whole but for their run data.
    _runless: dict[str, set[tuple[Kind, str]]] = field(factory=dict)

    def whole(self, snapshot: str) -> None:
        """Nothing of a snapshot is left."""
        self.notes[snapshot] = (Note(kind=Kind.TENANT, id="", reason=f"the whole snapshot is {LOST}"),)

    def add(self, snapshot: str, head: Manifest, notes: Sequence[Note], *, captured: int) -> Manifest:
        """A snapshot has lost what `notes` say; its head, which says so. `captured`: automations that are left."""
        self.notes[snapshot] = tuple(notes)
        counts = dict(head.counts)
        lost = tuple(one for one in notes if one.kind is Kind.AUTOMATION and one.reason == LOST)
        if "automations" in counts:
            old = counts["automations"]
            counts["automations"] = evolve(old, captured=captured, missing=old.missing + len(lost))
        problem = Problem(
            code="lost-by-damage",
            severity=Severity.ERROR,
            message=f"damage to the vault took {len(notes)} of its objects",
            where=", ".join(one.id for one in notes[:_NAMED]),
        )
        return evolve(
            head, complete=False, counts=counts, missing=(*head.missing, *lost), problems=(*head.problems, problem)
        )

    def run_data(self, snapshot: str, kind: Kind, ident: str) -> None:
        """An object, or the list rows from it on, are whole but for their run data."""
        self._runless.setdefault(snapshot, set()).add((kind, ident))

    def of_run_data(self) -> Problem | None:
        """What is said of run data: a restore needs none, so no snapshot is incomplete without; but it is told."""
        if not self._runless:
            return None
        objects = set[tuple[Kind, str]]().union(*self._runless.values())
        return Problem(
            code="run-data-lost",
            severity=Severity.WARNING,
            message=f"damage to the vault took when {len(objects)} objects or pages of rows had last run, "
            f"in {len(self._runless)} snapshots; they are whole otherwise",
            where=", ".join(sorted(self._runless)[:_NAMED]),
        )

    def hit(self, found: Manifested) -> bool:
        """Whether the last good version of anything that a snapshot could not read is lost."""
        return any(map(self.has, found.last_good))

    def has(self, line: LastGood) -> bool:
        """Whether the snapshot that held a last good version has lost it."""
        notes = self.notes.get(line.snapshot, ())
        return any(one.kind is Kind.TENANT or (one.kind, one.id) == (line.kind, line.id) for one in notes)
