"""What goes into a vault comes out of it, whatever it shares with earlier snapshots, on every kind of store."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from night import FIRST_NIGHT, Town, check, nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError, NotFoundError, PartialError, UsageError
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import CONFIG, Ref, read_ranges, write_ranges
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.shelf import MAX_DEPTH, MAX_VERSIONS, Shelf, base_of
from qlikmigrate.vault.store import MemoryStore, Store


def test_round_trip(store: Store, clock: ManualClock) -> None:
    """Four nights go in and come out, from this handle and from a new one."""
    vault = Vault.create(store, clock=clock)
    states = nights(vault, 4, Town(automations=10))
    check(vault, states)
    check(Vault.open(store, clock=clock), states)


def test_only_what_is_new_is_stored(clock: ManualClock) -> None:
    """A night without any change stores a manifest and nothing else; one edit adds one document and its rows."""
    store = MemoryStore()
    vault = Vault.create(store, clock=clock)
    town = Town()
    town.back_up(vault)
    before = len(vault.shelf.packs)
    town.pass_night(edits=0, runs=False)
    town.back_up(vault)
    (new,) = (vault.shelf.pack(one).pieces for one in vault.shelf.packs if one > before)
    assert [one.what for one in new] == [What.MANIFEST]
    town.pass_night(edits=1, runs=False)
    town.back_up(vault)
    last = vault.shelf.pack(max(vault.shelf.packs)).pieces
    assert sorted(one.what for one in last) == [What.DOCUMENT, What.MANIFEST, What.ROWS]
    assert all(one.version for one in last)


def test_versions_are_bounded(clock: ManualClock) -> None:
    """However often one automation changes, no version builds on more than a bounded number of others."""
    vault = Vault.create(MemoryStore(), clock=clock)
    states = nights(vault, 75, Town(automations=1), edits=1)
    check(vault, states)
    shelf = vault.shelf
    refs = [Ref(one, number) for one in shelf.packs for number in range(len(shelf.pack(one).pieces))]
    depths = Counter(_depth(shelf, ref) for ref in refs)
    assert max(depths) <= 14
    assert max(shelf.piece(ref).version for ref in refs) >= 70
    assert max(_depth_of_number(number) for number in range(MAX_VERSIONS)) <= MAX_DEPTH


def _depth(shelf: Shelf, ref: Ref) -> int:
    depth = 0
    while (base := shelf.piece(ref).base) is not None:
        ref, depth = base, depth + 1
    return depth


def _depth_of_number(number: int) -> int:
    return 0 if number == 0 else 1 + _depth_of_number(base_of(number))


def test_large_documents_are_read_through_few_others(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The larger a document, the fewer versions it builds on; it stays a delta all the same."""
    monkeypatch.setattr("qlikmigrate.vault.shelf.MAX_CHAIN_BYTES", 12_000)
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=1, seed=3)
    states = nights(vault, 20, town, edits=1)
    check(vault, states)
    shelf = vault.shelf
    pieces = {Ref(one, number): piece for one in shelf.packs for number, piece in enumerate(shelf.pack(one).pieces)}
    documents = [ref for ref, piece in pieces.items() if piece.what is What.DOCUMENT and piece.kind == "automation"]
    assert all(_depth(shelf, ref) * pieces[ref].size <= 12_000 for ref in documents)
    assert sum(1 for ref in documents if pieces[ref].version == 0) == 1


def test_deletion_and_return(store: Store, clock: ManualClock) -> None:
    """What is deleted is in no later snapshot; what comes back unchanged is stored once."""
    vault = Vault.create(store, clock=clock)
    town = Town(automations=5)
    states = [town.state()]
    town.back_up(vault)
    ident = sorted(town.values)[2]
    value = town.values.pop(ident)
    town.pass_night(edits=0, runs=False)
    states.append(town.state())
    town.back_up(vault)
    town.values[ident] = value
    town.pass_night(edits=0, runs=False)
    states.append(town.state())
    town.back_up(vault)
    check(vault, states)


