"""Which snapshots a vault has: heads that are whole, the newest writing of each, without those that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from attrs import field, frozen

from qlikmigrate.archive.layout import load
from qlikmigrate.kernel.clock import to_the_second
from qlikmigrate.kernel.error import NotFoundError, PartialError, UsageError
from qlikmigrate.vault.form import SNAPSHOT_FORMAT, Header, Shown, check_version
from qlikmigrate.vault.name import (
    BEGUN,
    GONE,
    MARKS,
    SNAPSHOTS,
    Begun,
    Mark,
    Ref,
    SnapshotName,
    Tombstone,
    read_ranges,
    sha256,
)
from qlikmigrate.vault.store import Store, read_all

_PREFIX_CHARS = 8
# Clocks of two hosts differ by less.
_SKEW = timedelta(days=1)


@frozen(kw_only=True)
class SnapshotInfo:
    """A snapshot as its head describes it. `tenant`: a tag; who that is stands in `shown`, or in the manifest."""

    id: str
    tenant: str
    started_at: datetime
    taken_at: datetime
    complete: bool
    partial: bool
    damaged: bool = False
    needs: tuple[str, ...] = ()
    packs: frozenset[int] = field(default=frozenset(), repr=False)
    packs_sha256: str = ""
    manifest: Ref
    shown: Shown | None = None
    name: SnapshotName = field(repr=False)

    @property
    def tenant_id(self) -> str:
        """The tenant's id; empty where the vault is encrypted."""
        return self.shown.tenant_id if self.shown else ""

    @property
    def host(self) -> str:
        """The tenant's host; empty where the vault is encrypted."""
        return self.shown.host if self.shown else ""

    @property
    def tenant_label(self) -> str:
        """What people call the tenant, as far as the head tells."""
        return self.shown.label if self.shown else self.tenant


@frozen(kw_only=True)
class BrokenHead:
    """A head that is not as it was written. `id`: of the snapshot."""

    name: str
    id: str
    message: str


