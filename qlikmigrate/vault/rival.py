"""Packs that bear one sequence number: which of them a snapshot was made with, as the digest in its head tells.

One that wakes up late may store a pack under a number that another has taken since; so may whoever puts two copies of a
vault together again. No snapshot is ever read from packs that it was not made with, as long as its own are there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.form import pack_digest
from qlikmigrate.vault.name import PackName

# So many ways to choose are tried for one head.
_MOST_TRIES = 4096


def settle(heads: Iterable[SnapshotInfo], found: Mapping[int, Sequence[PackName]]) -> dict[int, PackName]:
    """Number → the pack that heads were made with, where there are several; earlier heads decide before later ones.

    `found`: all packs by number.
    """
    chosen: dict[int, PackName] = {}
    for info in heads:
        if not info.packs <= found.keys():
            continue
        doubtful = [one for one in info.packs if len(found[one]) > 1 and one not in chosen]
        if not doubtful or math.prod(len(found[one]) for one in doubtful) > _MOST_TRIES:
            continue
        sure = [str(chosen.get(one, found[one][0])) for one in info.packs.difference(doubtful)]
        for names in itertools.product(*(found[one] for one in doubtful)):
            if pack_digest([*sure, *map(str, names)]) == info.packs_sha256:
                chosen |= zip(doubtful, names, strict=True)
                break
    return chosen


def is_made_with(info: SnapshotInfo, packs: Mapping[int, PackName]) -> bool:
    """Whether a snapshot was made with these packs, given by number."""
    return info.packs <= packs.keys() and pack_digest([str(packs[one]) for one in info.packs]) == info.packs_sha256


def is_misled(info: SnapshotInfo, packs: Mapping[int, PackName]) -> bool:
    """Whether all packs of a snapshot seem to be there, and one of them is not what it was made with."""
    return info.packs <= packs.keys() and not is_made_with(info, packs)


def strangers(
    heads: Sequence[SnapshotInfo], packs: Mapping[int, PackName], rivals: Mapping[int, Sequence[PackName]]
) -> list[PackName]:
    """The rivals of `packs` that no snapshot was made with: each head that needs their number was made with `packs`."""
    found: list[PackName] = []
    for number, names in rivals.items():
        needing = [one for one in heads if number in one.packs]
        if needing and all(is_made_with(one, packs) for one in needing):
            found += names
    return found
