"""Members of an object are found at the same places whichever way is taken to them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.kernel import jsontext
from qlikmigrate.kernel.jsontext import members

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(), _values, max_size=6),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]),
    st.booleans(),
    st.sampled_from([0, 1, 1 << 20]),
)
def test_members_are_what_a_parser_finds(
    value: dict[str, object], separators: tuple[str, str], ascii_only: bool, long_chars: int
) -> None:
    """Names and values are the parser's, in order, with long values looked for the fast way or not."""
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsontext, "_LONG_CHARS", long_chars)
        found = list(members(text))
    assert [one.key for one in found] == list(value)
    assert [json.loads(text[one.start : one.end]) for one in found] == list(value.values())
    assert all(text[one.key_start] == '"' for one in found)


@given(st.dictionaries(st.text(), _values, min_size=1, max_size=4), st.data())
def test_broken_text_is_refused_either_way(value: dict[str, object], data: st.DataObject) -> None:
    """A text cut short or with one character changed is found whole, or refused, by both ways alike."""
    text = json.dumps(value)
    place = data.draw(st.integers(0, len(text) - 1))
    broken = data.draw(
        st.sampled_from([text[:place], text[:place] + data.draw(st.sampled_from('{}[]",:x0')) + text[place + 1 :]])
    )

    def outcome(long_chars: int) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsontext, "_LONG_CHARS", long_chars)
            try:
                return list(members(broken))
            except ValueError:
                return "refused"

    assert outcome(0) == outcome(1 << 20)


def test_the_fast_way_is_taken() -> None:
    """orjson says where a value ends in the words that are expected of it; else every backup would be slower."""
    text = '{"a": [1, "é"]} \n, "b": 2}'
    assert jsontext._long_value_end(text, 0) == len('{"a": [1, "é"]}')
    assert jsontext._long_value_end("[[1,2} ,3]", 0) == 0
