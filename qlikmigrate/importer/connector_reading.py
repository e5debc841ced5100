"""What the connectors of connections to be created ask for: read from the target, else from the archive. GETs only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError, UnsupportedError
from qlikmigrate.importer.connection_plan import Parameter
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Entity, as_bool
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.mapping import Mapping as IdMapping


async def read_parameters(
    client: CloudClient, snapshot: Snapshot, connections: Iterable[Entity], mapping: IdMapping
) -> dict[str, tuple[Parameter, ...]]:
    """Source connection id → parameters of its connector; those that nobody tells are left out.

    Source: openapi/workflows-automation-connectors.json (`optional`); under v1 the connection's own detail in the
    archive has to do (`isOptional`).
    """
    ones = {one.id: mapping.target_of(Kind.CONNECTOR, one.connector_id) for one in connections}
    published: dict[str, tuple[Parameter, ...]] = {}

    async def read(connector: str) -> None:
        try:
            answer = await client.call("connector.get", id=connector)
        except (UnsupportedError, ForbiddenError, MissingError):
            return
        found = _parameters(answer.json(), "optional")
        if found is not None:
            published[connector] = found

    await fan_out(sorted({one for one in ones.values() if one}), read, width=client.endpoint.limits.concurrency)
    told = set(snapshot.ids(Kind.CONNECTION))
    known: dict[str, tuple[Parameter, ...]] = {}
    for ident, connector in ones.items():
        found = published.get(connector or "")
        if found is None and ident in told:
            found = _parameters(parse(snapshot.detail(Kind.CONNECTION, ident).raw), "isOptional")
        if found is not None:
            known[ident] = found
    return known


def _parameters(value: Any, optional: str) -> tuple[Parameter, ...] | None:
    params = value.get("params") if isinstance(value, Mapping) else None
    if not isinstance(params, list):
        return None
    return tuple(
        Parameter(name=str(one["name"]), required=as_bool(one.get(optional)) is not True)
        for one in params
        if isinstance(one, Mapping) and isinstance(one.get("name"), str)
    )
