"""Reads a list to its end by following the links the server gives; a list that repeats or expires starts again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from attrs import define, field

from qlikmigrate.api.answer import Answer, rows_of
from qlikmigrate.api.error import ApiError, BrokenAnswerError, ListUnstableError

_RESTARTS = 3
_EMPTY_PAGES = 100
# What a server answers to a cursor that it does not know any more.
_EXPIRED = frozenset({400, 404, 410})

Fetch = Callable[[str | None], Awaitable[Answer]]


@define
class _Pass:
    """What one reading of the list has seen, to notice that it goes in circles."""

    hrefs: set[str] = field(factory=set)
    pages: set[bytes] = field(factory=set)
    empty: int = 0

    def repeats(self, page: Any, rows: list[bytes], href: str | None) -> bool:
        """Whether this page, or the link it gives, was there before."""
        if rows:
            mark = _mark(page["data"], rows)
            if mark in self.pages:
                return True
            self.pages.add(mark)
        else:
            self.empty += 1
        if href is not None:
            if href in self.hrefs or self.empty > _EMPTY_PAGES:
                return True
            self.hrefs.add(href)
        return False


def _mark(values: list[Any], rows: list[bytes]) -> bytes:
    """A fingerprint of the page's set of ids; a row without one stands for itself."""
    marks = [
        ident.encode("utf-8", "surrogatepass") if isinstance(ident := _id(value), str) else row
        for value, row in zip(values, rows, strict=True)
    ]
    return hashlib.sha256(b"\0".join(sorted(marks))).digest()


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else None


def next_href(page: Any) -> str | None:
    """The link to the next page. Source: qlik.dev pagination: `links.next.href`, absent or null at the end."""
    links = page.get("links")
    follow = links.get("next") if isinstance(links, dict) else None
    href = follow.get("href") if isinstance(follow, dict) else follow
    return href if isinstance(href, str) and href else None


def _rows(raw: bytes, operation: str, tenant: str) -> list[bytes]:
    try:
        return rows_of(raw)
    except ValueError as error:
        raise BrokenAnswerError(
            f"`{operation}` on `{tenant}` was answered with a page that cannot be taken apart: {error}",
            operation=operation,
        ) from None


async def all_rows(fetch: Fetch, *, operation: str, tenant: str) -> AsyncIterator[bytes]:
    """The rows of every page, each as received. `fetch(None)` gets the first page, `fetch(href)` another.

    A page that repeats, or a cursor that expires, restarts the list from its first page, and its rows come again.

    Raises:
        ListUnstableError: restarted too often.
    """
    for _ in range(1 + _RESTARTS):
        seen = _Pass()
        href: str | None = None
        while True:
            try:
                answer = await fetch(href)
            except ApiError as error:
                if href is None or error.status not in _EXPIRED:
                    raise
                break
            page = answer.json()
            following = next_href(page)
            rows = _rows(answer.raw, operation, tenant)
            if seen.repeats(page, rows, following):
                break
            for row in rows:
                yield row
            if following is None:
                return
            href = following
    raise ListUnstableError(
        f"`{operation}` on `{tenant}` never came to its end: pages repeat or cursors expire, in {1 + _RESTARTS} tries",
        operation=operation,
        hint="try again when fewer changes are made there",
    )
