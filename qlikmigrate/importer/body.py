"""Request bodies, made from a document's own text: what is sent is spelled as it was received.

Only fields that the service accepts are sent. Source: openapi/workflows-automations.json, request bodies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qlikmigrate.kernel.jsontext import Edit, elements, members, splice
from qlikmigrate.model.schedule import real_schedule

# Source: openapi/workflows-automations.json, `schedules` of the request; `recurrence` per Qlik's changelog 258.
SCHEDULE_FIELDS = ("startAt", "stopAt", "interval", "timezone", "recurrence")
SHELL_WORKSPACE: Mapping[str, Any] = {
    "blocks": [
        {
            "id": "00000000-0000-4000-8000-000000000001",
            "type": "StartBlock",
            "disabled": False,
            "name": "Start",
            "displayName": "Start",
            "comment": "",
            "childId": None,
            "inputs": [{"id": "run_mode", "value": "manual", "type": "select", "structure": {}}],
            "settings": [],
            "collapsed": [{"name": "loop", "isCollapsed": False}],
            "x": 0,
            "y": 0,
        }
    ],
    "variables": [],
}


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(parts: Mapping[str, str]) -> bytes:
    return ("{" + ",".join(f"{_dumps(key)}:{text}" for key, text in parts.items()) + "}").encode()


def _texts(raw: bytes) -> tuple[str, dict[str, str]]:
    text = raw.decode("utf-8")
    return text, {member.key: text[member.start : member.end] for member in members(text)}


def full_body(
    raw: bytes, *, space_id: str | None, max_concurrent_runs: int | None, schedule: Mapping[str, Any] | None = None
) -> bytes:
    """The body of a create (`space_id` given, empty for the personal space) or update (`space_id` None).

    `raw` is the rewritten document. `schedule` replaces its schedule by another form.
    """
    _, found = _texts(raw)
    parts = {"name": found.get("name", '""')}
    parts["description"] = found.get("description", "null")
    if space_id:
        parts["spaceId"] = _dumps(space_id)
    wanted = schedule or real_schedule(json.loads(found["schedules"]) if "schedules" in found else None)
    parts["schedules"] = _dumps([_schedule(wanted)] if wanted else [])
    # The service answers an emptied object as a list; a request's must be an object (openapi, `workspace`).
    workspace = found.get("workspace", "")
    parts["workspace"] = workspace if workspace.startswith("{") else "{}"
    if max_concurrent_runs is not None:
        parts["maxConcurrentRuns"] = str(max_concurrent_runs)
    return _object(parts)


def _schedule(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """What a schedule may carry in a request; a recurrence goes without the interval that it overrules."""
    kept = {key: schedule[key] for key in SCHEDULE_FIELDS if schedule.get(key) is not None}
    if kept.get("recurrence"):
        kept.pop("interval", None)
    return kept


def shell_body(raw: bytes, *, space_id: str, marker: str) -> bytes:
    """The body that creates an automation which cannot fire: no schedule, a manual start, `marker` as description."""
    _, found = _texts(raw)
    parts = {"name": found.get("name", '""'), "description": _dumps(marker)}
    if space_id:
        parts["spaceId"] = _dumps(space_id)
    parts["schedules"] = "[]"
    parts["workspace"] = _dumps(SHELL_WORKSPACE)
    return _object(parts)


def with_bindings(raw: bytes, bindings: Mapping[str, str], *, only_gaps: bool) -> bytes:
    """`raw` with the `datasource` of the blocks in `bindings` (block id → connection id) filled in.

    `only_gaps`: a block that is bound already stays as it is. Nothing to fill: `raw` itself.
    """
    return _rebind(raw, lambda block, value: bindings.get(block) if value == "null" or not only_gaps else None)


def without_bindings(raw: bytes) -> bytes:
    """`raw` with every `datasource` set to null: what is created before its owner is known must not be bound."""
    return _rebind(raw, lambda block, value: None, clear=True)


def _rebind(raw: bytes, choose: Any, *, clear: bool = False) -> bytes:
    text = raw.decode("utf-8")
    edits = []
    for block_id, start, end in _datasources(text):
        value = text[start:end]
        chosen = None if clear else choose(block_id, value)
        new = "null" if clear else (_dumps(chosen) if chosen else value)
        if new != value:
            edits.append(Edit(start, end, new))
    return splice(text, edits).encode() if edits else raw


def _datasources(text: str) -> list[tuple[str, int, int]]:
    """Block id (or index) and value span of each `datasource` setting."""
    found = []
    for member in members(text):
        if member.key != "workspace" or text[member.start] != "{":
            continue
        for inner in members(text, member.start):
            if inner.key != "blocks" or text[inner.start] != "[":
                continue
            for index, (begin, _) in enumerate(elements(text, inner.start)):
                if text[begin] == "{":
                    found += _datasources_of_block(text, begin, index)
    return found


def _datasources_of_block(text: str, start: int, index: int) -> list[tuple[str, int, int]]:
    block = {member.key: member for member in members(text, start)}
    ident = json.loads(text[block["id"].start : block["id"].end]) if "id" in block else None
    settings = block.get("settings")
    if settings is None or text[settings.start] != "[":
        return []
    found = []
    for begin, _ in elements(text, settings.start):
        if text[begin] != "{":
            continue
        setting = {member.key: member for member in members(text, begin)}
        is_datasource = "id" in setting and text[setting["id"].start : setting["id"].end] == '"datasource"'
        if is_datasource and "value" in setting:
            found.append((str(ident or index), setting["value"].start, setting["value"].end))
    return found
