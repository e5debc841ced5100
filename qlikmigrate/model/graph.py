"""Who calls whom: an order in which callees come first, and the calls that no order can serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen


@frozen(kw_only=True)
class CallOrder:
    """`generations`: ids in waves; a wave calls only earlier ones. `back_calls`: caller → callees of later waves."""

    generations: tuple[tuple[str, ...], ...]
    back_calls: Mapping[str, frozenset[str]]


def call_order(calls: Mapping[str, Iterable[str]]) -> CallOrder:
    """Order the keys of `calls` (caller → callees); callees that are no keys and calls to oneself do not count.

    Cycles are cut at as few places as a depth-first walk in id order meets.
    """
    edges = {caller: sorted({one for one in calls[caller] if one in calls and one != caller}) for caller in calls}
    depth: dict[str, int] = {}
    back: dict[str, set[str]] = {}
    for root in sorted(edges):
        _visit(root, edges, depth, back)
    waves: dict[int, list[str]] = {}
    for ident in sorted(depth):
        waves.setdefault(depth[ident], []).append(ident)
    return CallOrder(
        generations=tuple(tuple(waves[level]) for level in sorted(waves)),
        back_calls={caller: frozenset(callees) for caller, callees in back.items()},
    )


def _visit(root: str, edges: Mapping[str, list[str]], depth: dict[str, int], back: dict[str, set[str]]) -> None:
    """Depth-first without recursion: a chain of calls may be longer than the stack."""
    if root in depth:
        return
    path = [root]
    on_path = {root}
    left = {root: iter(edges[root])}
    while path:
        here = path[-1]
        for callee in left[here]:
            if callee in on_path:
                back.setdefault(here, set()).add(callee)
            elif callee not in depth:
                path.append(callee)
                on_path.add(callee)
                left[callee] = iter(edges[callee])
                break
        else:
            below = [depth[callee] for callee in edges[here] if callee in depth]
            depth[here] = 1 + max(below, default=-1)
            path.pop()
            on_path.discard(here)
