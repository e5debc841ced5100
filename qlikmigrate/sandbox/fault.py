"""Faults as data: which calls go wrong, and how. The tenant's own state stays right throughout."""

from __future__ import annotations

import fnmatch
import re

from attrs import frozen

from qlikmigrate.kernel.message import Reply, Response


@frozen(kw_only=True)
class Status:
    """Answer `code`. With `commit` the call is carried out all the same."""

    code: int
    body: bytes | None = None
    retry_after: int | str | None = None
    commit: bool = False


@frozen
class Delay:
    """Answer late."""

    seconds: float


@frozen
class ResetBefore:
    """Reset the connection; the call is not carried out."""


@frozen
class ResetAfterCommit:
    """Carry the call out, then reset the connection."""


@frozen
class Truncate:
    """Cut the body off after this part of it."""

    part: float = 0.5


@frozen
class HtmlOk:
    """Carry the call out, and answer 200 with a web page, as a proxy would."""


@frozen
class RepeatPage:
    """Answer a list's page with a next link that leads to this page again."""


@frozen
class ExpireCursor:
    """Answer 400 as for a cursor that is no longer known; first pages are left alone."""


@frozen
class ForeignLink:
    """Let the next link of a page point to another host."""

    host: str


@frozen
class ExpireToken:
    """End the caller's minted token: this call and the following ones are 401."""


@frozen
class DropRows:
    """Leave the first rows of a list's page out, without a word."""

    count: int = 1


Effect = (
    Status
    | Delay
    | ResetBefore
    | ResetAfterCommit
    | Truncate
    | HtmlOk
    | RepeatPage
    | ExpireCursor
    | ForeignLink
    | ExpireToken
    | DropRows
)


@frozen(kw_only=True)
class Fault:
    """One thing that goes wrong.

    `path` is a glob, or after `re:` a regular expression that must match all of the path. `identity` is a user id.
    `nth` is the first matching call (from 1) that is hit, `times` how many from there on; None: all.
    """

    effect: Effect
    method: str = "*"
    path: str = "*"
    identity: str | None = None
    nth: int = 1
    times: int | None = 1

    def matches(self, method: str, path: str, identity: str) -> bool:
        """Whether the call is one it speaks of."""
        if self.method not in ("*", method) or (self.identity is not None and self.identity != identity):
            return False
        if self.path.startswith("re:"):
            return re.fullmatch(self.path[3:], path) is not None
        return fnmatch.fnmatchcase(path, self.path)


class FaultBox:
    """The faults of a tenant, and how often each was met."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._met: dict[int, tuple[Fault, int]] = {}

    def strike(self, method: str, path: str, identity: str) -> list[Effect]:
        """The effects that hit this call, in the order of the faults."""
        hits: list[Effect] = []
        for fault in self.faults:
            if not fault.matches(method, path, identity):
                continue
            # Counted by object: two equal faults in the list are two faults.
            _, count = self._met.get(id(fault), (fault, 0))
            count += 1
            self._met[id(fault)] = (fault, count)
            if count >= fault.nth and (fault.times is None or count < fault.nth + fault.times):
                hits.append(fault.effect)
        return hits


def cut_off(response: Response, part: float) -> Response:
    """The response with a body shorter than it says."""
    length = {"content-length": str(len(response.body))}
    body = response.body[: int(len(response.body) * part)]
    return Response(status=response.status, headers={**response.headers, **length}, body=body)


def web_page() -> Response:
    """What a proxy or a login page answers."""
    body = b"<!doctype html><title>Sign in</title><p>Please sign in"
    return Response(
        status=200, headers={"content-type": "text/html; charset=utf-8", "content-length": str(len(body))}, body=body
    )


LOST = Reply(response=Response(status=0), lost=True)
