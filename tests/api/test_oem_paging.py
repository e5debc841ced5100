"""OEM lists: two envelopes, page numbers, hostile links, and lists that change while they are read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from oem_calls import CALLS, collect
from wire_script import Script, says

from qlikmigrate.api.answer import answer_of
from qlikmigrate.api.error import BrokenAnswerError, ListUnstableError
from qlikmigrate.api.oem.operation import OPERATIONS
from qlikmigrate.api.oem.paging import PageSizes, all_rows
from qlikmigrate.api.operation import Shape
from qlikmigrate.kernel.message import Reply, Response

LISTS = [name for name, one in OPERATIONS.items() if one.shape is Shape.LIST]
PAGED = [name for name in LISTS if name != "connector.public-list"]
FOREIGN = "https://admin.blendr.io/api/v1/accounts"


def rows_from(first: int, count: int) -> list[dict[str, str]]:
    return [{"guid": f"g{number}"} for number in range(first, first + count)]


def guids(raws: list[bytes]) -> list[str]:
    return [json.loads(raw)["guid"] for raw in raws]


def page(rows: list[Any], **more: Any) -> Reply:
    return says(200, {"data": rows, **more})


def asked(script: Script) -> list[str]:
    """The page number of each request, empty where it has none."""
    return [parse_qs(urlsplit(one.url).query).get("page", [""])[0] for one in script.seen]


@pytest.mark.parametrize("name", LISTS)
async def test_both_envelopes(reached: Any, script: Script, name: str) -> None:
    """Rows alone and rows under `data`: each row keeps its bytes, and a short page is the only one."""
    rest = {key: value for key, value in CALLS[name][0].items() if key != "query"}
    bare = b'[ {"guid":"a", "x":1.50},\n{"guid":"b"}]'
    for body in (bare, b'{"meta":{}, "data": ' + bare + b"}"):
        script.answers.clear()
        script.seen.clear()
        client = reached(handler=lambda request, body=body: (script(request), says(200, body))[1])
        assert await collect(client.rows(name, **rest)) == [b'{"guid":"a", "x":1.50}', b'{"guid":"b"}']
        assert asked(script) == [""]


@pytest.mark.parametrize("body", [{}, {"blends": []}, {"data": {}}, {"data": None}, "x", 17, None])
@pytest.mark.parametrize("name", LISTS)
async def test_a_third_envelope_fails_loudly(reached: Any, name: str, body: Any) -> None:
    """What is neither of the two is no empty list."""
    rest = {key: value for key, value in CALLS[name][0].items() if key != "query"}
    with pytest.raises(BrokenAnswerError, match="without a list of rows"):
        await collect(reached(handler=lambda request: says(200, body)).rows(name, **rest))


async def test_pages_by_number(reached: Any, script: Script) -> None:
    """`meta.last_page` says how many there are; links to another host change nothing about where they are asked for."""
    links = {"next": f"{FOREIGN}?page=2", "last": f"{FOREIGN}?page=3"}
    meta = {"current_page": 1, "last_page": 3, "per_page": 2, "total": 5}
    script.on("GET /v1/accounts?page=3", page(rows_from(4, 1), meta=meta, links={"next": None}))
    script.on("GET /v1/accounts?page=2", page(rows_from(2, 2), meta=meta, links=links))
    script.on("GET /v1/accounts", page(rows_from(0, 2), meta=meta, links=links))
    assert guids(await collect(reached().rows("account.list"))) == ["g0", "g1", "g2", "g3", "g4"]
    assert asked(script) == ["", "2", "3"]
    assert {urlsplit(one.url).netloc for one in script.seen} == {"api.blendr.io"}


async def test_numbers_that_come_as_text(reached: Any, script: Script) -> None:
    """`last_page` and `total` count as text, too: no list ends before its end, and none that is short is whole."""
    meta = {"last_page": "2", "per_page": "2", "total": "3"}
    script.on("GET /v1/accounts?page=2", page(rows_from(2, 1), meta=meta))
    script.on("GET /v1/accounts", page(rows_from(0, 2), meta=meta))
    assert guids(await collect(reached().rows("account.list"))) == ["g0", "g1", "g2"]
    script.answers.clear()
    script.on("GET /v1/accounts", page(rows_from(0, 2), meta={"last_page": "1", "total": "3"}))
    with pytest.raises(ListUnstableError):
        await collect(reached().rows("account.list"))


async def test_pages_by_link_alone(reached: Any, script: Script) -> None:
    """Without `meta` the link's page number is taken, and nothing else of it; the query of the list stays."""
    link = f"{FOREIGN}?finishedOnly=false&key=1&page=2"
    path = "/v1/accounts/acme/blends/b1/runs"
    script.on(f"GET {path}?finishedOnly=true&page=2", page(rows_from(1, 1), links={"next": ""}))
    script.on(f"GET {path}?finishedOnly=true", page(rows_from(0, 1), links={"next": link}))
    found = reached().rows("run.list", account="acme", blend="b1", query={"finishedOnly": True})
    assert guids(await collect(found)) == ["g0", "g1"]


