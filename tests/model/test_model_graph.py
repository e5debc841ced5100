"""Laws of the order of calls."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.model.graph import call_order

idents = st.sampled_from("abcdefgh")
graphs = st.dictionaries(idents, st.lists(idents, max_size=5))


@given(graphs)
def test_callees_come_first(calls: dict[str, list[str]]) -> None:
    """Every id once; a wave calls earlier waves only, but for the back calls, which are calls that exist."""
    order = call_order(calls)
    wave = {ident: number for number, members in enumerate(order.generations) for ident in members}
    assert sorted(wave) == sorted(calls)
    assert sum(map(len, order.generations)) == len(calls)
    for caller, callees in calls.items():
        for callee in set(callees) & calls.keys() - {caller}:
            is_back = callee in order.back_calls.get(caller, ())
            assert is_back or wave[callee] < wave[caller]
    for caller, callees in order.back_calls.items():
        assert callees <= set(calls[caller]) - {caller}
        assert callees


@given(graphs)
def test_only_circles_need_back_calls(calls: dict[str, list[str]]) -> None:
    """A back call's callee leads back to its caller; without circles there is none."""
    order = call_order(calls)

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for callee in calls.get(todo.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    todo.append(callee)
        return seen

    for caller, callees in order.back_calls.items():
        assert all(caller in reachable(callee) for callee in callees)


@given(graphs, st.randoms(use_true_random=False))
def test_order_does_not_depend_on_the_order_given(calls: dict[str, list[str]], chance: object) -> None:
    """The same calls in another order give the same waves."""
    import random

    assert isinstance(chance, random.Random)
    pairs = [(caller, chance.sample(callees, len(callees))) for caller, callees in calls.items()]
    chance.shuffle(pairs)
    assert call_order(dict(pairs)) == call_order(calls)


def test_long_chain_and_wide_star() -> None:
    """Fifty thousand in a chain, and two thousand that all call each other's callee, take no stack and little time."""
    names = [f"{number:06}" for number in range(50_000)]
    chain = {one: [following] for one, following in pairwise(names)} | {names[-1]: []}
    started = time.perf_counter()
    order = call_order(chain)
    assert [wave[0] for wave in order.generations] == names[::-1]
    assert not order.back_calls
    circle = call_order(chain | {names[-1]: [names[0]]})
    assert circle.back_calls == {names[-1]: frozenset({names[0]})}
    assert time.perf_counter() - started < 20


def test_self_calls_and_strangers_do_not_count() -> None:
    """A call to oneself, or to what is not there, orders nothing."""
    order = call_order({"a": ["a", "z"], "b": ["a"]})
    assert (order.generations, dict(order.back_calls)) == ((("a",), ("b",)), {})
