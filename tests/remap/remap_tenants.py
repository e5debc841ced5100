"""Builders for the tests of remap: inventories, workspaces, a rewrite in one call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.mapping import MappingRow
from qlikmigrate.remap.mapping_file import parse
from qlikmigrate.remap.matching import match
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

SOURCE = TenantFacts(
    id="AsVdoGjkV9CRHsKUOjoVOIIVSKmrqP1C", host="acme.eu.qlikcloud.com", hostnames=("bi.acme.example",)
)
TARGET = TenantFacts(id="Zt7doGjkV9CRHsKUOjoVOIIVSKmrqP1D", host="acme-dr.us.qlikcloud.com")
QPO = "c7e48240-e0f2-11ec-ada1-d5ef75014b77"
QCS = "61a87510-c7a3-11ea-95da-0fb0c241e75c"


def one(kind: Kind, ident: str, name: str = "", **facts: Any) -> Entity:
    return Entity(kind=kind, id=ident, name=name, **facts)


def source(*entities: Entity) -> Inventory:
    return Inventory(tenant=SOURCE, entities=entities)


def target(*entities: Entity) -> Inventory:
    return Inventory(tenant=TARGET, entities=entities)


def rows(pairs: Iterable[tuple[Entity, str]]) -> IdMapping:
    return IdMapping(
        rows=tuple(MappingRow(kind=old.kind, source=old, target_id=new, rule="explicit") for old, new in pairs)
    )


def rewritten(
    document: Any, mine: Inventory, theirs: Inventory, mapping: IdMapping | str | None = None, **facts: Any
) -> tuple[Any, Rewritten]:
    """The document after a rewrite, parsed, and all that was told. `mapping` as text is a mapping file."""
    if not isinstance(mapping, IdMapping):
        mapping = match(mine, theirs, decisions=parse(mapping) if mapping else None)
    raw = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    result = rewrite(raw, Rewriting(source=mine, target=theirs, mapping=mapping, **facts))
    return json.loads(result.raw), result


def workspace(*blocks: Mapping[str, Any], variables: Iterable[Any] = ()) -> dict[str, Any]:
    return {"blocks": list(blocks), "variables": list(variables)}


def block(kind: str = "EndpointBlock", **members: Any) -> dict[str, Any]:
    return {"id": "7AF25030-7F9E-4E8C-9F4A-2A1D3B5C6D7E", "type": kind, "disabled": False, "name": "block"} | members


def codes(result: Rewritten) -> list[str]:
    return [finding.code for finding in result.findings]
