"""A tenant as data: what it answers, in order, and what it was asked."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import Event
from qlikmigrate.kernel.message import Reply, Request, Response

KEY = "key-that-nobody-may-see"
CLIENT_SECRET = "client-secret-that-nobody-may-see"


def says(status: int = 200, body: Any = b"", **headers: str) -> Reply:
    """An answer; a body that is no bytes is sent as JSON. `retry_after` stands for the header `retry-after`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(response=Response(status=status, headers=_names(headers), body=content))


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


LOST = Reply(response=Response(status=200), lost=True)
SLOW = Reply(response=Response(status=200, body=b"{}"), delay_s=3600)
HTML = says(200, b"<!doctype html><p>Sign in", content_type="text/html")
CUT = says(200, b'{"id":', content_length="400")


@define
class Script:
    """`METHOD path` → its answers in order, the last of which stays; anything else is 404."""

    answers: dict[str, list[Reply]] = field(factory=dict)
    seen: list[Request] = field(factory=list)
    times: list[float] = field(factory=list)
    clock: ManualClock = field(factory=ManualClock)

    def on(self, what: str, *replies: Reply) -> None:
        self.answers[what] = list(replies)

    def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        self.times.append(self.clock.monotonic())
        parts = urlsplit(request.url)
        for key in (f"{request.method} {parts.path}?{parts.query}", f"{request.method} {parts.path}"):
            if key in self.answers:
                replies = self.answers[key]
                return replies.pop(0) if len(replies) > 1 else replies[0]
        return says(404, {"errors": [{"code": "HTTP-404", "title": "Not found"}], "traceId": "t404"})

    def asked(self) -> list[str]:
        """`METHOD path` of every request so far."""
        return [f"{request.method} {urlsplit(request.url).path}" for request in self.seen]


@define
class Told:
    """A sink that remembers."""

    events: list[Event] = field(factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
