"""Which tasks of a runbook are settled, judged by the target as it is now. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from attrs import frozen

from qlikmigrate.importer.result import Task
from qlikmigrate.model.schedule import real_schedule
from qlikmigrate.model.workspace import CALL_BLOCK, blocks

_WHERE = re.compile(r"(?P<kind>\w+) (?P<id>[^ ,]+)(?:, (?P<path>.*?))?(?: \(block `(?P<block>.*)`\))?")
_INDEX = re.compile(r"workspace\.blocks\[(\d+)\]")


@frozen(kw_only=True)
class Tick:
    """One task: whether it is settled, and how that can be told."""

    task: Task
    settled: bool
    note: str = ""


@frozen(kw_only=True)
class Now:
    """What the target shows. `documents`: automation → its document, None where it cannot be read; `gone`: not there.

    `rows`: list rows. `connected`: connection → whether it works. `stand_ins`: automation → who stands in for its
    owner. `ran`: automations with a run. `source_ids`: what may be left of the source's ids, lower case.
    """

    documents: Mapping[str, Mapping[str, Any] | None]
    rows: Mapping[str, Mapping[str, Any]]
    gone: Collection[str]
    connected: Mapping[str, bool]
    stand_ins: Mapping[str, str]
    ran: Collection[str]
    source_ids: Collection[str]


def tick(task: Task, now: Now) -> Tick:
    """Judge one task. What nobody can tell from here is open."""
    place = _WHERE.fullmatch(task.where)
    if place is None:
        return Tick(task=task, settled=False, note="cannot be checked")
    ident = place["id"]
    if place["kind"] == "connection":
        return _connection(task, ident, now)
    if ident in now.gone:
        return Tick(task=task, settled=True, note="it is gone")
    row = now.documents.get(ident) or now.rows.get(ident, {})
    match task.code:
        case "held":
            on = row.get("state") not in (None, "disabled")
            return Tick(task=task, settled=on, note="switched on" if on else "off")
        case "state-unknown":
            on = row.get("state") not in (None, "disabled")
            return Tick(task=task, settled=on, note="switched on" if on else "off, as it may have been")
        case "caller":
            ran = ident in now.ran
            return Tick(task=task, settled=ran, note="it was called" if ran else "nobody has called it yet")
        case "owner-to-reassign":
            given = row.get("ownerId") not in (None, now.stand_ins.get(ident))
            return Tick(task=task, settled=given, note="given to its owner" if given else "somebody stands in")
    document = now.documents.get(ident)
    if document is None:
        return Tick(task=task, settled=False, note="its definition cannot be read")
    return _in_document(task, document, place["path"] or "", place["block"] or "", now.source_ids)


def _connection(task: Task, ident: str, now: Now) -> Tick:
    connected = now.connected.get(ident)
    if connected is None:
        return Tick(task=task, settled=False, note="it cannot be seen")
    return Tick(task=task, settled=connected, note="connected" if connected else "not connected")


def _in_document(task: Task, document: Mapping[str, Any], path: str, name: str, source_ids: Collection[str]) -> Tick:
    found = _block(document, path, name)
    if found is None and name:
        return Tick(task=task, settled=True, note="the block is gone")
    match task.code:
        case "schedule-unknown" | "schedule-once":
            settled = real_schedule(document.get("schedules")) is not None
            return Tick(task=task, settled=settled, note="it has one" if settled else "it has no schedule")
        case "connection-unbound":
            settled = found is not None and not _unbound(found)
            return Tick(task=task, settled=settled, note="bound" if settled else "not bound")
        case "call-unresolved":
            settled = found is not None and _calls(found)
            return Tick(task=task, settled=settled, note="calls" if settled else "calls nothing, or is disabled")
        case "bindings-lost-on-transfer":
            left = sum(_unbound(block) for _, block in blocks(document))
            return Tick(task=task, settled=not left, note=f"{left} blocks not bound" if left else "bound")
        case "source-id-left" | "id-in-code" | "id-in-name" | "ambiguous-id":
            text = orjson.dumps(found if found is not None else document).decode().lower()
            left_here = any(ident in text for ident in source_ids)
            return Tick(task=task, settled=not left_here, note="the id is there" if left_here else "the id is gone")
    return Tick(task=task, settled=False, note="cannot be checked")


def _block(document: Mapping[str, Any], path: str, name: str) -> Mapping[str, Any] | None:
    """The block that a task names, wherever it stands by now; without a name the one in its place."""
    index = _INDEX.match(path)
    for number, block in blocks(document):
        if (name and block.get("name") == name) or (not name and index and number == int(index[1])):
            return block
    return None


def _unbound(block: Mapping[str, Any]) -> bool:
    return any(
        isinstance(one, Mapping) and one.get("id") == "datasource" and not one.get("value")
        for one in block.get("settings") or ()
    )


def _calls(block: Mapping[str, Any]) -> bool:
    if block.get("type") != CALL_BLOCK:
        return True
    wanted = [one for one in block.get("inputs") or () if isinstance(one, Mapping) and one.get("id") == "guid"]
    return not block.get("disabled") and any(one.get("value") for one in wanted)
