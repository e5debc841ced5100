"""What a vault lets go: snapshots that no rule keeps get a tombstone, and a margin later their space comes back.

`plan_prune` decides and changes nothing; `prune` does it under the lock, one deletion after the other, each of which
asks the lock first. Whatever is deleted was marked a margin ago and is needed by nobody now, so a kill at any moment
loses nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from attrs import evolve, field, frozen

from qlikmigrate.kernel.error import CorruptError, NotFoundError, UsageError
from qlikmigrate.kernel.event import Progress, Sink, discard
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.check import checks, file_check
from qlikmigrate.vault.lock import Lock
from qlikmigrate.vault.name import MOVES, Mark, MovesName, Ref, Tombstone
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.repack import Repacked, refuse_immutable, repack
from qlikmigrate.vault.retention import Candidate, Decision, Policy, decide
from qlikmigrate.vault.rival import is_made_with, is_misled
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.store import ObjectExistsError
from qlikmigrate.vault.vault import Vault
from qlikmigrate.vault.verification import Level, verify_packs

MARGIN = timedelta(days=7)
"""How long what was removed can be had back, and how long a writer may sleep without doing harm."""
MIN_MARGIN = timedelta(hours=1)

# A hash that was found right is believed so long, so that a prune does not read a whole bucket each time.
_BELIEVED = timedelta(days=30)
# Repacking costs a rewrite of everything: it must win back this part of it.
_WASTE = 0.25
_UNSEEN = "nobody was told that it goes"


@frozen(kw_only=True)
class PrunePlan:
    """What a prune does, in this order. `removed`: get a tombstone; `erased`: had theirs long enough.

    `marked`, `unmarked`, `deleted`: packs. `freed_bytes`: by what is deleted; `wasted_bytes`: in packs that stay.
    `policy`, `tenant`, `sound`: what was decided by, so that it can be decided once more under the lock.
    """

    policy: Policy
    tenant: str = ""
    sound: frozenset[int] = field(default=frozenset(), repr=False)
    decisions: tuple[Decision, ...] = ()
    removed: tuple[SnapshotInfo, ...] = ()
    erased: tuple[SnapshotInfo, ...] = ()
    replaced: tuple[SnapshotInfo, ...] = ()
    marked: tuple[int, ...] = ()
    unmarked: tuple[Mark, ...] = ()
    deleted: tuple[int, ...] = ()
    moves: tuple[str, ...] = ()
    freed_bytes: int = 0
    wasted_bytes: int = 0
    kept_bytes: int = 0

    @property
    def repacks(self) -> bool:
        """Whether so much of what stays is needed by nobody that it is written anew."""
        return self.wasted_bytes > _WASTE * self.kept_bytes


@frozen(kw_only=True)
class Pruned:
    """What was done."""

    plan: PrunePlan
    repacked: Repacked | None = None


def plan_prune(
    vault: Vault, policy: Policy, *, tenant: str = "", margin: timedelta = MARGIN, sink: Sink = discard
) -> PrunePlan:
    """Decide, and change nothing. Hashes that nobody has looked at for a month are looked at now.

    Raises:
        UsageError: the margin is too short to be safe.
        NotFoundError: there is no snapshot of that tenant.
        CorruptError: a head is damaged, and nobody knows what it needs.
    """
    if margin < MIN_MARGIN:
        raise UsageError("the margin is at least one hour", hint="a backup may still build on what is removed")
    vault.refresh()
    _refuse_damage(vault)
    now = vault.clock.now()
    chosen = vault.snapshots(tenant)
    if tenant and not chosen:
        raise NotFoundError(f"no snapshot of tenant `{tenant}` in {vault.store.location}", code="no-snapshot")
    sound = _sound(vault, chosen, now, sink)
    plan = _plan(PrunePlan(policy=policy, tenant=tenant, sound=sound), vault, now, margin)
    return evolve(plan, wasted_bytes=_waste(vault, plan))


def prune(vault: Vault, lock: Lock, plan: PrunePlan, *, margin: timedelta = MARGIN, sink: Sink = discard) -> Pruned:
    """Do what was decided, as far as it would be decided again: a backup that came meanwhile stays, with what it needs.

    Raises:
        LockedError: the lock was lost; what was done is done, and the rest is for the next prune.
    """
    refuse_immutable(vault)
    vault.refresh()
    _refuse_damage(vault)
    now = vault.clock.now()
    plan = _plan(plan, vault, now, margin, may_go={one.candidate.id for one in plan.decisions if not one.keep})
    store = vault.store

    def create(name: object) -> None:
        lock.check()
        with contextlib.suppress(ObjectExistsError):
            store.create(str(name), b"")

    def delete(name: object) -> None:
        lock.check()
        store.delete(str(name))

    for info in plan.removed:
        create(Tombstone(info.id, info.manifest.pack, now))
    for sequence in plan.marked:
        create(Mark(sequence, now))
    for mark in plan.unmarked:
        delete(mark)
    for info in (*plan.erased, *plan.replaced):
        delete(info.name)
    # Before the packs: what speaks of packs that are gone could speak of others one day.
    for moves in plan.moves:
        delete(moves)
    total = len(plan.deleted)
    for done, sequence in enumerate(plan.deleted, 1):
        delete(vault.shelf.packs[sequence][0])
        sink(Progress(phase="delete packs", done=done, total=total))
    vault.refresh()
    _sweep(vault, lock, now - margin)
    repacked = None
    if plan.repacks and vault.readable and (vault.sealing is not None or not vault.encrypted):
        repacked = repack(vault, lock, sink=sink)
    store.sweep()
    vault.refresh()
    return Pruned(plan=plan, repacked=repacked)


def _refuse_damage(vault: Vault) -> None:
    if vault.catalog.broken:
        raise CorruptError(
            f"{len(vault.catalog.broken)} heads in {vault.store.location} are damaged: what they need is not known",
            hint="`repair` comes first",
        )


def undelete(vault: Vault, lock: Lock, snapshot_id: str) -> SnapshotInfo:
    """Take a snapshot back that was removed less than a margin ago.

    Raises:
        NotFoundError: there is none of that id, or it is gone for good.
    """
    vault.refresh()
    found = [one for one in vault.catalog.gone if one.id.startswith(snapshot_id)]
    if len(found) != 1:
        raise NotFoundError(
            f"no removed snapshot `{snapshot_id}` in {vault.store.location}",
            hint="`list VAULT --verbose` names those that may still be had back",
            code="no-snapshot",
        )
    missing = found[0].packs - vault.shelf.packs.keys()
    if missing:
        raise NotFoundError(f"snapshot {found[0].id} is gone: its packs are deleted", code="no-snapshot")
    for mark in vault.catalog.marks:
        if mark.pack in found[0].packs:
            lock.check()
            vault.store.delete(str(mark))
    for tombstone in vault.catalog.tombstones:
        if tombstone.id == found[0].id:
            lock.check()
            vault.store.delete(str(tombstone))
    vault.refresh()
    return found[0]


def _candidate(vault: Vault, info: SnapshotInfo, sound: frozenset[int]) -> Candidate:
    # Packs of other names are others, whatever their own hashes say.
    verified = info.packs <= sound and is_made_with(info, vault.shelf.names)
    return Candidate(
        id=info.id,
        tenant=info.tenant,
        taken_at=info.taken_at,
        complete=info.complete,
        partial=info.partial,
        verified=verified,
        damaged=info.damaged,
        needs=info.needs,
    )


def _sound(vault: Vault, chosen: Sequence[SnapshotInfo], now: datetime, sink: Sink) -> frozenset[int]:
    """The packs whose hashes are right: found so in the last weeks, or now."""
    believed: set[int] = set()
    for record in checks(vault):
        if abs(now - record.at) < _BELIEVED and record.level >= Level.HASH:
            believed |= record.packs
    needed = frozenset().union(*(one.packs for one in chosen))
    believed &= vault.shelf.packs.keys()
    found = verify_packs(vault, needed - believed, sink=sink)
    if found.packs and not vault.store.is_immutable():
        with contextlib.suppress(ObjectExistsError):
            file_check(vault, found, now)
    return frozenset(believed) | found.sound


def _plan(
    plan: PrunePlan, vault: Vault, now: datetime, margin: timedelta, *, may_go: Collection[str] | None = None
) -> PrunePlan:
    """The same plan for the vault as it is now. `may_go`: ids of what alone may be let go; None: all that is due."""
    candidates = [_candidate(vault, one, plan.sound) for one in vault.snapshots(plan.tenant)]
    decisions = tuple(
        one if one.keep or may_go is None or one.candidate.id in may_go else evolve(one, keep=True, reasons=(_UNSEEN,))
        for one in decide(candidates, plan.policy, now=now)
    )
    goes = {one.candidate.id for one in decisions if not one.keep}
    catalog = vault.catalog
    packs = vault.shelf.packs
    removed = tuple(one for one in catalog.snapshots if one.id in goes)
    live = [one for one in catalog.snapshots if one.id not in goes]
    old = {one.id for one in catalog.tombstones if one.at <= now - margin}
    erased = tuple(one for one in catalog.gone if one.id in old)
    resting = [one for one in (*catalog.gone, *removed) if one.id not in old]
    needed = frozenset[int]().union(*(one.packs for one in live))
    rested = frozenset[int]().union(*(one.packs for one in resting))
    known = {one.pack for one in catalog.marks}
    due = {one.pack for one in catalog.marks if one.at <= now - margin}
    deleted = tuple(sorted((due & packs.keys()) - needed - rested))
    kept = packs.keys() - set(deleted)
    return evolve(
        plan,
        decisions=decisions,
        removed=removed,
        erased=erased,
        # Heads that a newer one has replaced go with the packs that they alone speak of.
        replaced=tuple(one for one in catalog.older if one.packs & set(deleted)),
        marked=tuple(sorted(packs.keys() - needed - known)),
        unmarked=tuple(one for one in catalog.marks if one.pack in needed),
        deleted=deleted,
        moves=tuple(_old_moves(vault, now - margin)),
        freed_bytes=sum(packs[one][1] for one in deleted),
        kept_bytes=sum(packs[one][1] for one in kept & needed),
    )


def _waste(vault: Vault, plan: PrunePlan) -> int:
    """Bytes in needed packs that no live snapshot needs; 0 where that cannot be told, or is not worth a look."""
    gone = {one.id for one in plan.removed}
    live = [one for one in vault.catalog.snapshots if one.id not in gone]
    needed = frozenset[int]().union(*(one.packs for one in live))
    names = vault.shelf.names
    if not vault.readable or not live or any(is_misled(one, names) for one in live):
        return 0
    wanted: set[Ref] = set()
    shelf = vault.shelf
    try:
        for info in live:
            wanted.update(vault.snapshot(info).refs())
        # What a version builds on would be gone after a repack, but for the first, in whose place another is whole.
        for ref in list(wanted):
            base = shelf.piece(ref).base
            while base is not None and base not in wanted:
                if shelf.piece(base).version == 0:
                    wanted.add(base)
                base = shelf.piece(base).base
        ids = {info.id for info in live}
        held = used = 0
        for sequence in needed:
            for number, piece in enumerate(shelf.pack(sequence).pieces):
                held += piece.length
                is_copy = piece.what is What.MANIFEST and piece.id in ids
                used += piece.length if is_copy or Ref(sequence, number) in wanted else 0
    except (PieceError, CorruptError):
        return 0  # nothing that is damaged is written anew; `repair` comes first
    return held - used


def _sweep(vault: Vault, lock: Lock, before: datetime) -> None:
    """Tombstones and marks that nothing is left of.

    A tombstone whose manifest may still be found in a pack stays: otherwise a repair would take it for a snapshot that
    lost its head. The mark of the highest number that was ever given away stays, so that none is given away twice.
    """
    packs = vault.shelf.packs
    heads = {one.id for one in (*vault.catalog.gone, *vault.catalog.snapshots, *vault.catalog.older)}
    for tombstone in vault.catalog.tombstones:
        if tombstone.id not in heads and tombstone.pack not in packs:
            lock.check()
            vault.store.delete(str(tombstone))
    highest = max((*packs, *(mark.pack for mark in vault.catalog.marks)), default=0)
    for mark in vault.catalog.marks:
        if mark.pack not in packs and mark.pack != highest:
            lock.check()
            vault.store.delete(str(mark))
    for begun in vault.catalog.begun:
        # Nothing of it can be under way any more, and what it left has been marked.
        is_over = begun.at <= before and not any(one.pack in packs for one in vault.catalog.marks)
        if is_over or begun.id in heads:
            lock.check()
            vault.store.delete(str(begun))
    vault.refresh()


def _old_moves(vault: Vault, before: datetime) -> list[str]:
    found = []
    for entry in vault.store.entries(MOVES):
        name = MovesName.parse(entry.name)
        if name is not None and name.at <= before:
            found.append(entry.name)
    return found
