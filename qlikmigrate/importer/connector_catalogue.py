"""What the target's connectors publish, read only for those that stand in under another id: a block is a guid there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError, UnsupportedError
from qlikmigrate.importer.source import Source
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Mapping as IdMapping


@frozen(kw_only=True)
class ConnectorCatalogue:
    """`published`: connector id at the target -> the guids of its blocks, snippets and events.

    A connector that the target publishes under the same id is not in it: its guids are the same in all tenants.
    """

    published: Mapping[str, frozenset[str]]
    problems: tuple[Problem, ...] = ()


async def read_catalogue(client: CloudClient, source: Source, mapping: IdMapping) -> ConnectorCatalogue:
    """Read the connectors that the selection uses and the target has under another id; none, no request.

    Raises:
        ApiError: the target fails.
    """
    used = {ident.lower() for one in source.automations.values() for ident in one.connectors}
    replaced: dict[str, str] = {}
    for ident in used:
        there = mapping.target_of(Kind.CONNECTOR, ident)
        if there is not None and there.lower() != ident:
            replaced[there] = ident
    published: dict[str, frozenset[str]] = {}
    unread: list[str] = []

    async def read(ident: str) -> None:
        try:
            detail = (await client.call("connector.get", id=ident)).json()
        except (UnsupportedError, ForbiddenError, MissingError):
            unread.append(ident)
            return
        published[ident] = frozenset((*_guids(detail, "blocks"), *_guids(detail, "snippets"), *await events(ident)))

    async def events(ident: str) -> list[str]:
        try:
            return list(_guids((await client.call("connector.webhooks", id=ident)).json(), "events"))
        except (UnsupportedError, ForbiddenError, MissingError):
            return []

    await fan_out(sorted(replaced), read, width=client.endpoint.limits.concurrency)
    return ConnectorCatalogue(
        published=published,
        problems=tuple(
            Problem(
                code="catalogue-unchecked",
                severity=Severity.INFO,
                message="what this connector publishes cannot be read, so its blocks were not checked",
                where=f"connector {ident}",
                hint="look at its blocks in the editor after the restore",
            )
            for ident in sorted(unread)
        ),
    )


def _guids(value: Any, member: str) -> Iterator[str]:
    """Source: openapi/workflows-automation-connectors.json, `blocks`, `snippets`; `events` of its webhooks."""
    found = value.get(member) if isinstance(value, Mapping) else None
    for one in found if isinstance(found, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("id"), str):
            yield one["id"]
