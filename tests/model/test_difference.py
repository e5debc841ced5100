"""Laws of the difference: nothing where nothing differs, and each edit told once, where it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import DAILY, EVERY_HOUR, bound_block, call_block, document, text_block

from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.difference import WRITTEN, Change, Edit, Subject, compare
from qlikmigrate.model.kind import Kind

OTHER = "aaaaaaaa-0000-4000-8000-000000000001"
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([1.0, 0.5]), st.text("ab", max_size=2)
)
names = st.sampled_from(["id", "key", "name", "value", "x", "type", "blocks", "variables", "settings"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
blocks = st.lists(st.dictionaries(names, values, max_size=4) | values, max_size=4)
workspaces = st.fixed_dictionaries({"blocks": blocks}, optional={"variables": blocks, "zoom": values}) | values


def whole() -> dict[str, Any]:
    """A document with one of everything."""
    variable = {
        **text_block(4, ""),
        "type": "VariableBlock",
        "name": "vText",
        "operations": [{"id": "set_value", "key": "K-1", "name": "Set value", "value": "one"}],
        "inputs": [],
    }
    made = document(
        "one", text_block(1, "a"), bound_block(2, OTHER), call_block(3, OTHER), variable, schedules=[DAILY],
        state="available", ownerId="u", spaceId="s", maxConcurrentRuns=1,
    )  # fmt: skip
    made["workspace"]["variables"] = [{"guid": "V-1", "name": "vText", "type": "string"}]
    return made


def told(edits: tuple[Edit, ...]) -> list[tuple[str, str, str, str]]:
    """Subject, change, name or id, place."""
    return [(one.subject.value, one.change.value, one.name or one.id, one.place) for one in edits]


@given(workspaces)
def test_a_document_does_not_differ_from_itself(workspace: Any) -> None:
    """Nothing is told of a copy."""
    made = {"name": "n", "workspace": workspace}
    assert compare(made, copy.deepcopy(made)) == ()


@given(workspaces, workspaces)
def test_something_is_told_exactly_where_canonical_forms_differ(old: Any, new: Any) -> None:
    """No difference is passed over, and the spelling of emptiness, key order and whole floats is none."""
    alike = canonical_hash(old) == canonical_hash(new)
    assert bool(compare({"workspace": old}, {"workspace": new})) != alike


@given(st.randoms(use_true_random=False))
def test_what_a_service_does_to_the_spelling_is_no_difference(chance: Any) -> None:
    """Key order, null for empty, whole floats, defaults of a rule, a schedule's other form, the editor's leftovers."""

    def respelled(value: Any) -> Any:
        if isinstance(value, dict):
            pairs = [(key, respelled(item)) for key, item in value.items()]
            chance.shuffle(pairs)
            return dict(pairs) | {"logo": "x.png"}
        if isinstance(value, list):
            return [respelled(item) for item in value] or None
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return None if value == "" else value

    here, there = whole(), respelled(whole())
    there["schedules"] = [{**DAILY, "recurrence": DAILY["recurrence"] + ";INTERVAL=1"}]
    assert compare(here, there) == ()
    hourly = {**EVERY_HOUR, "interval": None, "recurrence": "RRULE:FREQ=HOURLY;BYMINUTE=0"}
    assert compare(here | {"schedules": [EVERY_HOUR]}, here | {"schedules": [hourly]}) == ()
    setting = there["workspace"]["blocks"][2]["settings"][0]
    setting["displayValue"] = "as the editor shows it"
    assert compare(here, there | {"schedules": here["schedules"]}) == ()


@pytest.mark.parametrize(
    ("field", "word", "value"),
    [
        ("name", "name", "two"),
        ("description", "description", ""),
        ("state", "state", "disabled"),
        ("ownerId", "owner", "v"),
        ("spaceId", "space", ""),
        ("maxConcurrentRuns", "maxConcurrentRuns", 2),
    ],
)
def test_each_field(field: str, word: str, value: Any) -> None:
    """A field that differs is one edit, with both values; what an update does not write can be left out."""
    old = whole()
    (edit,) = compare(old, old | {field: value})
    assert (edit.subject, edit.id, edit.old, edit.new) == (Subject.FIELD, word, old[field], value or None)
    assert bool(compare(old, old | {field: value}, only=WRITTEN)) == (field in WRITTEN)


def test_schedule() -> None:
    """What of a schedule changed; that there is none any more."""
    old = whole()
    (moved,) = compare(old, old | {"schedules": [{**DAILY, "timezone": "UTC"}]})
    assert (moved.id, moved.place, moved.old, moved.new) == ("schedule", "timezone", "Europe/Stockholm", "UTC")
    (gone,) = compare(old, old | {"schedules": []})
    assert (gone.id, gone.place, gone.new) == ("schedule", "", None)


EDITS: list[tuple[int, list[Any], Any, str, Kind | None]] = [
    (1, ["inputs", 0, "value"], "b", "inputs[input].value", None),
    (1, ["inputs", 0, "structure"], {"x": 1}, "inputs[input].structure", None),
    (1, ["disabled"], True, "disabled", None),
    (1, ["comment"], "why", "comment", None),
    (1, ["name"], "said", "name", None),
    (1, ["type"], "EndpointBlock", "type", None),
    (1, ["childId"], "B", "childId", None),
    (1, ["collapsed", 0, "isCollapsed"], True, "collapsed[loop].isCollapsed", None),
    (2, ["settings", 0, "value"], "other", "settings[datasource].value", Kind.CONNECTION),
    (2, ["settings", 0, "value"], None, "settings[datasource].value", Kind.CONNECTION),
    (2, ["datasourcetype_guid"], "other", "datasourcetype_guid", Kind.CONNECTOR),
    (2, ["endpoint_guid"], "other", "endpoint_guid", None),
    (3, ["inputs", 0, "value"], "other", "inputs[guid].value", Kind.AUTOMATION),
    (4, ["operations", 0, "value"], "two", "operations[K-1].value", None),
]


@pytest.mark.parametrize(("index", "path", "value", "place", "kind"), EDITS, ids=lambda value: str(value)[:30])
def test_each_place_of_a_block(index: int, path: list[Any], value: Any, place: str, kind: Kind | None) -> None:
    """One edit in one block is told once, with its block, its place, and whose id it is."""
    old, new = whole(), whole()
    holder = new["workspace"]["blocks"][index]
    for step in path[:-1]:
        holder = holder[step]
    before = holder[path[-1]]
    holder[path[-1]] = value
    (edit,) = compare(old, new)
    block = new["workspace"]["blocks"][index]
    assert (edit.subject, edit.change, edit.id, edit.name) == (
        Subject.BLOCK,
        Change.CHANGED,
        block["id"],
        block["name"],
    )
    assert (edit.place, edit.new, edit.kind) == (place, value, kind)
    assert edit.old == (None if before in ("", {}) else before)


def test_true_is_not_one() -> None:
    """`true` and 1 are two values, though Python holds them equal."""
    old, new = whole(), whole()
    old["workspace"]["blocks"][1]["inputs"][0]["value"] = True
    new["workspace"]["blocks"][1]["inputs"][0]["value"] = 1
    assert told(compare(old, new)) == [("block", "changed", "output1", "inputs[input].value")]


def test_blocks_come_go_and_move() -> None:
    """Added, removed, moved on the canvas, moved in the list; a block that is moved and changed is told as both."""
    old, new = whole(), whole()
    parts = new["workspace"]["blocks"]
    parts[2]["x"] = 99
    parts[2]["disabled"] = True
    parts.append(parts.pop(1))
    del parts[2]
    parts.append(text_block(9, "new"))
    assert told(compare(old, new)) == [
        ("block", "changed", "rawApi2", "disabled"),
        ("block", "moved", "rawApi2", "canvas"),
        ("block", "moved", "output1", "order"),
        ("block", "added", "output9", ""),
        ("block", "removed", "callAutomation3", ""),
    ]


@given(st.permutations(range(7)))
def test_the_fewest_blocks_are_moved(order: list[int]) -> None:
    """As many blocks are told as moved as have to be taken out and put elsewhere, and no more."""
    from itertools import combinations

    old, new = ([text_block(number, "") for number in numbers] for numbers in (range(7), order))
    moved = [one for one in compare(document("n", *old), document("n", *new)) if one.change is Change.MOVED]
    longest = max(size for size in range(8) if any(list(part) == sorted(part) for part in combinations(order, size)))
    assert len(moved) == 7 - longest


def test_variables_and_the_rest() -> None:
    """Variables by guid; a further member of the workspace; a workspace that is gone."""
    old, new = whole(), whole()
    new["workspace"]["variables"] = [{"guid": "V-2", "name": "vOther", "type": "list"}]
    new["workspace"]["timeout"] = 5
    assert told(compare(old, new)) == [
        ("variable", "added", "vOther", ""),
        ("variable", "removed", "vText", ""),
        ("workspace", "changed", "", "timeout"),
    ]
    gone = compare(old, {**old, "workspace": None})
    assert {one.change for one in gone} == {Change.REMOVED}
    assert len(gone) == 6


def test_inputs_by_id() -> None:
    """An input that is added or taken away is told as such, whatever its place in the list; an order is told once."""
    old, new = whole(), whole()
    one = {"id": "a", "value": "1"}
    new["workspace"]["blocks"][1]["inputs"].insert(0, one)
    assert told(compare(old, new)) == [("block", "changed", "output1", "inputs[a]")]
    other = copy.deepcopy(new)
    other["workspace"]["blocks"][1]["inputs"].reverse()
    assert told(compare(new, other)) == [("block", "changed", "output1", "inputs (order)")]


def test_values_stay_out_of_sight() -> None:
    """An edit that is printed by accident shows no value, and what it is called travels with it for the masking."""
    old, new = whole(), whole()
    new["workspace"]["blocks"][1]["inputs"] = [{"id": "password", "value": "hunter2hunter2"}]
    added = compare(old, new)[-1]
    assert "hunter2" not in repr(compare(old, new))
    assert "password" in added.labels
