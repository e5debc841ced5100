"""What a prune keeps and removes, as rows: an object for machines and a line for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qlikmigrate.kernel.clock import rfc3339, to_the_second
from qlikmigrate.report.archive import Row
from qlikmigrate.vault.retention import Decision, Policy

_SHORT_ID_CHARS = 8


def policy_row(policy: Policy) -> Row:
    """The keep rules and the zone whose calendar they go by."""
    within = str(policy.within) if policy.within else None
    row: dict[str, Any] = {"kind": "policy", **policy.numbers, "within": within, "zone": str(policy.zone)}
    rules = [f"{name} {number}" for name, number in policy.numbers.items()] + ([f"within {within}"] if within else [])
    return row, f"keep {', '.join(rules)}; calendar of {policy.zone}"


def decision_rows(decisions: Sequence[Decision], *, tenants: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Each snapshot, in the order given. `tenants`: tenant → its name where that is known.

    A line names the tenant only where there are several.
    """
    names = tenants or {}
    several = len({one.candidate.tenant for one in decisions}) > 1
    for decision in decisions:
        one = decision.candidate
        name = names.get(one.tenant) or one.tenant
        row: dict[str, Any] = {
            "kind": "snapshot",
            "id": one.id,
            "tenant": name,
            "taken_at": rfc3339(one.taken_at),
            "complete": one.complete,
            "partial": one.partial,
            "verified": one.verified,
            "readable": one.readable,
            "keep": decision.keep,
            "reasons": list(decision.reasons),
        }
        words = [
            "keep  " if decision.keep else "remove",
            to_the_second(one.taken_at),
            one.id[:_SHORT_ID_CHARS],
            *([name or "unknown tenant"] if several else []),
            "; ".join(decision.reasons),
        ]
        yield row, "  ".join(words)


def decision_counts(decisions: Sequence[Decision]) -> dict[str, int]:
    """For the summary: how many snapshots there are, stay and go."""
    kept = sum(decision.keep for decision in decisions)
    return {"listed": len(decisions), "kept": kept, "removed": len(decisions) - kept}
