"""Tells apart automations that share name, space and owner: by content, then by age where the numbers agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from attrs import frozen

from qlikmigrate.model.inventory import Entity
from qlikmigrate.remap.mapping import UNMATCHED


@frozen(kw_only=True)
class Contents:
    """Canonical hashes of automations by id, read only for automations that share name, space and owner.

    A source hash is that of the document as it would be written at the target; None where it cannot be known.
    """

    source: Callable[[str], str | None]
    target: Callable[[str], str | None]


@frozen
class Found:
    """What one rule found for one source object."""

    candidates: tuple[Entity, ...]
    rule: str


def pair(sources: list[Entity], targets: list[Entity], contents: Contents | None) -> list[tuple[Entity, Found]]:
    """Automations that share name, space and owner: by content, then by age where the numbers agree."""
    if len(sources) == 1 and len(targets) == 1:
        return [(sources[0], Found((targets[0],), "name+space+owner"))]
    if not targets:
        return [(one, Found((), UNMATCHED)) for one in sources]
    found: list[tuple[Entity, Found]] = []
    if contents is not None:
        mine, theirs = _by_hash(sources, contents.source), _by_hash(targets, contents.target)
        for digest in mine.keys() & theirs.keys():
            if len(mine[digest]) == len(theirs[digest]) and (pairs := _by_age(mine[digest], theirs[digest])):
                found += [(one, Found((target,), "content")) for one, target in pairs]
        used = {one.id for one, _ in found} | {hit.candidates[0].id for _, hit in found}
        sources = [one for one in sources if one.id not in used]
        targets = [one for one in targets if one.id not in used]
    if not targets:
        return found + [(one, Found((), UNMATCHED)) for one in sources]
    if len(sources) == len(targets) and (pairs := _by_age(sources, targets)):
        rule = "name+space+owner" if len(pairs) == 1 else "created-at"
        return found + [(one, Found((target,), rule)) for one, target in pairs]
    if len(targets) == 1:
        # All ask for the one: the check for rivals lists them together.
        return found + [(one, Found((targets[0],), "name+space+owner")) for one in sources]
    return found + [(one, Found(tuple(targets), "name+space+owner")) for one in sources]


def _by_hash(ones: Iterable[Entity], hash_of: Callable[[str], str | None]) -> dict[str, list[Entity]]:
    groups: dict[str, list[Entity]] = defaultdict(list)
    for one in ones:
        if (digest := hash_of(one.id)) is not None:
            groups[digest].append(one)
    return groups


def _by_age(sources: list[Entity], targets: list[Entity]) -> list[tuple[Entity, Entity]]:
    """Paired by creation time; nothing where the times do not tell an order."""
    if len(sources) == 1:
        return [(sources[0], targets[0])]
    for ones in (sources, targets):
        times = {one.created_at for one in ones}
        if "" in times or len(times) < len(ones):
            return []
    return list(zip(sorted(sources, key=_age), sorted(targets, key=_age), strict=True))


def _age(one: Entity) -> str:
    return one.created_at
