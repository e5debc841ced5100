"""Which automations a drill takes: those that were drilled longest ago, so that repeated drills come to all of them.

The same snapshot, evidence and day give the same sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from qlikmigrate.importer.source import choose, read_source
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.ops.evidence import Evidence


def select_drilled(
    snapshot: Snapshot,
    chosen: Selectors,
    *,
    with_calls: bool,
    sample: int | None,
    earlier: Sequence[Evidence],
    place: str,
    now: datetime,
) -> tuple[Selectors, tuple[str, ...]]:
    """The selectors of what is drilled, and its ids where it is a part of the snapshot.

    `place`: the tenant's name, empty for an embedded one: what was drilled elsewhere does not count as drilled here.

    Raises:
        UsageError: the selection is empty.
        CorruptError: a document is damaged.
    """
    if not chosen and sample is None:
        return Selectors(), ()
    source = read_source(snapshot, Selectors(), with_calls=False)
    wanted = choose(source, chosen, with_calls=with_calls) & source.automations.keys()
    if not wanted:
        raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")
    if sample is not None and sample < len(wanted):
        ours = snapshot.manifest.tenant.id
        here = [
            one
            for one in earlier
            if one.archive.tenant_id == ours and (one.where.name if one.where.kind == "tenant" else "") == place
        ]
        wanted = frozenset(choose_sample(wanted, sample, earlier=here, now=now))
    if len(wanted) == len(source.automations):
        return Selectors(), ()
    idents = tuple(sorted(wanted))
    return Selectors(include=tuple(Selector(key="id", value=ident) for ident in idents)), idents


def choose_sample(idents: Collection[str], size: int, *, earlier: Sequence[Evidence], now: datetime) -> tuple[str, ...]:
    """`size` of `idents`, sorted. `earlier`: evidence of drills of the same tenant, the oldest first.

    Among those drilled at the same time, or never, the day decides: without evidence, days bring different samples.
    """
    last: dict[str, str] = {}
    for evidence in earlier:
        for ident in idents:
            if evidence.covers(ident):
                last[ident] = evidence.started_at
    day = f"{now:%Y-%m-%d}"

    def turn(ident: str) -> tuple[str, str]:
        return last.get(ident, ""), hashlib.sha256(f"{day} {ident}".encode()).hexdigest()

    return tuple(sorted(sorted(idents, key=turn)[:size]))
