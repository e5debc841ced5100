"""Laws of JSON as text."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.kernel.jsontext import Edit, elements, members, splice

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=10,
)
spellings = st.sampled_from(
    [
        {},
        {"indent": 2},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": (" ,\r\n", "\t: "), "ensure_ascii": False},
    ]
)


@given(st.dictionaries(st.text(max_size=5), values), spellings, st.sampled_from(["", " ", "\r\n\t"]))
def test_members_are_the_object(value: dict[str, Any], spelling: dict[str, Any], space: str) -> None:
    """Each member's span is its name and value, in order; put together they are the object."""
    text = space + json.dumps(value, **spelling) + space
    found = list(members(text))
    assert [(one.key, json.loads(text[one.start : one.end])) for one in found] == list(value.items())
    again = "{" + ",".join(text[one.key_start : one.end] for one in found) + "}"
    assert json.loads(again) == value


@given(st.lists(values, max_size=5), spellings)
def test_elements_are_the_array(value: list[Any], spelling: dict[str, Any]) -> None:
    """Each element's span is its value, in order."""
    text = json.dumps(value, **spelling)
    assert [json.loads(text[start:end]) for start, end in elements(text)] == value


def test_doubles_and_escapes() -> None:
    """Names come decoded, as often as they stand there."""
    text = '{"a":1,"\\u0061":2,"\\"":3,"":4}'
    assert [(one.key, text[one.start : one.end]) for one in members(text)] == [
        ("a", "1"),
        ("a", "2"),
        ('"', "3"),
        ("", "4"),
    ]


BROKEN = [
    "",
    " ",
    "[",
    "{",
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,',
    '{"a":1,}',
    '{"a" 1}',
    "{a:1}",
    '{"a":1 "b":2}',
    '{"a":}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_broken_objects(text: str) -> None:
    """All that is no object is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        list(members(text))


@pytest.mark.parametrize("text", ["", "{", "[", "[1", "[1,", "[1,]", "[1 2]", "[,]"])
def test_broken_arrays(text: str) -> None:
    """All that is no array is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        list(elements(text))


@given(st.binary(max_size=40))
def test_noise_is_a_value_error_or_taken_apart(noise: bytes) -> None:
    """No other error comes out of any text."""
    text = "{" + noise.decode("latin-1")
    try:
        list(members(text))
    except ValueError:
        return


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [5_000, 300_000])
def test_deep_nesting(opening: str, depth: int) -> None:
    """A text deeper than the stack is a ValueError, never a RecursionError."""
    text = '{"a":' + opening * depth
    with pytest.raises(ValueError, match=r"."):
        list(members(text))
    with pytest.raises(ValueError, match=r"."):
        list(elements("[" + opening * depth))


@given(
    st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.text(max_size=3)), max_size=6)
)
def test_splice(text: str, wanted: list[tuple[int, int, str]]) -> None:
    """Edits made at once are edits made from the back; their order given does not matter; overlaps are refused."""
    edits = [Edit(min(at, len(text)), min(at + size, len(text)), new) for at, size, new in wanted]
    ordered = sorted(edits, key=lambda one: (one.start, one.end))
    overlap = any(b.start < a.end for a, b in pairwise(ordered))
    if overlap:
        with pytest.raises(ValueError, match="overlap"):
            splice(text, edits)
        return
    expected = text
    for edit in reversed(ordered):
        expected = expected[: edit.start] + edit.new + expected[edit.end :]
    assert splice(text, ordered) == expected
