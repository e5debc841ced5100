"""The body of a PUT that sends a target's own document: only what is meant to change is spliced, all else stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from qlikmigrate.importer.body import full_body, with_bindings
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.kernel.jsontext import Edit, Member, elements, members, splice
from qlikmigrate.model.snapshot import parse
from qlikmigrate.model.workspace import CALL_BLOCK


def own_body(
    raw: bytes, *, calls: Mapping[str, str], bindings: Mapping[str, str], max_concurrent_runs: int | None
) -> tuple[bytes, Face]:
    """The body, and the face it gives the automation.

    `raw`: the target's document. `calls`: lower-case id of a called automation → the one to call instead. `bindings`:
    block id → connection to bind.
    """
    if calls:
        raw = with_calls(raw, calls)
    if bindings:
        raw = with_bindings(raw, bindings, only_gaps=False)
    runs = parse(raw).get("maxConcurrentRuns") if max_concurrent_runs is None else max_concurrent_runs
    body = full_body(raw, space_id=None, max_concurrent_runs=runs if isinstance(runs, int) else None)
    return body, face_of(parse(body))


def with_calls(raw: bytes, calls: Mapping[str, str]) -> bytes:
    """`raw` with the `guid` of its Call Automation blocks led elsewhere; no such call: `raw` itself."""
    text = raw.decode("utf-8")
    edits = []
    for start, end in _called(text):
        value = json.loads(text[start:end])
        if isinstance(value, str) and (other := calls.get(value.lower())) is not None:
            edits.append(Edit(start, end, json.dumps(other)))
    return splice(text, edits).encode() if edits else raw


def _called(text: str) -> list[tuple[int, int]]:
    """The span of the value of each Call Automation block's `guid` input."""
    workspace = _member(text, 0, "workspace")
    blocks = _member(text, workspace.start, "blocks") if workspace and text[workspace.start] == "{" else None
    found: list[tuple[int, int]] = []

    def look_at_block(start: int) -> None:
        kind, inputs = _member(text, start, "type"), _member(text, start, "inputs")
        if kind and inputs and json.loads(text[kind.start : kind.end]) == CALL_BLOCK:
            _each(text, inputs, look_at_input)

    def look_at_input(start: int) -> None:
        ident, value = _member(text, start, "id"), _member(text, start, "value")
        if ident and value and json.loads(text[ident.start : ident.end]) == "guid":
            found.append((value.start, value.end))

    if blocks:
        _each(text, blocks, look_at_block)
    return found


def _member(text: str, start: int, key: str) -> Member | None:
    return next((one for one in members(text, start) if one.key == key), None)


def _each(text: str, array: Member, look: Callable[[int], None]) -> None:
    """Every object of an array."""
    if text[array.start] == "[":
        for begin, _ in elements(text, array.start):
            if text[begin] == "{":
                look(begin)