def test_two_tenants_share_one_vault(clock: ManualClock) -> None:
    """Snapshots of two tenants stand side by side; WHEN asks which is meant."""
    vault = Vault.create(MemoryStore(), clock=clock)
    one, two = Town(tenant="t-1"), Town(tenant="t-2", seed=8)
    one.back_up(vault)
    two.back_up(vault)
    with pytest.raises(UsageError, match="holds 2 tenants"):
        vault.find("latest")
    assert vault.find("latest", tenant="t-2").tenant_id == "t-2"
    assert vault.find("latest", tenant="Town t-1").tenant_id == "t-1"
    assert state_of(vault.snapshot(vault.find("latest", tenant="t-2"))) == two.state()
    with pytest.raises(NotFoundError):
        vault.find("latest", tenant="nobody")


def test_when(clock: ManualClock) -> None:
    """WHEN: latest, an id or its beginning, a time, a date (its end), yesterday; incomplete and partial ones aside."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=2)
    infos = []
    for night in range(5):
        infos.append(town.back_up(vault, complete=night != 3))
        town.pass_night()
    assert vault.find("latest") == infos[4]
    assert vault.find(infos[1].id) == vault.find(infos[1].id[:8].upper()) == infos[1]
    assert vault.find("2026-03-02") == infos[1]
    assert vault.find("2026-03-02T01:59:59Z") == infos[0]
    assert vault.find("2026-03-02T03:00:00+01:00") == infos[0]
    assert vault.find("2026-03-04T12:00:00Z") == infos[2]
    assert vault.find("2026-03-04T12:00:00Z", allow_incomplete=True) == infos[3]
    clock.advance((FIRST_NIGHT + timedelta(days=2, hours=5) - clock.now()).total_seconds())
    assert vault.find("yesterday") == infos[1]
    with pytest.raises(PartialError):
        vault.find(infos[3].id)
    for word in ("2020-01-01", "deadbeef"):
        with pytest.raises(NotFoundError):
            vault.find(word)
    for word in ("soon", "2026-03-02T01:59:59", "1234"):
        with pytest.raises(UsageError):
            vault.find(word)


def test_digest_is_of_the_content(clock: ManualClock) -> None:
    """Equal documents give an equal digest in two vaults and on two nights; one edit changes it."""
    digests = []
    for _ in range(2):
        vault = Vault.create(MemoryStore(), clock=clock)
        town = Town()
        first = town.back_up(vault)
        town.pass_night(edits=0)
        second = town.back_up(vault)
        town.pass_night(edits=1)
        third = town.back_up(vault)
        digests.append([vault.snapshot(one).digest for one in (first, second, third)])
    assert digests[0] == digests[1]
    assert digests[0][0] == digests[0][1] != digests[0][2]


def test_last_good_version_is_named(clock: ManualClock) -> None:
    """What was read once and is withheld since is named in every later snapshot, with the one that holds it."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=5)
    first = town.back_up(vault)
    ident = sorted(town.values)[0]
    del town.values[ident]
    for _ in range(3):
        town.pass_night(edits=1)
        info = town.back_up(vault, complete=False, unreadable=(ident,))
        assert info.needs == (first.id,)
        (good,) = vault.snapshot(info).last_good
        assert (good.id, good.snapshot) == (ident, first.id)


def test_nothing_is_seen_before_the_head(store: Store, clock: ManualClock) -> None:
    """A writer that is given up leaves no snapshot, and the next one is whole."""
    vault = Vault.create(store, clock=clock)
    town = Town()
    with vault.writer() as writer:
        for one in town.documents():
            writer.add(one)
    assert vault.snapshots() == []
    town.back_up(vault)
    check(vault, [town.state()])


