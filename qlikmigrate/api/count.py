"""How many requests were sent: every attempt counts, whoever of the client's identities sent it."""

from __future__ import annotations

from attrs import asdict, define


@define
class RequestCounts:
    """Requests so far. `tier1`, `tier2`, `token`: sent; `retried`: sent again; `throttled`: answered 429.

    `saved`: not sent, since the answer was known; None where nobody kept answers.
    """

    tier1: int = 0
    tier2: int = 0
    token: int = 0
    retried: int = 0
    throttled: int = 0
    saved: int | None = None

    def as_json(self) -> dict[str, int]:
        """The `requests` member of a summary line."""
        return {key: value for key, value in asdict(self).items() if value is not None}
