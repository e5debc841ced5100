"""One HTTP request and one answer as plain values, so that client and sandbox can meet in process.

Header names are lower case. Both sides read them; neither side's behaviour lives here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen


@frozen(kw_only=True)
class Request:
    """What a client sends. `url` is absolute, its query percent-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class Response:
    """What a server answers."""

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class Reply:
    """How an answer reaches the client: after `delay_s`, or not at all when `lost` (the connection is reset).

    A body shorter than its `content-length` header is one that was cut off on the way.
    """

    response: Response
    delay_s: float = 0.0
    lost: bool = False


Handler = Callable[[Request], Reply]
