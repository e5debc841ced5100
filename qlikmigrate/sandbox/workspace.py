"""What the service makes of a workspace that it stores. Ids and values stay; spelling does not.

Source: Qlik's exported file compared with the API's answer for the same automation, in its tutorial on deploying one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_LOOP_NAMES = """
    EndpointBlock SnippetBlock ForEachBlock ForEachBatchBlock FilterListBlock LookupItemBlock DeduplicateListBlock
    CompareListsBlock TransformListBlock MergeListsBlock LimitBlock ListFilesBlock ReadDataFromFileBlock
    ReplaceFieldNamesBlock ListPointerBlock
"""
_LOOPS = frozenset(_LOOP_NAMES.split())
_DROPPED = frozenset({"logo", "endpoint_role"})
_RUN_MODES = frozenset({"manual", "scheduled", "triggered", "webhook"})


def normalise(workspace: Mapping[str, Any]) -> dict[str, Any]:
    """The workspace as it comes back: keys by length then name, `{}` as `[]`, empty comments as null."""
    made = {key: workspace[key] for key in workspace}
    found = workspace.get("blocks")
    if isinstance(found, list):
        made["blocks"] = [_block(block) if isinstance(block, dict) else block for block in found]
    spelled = _spell(made)
    return spelled if isinstance(spelled, dict) else {}


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in block.items() if key not in _DROPPED}
    if made.get("comment") == "":
        made["comment"] = None
    if made.get("type") in _LOOPS:
        made.setdefault("loopBlockId", None)
    if isinstance(made.get("settings"), list):
        made["settings"] = [_setting(one) for one in made["settings"]]
    return made


def _setting(one: Any) -> Any:
    if isinstance(one, dict) and one.get("id") == "maxitemcount" and one.get("value") == "":
        return one | {"value": None}
    return one


def _spell(value: Any) -> Any:
    if isinstance(value, dict):
        if not value:
            return []
        return {key: _spell(value[key]) for key in sorted(value, key=lambda key: (len(key), key))}
    if isinstance(value, list):
        return [_spell(one) for one in value]
    return value


def blocks(workspace: Any) -> Iterator[dict[str, Any]]:
    """The blocks that are objects."""
    found = workspace.get("blocks") if isinstance(workspace, dict) else None
    for block in found if isinstance(found, list) else ():
        if isinstance(block, dict):
            yield block


def entry(block: Mapping[str, Any], group: str, ident: str) -> dict[str, Any] | None:
    """The input or setting of that id."""
    found = block.get(group)
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and one.get("id") == ident:
            return one
    return None


def value_of(block: Mapping[str, Any], group: str, ident: str) -> Any:
    """The value of an input or setting."""
    one = entry(block, group, ident)
    return one.get("value") if one else None


def start_mode(workspace: Any) -> str:
    """The run mode that the StartBlock asks for."""
    for block in blocks(workspace):
        if block.get("type") == "StartBlock":
            mode = value_of(block, "inputs", "run_mode")
            return mode if isinstance(mode, str) and mode in _RUN_MODES else "manual"
    return "manual"


def derived_ids(workspace: Any) -> dict[str, list[str]]:
    """`connectorIds`, `endpointIds`, `snippetIds`: what the blocks use, unconnected ones too."""
    found: dict[str, dict[str, None]] = {"connectorIds": {}, "endpointIds": {}, "snippetIds": {}}
    for block in blocks(workspace):
        for key, name in (
            ("datasourcetype_guid", "connectorIds"),
            ("endpoint_guid", "endpointIds"),
            ("snippet_guid", "snippetIds"),
        ):
            value = block.get(key)
            if isinstance(value, str) and value:
                found[name][value] = None
        if block.get("type") == "StartBlock":
            value = value_of(block, "inputs", "datasourcetype_guid")
            if isinstance(value, str) and value:
                found["connectorIds"][value] = None
    return {name: list(values) for name, values in found.items()}


def connections_used(workspace: Any) -> set[str]:
    """Ids of the connections that blocks are bound to."""
    values = (value_of(block, "settings", "datasource") for block in blocks(workspace))
    return {value for value in values if isinstance(value, str) and value}


def null_bindings(workspace: dict[str, Any], keep: Callable[[str], bool]) -> None:
    """Unbind, in place, every block whose connection is not one to `keep`."""
    for block in blocks(workspace):
        one = entry(block, "settings", "datasource")
        if one is not None and isinstance(one.get("value"), str) and not keep(one["value"]):
            one["value"] = None


def calls(workspace: Any) -> Iterator[tuple[str, Any, bool]]:
    """`(block name, callee, disabled)` of every Call Automation block."""
    for block in blocks(workspace):
        if block.get("type") == "CallWidgetBlock":
            yield str(block.get("name")), value_of(block, "inputs", "guid"), block.get("disabled") is True
