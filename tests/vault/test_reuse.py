"""What a backup takes over from earlier snapshots is what the tenant has still, and whole."""

from __future__ import annotations

import pytest
from attrs import evolve
from harm import harm
from night import Town, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import LockedError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault, VaultSnapshot, VaultWriter
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import repair
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.stream import PackStream
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


def taken_over(writer: VaultWriter, town: Town) -> None:
    """A writer that takes over every automation, as after a night without edits."""
    writer.begin(town.head().tenant, "me")
    for one in town.documents():
        if one.part is Part.ROW or one.kind is not Kind.AUTOMATION:
            writer.add(one)
    for ident in town.values:
        writer.reuse(Kind.AUTOMATION, ident)


def raws(snapshot: VaultSnapshot) -> dict[tuple[Part, Kind, str], bytes]:
    """The documents of a snapshot without times and run data."""
    return {key: one.raw for key, one in state_of(snapshot).items()}


def test_repack_meanwhile(clock: ManualClock) -> None:
    """A backup that began before a repack takes over from the new packs what it knew in the old ones."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    nights(vault, 3, town, edits=0)
    slow = Vault.open(vault.store, clock=clock)
    with slow.writer() as writer:
        taken_over(writer, town)
        with vault.lock() as lock:
            repack(vault, lock)
        writer.finish(town.head(), town.capture())
        info = writer.info
    assert info is not None
    vault.refresh()
    assert not info.packs & vault.catalog.marked
    assert raws(vault.snapshot(vault.find(info.id))) == {key: one.raw for key, one in town.state().items()}


def test_another_backup_meanwhile(clock: ManualClock) -> None:
    """Of two backups at the same time the second stores nothing that the first has stored."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    nights(vault, 1, town, edits=8)
    slow = Vault.open(vault.store, clock=clock)
    with slow.writer() as writer:
        writer.begin(town.head().tenant, "me")
        town.back_up(vault)
        town.write(writer)
    vault.refresh()
    assert [piece.what for piece in vault.shelf.pack(max(vault.shelf.packs)).pieces] == [What.MANIFEST]
    assert verify_vault(vault).ok


def test_damage_further_down_stops_no_backup(clock: ManualClock) -> None:
    """Where only an old version is lost on which the newest builds, a backup reads and stores that document anew."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=1)
    for _ in range(4):
        town.back_up(vault)
        (value,) = town.values.values()
        value["name"] = f"night {town.night}"
        town.pass_night(edits=1)
    name = str(vault.shelf.packs[1][0])
    vault.store.delete(name)
    again = Vault.open(vault.store, clock=clock)
    with again.writer() as writer:
        writer.begin(town.head().tenant, "me")
        assert writer.known(Kind.AUTOMATION, next(iter(town.values))) is None
        town.write(writer)
        info = writer.info
    assert info is not None
    assert state_of(again.snapshot(info)) == town.state()
    assert info.id not in verify_vault(again).hit


def test_damaged_manifest_costs_one_night(clock: ManualClock) -> None:
    """Where the newest manifest is damaged, what the one before it knows is not stored again."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town()
    nights(vault, 3, town)
    harm(vault, vault.find("latest").manifest)
    again = Vault.open(vault.store, clock=clock)
    town.back_up(again)
    new = [piece.what for piece in again.shelf.pack(max(again.shelf.packs)).pieces]
    assert new.count(What.DOCUMENT) <= 4


def test_one_of_the_future_hides_nothing(clock: ManualClock) -> None:
    """After a night with a wrong clock, backups go on building on those that were taken since."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=8)
    town.night = 20_000
    nights(vault, 1, town, edits=8)
    town.night = 1
    nights(vault, 1, town, edits=0, runs=False)
    town.back_up(vault)
    assert [piece.what for piece in vault.shelf.pack(max(vault.shelf.packs)).pieces] == [What.MANIFEST]


def test_late_holder_publishes_nothing(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that lost its lock after its last pack makes no head."""
    vault = Vault.create(MemoryStore(), clock=clock)
    flush = PackStream.flush

    def slow(stream: PackStream) -> None:
        flush(stream)
        again = Vault.open(vault.store, clock=clock)
        if any(piece.what is What.MANIFEST for one in stream.written for piece in again.shelf.pack(one).pieces):
            clock.advance(3600)
            again.lock().release()

    monkeypatch.setattr(PackStream, "flush", slow)
    with pytest.raises(LockedError):
        Town().back_up(vault)
    assert Vault.open(vault.store, clock=clock).snapshots() == []
