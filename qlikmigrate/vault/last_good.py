"""Which snapshot holds the last good version of what could not be read: retention leaves that one alone.

What no snapshot ever held is noted as well, so that nobody looks for it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from qlikmigrate.archive.spool import Spool
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse
from qlikmigrate.vault.catalog import newest
from qlikmigrate.vault.form import LastGood
from qlikmigrate.vault.known import Knowledge

if TYPE_CHECKING:
    from qlikmigrate.vault.vault import Vault

Name = tuple[Kind, str]


def find_last_good(
    vault: Vault, known: Knowledge, tenant: str, unread: Mapping[Name, datetime | None]
) -> tuple[LastGood, ...]:
    """The snapshots of which one holds the last good version of each object that could not be read.

    What is known may be older than the last snapshot: a host that cannot look into packs knows its own ones only. Then
    that one may hold it as well, or any that it relied on. What the last snapshot knows nothing of may have been
    unlisted then: where that can be done, older ones are looked through. `unread`: when each was made, if known.
    """
    before = newest(vault.catalog.snapshots, tenant)
    others = () if before is None or before.id == known.snapshot else (before.id, *before.needs)
    live = {one.id for one in vault.catalog.snapshots}
    found = {name: {*known.last_snapshots(*name), *others} & live for name in unread}
    unknown = {name for name, ids in found.items() if not ids and not known.tells_of(*name)}
    if unknown and vault.readable:
        found |= _look(vault, tenant, {name: unread[name] for name in unknown})
    return tuple(
        LastGood(kind=kind, id=ident, snapshot=one)
        for (kind, ident), ids in found.items()
        for one in (sorted(ids) or [""])
    )


def _look(vault: Vault, tenant: str, wanted: Mapping[Name, datetime | None]) -> dict[Name, set[str]]:
    """The newest snapshot that has each, of those taken since it was made. One that is damaged may have had it."""
    found: dict[Name, set[str]] = {}
    for info in reversed(vault.catalog.of(tenant)):
        left = {name for name, at in wanted.items() if name not in found and (at is None or at <= info.taken_at)}
        if not left:
            continue
        try:
            snapshot = vault.snapshot(info)
        except CorruptError:
            found |= {name: {info.id} for name in left}
            continue
        found |= {name: {info.id} for name in left if snapshot.content_key(*name) is not None}
    return found


def made_at(spool: Spool, kind: Kind, ident: str) -> datetime | None:
    """When an object was made, as its list row says."""
    slot = spool.slots.get((Part.ROW, kind, ident))
    value = parse(spool.content(slot)) if slot is not None else None
    try:
        made = datetime.fromisoformat(str(value["createdAt"])) if isinstance(value, Mapping) else None
    except (KeyError, ValueError):
        return None
    return made if made is not None and made.tzinfo is not None else None
