"""Lists in pages behind opaque cursors that name the last object, so that objects made meanwhile shift nothing."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from attrs import frozen

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.wire import Call, answer, bad_request, dumps

Key = tuple[Any, str]


@frozen(kw_only=True)
class Paging:
    """How one list pages. `max_limit` 0: none. `cursor`: one parameter for both ways; else `next` and `prev`."""

    default_limit: int
    max_limit: int
    cursor: bool = False
    sorts: tuple[str, ...] = ("id",)
    default_sort: str = "id"

    def sort_of(self, call: Call) -> tuple[str, bool]:
        """The field to sort by, and whether downwards.

        Raises:
            ApiError: 400, no such field.
        """
        # A plus sign that was not percent-encoded arrives as a space.
        text = call.query.get("sort", self.default_sort)
        name = text.lstrip("+- ")
        if name not in self.sorts:
            raise bad_request(f"Invalid sort: {text}")
        return name, text.startswith("-")

    def limit_of(self, call: Call) -> int:
        """The size of a page."""
        text = call.query.get("limit")
        if text is None:
            return self.default_limit
        if not text.isdecimal() or not 1 <= int(text) <= (self.max_limit or 1 << 31):
            raise bad_request(f"Invalid limit: {text}, must be 1 to {self.max_limit or 'any'}")
        return int(text)


@frozen
class Page:
    """A part of a list: the ids on it, and where the neighbours begin."""

    ids: Sequence[str]
    next_cursor: str | None
    prev_cursor: str | None


def cut_page(paging: Paging, call: Call, ascending: Sequence[Key]) -> Page:
    """The page that `call` asks for, out of all keys in ascending order.

    Raises:
        ApiError: 400, a limit or cursor that is not valid.
    """
    limit = paging.limit_of(call)
    _, down = paging.sort_of(call)
    forward_text = call.query.get("cursor" if paging.cursor else "next")
    backward_text = None if paging.cursor else call.query.get("prev")
    text = forward_text or backward_text
    start = 0
    count = len(ascending)
    if text:
        key, forward = _decode(text)
        forward = forward if paging.cursor else bool(forward_text)
        # Positions are counted in the order shown.
        if forward:
            start = count - bisect_left(ascending, key) if down else bisect_right(ascending, key)
        else:
            end = count - bisect_right(ascending, key) if down else bisect_left(ascending, key)
            start, limit = max(0, end - limit), min(limit, end)
    end = min(count, start + limit)
    shown = [ascending[count - 1 - index] if down else ascending[index] for index in range(start, end)]
    return Page(
        [key[1] for key in shown],
        _encode(shown[-1], True) if shown and end < count else None,
        _encode(shown[0], False) if shown and start > 0 else None,
    )


def _encode(key: Key, forward: bool) -> str:
    raw = orjson.dumps({"id": key[1], "key": key[0], "_pointsToNextItems": forward})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> tuple[Key, bool]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return (value["key"], value["id"]), bool(value["_pointsToNextItems"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise bad_request("Invalid cursor") from None


def _href(call: Call, **changes: str) -> str:
    query = {name: value for name, value in call.query.items() if name not in ("cursor", "next", "prev")} | changes
    text = urlencode(query, quote_via=quote)
    return f"{call.origin}{call.path}" + (f"?{text}" if text else "")


def links(paging: Paging, call: Call, page: Page) -> dict[str, Any]:
    """The links of a page: the automation family shows missing neighbours as null, the others leave them out."""
    following = page.next_cursor and _href(call, **{"cursor" if paging.cursor else "next": page.next_cursor})
    previous = page.prev_cursor and _href(call, **{"cursor" if paging.cursor else "prev": page.prev_cursor})
    if paging.cursor:
        return {"next": {"href": following}, "prev": {"href": previous}}
    found: dict[str, Any] = {"self": {"href": _href(call)}}
    if following:
        found["next"] = {"href": following}
    if previous:
        found["prev"] = {"href": previous}
    return found


def ascending_keys(paging: Paging, call: Call, ids: Iterable[str], value: Callable[[str, str], Any]) -> list[Key]:
    """Sorted keys of `ids`; `value(id, field)` gives what to sort by."""
    name, _ = paging.sort_of(call)
    if name == "id":
        return sorted((ident, ident) for ident in ids)
    return sorted((_sortable(value(ident, name)), ident) for ident in ids)


def _sortable(value: Any) -> Any:
    return "" if value is None else value


def page_response(paging: Paging, call: Call, page: Page, rows: Iterable[bytes], **extra: Any) -> Response:
    """The answer for a page whose rows are already JSON."""
    tail = dumps({"links": links(paging, call, page), **extra})
    return answer(b'{"data":[' + b",".join(rows) + b"]," + tail[1:])
