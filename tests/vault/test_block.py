"""A vault in a far-away place: what is wanted is asked for many at a time and once, and is the same as near by."""

from __future__ import annotations

import threading

import pytest
from night import nights, state_of

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError, FailedError
from qlikmigrate.vault import Vault
from qlikmigrate.vault import block as block_module
from qlikmigrate.vault.block import Blocks
from qlikmigrate.vault.store import MemoryStore, ObjectMissingError


class Far(MemoryStore):
    """Counts what it is asked for, and how many reads were under way at once."""

    reads_at_once = 8

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.most = 0
        self._now = 0
        self._count = threading.Lock()

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        with self._count:
            self.reads += 1
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return super().read(name, offset, size)
        finally:
            with self._count:
                self._now -= 1


def test_a_snapshot_costs_a_read_for_each_pack(clock: ManualClock) -> None:
    """The newest of twelve nights, opened and read to its last document: its heads, and each small pack once."""
    store = Far()
    states = nights(Vault.create(store, clock=clock), 12)
    store.reads = 0
    vault = Vault.open(store, clock=clock)
    snapshot = vault.snapshot(vault.find("latest"))
    assert state_of(snapshot) == states[-1]
    assert snapshot.digest
    heads = 1 + len(vault.snapshots())
    assert store.reads <= heads + len(snapshot.info.packs)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 95, 100, 101, 400])
def test_any_part_of_an_object(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of whatever length, and where little is kept: the bytes that the store has there."""
    monkeypatch.setattr(block_module, "_BLOCK_BYTES", 10)
    monkeypatch.setattr(block_module, "_LONG_BYTES", 40)
    monkeypatch.setattr(block_module, "_KEPT_BYTES", 35)
    store = Far()
    data = bytes(number % 251 for number in range(size))
    store.create("packs/a", data)
    blocks = Blocks(store)
    blocks.fetch([("packs/a", size), ("packs/gone", 7)])
    for offset in range(0, size + 12, 3):
        for length in (0, 1, 9, 10, 11, 25, 39, 41, 500):
            assert blocks.read("packs/a", offset, length) == data[offset : offset + length]
    with pytest.raises(ObjectMissingError):
        blocks.read("packs/gone", 0, 7)


def test_what_fails_is_told_by_whoever_reads(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that is lost is damage, a store that fails is a failure, and neither hides behind reading ahead."""
    store = Far()
    vault = Vault.create(store, clock=clock)
    nights(vault, 3)
    pack = max(store.entries("packs"), key=lambda entry: entry.size_bytes).name
    store.delete(pack)
    far = Vault.open(store, clock=clock)
    with pytest.raises(CorruptError):
        state_of(far.snapshot(far.find("latest")))

    def fail(self: Far, name: str, offset: int = 0, size: int | None = None) -> bytes:
        raise FailedError("no answer")

    monkeypatch.setattr(Far, "read", fail)
    with pytest.raises(FailedError):
        vault.snapshot(vault.snapshots()[-1]).digest  # noqa: B018
