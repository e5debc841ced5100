"""Lists in the envelopes that the vendor's pages show, page by page number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.switches import Envelope, LinkEnds
from qlikmigrate.sandbox.oem.wire import OemCall, RefusalError
from qlikmigrate.sandbox.wire import answer

Stored = TypeVar("Stored")


def list_response(
    realm: OemRealm, call: OemCall, envelope: Envelope, found: Sequence[Stored], show: Callable[[Stored], Any]
) -> Response:
    """The page that was asked for; only its objects are shown.

    Raises:
        RefusalError: 400, `page` is no number from 1.
    """
    text = call.query.get("page", "1")
    if not text.isdecimal() or int(text) < 1:
        raise RefusalError("page is no number from 1")
    page, size = int(text), realm.switches.page_size
    whole = envelope is Envelope.BARE and not realm.switches.bare_pages
    start = 0 if whole else (page - 1) * size
    rows = [show(one) for one in (found if whole else found[start : start + size])]
    value: Any
    match envelope:
        case Envelope.BARE:
            value = rows
        case Envelope.DATA:
            value = {"data": rows}
        case Envelope.PAGED:
            value = {"data": rows} | _around(realm, call, page, size, start, len(rows), len(found))
        case Envelope.OTHER:
            value = {"items": rows}
    return answer(orjson.dumps(value))


def _around(realm: OemRealm, call: OemCall, page: int, size: int, start: int, shown: int, total: int) -> dict[str, Any]:
    """Source: the overview page's example of `links` and `meta`."""
    switches = realm.switches
    base = f"{call.origin}/v1"
    path = (switches.links_base or base) + call.path.removeprefix("/v1")
    last = max(1, -(-total // size))

    def link(number: int) -> str:
        return f"{path}?{urlencode({**call.query, 'page': number})}"

    links: dict[str, str | None] = {
        "first": link(1),
        "last": link(last),
        "prev": link(page - 1) if page > 1 else None,
        "next": link(page + 1) if page < last else None,
    }
    if switches.link_ends is LinkEnds.ABSENT:
        links = {name: value for name, value in links.items() if value is not None}
    meta = {
        "current_page": page,
        "from": start + 1 if shown else None,
        "last_page": last,
        "path": path,
        "per_page": size,
        "to": start + shown if shown else None,
        "total": total,
    }
    return {"links": links, "meta": meta}