@frozen(kw_only=True)
class Catalog:
    """All heads of a vault at one moment. `snapshots`: live ones, oldest first; `gone`: those with a tombstone.

    `older`: whole heads that a newer writing of the same snapshot has replaced. `begun`: snapshots that are being
    stored, or were when their writer was killed.
    """

    snapshots: tuple[SnapshotInfo, ...]
    gone: tuple[SnapshotInfo, ...] = ()
    older: tuple[SnapshotInfo, ...] = ()
    broken: tuple[BrokenHead, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    marks: tuple[Mark, ...] = ()
    begun: tuple[Begun, ...] = ()

    @property
    def marked(self) -> frozenset[int]:
        """The packs that are about to go."""
        return frozenset(one.pack for one in self.marks)

    @property
    def heads(self) -> tuple[SnapshotInfo, ...]:
        """All whole heads: those of live snapshots first, of these the newest first."""
        return (*reversed(self.snapshots), *reversed(self.gone), *self.older)

    @property
    def told(self) -> frozenset[str]:
        """Ids of snapshots whose manifest need not have a whole head: one is there, or there should be none."""
        told = {one.id for one in (*self.snapshots, *self.gone, *self.older)}
        # Where nothing can be deleted this stays behind; a head, even a damaged one, shows that there was an end to it.
        begun = {one.id for one in self.begun} - {one.id for one in self.broken}
        return frozenset(told | {one.id for one in self.tombstones} | begun)

    @classmethod
    def read(cls, store: Store, vault_id: str) -> Catalog:
        """Read every head.

        Raises:
            CorruptError: one is of a newer format version.
        """
        tombstones = tuple(one for entry in store.entries(GONE) if (one := Tombstone.parse(entry.name)))
        marks = tuple(mark for entry in store.entries(MARKS) if (mark := Mark.parse(entry.name)))
        begun = tuple(start for entry in store.entries(BEGUN) if (start := Begun.parse(entry.name)))
        dead = {one.id for one in tombstones}
        newest: dict[str, SnapshotInfo] = {}
        older: list[SnapshotInfo] = []
        broken: list[BrokenHead] = []
        names = [entry.name for entry in store.entries(SNAPSHOTS)]
        for text, data in read_all(store, [one for one in names if SnapshotName.parse(one)]):
            name = SnapshotName.parse(text)
            if name is None or data is None:
                continue
            try:
                info = parse_head(data, name, vault_id)
            except ValueError as error:
                broken.append(BrokenHead(name=text, id=name.id, message=str(error)))
                continue
            known = newest.get(info.id)
            if known is None or known.name.generation < info.name.generation:
                newest[info.id] = info
            if known is not None:
                older.append(known if newest[info.id] is info else info)
        order = sorted(newest.values(), key=lambda one: (one.taken_at, one.id))
        return cls(
            snapshots=tuple(one for one in order if one.id not in dead),
            gone=tuple(one for one in order if one.id in dead),
            older=tuple(older),
            # A head that another writing of the same snapshot stands in for is no loss, but it is damage.
            broken=tuple(broken),
            tombstones=tombstones,
            marks=marks,
            begun=begun,
        )

    def of(self, tenant: str) -> tuple[SnapshotInfo, ...]:
        """Live snapshots of the tenant that `tenant` means by tag, id, name or host; empty: of all."""
        return tuple(one for one in self.snapshots if not tenant or _is_tenant(one, tenant))

    def find(
        self, when: str, *, location: str, now: datetime, tenant: str = "", allow_incomplete: bool = False
    ) -> SnapshotInfo:
        """The snapshot that WHEN means: `latest`, an id or 8 characters of one, a time, a date, `yesterday`.

        A snapshot of a selection is taken only when its id is given: it is no state of the tenant.

        Raises:
            NotFoundError: there is none.
            UsageError: it means several, or is no such word.
            PartialError: only an incomplete one, and that was not allowed.
        """
        ones = self.of(tenant)
        if not ones:
            raise NotFoundError(
                f"no snapshot in {location}" + (f" of tenant `{tenant}`" if tenant else ""), code="no-snapshot"
            )
        word = when.lower()
        if len(word) >= _PREFIX_CHARS and all(c in "0123456789abcdef" for c in word):
            found = [one for one in ones if one.id.startswith(word)]
            if len(found) > 1:
                raise UsageError(f"`{when}` means {len(found)} snapshots", hint="give more of the id")
            if found:
                return _whole(found[0], allow_incomplete)
            removed = any(one.id.startswith(word) for one in self.gone)
            raise NotFoundError(
                f"no snapshot `{when}` in {location}" + (" any more" if removed else ""),
                hint=f"`prune {location} --undelete {when}` takes it back" if removed else "",
                code="no-snapshot",
            )
        limit = _limit(word, now)
        tenants = {one.tenant for one in ones}
        if len(tenants) > 1:
            names = sorted({one.tenant_label for one in ones})
            raise UsageError(
                f"{location} holds {len(tenants)} tenants: {', '.join(names)}", hint="--tenant says which is meant"
            )
        before = [one for one in ones if not one.partial and (limit is None or one.taken_at <= limit)]
        usable = [one for one in before if one.complete or allow_incomplete]
        if usable:
            return usable[-1]
        if before:
            return _whole(before[-1], allow_incomplete)
        whole = [one for one in ones if not one.partial]
        raise NotFoundError(
            f"no snapshot in {location} that early: {when}"
            if whole
            else f"no snapshot of a whole tenant in {location}",
            hint=f"the first is of {to_the_second(whole[0].taken_at)}"
            if whole
            else "one of a selection is meant by its id",
            code="no-snapshot",
        )


def read_head(store: Store, name: SnapshotName, vault_id: str) -> SnapshotInfo:
    """The head of that name.

    Raises:
        ObjectMissingError: it is gone.
        CorruptError, ValueError: as `parse_head`.
    """
    return parse_head(store.read(str(name)), name, vault_id)


def parse_head(data: bytes, name: SnapshotName, vault_id: str) -> SnapshotInfo:
    """The head of that name, from what it holds.

    Raises:
        CorruptError: it is of a newer format version.
        ValueError: it is damaged.
    """
    if sha256(data) != name.sha256:
        raise ValueError("its hash differs")
    strict = check_version(data, SNAPSHOT_FORMAT, "head of a snapshot")
    header = load(Header, data, strict=strict)
    if (header.id, header.vault) != (name.id, vault_id):
        raise ValueError("it belongs to another snapshot or vault")
    return SnapshotInfo(
        id=header.id,
        tenant=header.tenant,
        started_at=header.started_at,
        taken_at=header.finished_at,
        complete=header.complete,
        partial=header.partial,
        damaged=header.damaged,
        needs=header.needs,
        packs=read_ranges(header.packs),
        packs_sha256=header.packs_sha256,
        manifest=Ref.parse(header.manifest),
        shown=header.shown,
        name=name,
    )


def newest(ones: Iterable[SnapshotInfo], tenant: str) -> SnapshotInfo | None:
    """The last snapshot of a whole tenant, complete or not, by its tag."""
    found: Sequence[SnapshotInfo] = [one for one in ones if one.tenant == tenant and not one.partial]
    return max(found, key=lambda one: (one.taken_at, one.id), default=None)


def last_first(ones: Iterable[SnapshotInfo], tenant: str, now: datetime) -> list[SnapshotInfo]:
    """Snapshots of a whole tenant, complete or not, by its tag, the last one first.

    One of the future comes last: by it nothing that was stored since would be known.
    """
    found = [one for one in ones if one.tenant == tenant and not one.partial]
    return sorted(found, key=lambda one: (one.taken_at <= now + _SKEW, one.taken_at, one.id), reverse=True)


def _is_tenant(one: SnapshotInfo, wanted: str) -> bool:
    return wanted.lower() == one.tenant or (one.shown is not None and is_called(one.shown, wanted))


def is_called(shown: Shown, wanted: str) -> bool:
    """Whether a tenant has that id, name or host."""
    names = (shown.tenant_id, shown.tenant_name, shown.host)
    return wanted.lower() in (name.lower() for name in names if name)


def _whole(one: SnapshotInfo, allow_incomplete: bool) -> SnapshotInfo:
    if not one.complete and not allow_incomplete:
        raise PartialError(
            f"snapshot {one.id} is incomplete", hint="--allow-incomplete uses it as it is", code="incomplete"
        )
    return one


def _limit(word: str, now: datetime) -> datetime | None:
    """The moment that a word means; None for `latest`."""
    if word == "latest":
        return None
    if word == "yesterday":
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(microseconds=1)
    try:
        if len(word) == 10:
            day = datetime.fromisoformat(word).replace(tzinfo=UTC)
            return day + timedelta(days=1) - timedelta(microseconds=1)
        moment = datetime.fromisoformat(word.upper())
    except ValueError:
        raise UsageError(
            f"no snapshot is called `{word}`",
            hint="WHEN is latest, yesterday, a date, an RFC 3339 time, or 8 characters of an id",
        ) from None
    if moment.tzinfo is None:
        raise UsageError(f"the time `{word}` has no zone", hint="end it with Z, or with an offset such as +01:00")
    return moment