def test_no_vault_and_damaged_ones(clock: ManualClock) -> None:
    """No vault, a second one in one place, a damaged or newer description: each is one clear error."""
    store = MemoryStore()
    with pytest.raises(NotFoundError):
        Vault.open(store)
    Vault.create(store)
    with pytest.raises(UsageError):
        Vault.create(store)
    for text, code in ((b"{}", "corrupt"), (b"", "corrupt"), (b"\x00", "corrupt")):
        damaged = MemoryStore()
        damaged.create(CONFIG, text)
        with pytest.raises(CorruptError) as caught:
            Vault.open(damaged)
        assert caught.value.code == code
    newer = MemoryStore()
    newer.create(CONFIG, json.dumps({"format": "qlikmigrate-vault", "format_version": "2.0", "id": "x"}).encode())
    with pytest.raises(CorruptError) as caught:
        Vault.open(newer)
    assert caught.value.code == "newer-format"


def test_odd_ids(clock: ManualClock) -> None:
    """Ids with tabs, line ends, percent signs, dashes alone and other scripts come back as they were."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=1)
    (value,) = town.values.values()
    for ident in ("-", "%", "a\tb", "a\nb", "Ünïcode/漢字", "..", "x" * 5000, "%41", "A"):
        town.values[ident] = value | {"id": ident}
    town.back_up(vault)
    check(vault, [town.state()])


def test_reader_goes_on_while_others_write(store: Store, clock: ManualClock) -> None:
    """A snapshot that is open gives the same whatever is written meanwhile, and reading takes no lock."""
    vault = Vault.create(store, clock=clock)
    town = Town()
    before = town.state()
    opened = vault.snapshot(town.back_up(vault))
    other = Vault.open(vault.store, clock=clock)
    with other.lock():
        assert state_of(opened) == before
    town.pass_night()
    town.back_up(other)
    assert state_of(opened) == before


@given(st.sets(st.integers(1, 400)))
def test_ranges(numbers: set[int]) -> None:
    """Ranges of sequence numbers are read as they were written."""
    assert read_ranges(write_ranges(numbers)) == numbers


@pytest.mark.parametrize("text", ["x", "2-1", "1-", "1-ffffffff", ",", "1,,2"])
def test_bad_ranges(text: str) -> None:
    """What is no range, or one made to fill the memory, is refused."""
    with pytest.raises(ValueError, match="no range"):
        read_ranges(text)


@given(st.integers(1, 2**31), st.integers(0, 2**20))
def test_refs(pack: int, number: int) -> None:
    """A place is read as it was written."""
    assert Ref.parse(str(Ref(pack, number))) == Ref(pack, number)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=7))
def test_any_history(days: list[tuple[int, bool, int]]) -> None:
    """Whatever happens from night to night, every snapshot gives back what there was."""
    vault = Vault.create(MemoryStore(), clock=ManualClock())
    town = Town(automations=6)
    states = []
    for number, (edits, runs, change) in enumerate(days):
        if change == 1:
            town.add(100 + number)
        elif change == 2 and town.values:
            town.values.pop(sorted(town.values)[-1])
        town.back_up(vault)
        states.append(town.state())
        town.pass_night(edits=edits, runs=runs)
    check(vault, states)


def test_rows_lie_together_by_their_ids(clock: ManualClock) -> None:
    """In a large tenant one new automation rewrites one group of rows, not those behind it."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=900)
    for value in town.values.values():
        value["workspace"] = {"blocks": [], "variables": []}
    town.back_up(vault)
    groups = [line for line in vault.snapshot(vault.find("latest")).manifested.rows if line.kind is Kind.AUTOMATION]
    assert len(groups) > 2
    town.add(5000)
    town.pass_night(edits=0, runs=False)
    town.back_up(vault)
    new = [piece for piece in vault.shelf.pack(max(vault.shelf.packs)).pieces if piece.what is What.ROWS]
    assert 1 <= len(new) <= 2
    assert len([1 for part, _, _ in state_of(vault.snapshot(vault.find("latest"))) if part is Part.ROW]) == 904