@pytest.mark.parametrize("link", ["https://x/?cursor=a", "https://x/", "https://x/?page=z", "?page=1", "http://["])
async def test_links_that_lead_nowhere(reached: Any, link: str) -> None:
    """A link without a number, or back to where it came from, is no end of the list."""
    client = reached(handler=lambda request: page(rows_from(0, 1), links={"next": link}))
    with pytest.raises(BrokenAnswerError, match="link to a next page"):
        await collect(client.rows("account.list"))


@pytest.mark.parametrize("count", [0, 1, 99, 101, 251])
async def test_a_list_without_pages_is_all(reached: Any, script: Script, count: int) -> None:
    """Rows alone are the whole list, unless they are as many as a page may hold."""
    script.on("GET /v1/templates", says(200, rows_from(0, count)))
    assert len(await collect(reached().rows("template.list"))) == count
    assert asked(script) == [""]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("more", [0, 1, 99, 100, 131])
async def test_a_list_as_long_as_a_page(reached: Any, script: Script, wrapped: bool, more: int) -> None:
    """After exactly 100 rows the next page is asked for, and the next, until one is not full."""
    pages = [rows_from(0, 100), rows_from(100, min(more, 100)), rows_from(200, max(more - 100, 0))]
    for number, rows in reversed(list(enumerate(pages, 1))):
        key = "GET /v1/templates" + (f"?page={number}" if number > 1 else "")
        script.on(key, page(rows) if wrapped else says(200, rows))
    assert len(await collect(reached().rows("template.list"))) == 100 + more
    assert asked(script) == ["", "2"] + ["3"] * (more >= 100)


async def test_a_page_size_that_was_said_elsewhere(reached: Any, script: Script) -> None:
    """A service that cuts one list after 7 rows, and says so, may cut another after 7 without a word."""
    script.on("GET /v1/accounts", page(rows_from(0, 1), meta={"last_page": 1, "per_page": 7}))
    script.on("GET /v1/templates?page=2", page(rows_from(7, 2)))
    script.on("GET /v1/templates", page(rows_from(0, 7)))
    client = reached()
    assert len(await collect(client.rows("template.list"))) == 7
    await collect(client.rows("account.list"))
    assert len(await collect(client.rows("template.list"))) == 9


async def test_a_service_that_knows_no_pages(reached: Any, script: Script) -> None:
    """The same 100 rows again are the same list, and come once."""
    script.on("GET /v1/templates", says(200, rows_from(0, 100)))
    assert len(await collect(reached().rows("template.list"))) == 100
    assert asked(script) == ["", "2"]


