"""What must hold after every rewrite: internal ids, catalogue guids and names are spelled as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from qlikmigrate.kernel.jsontext import Edit, splice
from qlikmigrate.remap.record import Walked

# Written down again on purpose: the check shares no table with the rewrite.
_BLOCK = ("id", "type", "name", "childId", "childTrueId", "childFalseId", "loopBlockId", "defaultChildId",
          "statementChildrenIds", "variableGuid", "endpoint_guid", "snippet_guid")  # fmt: skip


def check(text: str, walked: Walked, edits: list[Edit]) -> None:
    """Compare a region with what the edits make of it.

    Raises:
        AssertionError: a protected string changed, or the result is no JSON.
    """
    region = walked.region
    inside = [
        Edit(edit.start - region.start, edit.end - region.start, edit.new)
        for edit in edits
        if region.start <= edit.start and edit.end <= region.end
    ]
    if not inside:
        return
    old = text[region.start : region.end]
    try:
        before = json.loads(old, strict=False)
    except RecursionError:
        return
    try:
        after = json.loads(splice(old, inside), strict=False)
    except ValueError as error:
        raise AssertionError(f"the rewrite of {region.prefix} is no JSON: {error}") from None
    if list(_protected(before)) != list(_protected(after)):
        raise AssertionError(f"internal ids changed in {region.prefix}")


def _protected(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            if isinstance(one, dict):
                yield one.get("guid"), one.get("name"), one.get("type")
    if not isinstance(value, dict):
        return
    for key in _BLOCK:
        yield value.get(key)
    for group in ("inputs", "settings", "form", "operations"):
        members = value.get(group)
        for one in members if isinstance(members, list) else ():
            if isinstance(one, dict):
                yield one.get("id"), one.get("key"), one.get("label")
                if one.get("id") == "webhook_event_guid":
                    yield one.get("value")
