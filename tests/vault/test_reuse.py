"""What a backup takes over from earlier snapshots is what the tenant has still, and whole."""

from __future__ import annotations

import pytest
from attrs import evolve
from night import Town, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.repair import repair
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import verify_vault


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


def harm(vault: Vault, ref: Ref) -> None:
    """Flip a bit in the middle of a stored piece."""
    name, piece = str(vault.shelf.packs[ref.pack][0]), vault.shelf.piece(ref)
    data = vault.store.read(name)
    at = piece.offset + piece.length // 2
    vault.store.delete(name)
    vault.store.create(name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("what", list(What))
def test_what_was_read_anew_is_stored_whole(clock: ManualClock, what: What) -> None:
    """Damage that nobody has found yet is in no snapshot whose documents were all read: it is stored again."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=30)
    states = nights(vault, 3, town, edits=8)
    refs = [Ref(one, number) for one in vault.shelf.packs for number in range(len(vault.shelf.pack(one).pieces))]
    hit = [ref for ref in refs if vault.shelf.piece(ref).what is what]
    assert hit
    for ref in hit:
        harm(vault, ref)
    states.append(town.state())
    again = Vault.open(vault.store, clock=clock)
    info = town.back_up(again)
    assert state_of(again.snapshot(info)) == states[-1]
    assert info.id not in verify_vault(again).hit
    with again.lock() as lock:
        repair(again, lock)
    assert verify_vault(again).ok
    assert state_of(again.snapshot(again.find(info.id))) == states[-1]
