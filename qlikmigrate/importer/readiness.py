"""Whether a restored automation can be started: connections are there, calls lead somewhere, it is as we left it.

Pure: documents and inventories in, reasons out. What was unbound or off at the source is no reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.workspace import CALL_BLOCK, automations_called, blocks, connections_used

UNREADY = "unready"
CHANGED = "target-changed"


@frozen(kw_only=True)
class Reason:
    """Why one should not be started. `code`: `unready`, or `target-changed` where that is all."""

    code: str
    text: str


def reasons_against(
    *, source: Mapping[str, Any], target: Mapping[str, Any], holds: Inventory, last: Face | None, expected_edit: bool
) -> tuple[Reason, ...]:
    """Reasons against starting an automation.

    Args:
        source: its document in the archive.
        target: its document at the target now.
        holds: the target's connections and automations.
        last: what we last wrote, None where nobody knows; what people bind is no change.
        expected_edit: the runbook asked people to edit it.
    """
    found = [Reason(code=UNREADY, text=text) for text in (*_unbound(source, target, holds), *_uncalled(source, target))]
    found += [
        Reason(code=UNREADY, text=f"block `{use.block_name}` calls an automation that does not exist")
        for use in automations_called(target)
        if not _is_off(target, use.block_index) and _is_id(use.value) and not holds.get(Kind.AUTOMATION, use.value)
    ]
    if last is not None and not expected_edit:
        now = face_of(target)
        fields = [name for name, value in last.fields.items() if now.fields.get(name) != value]
        if fields:
            changed = ", ".join(sorted(fields))
            found.append(Reason(code=CHANGED, text=f"edited at the target since it was restored: {changed}"))
    return tuple(dict.fromkeys(found))


def reasons_unseen(source: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Reasons where the target's document cannot be read: what uses nothing needs no look."""
    if any(True for _ in connections_used(source)) or any(True for _ in automations_called(source)):
        return (Reason(code=UNREADY, text="this identity cannot read whether its connections and calls are in order"),)
    return ()


def _unbound(source: Mapping[str, Any], target: Mapping[str, Any], holds: Inventory) -> list[str]:
    bound = {_key(target, use.block_index): use.value for use in connections_used(target)}
    present = {_key(target, index) for index, _ in blocks(target)}
    found = []
    for use in connections_used(source):
        key = _key(source, use.block_index)
        if key not in present or not _is_id(use.value):
            continue
        connection = holds.get(Kind.CONNECTION, bound.get(key))
        if connection is None:
            found.append(f"block `{use.block_name}` has no connection")
        elif connection.connected is False:
            found.append(f"connection `{connection.name}` is not connected")
    return found


def _uncalled(source: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    """Calls that the restore had to leave open: without a callee, and the block disabled."""
    there = {_key(target, index): block for index, block in blocks(target)}
    calls = {use.block_index for use in automations_called(target)}
    open_calls = {_key(target, index) for index, block in blocks(target) if index not in calls or block.get("disabled")}
    found = []
    for use in automations_called(source):
        key = _key(source, use.block_index)
        still_a_call = key in there and there[key].get("type") == CALL_BLOCK
        if still_a_call and key in open_calls and not _is_off(source, use.block_index):
            found.append(f"the call of block `{use.block_name}` is unresolved or disabled")
    return found


def _key(document: Mapping[str, Any], index: int) -> str:
    block = document["workspace"]["blocks"][index]
    return str(block.get("id") or index)


def _is_off(document: Mapping[str, Any], index: int) -> bool:
    return bool(document["workspace"]["blocks"][index].get("disabled"))


def _is_id(value: str) -> bool:
    """A formula names no object."""
    return "{" not in value
