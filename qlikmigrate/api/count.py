"""How many requests were sent: every attempt counts, whoever of the client's identities sent it."""

from __future__ import annotations

from attrs import asdict, define


@define
class RequestCounts:
    """Requests so far. `tier1`, `tier2`, `token`: sent; `retried`: sent again; `throttled`: answered 429."""

    tier1: int = 0
    tier2: int = 0
    token: int = 0
    retried: int = 0
    throttled: int = 0

    def as_json(self) -> dict[str, int]:
        """The `requests` member of a summary line."""
        return asdict(self)
