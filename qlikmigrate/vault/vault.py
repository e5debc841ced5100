"""A vault opened: its snapshots, its packs, its lock. Readers never wait for anybody."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path

from qlikmigrate.archive.layout import dump
from qlikmigrate.kernel.clock import Clock, SystemClock
from qlikmigrate.kernel.error import CorruptError, FailedError, UsageError, WrongKeyError
from qlikmigrate.kernel.event import Sink, discard
from qlikmigrate.vault.catalog import Catalog, SnapshotInfo, is_called, last_first, read_head
from qlikmigrate.vault.description import read_config, write_config
from qlikmigrate.vault.form import (
    Config,
    Header,
    Manifested,
    Shown,
    is_damaged,
    pack_digest,
    read_moves,
    shown_of,
)
from qlikmigrate.vault.known import Knowledge, Table
from qlikmigrate.vault.lock import Lock, acquire
from qlikmigrate.vault.name import (
    CONFIG,
    DRILLS,
    MOVES,
    DrillName,
    MovesName,
    Ref,
    SnapshotName,
    sha256,
    write_ranges,
)
from qlikmigrate.vault.rival import is_made_with, settle
from qlikmigrate.vault.sealing import Opening, Sealing
from qlikmigrate.vault.shelf import Choice, Shelf
from qlikmigrate.vault.snapshot import VaultSnapshot
from qlikmigrate.vault.store import ObjectExistsError, Store, open_store, read_all
from qlikmigrate.vault.writer import VaultWriter

LOCK_WAIT_S = 60.0


class Vault:
    """Many snapshots over time. `open` and `create` give one."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        sealing: Sealing | None = None,
        opening: Opening | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.sealing = sealing
        self.opening = opening
        self.clock: Clock = clock or SystemClock()
        self._config = config
        self.refresh()

    @classmethod
    def open(
        cls,
        place: str | os.PathLike[str] | Store,
        *,
        sealing: Sealing | None = None,
        opening: Opening | None = None,
        clock: Clock | None = None,
    ) -> Vault:
        """Open a vault.

        Raises:
            NotFoundError: there is none.
            CorruptError: its description is damaged, or of a newer format.
            UsageError: it is encrypted and recipients are missing, or the other way round.
        """
        store = _store(place)
        config = read_config(store)
        if sealing is not None and not config.encrypted:
            raise UsageError(f"the vault {store.location} is not encrypted", hint="leave the recipients out")
        return cls(store, config, sealing=sealing, opening=opening, clock=clock)

    @classmethod
    def create(
        cls,
        place: str | os.PathLike[str] | Store,
        *,
        sealing: Sealing | None = None,
        opening: Opening | None = None,
        clock: Clock | None = None,
    ) -> Vault:
        """Make a new vault; encrypted when `sealing` says for whom.

        Raises:
            UsageError: one is there already.
        """
        store = _store(place)
        config = Config(id=secrets.token_hex(8), encrypted=sealing is not None)
        try:
            store.create(CONFIG, write_config(config))
        except ObjectExistsError:
            raise UsageError(f"{store.location} is a vault already", code="vault-exists") from None
        return cls(store, config, sealing=sealing, opening=opening, clock=clock)

    @property
    def id(self) -> str:
        """Its id."""
        return self._config.id

    @property
    def encrypted(self) -> bool:
        """Whether its packs are sealed."""
        return self._config.encrypted

    @property
    def readable(self) -> bool:
        """Whether what its packs hold can be read here."""
        return not self.encrypted or self.opening is not None

    def require_key(self, *, hint: str = "") -> None:
        """Refuse what nobody can do without a look into packs. `hint`: what is said beside the flag that is missing.

        Raises:
            WrongKeyError: the vault is encrypted and no identity is given.
        """
        if not self.readable:
            raise WrongKeyError(
                f"the vault {self.store.location} is encrypted",
                hint="--identity names a key that opens it" + hint,
                code="no-key",
            )

    def require_recipient(self, *, hint: str = "") -> None:
        """Refuse to write where nobody said for whom to encrypt. `hint`: as for `require_key`.

        Raises:
            UsageError: the vault is encrypted and nobody did.
        """
        if self.encrypted and self.sealing is None:
            raise UsageError(
                f"the vault {self.store.location} is encrypted",
                hint=f"--recipient says for whom{hint}",
                code="no-recipient",
            )

    def refresh(self) -> None:
        """Look again what there is."""
        self.__dict__.pop("catalog", None)
        if "shelf" in self.__dict__:
            self.shelf.refresh()

    @cached_property
    def catalog(self) -> Catalog:
        """All heads, as they were when it was last looked."""
        return Catalog.read(self.store, self.id)

    @cached_property
    def shelf(self) -> Shelf:
        """The packs."""
        return self._shelf(lambda found: settle(self.catalog.heads, found))

    def _shelf(self, choose: Choice) -> Shelf:
        return Shelf(self.store, self.id, self.opening if self.encrypted else None, choose)

    def snapshots(self, tenant: str = "") -> list[SnapshotInfo]:
        """Live snapshots, oldest first. `tenant`: tag or id; where the vault can be read also name or host."""
        return list(self.catalog.of(self._meant(tenant)))

    def _meant(self, tenant: str) -> str:
        """The tag of the tenant of that id, if the vault has one, or of that name, if it can be read; else `tenant`."""
        tags = {one.tenant for one in self.catalog.snapshots}
        tag = self.tag(tenant)
        if not tenant or tag in tags or tenant in tags or not self.encrypted:
            return tag if tag in tags else tenant
        named = [tag for tag, shown in self.tenants().items() if is_called(shown, tenant)]
        return named[0] if len(named) == 1 else tenant

    def tenants(self) -> dict[str, Shown]:
        """Tag → whose it is, where heads do not say so and the vault can be read: from the newest manifest of each."""
        found: dict[str, Shown] = {}
        if self.encrypted and self.readable:
            for info in self.catalog.snapshots[::-1]:
                if info.tenant not in found:
                    with contextlib.suppress(CorruptError):
                        found[info.tenant] = shown_of(self.snapshot(info).manifest)
        return found

    def find(self, when: str, *, tenant: str = "", allow_incomplete: bool = False) -> SnapshotInfo:
        """The snapshot that WHEN means; see `Catalog.find`."""
        return self.catalog.find(
            when,
            location=self.store.location,
            now=self.clock.now(),
            tenant=self._meant(tenant),
            allow_incomplete=allow_incomplete,
        )

    def snapshot(self, info: SnapshotInfo) -> VaultSnapshot:
        """Open a snapshot.

        Raises:
            WrongKeyError: the vault is encrypted and no identity is given, or not the right one.
            CorruptError: it is damaged.
        """
        self.require_key()
        shelf = self.shelf
        if shelf.rivals and not is_made_with(info, shelf.names):
            shelf = self._shelf(lambda found: settle([info, *self.catalog.heads], found))
        return VaultSnapshot(info, shelf)

    def writer(
        self, *, spool_folder: Path | None = None, sink: Sink = discard, watch: Callable[[], None] = lambda: None
    ) -> VaultWriter:
        """Takes one more snapshot. `sink`, `watch`: as `lock`.

        Raises:
            UsageError: the vault is encrypted and nobody said for whom to encrypt.
        """
        self.require_recipient()
        return VaultWriter(self, spool_folder=spool_folder, sink=sink, watch=watch)

    def lock(
        self, *, wait_s: float = LOCK_WAIT_S, sink: Sink = discard, watch: Callable[[], None] = lambda: None
    ) -> Lock:
        """The right to write, for one at a time. `sink` hears whom this waits for; what `watch` raises ends the work.

        Raises:
            LockedError: another holds it for longer than `wait_s`.
        """
        holder = f"{socket.gethostname()}, process {os.getpid()}"
        if self.encrypted:
            # Nothing of an encrypted vault names a host.
            holder = f"process {os.getpid()}"
        return acquire(self.store, holder=holder, clock=self.clock, wait_s=wait_s, sink=sink, watch=watch)

    def tag(self, tenant_id: str) -> str:
        """What stands for a tenant in heads: it tells tenants apart, and says nothing to others."""
        return sha256(f"{self.id}\n{tenant_id}".encode())[:16]

    def knowledge(self, tenant: str) -> Knowledge:
        """What earlier snapshots of a tenant (its tag) know. Damage to them is no error: then less is known."""
        # Nothing builds on a number that means two packs.
        packs = self.shelf.packs.keys() - self.catalog.marked - self.shelf.rivals.keys()
        if self.encrypted:
            stored = {seq: name.sha256 for seq, (name, _) in self.shelf.packs.items()}
            return Table.of(self.id, tenant).read(stored).moved(self.moves()).only(packs)
        for info in last_first(self.catalog.snapshots, tenant, self.clock.now()):
            with contextlib.suppress(CorruptError):
                return Knowledge.of(self.snapshot(info), packs)
        return Knowledge()

    def moves(self) -> dict[Ref, Ref]:
        """Where pieces lie that a repack wrote anew, by where they lay before; told in encrypted vaults only.

        Without it a host that cannot look into packs would know nothing any more.
        """
        found: dict[Ref, Ref] = {}
        for entry in self.store.entries(MOVES):
            name = MovesName.parse(entry.name)
            data = self.store.read(entry.name) if name else b""
            if name is None or sha256(data) != name.sha256:
                continue
            with contextlib.suppress(ValueError):
                found |= read_moves(data)
        return {old: _followed(found, new) for old, new in found.items()}

    def next_sequence(self) -> int:
        """The number of the next pack: none that any pack or head has ever had."""
        known = [*self.shelf.packs]
        for one in (*self.catalog.snapshots, *self.catalog.gone, *self.catalog.older):
            known += one.packs
        known += [one.pack for one in self.catalog.tombstones] + [one.pack for one in self.catalog.marks]
        return max(known, default=0) + 1

    def publish(
        self,
        found: Manifested,
        place: Ref,
        packs: frozenset[int],
        *,
        needs: Iterable[str],
        partial: bool,
        generation: int = 0,
    ) -> SnapshotInfo:
        """Make a snapshot visible whose manifest, `found`, lies at `place`, and that needs `packs`.

        Raises:
            FailedError: a pack is not there, or the store cannot be written to.
        """
        missing = packs - self.shelf.packs.keys()
        if missing:
            raise FailedError(f"pack {min(missing):08x} is not in {self.store.location} after it was stored")
        header = Header(
            vault=self.id,
            id=found.id,
            tenant=found.tenant,
            started_at=found.capture.started_at,
            finished_at=found.capture.finished_at,
            complete=found.head.complete,
            partial=partial,
            damaged=is_damaged(found.head),
            needs=tuple(sorted(set(needs))),
            packs=write_ranges(packs),
            packs_sha256=pack_digest([str(self.shelf.packs[one][0]) for one in packs]),
            manifest=str(place),
            shown=None if self.encrypted else shown_of(found.head),
        )
        data = dump(header)
        name = SnapshotName(header.finished_at.replace(microsecond=0), header.id, generation, sha256(data))
        self.store.create(str(name), data)
        self.__dict__.pop("catalog", None)
        return read_head(self.store, name, self.id)

    def check_drills(self) -> None:
        """Whether evidence can be filed here.

        Raises:
            UsageError: the vault is encrypted and nobody said for whom.
        """
        self.require_recipient(hint=" evidence is filed")

    def file_drill(self, snapshot_id: str, evidence: bytes, at: datetime) -> str:
        """Keep the evidence of a drill; its name. In an encrypted vault it is encrypted.

        Raises:
            UsageError: as `check_drills`.
        """
        self.check_drills()
        data = self.sealing.seal(evidence) if self.encrypted and self.sealing else evidence
        name = str(DrillName(snapshot_id, at, sha256(data)))
        self.store.create(name, data)
        return name

    def drills(self) -> list[tuple[str, bytes]]:
        """The evidence of all drills, oldest first, each with the id of its snapshot; none where it cannot be read."""
        if not self.readable:
            return []
        names = [name for entry in self.store.entries(DRILLS) if (name := DrillName.parse(entry.name))]
        found = []
        names.sort(key=lambda one: one.at)
        for name, (_, data) in zip(names, read_all(self.store, list(map(str, names))), strict=True):
            if data is not None and sha256(data) == name.sha256:
                if self.encrypted and self.opening:
                    data = self.opening.open(data, what=f"the evidence of a drill in {self.store.location}")
                found.append((name.id, data))
        return found


def _followed(moves: Mapping[Ref, Ref], place: Ref) -> Ref:
    """Where a piece lies after all repacks: each writes into packs of higher numbers."""
    while (further := moves.get(place)) is not None and further.pack > place.pack:
        place = further
    return place


def _store(place: str | os.PathLike[str] | Store) -> Store:
    return open_store(os.fspath(place)) if isinstance(place, str | os.PathLike) else place
