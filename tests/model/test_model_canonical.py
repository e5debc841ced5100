"""Laws of the canonical form."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.model.canonical import canonical, canonical_hash

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
names = st.sampled_from(["id", "name", "logo", "endpoint_role", "a", "b", "ä"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)


@given(values)
def test_canonical_is_idempotent(value: Any) -> None:
    """The canonical form is its own canonical form."""
    assert canonical(canonical(value)) == canonical(value)


@given(st.dictionaries(names, values), st.randoms(use_true_random=False))
def test_order_of_members_does_not_count(value: dict[str, Any], chance: random.Random) -> None:
    """Members in any order are one thing."""
    pairs = list(value.items())
    chance.shuffle(pairs)
    assert canonical_hash(dict(pairs)) == canonical_hash(value)


@given(st.dictionaries(names, values), st.sampled_from([None, "", [], {}, {"x": None}, {"x": [], "y": {}}]))
def test_nothing_has_many_spellings(value: dict[str, Any], nothing: Any) -> None:
    """An absent member, null, and what is empty are one thing; what only the editor keeps does not count."""
    assert canonical_hash({**value, "new": nothing, "logo": "l", "endpoint_role": 1}) == canonical_hash(value)


@given(st.dictionaries(names, values))
def test_left_out_members(value: dict[str, Any]) -> None:
    """`without` leaves out top-level members only."""
    without = canonical(value, without=("id",))
    assert without == canonical({key: item for key, item in value.items() if key != "id"})


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_order_of_lists_counts(value: list[int]) -> None:
    """Another order of another list is another thing."""
    assert (canonical_hash({"a": value}) == canonical_hash({"a": value[::-1]})) == (value == value[::-1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 0}, {}),
        ({"a": False}, {}),
        ({"a": False}, {"a": 0}),
        ({"a": "1"}, {"a": 1}),
        ({"a": [None, 1]}, {"a": [1]}),
        ({"a": 2**70}, {"a": 2**70 + 1}),
        ({"a": "x"}, {"a": "X"}),
        ({"a": True}, {"a": 1}),
    ],
)
def test_what_differs_stays_different(one: Any, other: Any) -> None:
    """Zero, false, places in lists, types and long integers are told apart."""
    assert canonical_hash(one) != canonical_hash(other)


def test_numbers_of_one_value_are_one() -> None:
    """1.0 and 1 are the same number."""
    assert canonical_hash({"a": 1.0}) == canonical_hash({"a": 1})
