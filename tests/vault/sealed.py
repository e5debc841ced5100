"""Keys for encrypted vaults, hosts with a memory of their own, and a backup that asks for what may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage
import pytest
from night import State, Town, bare, state_of

from qlikmigrate.archive import KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.store import Store

_IDENTITY = pyrage.x25519.Identity.generate()
SECRET, PUBLIC = str(_IDENTITY), str(_IDENTITY.to_public())


def sealer() -> Sealer:
    """For whom everything is encrypted."""
    return Sealer([PublicKey(text=PUBLIC, where="recipient")])


def opener(secret: str = SECRET) -> Opener:
    """Who can read it; `secret`: with another key."""
    return Opener([KeyFile(content=Secret(secret), where="identity")])


def other_secret() -> str:
    """A key that opens nothing."""
    return str(pyrage.x25519.Identity.generate())


def make(store: Store, clock: Clock) -> Vault:
    """A new encrypted vault, for a host with public keys only."""
    return Vault.create(store, sealing=sealer(), clock=clock)


def writing(store: Store, clock: Clock) -> Vault:
    """It, opened with public keys only."""
    return Vault.open(store, sealing=sealer(), clock=clock)


def reading(store: Store, clock: Clock | None = None) -> Vault:
    """It, opened with every key."""
    return Vault.open(store, sealing=sealer(), opening=opener(), clock=clock)


@contextmanager
def host(state: Path) -> Iterator[None]:
    """What happens on a host that keeps its memory in that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        yield


def back_up(vault: Vault, town: Town, *, reread: frozenset[str] = frozenset(), **head: Any) -> tuple[SnapshotInfo, int]:
    """A backup that takes over what its list row vouches for; the snapshot, and how many documents were taken over.

    `reread`: ids that are read all the same.
    """
    rows: dict[str, Document] = {}
    details: list[Document] = []
    reused = 0
    with vault.writer() as writer:
        manifest = town.head(**head)
        writer.begin(manifest.tenant, manifest.identity)
        for one in town.documents():
            if one.part is Part.ROW or one.kind is not Kind.AUTOMATION:
                writer.add(one)
                if one.kind is Kind.AUTOMATION:
                    rows[one.id] = one
            else:
                details.append(one)
        for one in details:
            known = writer.known(Kind.AUTOMATION, one.id)
            digest = row_hash(rows[one.id])
            if known is not None and known.row_hash == digest and one.id not in reread:
                writer.reuse(Kind.AUTOMATION, one.id)
                reused += 1
            else:
                writer.add(one)
                reading_now = Reading(row_hash=digest, read_at=town.now, settled=True)
                writer.remember(Kind.AUTOMATION, one.id, reading_now)
        writer.finish(manifest, town.capture())
        assert writer.info is not None
        return writer.info, reused


def contents(state: State) -> dict[tuple[Part, Kind, str], Document]:
    """What a snapshot says, however old its readings are."""
    return {key: bare(one) for key, one in state.items()}


def gives(vault: Vault, info: SnapshotInfo, state: State) -> bool:
    """Whether a snapshot gives back what was put in."""
    return contents(state_of(vault.snapshot(info))) == contents(state)
