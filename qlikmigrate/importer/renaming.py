"""Automations that people renamed at the target and that no ledger remembers: found again by what they hold.

Nobody guesses: one source and one target alone of that content, space and owner, of more than a start block. What is
found is a counterpart under another name, so a conflict that is named, and no reason to create a double.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import evolve

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError
from qlikmigrate.importer.comparison import FIELDS, face_of
from qlikmigrate.importer.fallback import Fallback
from qlikmigrate.importer.source import Source
from qlikmigrate.importer.target import Target, read_automation
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse
from qlikmigrate.remap.mapping import UNMATCHED, Decision, MappingRow
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

# Rows of both tenants have these, and a rewrite leaves them as they are. Source: openapi/workflows-automations.json.
_SAME_ANYWHERE = ("endpointIds", "snippetIds")

Place = tuple[str, str, str]


async def with_renamed(
    client: CloudClient, source: Source, target: Target, mapping: IdMapping, *, owner: str | None, fallback: Fallback
) -> IdMapping:
    """The mapping, with the renamed counterparts of what has none by id, ledger or name. Sends GETs only.

    `owner`: who will own everything, else the mapped owner, else the one of `fallback`.
    """
    texts: dict[str, str] = {}
    while True:
        open_rows = [
            row
            for row in mapping.unmatched(Kind.AUTOMATION)
            if row.rule == UNMATCHED and row.source.id in source.automations
        ]
        places = {row.source.id: _place(row, source, mapping, owner, fallback) for row in open_rows}
        candidates = _candidates(open_rows, places, source, target, mapping)
        await _read(client, target, candidates.keys() - texts.keys(), texts)
        found = _pairs(open_rows, places, source, target, mapping, candidates, texts)
        if not found:
            return mapping
        # Callers of what was just found can be told by their content now.
        mapping = evolve(mapping, rows=tuple(found.get(row.source.id, row) for row in mapping.rows))


def _place(row: MappingRow, source: Source, mapping: IdMapping, owner: str | None, fallback: Fallback) -> Place | None:
    """Space, owner and description at the target; None where the automation has no place there."""
    one = source.automations[row.source.id].entity
    space = mapping.target_of(Kind.SPACE, one.space_id) or fallback.space_id if one.space_id else ""
    owner = owner or mapping.target_of(Kind.USER, one.owner_id) or fallback.owner_id
    if space is None or owner is None:
        return None
    value = _document(source, one.id)
    return space.lower(), owner.lower(), str(value.get("description") or "")


def _document(source: Source, ident: str) -> Mapping[str, Any]:
    value = parse(source.snapshot.detail(Kind.AUTOMATION, ident).raw)
    return value if isinstance(value, Mapping) else {}


def _candidates(
    open_rows: Iterable[MappingRow],
    places: Mapping[str, Place | None],
    source: Source,
    target: Target,
    mapping: IdMapping,
) -> dict[str, Place]:
    """Ids at the target whose rows do not exclude that they are what one of the source's became."""
    taken = {str(row.target_id).lower() for row in mapping.of(Kind.AUTOMATION) if row.target_id}
    wanted: dict[Place, list[Mapping[str, Any]]] = defaultdict(list)
    for row in open_rows:
        place = places[row.source.id]
        if place is not None:
            wanted[place].append(_document(source, row.source.id))
    found = {}
    for one in target.inventory.of(Kind.AUTOMATION):
        there = target.rows.get(one.id, {})
        at = (one.space_id.lower(), one.owner_id.lower(), str(there.get("description") or ""))
        if one.id.lower() not in taken and any(_alike(here, there) for here in wanted.get(at, ())):
            found[one.id] = at
    return found


def _alike(here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(
        sorted(map(str, here[name] or ())) == sorted(map(str, there[name] or ()))
        for name in _SAME_ANYWHERE
        if name in here and name in there
    )


async def _read(client: CloudClient, target: Target, idents: Collection[str], texts: dict[str, str]) -> None:
    async def read(one: Entity) -> None:
        try:
            texts[one.id] = _content((await read_automation(client, one))[1])
        except (ForbiddenError, MissingError):
            texts[one.id] = ""

    ones = [one for ident in sorted(idents) if (one := target.inventory.get(Kind.AUTOMATION, ident))]
    await fan_out(ones, read, width=client.endpoint.limits.concurrency)


def _content(value: Mapping[str, Any]) -> str:
    """What an automation holds, its name and bindings apart; empty for next to nothing."""
    blocks = (value.get("workspace") or {}).get("blocks") or ()
    if len(blocks) < 2:
        return ""
    fields = face_of(value).fields
    return " ".join(fields[name] for name in FIELDS if name != "name")


def _pairs(
    open_rows: Iterable[MappingRow],
    places: Mapping[str, Place | None],
    source: Source,
    target: Target,
    mapping: IdMapping,
    candidates: Mapping[str, Place],
    texts: Mapping[str, str],
) -> dict[str, MappingRow]:
    rewriting = Rewriting(source=source.inventory, target=target.inventory, mapping=mapping)
    here: dict[tuple[Place, str], list[MappingRow]] = defaultdict(list)
    there: dict[tuple[Place, str], list[str]] = defaultdict(list)
    for ident, at in candidates.items():
        there[at, texts[ident]].append(ident)
    places_with_some = {place for place, _ in there}
    for row in open_rows:
        place = places[row.source.id]
        if place is None or place not in places_with_some:
            continue
        raw = rewrite(source.snapshot.detail(Kind.AUTOMATION, row.source.id).raw, rewriting).raw
        here[place, _content(parse(raw))].append(row)
    found = {}
    for key, rows in here.items():
        idents = there.get(key, ())
        if key[1] and len(rows) == len(idents) == 1:
            one = target.inventory.get(Kind.AUTOMATION, idents[0])
            found[rows[0].source.id] = evolve(
                rows[0],
                target_id=idents[0],
                target_name=one.name if one else "",
                decision=Decision.MAP,
                rule="content",
            )
    return found
