"""Reads an OEM list to its end, whichever of the two envelopes it comes in; a list that loses rows starts again.

Pages are asked for by number on the configured host: of a link no more is used than its page number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from qlikmigrate.api.answer import Answer, rows_of
from qlikmigrate.api.error import ApiError, BrokenAnswerError, ListUnstableError

_RESTARTS = 3
# Assumed: a service that does not say how long its pages are has taken a round number for it.
ROUND = 5
# A page beyond the last may be refused.
_NO_SUCH_PAGE = (400, 404)

# The answer of a page; the first is asked for without its number.
Fetch = Callable[[int], Awaitable[Answer]]


@frozen(kw_only=True)
class _Sheet:
    """One page. `ids`: of its rows, in order. `following`: the next page's number; None where this is the last.

    `guess`: nobody said that there is a next page, this one may only be as full as a page can be.
    """

    rows: list[bytes]
    ids: list[str | bytes]
    following: int | None
    guess: bool
    total: int | None


@define
class _Pass:
    """What one reading of the list has seen."""

    pages: set[frozenset[str | bytes]] = field(factory=set)
    ids: set[str | bytes] = field(factory=set)
    total: int | None = None

    def has(self, sheet: _Sheet) -> bool:
        """Whether the page brings nothing: it is empty, or one of those before it."""
        return not sheet.rows or frozenset(sheet.ids) in self.pages

    def takes(self, sheet: _Sheet) -> bool:
        """Whether the page goes with those before it: it does not repeat one, and the list has lost nothing since."""
        shrunk = self.total is not None and sheet.total is not None and sheet.total < self.total
        page = frozenset(sheet.ids)
        if shrunk or page in self.pages or (not page and sheet.following is not None):
            return False
        self.total = sheet.total
        self.pages.add(page)
        self.ids |= page
        return True

    @property
    def is_whole(self) -> bool:
        """Whether as many came as the service says there are."""
        return self.total is None or len(self.ids) >= self.total


@define
class PageSizes:
    """How many rows a page may hold whose list says nothing of pages: a round number, or what the service has said.

    `known`: what is documented, and what any of its lists has said.
    """

    known: set[int]

    def learn(self, value: Any) -> None:
        """Remember `meta.per_page` of a page. Source: "SaaS API overview"."""
        size = _count(_part(value, "meta"), "per_page")
        if size:
            self.known.add(size)

    def may_be_full(self, rows: int) -> bool:
        """Whether there may be another page. Asking in vain costs a call; not asking could cost an automation."""
        # Source: "List integrations" shows rows and no pages, and no page says how long a page is by itself.
        return rows > 0 and (rows in self.known or rows % ROUND == 0)


async def all_rows(fetch: Fetch, *, operation: str, tenant: str, sizes: PageSizes | None) -> AsyncIterator[bytes]:
    """The rows of every page, each as received. After a restart they come again, the later one replaces the earlier.

    `sizes`: after a list that says nothing of pages and may be a full one, the next page is asked for;
    None where there are no pages to ask for.

    Raises:
        ListUnstableError: it lost rows, or repeated pages, each time it was read.
    """
    for _ in range(1 + _RESTARTS):
        seen = _Pass()
        page, guessed, suspected = 1, False, False
        while True:
            try:
                answer = await fetch(page)
            except ApiError as error:
                # Of a page that would be full by what is known, nobody could tell whether it was the last.
                if suspected and error.status in _NO_SUCH_PAGE:
                    return
                raise
            sheet = _sheet(answer, page, sizes, operation, tenant)
            if guessed and seen.has(sheet):
                # The service knows no pages here, or there is none: what came before is all.
                following = None
            elif seen.takes(sheet):
                for row in sheet.rows:
                    yield row
                following = sheet.following
            else:
                break
            if following is None and seen.is_whole:
                return
            if following is None:
                break
            page, guessed = following, sheet.guess
            suspected = guessed and sizes is not None and len(sheet.rows) not in sizes.known
    raise ListUnstableError(
        f"`{operation}` on `{tenant}` never came to its end: pages repeat or rows are missing, {1 + _RESTARTS} times",
        operation=operation,
        hint="try again when fewer changes are made there",
    )


def _sheet(answer: Answer, page: int, sizes: PageSizes | None, operation: str, tenant: str) -> _Sheet:
    value = answer.json()
    if sizes is not None:
        sizes.learn(value)
    values = value if isinstance(value, list) else value["data"]
    try:
        rows = rows_of(answer.raw)
    except ValueError as error:
        raise _broken(operation, tenant, f"a page that cannot be taken apart: {error}") from None
    ids = [_id(one, row) for one, row in zip(values, rows, strict=True)]
    full = page + 1 if sizes is not None and sizes.may_be_full(len(rows)) else None
    if isinstance(value, list):
        return _Sheet(rows=rows, ids=ids, following=full, guess=True, total=None)
    meta, links = _part(value, "meta"), _part(value, "links")
    total = _count(meta, "total")
    last = _count(meta, "last_page")
    if last is not None:
        following = page + 1 if page < last else None
    elif links is not None:
        following = _page_of(links.get("next"), page, operation, tenant)
    else:
        return _Sheet(rows=rows, ids=ids, following=full, guess=True, total=total)
    return _Sheet(rows=rows, ids=ids, following=following, guess=False, total=total)


def _id(value: Any, row: bytes) -> str | bytes:
    ident = value.get("guid") if isinstance(value, dict) else None
    return ident if isinstance(ident, str) else row


def _part(value: Any, name: str) -> dict[str, Any] | None:
    part = value.get(name) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else None


def _count(part: dict[str, Any] | None, name: str) -> int | None:
    value = part.get(name) if part is not None else None
    # Assumed: numbers may come as text. Taken for no number, they would cut the list after its first page.
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _page_of(link: Any, page: int, operation: str, tenant: str) -> int | None:
    """The number in a `links.next`, whose host may be another one. Source: "SaaS API overview"."""
    if not isinstance(link, str) or not link:
        return None
    try:
        number = int(parse_qs(urlsplit(link).query)["page"][0])
    except (ValueError, KeyError):
        raise _broken(operation, tenant, "a link to a next page that has no number") from None
    if number <= page:
        raise _broken(operation, tenant, "a link to a next page that leads back")
    return number


def _broken(operation: str, tenant: str, what: str) -> BrokenAnswerError:
    return BrokenAnswerError(f"`{operation}` on `{tenant}` was answered with {what}", operation=operation)
