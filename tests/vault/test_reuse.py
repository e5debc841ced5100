"""What a backup takes over from earlier snapshots is what the tenant has still, and whole."""

from __future__ import annotations

import pytest
from attrs import evolve
from night import Town

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault
from qlikmigrate.vault.store import MemoryStore


def row_of(town: Town, ident: str) -> Document:
    """An automation's list row."""
    return town.state()[Part.ROW, Kind.AUTOMATION, ident]


@pytest.mark.parametrize("reused", [False, True], ids=["read", "taken over"])
def test_another_row_vouches_for_nothing(clock: ManualClock, reused: bool) -> None:
    """A row that changed after the document was read, without a new `updatedAt`, does not vouch for it next time."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=3)
    ident = sorted(town.values)[0]
    row = row_of(town, ident)
    later = evolve(row, raw=row.raw.replace(b'"available"', b'"disabled"'))
    for night in range(2 if reused else 1):
        with vault.writer() as writer:
            writer.begin(town.head().tenant, "me")
            for one in town.documents():
                writer.add(one)
            if night == 0:
                reading = Reading(row_hash=row_hash(row), read_at=town.now, settled=True)
                writer.remember(Kind.AUTOMATION, ident, reading)
            else:
                writer.reuse(Kind.AUTOMATION, ident)
            if not reused or night:
                writer.add(later)
            writer.finish(town.head(), town.capture())
        town.pass_night(edits=0)
    with vault.writer() as writer:
        writer.begin(town.head().tenant, "me")
        known = writer.known(Kind.AUTOMATION, ident)
    assert known is not None
    assert known.row_hash == row_hash(later)
    assert not known.settled
