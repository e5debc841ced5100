"""A piece that claims to be far larger than anything ever stored is damage, and no room is made for it."""

from __future__ import annotations

import pytest
from giant import giant_frame
from night import Town

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.name import PackName, Ref, sha256
from qlikmigrate.vault.pack import PackBuilder, What
from qlikmigrate.vault.store import MemoryStore
from qlikmigrate.vault.verification import verify_vault

GIANT = 1 << 40


def forged(vault: Vault, info: SnapshotInfo, chosen: Ref) -> SnapshotInfo:
    """The only pack of a snapshot with one piece that declares a terabyte, in its frame and in the index; its name and
    the head are right."""
    (old,) = info.packs
    builder = PackBuilder(vault.id, old)
    pack = vault.shelf.pack(old)
    found = vault.snapshot(info).manifested
    for number, piece in enumerate(pack.pieces):
        is_it = Ref(old, number) == chosen
        builder.add(
            piece.what,
            giant_frame(GIANT) if is_it else pack.frame(number),
            size=GIANT if is_it else piece.size,
            sha256=piece.sha256,
            kind=piece.kind,
            id=piece.id,
            base=piece.base,
            version=piece.version,
        )
    data = builder.finish()
    vault.store.delete(str(vault.shelf.packs[old][0]))
    vault.store.create(str(PackName(old, sha256(data))), data)
    vault.refresh()
    return vault.publish(found, info.manifest, info.packs, needs=(), partial=False, generation=1)


def test_a_document_of_a_terabyte(clock: ManualClock) -> None:
    """Ends with 13 and names the automation; all others are read."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=4)
    info = town.back_up(vault)
    hurt = sorted(town.values)[1]
    (line,) = (one for one in vault.snapshot(info).manifested.documents if one.id == hurt)
    forged(vault, info, line.ref)
    vault = Vault.open(vault.store, clock=clock)
    snapshot = vault.snapshot(vault.find("latest"))
    with pytest.raises(CorruptError, match="declares") as caught:
        snapshot.detail(Kind.AUTOMATION, hurt)
    assert caught.value.exit_code == 13
    for other in set(town.values) - {hurt}:
        assert snapshot.detail(Kind.AUTOMATION, other).id == other
    assert [(one.kind, one.id) for one in verify_vault(vault).damages] == [(Kind.AUTOMATION, hurt)]


@pytest.mark.parametrize("what", [What.MANIFEST, What.ROWS, What.RUN])
def test_anything_else_of_a_terabyte(what: What, clock: ManualClock) -> None:
    """The same whatever the piece is."""
    vault = Vault.create(MemoryStore(), clock=clock)
    town = Town(automations=4)
    town.pass_night()
    info = town.back_up(vault)
    pieces = vault.shelf.pack(info.manifest.pack).pieces
    forged(vault, info, next(Ref(info.manifest.pack, n) for n, piece in enumerate(pieces) if piece.what is what))
    assert not verify_vault(Vault.open(vault.store, clock=clock)).ok
