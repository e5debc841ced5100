"""Damage to a vault, and its repair."""

from __future__ import annotations

from qlikmigrate.kernel.clock import Clock, ManualClock
from qlikmigrate.kernel.event import Sink, discard
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.repair import Repaired, open_for_repair, repair
from qlikmigrate.vault.store import Store


def replace(store: Store, name: str, data: bytes | None) -> None:
    """Put other bytes in an object's place, or nothing."""
    store.delete(name)
    if data is not None:
        store.create(name, data)


def flip(store: Store, name: str, at: int) -> None:
    """Flip a bit of an object."""
    data = store.read(name)
    replace(store, name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def harm(vault: Vault, ref: Ref) -> None:
    """Flip a bit in the middle of a stored piece."""
    piece = vault.shelf.piece(ref)
    flip(vault.store, str(vault.shelf.packs[ref.pack][0]), piece.offset + piece.length // 2)


def mended(store: Store, clock: Clock | None = None, *, sink: Sink = discard) -> tuple[Vault, Repaired]:
    """A vault after its repair."""
    vault, _ = open_for_repair(store, clock=clock or ManualClock())
    with vault.lock() as lock:
        return vault, repair(vault, lock, sink=sink)