@pytest.mark.parametrize(("size", "total"), [(25, 30), (15, 30), (50, 64), (5, 11)])
async def test_a_list_that_is_cut_without_a_word(reached: Any, script: Script, size: int, total: int) -> None:
    """A service may cut its lists at another length than the documented one, and show nothing but rows."""
    for number in range(total // size + 2, 1, -1):
        script.on(
            f"GET /v1/templates?page={number}",
            page(rows_from((number - 1) * size, max(min(size, total - (number - 1) * size), 0))),
        )
    script.on("GET /v1/templates", page(rows_from(0, size)))
    assert guids(await collect(reached().rows("template.list"))) == [f"g{number}" for number in range(total)]


@pytest.mark.parametrize("beyond", [says(400, {}), says(404, {}), page([]), page(rows_from(0, 5))])
async def test_a_round_number_of_rows_may_be_all(reached: Any, script: Script, beyond: Reply) -> None:
    """A page beyond the end is refused, empty, or the last one again: each says that there is no more."""
    script.on("GET /v1/templates?page=2", beyond)
    script.on("GET /v1/templates", page(rows_from(0, 5)))
    assert len(await collect(reached().rows("template.list"))) == 5


async def test_a_page_that_is_asked_for_on_suspicion_may_not_fail(reached: Any, script: Script) -> None:
    """Where the next page is refused nobody knows whether the list was whole."""
    script.on("GET /v1/templates?page=2", says(400, {}))
    script.on("GET /v1/templates", says(200, rows_from(0, 100)))
    with pytest.raises(Exception, match="answered 400"):
        await collect(reached().rows("template.list"))


async def test_a_list_that_loses_rows_is_read_again(reached: Any, script: Script) -> None:
    """A total that shrinks may have moved a row past us: the list starts again, and is whole then."""
    before, after = {"last_page": 2, "total": 4}, {"last_page": 2, "total": 3}
    script.on("GET /v1/accounts?page=2", page(rows_from(3, 1), meta=after), page(rows_from(3, 1), meta=after))
    script.on("GET /v1/accounts", page(rows_from(0, 2), meta=before), page(rows_from(1, 2), meta=after))
    found = guids(await collect(reached().rows("account.list")))
    assert {"g1", "g2", "g3"} <= set(found)
    assert asked(script) == ["", "2", "", "2"]


async def test_a_list_that_grows_is_taken(reached: Any, script: Script) -> None:
    """A newcomer pushes rows on: they come twice, and none is lost."""
    script.on("GET /v1/accounts?page=2", page(rows_from(1, 2), meta={"last_page": 2, "total": 4}))
    script.on("GET /v1/accounts", page(rows_from(0, 2), meta={"last_page": 2, "total": 3}))
    script.on("GET /v1/accounts?page=2", page(rows_from(1, 3), meta={"last_page": 2, "total": 4}))
    assert set(guids(await collect(reached().rows("account.list")))) == {"g0", "g1", "g2", "g3"}
    assert asked(script) == ["", "2"]


@pytest.mark.parametrize(
    "answer",
    [page(rows_from(0, 2), meta={"last_page": 3, "total": 6}), page([], meta={"last_page": 3}),
     page(rows_from(0, 2), meta={"last_page": 1, "total": 3})],
    ids=["the same page", "empty pages", "less than it says"],
)  # fmt: skip
async def test_a_list_that_is_never_whole(reached: Any, script: Script, answer: Reply) -> None:
    """Four times read and still short: exit 3, and not a short list."""
    script.on("GET /v1/accounts", answer)
    with pytest.raises(ListUnstableError) as caught:
        await collect(reached().rows("account.list"))
    assert caught.value.exit_code == 3
    assert 4 <= len(script.seen) <= 8


@pytest.mark.parametrize("name", ["account.get", "blend.run", "template.install"])
async def test_what_is_no_list_has_no_rows(reached: Any, script: Script, name: str) -> None:
    """Asking for rows of anything else, or for a page by hand, is a mistake of the caller."""
    ids = dict.fromkeys(OPERATIONS[name].id_names, "x")
    with pytest.raises(ValueError, match="no list"):
        await collect(reached().rows(name, **ids))
    with pytest.raises(ValueError, match="no list"):
        await collect(reached().rows("account.list", query={"page": 2}))
    assert script.seen == []


@define
class Shelf:
    """A list of `total` rows as a service may cut it into pages."""

    total: int
    per_page: int
    style: str
    asked: list[int] = field(factory=list)

    def __call__(self, number: int) -> Any:
        self.asked.append(number)
        start = (number - 1) * self.per_page
        rows = rows_from(start, max(min(self.per_page, self.total - start), 0))
        last = max(-(-self.total // self.per_page), 1)
        meta = {"last_page": last, "total": self.total}
        links = {"next": f"{FOREIGN}?page={number + 1}" if number < last else None}
        parts: dict[str, dict[str, Any]] = {
            "bare": {}, "data": {}, "meta": {"meta": meta}, "links": {"links": links},
            "both": {"meta": meta, "links": links},
        }  # fmt: skip
        return rows if self.style == "bare" else {"data": rows, **parts[self.style]}


STYLES = st.sampled_from(["bare", "data", "meta", "links", "both"])


@given(total=st.integers(0, 45), per_page=st.integers(1, 10), style=STYLES)
async def test_every_row_comes_once(total: int, per_page: int, style: str) -> None:
    """However a service cuts its list and says so: all rows, once, and no page that cannot be."""
    shelf = Shelf(total, per_page, style)
    operation = OPERATIONS["account.list"]

    async def fetch(number: int) -> Any:
        return answer_of(operation, Response(status=200, body=json.dumps(shelf(number)).encode()))

    rows = [row async for row in all_rows(fetch, operation="account.list", tenant="t", sizes=PageSizes({per_page}))]
    assert guids(rows) == [f"g{number}" for number in range(total)]
    assert shelf.asked == list(range(1, len(shelf.asked) + 1))
    # A last page of a round number of rows, of which nobody says that it is the last, costs one more.
    assert len(shelf.asked) <= total // per_page + 2
