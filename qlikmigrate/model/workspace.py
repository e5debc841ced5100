"""A read-only view of a workspace: which connections, connectors, catalogue guids and automations it uses.

Never the stored form: unknown blocks and fields are passed over here and pass through everywhere else.
Source of all positions: Qlik's published workspace schema and public workspaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

CALL_BLOCK = "CallWidgetBlock"


@frozen(kw_only=True)
class BlockUse:
    """One reference that a block makes. `path` is by index from the document's top."""

    block_index: int
    block_name: str
    value: str
    connector_id: str = ""


def blocks(document: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The blocks of an automation's document, with their index."""
    workspace = document.get("workspace")
    found = workspace.get("blocks") if isinstance(workspace, Mapping) else None
    for index, block in enumerate(found if isinstance(found, list) else ()):
        if isinstance(block, Mapping):
            yield index, block


def _field(block: Mapping[str, Any], group: str, ident: str) -> Any:
    for one in block.get(group) or ():
        if isinstance(one, Mapping) and one.get("id") == ident:
            return one.get("value")
    return None


def _use(index: int, block: Mapping[str, Any], value: Any) -> Iterator[BlockUse]:
    if isinstance(value, str) and value:
        connector = block.get("datasourcetype_guid")
        yield BlockUse(
            block_index=index,
            block_name=str(block.get("name") or ""),
            value=value,
            connector_id=connector if isinstance(connector, str) else "",
        )


def connections_used(document: Mapping[str, Any]) -> Iterator[BlockUse]:
    """The `datasource` setting of every block that is bound."""
    for index, block in blocks(document):
        yield from _use(index, block, _field(block, "settings", "datasource"))


def automations_called(document: Mapping[str, Any]) -> Iterator[BlockUse]:
    """The `guid` input of every Call Automation block."""
    for index, block in blocks(document):
        if block.get("type") == CALL_BLOCK:
            yield from _use(index, block, _field(block, "inputs", "guid"))


def connectors_used(document: Mapping[str, Any]) -> Iterator[BlockUse]:
    """The connector of every connector block and of a webhook's StartBlock."""
    for index, block in blocks(document):
        yield from _use(index, block, block.get("datasourcetype_guid"))
        if block.get("type") == "StartBlock":
            yield from _use(index, block, _field(block, "inputs", "datasourcetype_guid"))
