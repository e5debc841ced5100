"""The client as its callers see it, against a tenant in this process."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from wire_script import KEY, says

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint
from qlikmigrate.api.error import (
    BrokenAnswerError,
    ConflictError,
    ForbiddenError,
    ForeignHostError,
    InvalidError,
    ListUnstableError,
    MissingError,
    UnauthorizedError,
    UnsupportedError,
)
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import AuthError, PartialError, UsageError
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret

HOST = "https://acme.eu.qlikcloud.com"
LIST = "GET /api/workflows/automations"


def page(rows: list[object], href: str | None = None):
    return says(200, {"data": rows, "links": {"next": {"href": href} if href else None}})


async def collect(rows) -> list[bytes]:
    return [row async for row in rows]


async def test_me_redirects_are_followed_on_the_configured_host(opened, script):
    """301 of `/users/me` and 302 of `/tenants/me` lead to the object, with the credentials, also when relative."""
    script.on("GET /api/v1/users/me", says(301, b"moved", location=f"{HOST}/api/v1/users/u1"))
    script.on("GET /api/v1/users/u1", says(200, {"id": "u1", "name": "Ann"}))
    script.on("GET /api/v1/tenants/me", says(302, b"found", location="/api/v1/tenants/t1"))
    script.on(
        "GET /api/v1/tenants/t1",
        says(200, {"id": "t1", "name": "acme", "hostnames": ["ACME.eu.qlikcloud.com", "t1.eu.qlikcloud.com"]}),
    )
    client = opened(access=Access.READ)
    assert (await client.whoami()).json()["name"] == "Ann"
    facts = await client.tenant()
    assert (facts.id, facts.host) == ("t1", "acme.eu.qlikcloud.com")
    assert facts.all_hosts() == ("acme.eu.qlikcloud.com", "t1.eu.qlikcloud.com")
    await client.tenant()
    assert len(script.seen) == 4
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in script.seen)


async def test_single_objects_keep_their_bytes_wrapped_or_not(opened, script):
    """`{"data": {...}}` is taken off by span, a bare object stays as it is, numbers and spaces included."""
    bare = b' { "name" : 1.50, "data" : {"x": 1} }'
    script.on("GET /api/workflows/automation-connections/bare", says(200, bare))
    script.on("GET /api/workflows/automation-connections/own", says(200, b'{"data":{"x":-0},"name":"c"}'))
    script.on("GET /api/workflows/automation-connections/wrapped", says(200, b'{"links":{},"data": { "n" :1.50}}'))
    client = opened()
    assert (await client.call("connection.get", id="bare")).raw == bare
    assert (await client.call("connection.get", id="own")).raw == b'{"data":{"x":-0},"name":"c"}'
    assert (await client.call("connection.get", id="wrapped")).raw == b'{ "n" :1.50}'


async def test_requests_say_what_qlik_documents(opened, script):
    """Header, query and body go out as the API wants them; ids are percent-encoded."""
    script.on("POST /api/workflows/automations", says(201, {"id": "n"}))
    script.on("GET /api/workflows/automations/a%2Fb%3F", says(200, {"id": "a/b?"}))
    script.on("DELETE /api/workflows/automation-connections/c", says(204))
    client = opened()
    await client.call("automation.create", body={"name": "n", "workspace": {}})
    await client.call("automation.create", body=b'{"name":1.50}')
    assert (await client.call("automation.get", id="a/b?")).json() == {"id": "a/b?"}
    gone = await client.call("connection.delete", id="c", query={"forced": True})
    assert (gone.status, gone.raw, gone.json()) == (204, b"", None)
    first, second, _, last = script.seen
    assert orjson.loads(first.body) == {"name": "n", "workspace": {}}
    assert first.headers["content-type"] == "application/json"
    assert second.body == b'{"name":1.50}'
    assert last.url.endswith("/c?forced=true")
    assert first.headers["qlik-api-version"]
    assert first.headers["user-agent"].startswith("qlikmigrate/")


@pytest.mark.parametrize(
    ("operation", "rest"),
    [
        ("automation.fly", {}),
        ("automation.get", {}),
        ("automation.get", {"id": ""}),
        ("automation.get", {"id": ".."}),
        ("automation.get", {"id": "x", "other": "y"}),
        ("automation.list", {"query": {"limits": 1}}),
        ("automation.create", {"body": {"ownerId": "u"}}),
        ("automation.enable", {"id": "x", "body": {"a": 1}}),
    ],
)
async def test_a_call_that_is_not_in_the_table_is_not_sent(opened, script, operation, rest):
    """Unknown operations, ids, query names and members are refused before anything goes out."""
    with pytest.raises(ValueError, match="`automation"):
        await opened().call(operation, **rest)
    assert script.seen == []


async def test_rows_keep_their_bytes_over_pages(opened, script):
    """Each row comes exactly as received, pages are followed by their href, `listAll` and `limit` are sent."""
    script.on(
        f"{LIST}?cursor=2&listAll=true",
        says(200, b'{"links":{"next":null},"data":[ {"id":"c" , "x":1.50} ]}'),
    )
    script.on(
        LIST,
        says(200, b'{"data":[{"id":"a","u":"\\u00e9"},\n{"id":"b","e":1e2}],"links":{"next":{"href":"%s"}}}'
             % f"{HOST}/api/workflows/automations?cursor=2&listAll=true".encode()),
    )  # fmt: skip
    rows = await collect(opened().rows("automation.list"))
    assert rows == [b'{"id":"a","u":"\\u00e9"}', b'{"id":"b","e":1e2}', b'{"id":"c" , "x":1.50}']
    assert parse_qs(urlsplit(script.seen[0].url).query) == {"listAll": ["true"], "limit": ["200"]}


async def test_links_that_are_a_query_alone_stay_on_the_lists_path(opened, script):
    """A next link such as `?cursor=2` goes with the path of its list, below the prefix of the family in use."""
    script.on(f"{LIST}?cursor=2", page([{"id": "b"}]))
    script.on(LIST, page([{"id": "a"}], "?cursor=2"))
    script.on("GET /api/v1/spaces/s%2F1/assignments?next=2", page([{"id": "d"}]))
    script.on("GET /api/v1/spaces/s%2F1/assignments", page([{"id": "c"}], "?next=2"))
    client = opened()
    assert len(await collect(client.rows("automation.list"))) == 2
    assert len(await collect(client.rows("assignment.list", space_id="s/1"))) == 2


async def test_rows_of_a_parent(opened, script):
    """Lists below another object take its id."""
    script.on("GET /api/v1/spaces/s1/assignments", page([{"id": "x"}]))
    assert await collect(opened().rows("assignment.list", space_id="s1")) == [b'{"id": "x"}']


async def test_auto_falls_back_to_v1_once(opened, script):
    """A list that is not found under workflows decides for `/api/v1`, for all calls of this client after it."""
    script.on("GET /api/v1/automations", page([{"id": "a"}]))
    script.on("GET /api/v1/automation-connections", page([]))
    script.on("GET /api/v1/automations/a", says(200, {"id": "a"}))
    client = opened(family="auto")
    assert client.family == "auto"
    assert await collect(client.rows("automation.list")) == [b'{"id": "a"}']
    assert client.family == "v1"
    await collect(client.rows("connection.list"))
    await client.call("automation.get", id="a")
    assert script.asked().count(LIST) == 1
    with pytest.raises(UnsupportedError, match=r"settings\.get"):
        await client.call("settings.get")


async def test_auto_decides_once_for_concurrent_calls_and_details(opened, script):
    """Eight details at once, before any list: one probe, then eight details."""
    script.on(LIST, page([]))
    script.on("GET /api/workflows/automations/a", says(200, {"id": "a"}))
    client = opened(family="auto")
    await asyncio.gather(*(client.call("automation.get", id="a") for _ in range(8)))
    assert script.asked().count(LIST) == 1
    assert len(script.seen) == 9


async def test_auto_does_not_decide_on_other_failures(opened, script):
    """403 on the first list is a matter of rights, not of paths; a host without either family is named as such."""
    script.on(LIST, says(403, {"errors": [{"code": "HTTP-403", "title": "Forbidden"}]}))
    client = opened(family="auto")
    with pytest.raises(UnauthorizedError):
        await client.call("automation.list")
    assert client.family == "auto"
    script.on(LIST, says(404))
    with pytest.raises(MissingError) as caught:
        await client.call("automation.list")
    assert client.family == "auto"
    assert "Qlik tenant" in caught.value.hint


async def test_links_to_the_tenants_other_hosts_stay_on_the_configured_one(opened, script):
    """A next link on an alias host keeps its path and query; the alias is looked up once and never contacted."""
    script.on("GET /api/v1/tenants/me", says(302, location="https://t1.eu.qlikcloud.com/api/v1/tenants/t1"))
    script.on("GET /api/v1/tenants/t1", says(200, {"id": "t1", "hostnames": ["t1.eu.qlikcloud.com"]}))
    script.on(f"{LIST}?cursor=2", page([{"id": "b"}], "https://t1.eu.qlikcloud.com/api/workflows/automations?cursor=3"))
    script.on(f"{LIST}?cursor=3", page([{"id": "c"}]))
    script.on(LIST, page([{"id": "a"}], "https://T1.eu.qlikcloud.com/api/workflows/automations?cursor=2"))
    assert len(await collect(opened().rows("automation.list"))) == 3
    assert {urlsplit(request.url).netloc for request in script.seen} == {"acme.eu.qlikcloud.com"}
    assert script.asked().count("GET /api/v1/tenants/me") == 1


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example/api/workflows/automations?cursor=2",
        "//evil.example/api/workflows/automations",
        "https://acme.eu.qlikcloud.com@evil.example/x",
        "https://acme.eu.qlikcloud.com:8443/x",
        "ftp://acme.eu.qlikcloud.com/x",
        "https://[broken/x",
    ],
)
async def test_links_to_foreign_hosts_are_an_error(opened, script, href):
    """Neither the link nor the credentials go to a host that the tenant does not name."""
    script.on("GET /api/v1/tenants/me", says(200, {"id": "t1", "hostnames": ["acme.eu.qlikcloud.com.evil.example"]}))
    script.on(LIST, page([{"id": "a"}], href))
    with pytest.raises(ForeignHostError):
        await collect(opened().rows("automation.list"))
    assert {urlsplit(request.url).netloc for request in script.seen} == {"acme.eu.qlikcloud.com"}


async def test_a_tenant_that_redirects_its_own_facts_elsewhere_is_not_trusted(opened, script):
    """The host that `/tenants/me` leads to must be among the names that the configured host gives."""
    script.on("GET /api/v1/tenants/me", says(302, location="https://evil.example/api/v1/tenants/t1"))
    script.on("GET /api/v1/tenants/t1", says(200, {"id": "t1", "hostnames": ["acme.eu.qlikcloud.com"]}))
    with pytest.raises(ForeignHostError):
        await opened().tenant()


async def test_redirects_of_writes_are_not_followed(opened, script):
    """A redirect under POST is an error: nothing is written at an address that the table does not name."""
    script.on("POST /api/workflows/automations/a/actions/enable", says(307, location="/api/v1/elsewhere"))
    with pytest.raises(Exception, match="307"):
        await opened().call("automation.enable", id="a")
    assert len(script.seen) == 1


async def test_redirect_circles_end(opened, script):
    """A redirect to itself is given up after a few hops."""
    script.on("GET /api/v1/users/me", says(301, location="/api/v1/users/me"))
    with pytest.raises(Exception, match="circles"):
        await opened().whoami()
    assert len(script.seen) == 5


FIRST = page([{"id": "a"}], "/api/workflows/automations?cursor=2")
SECOND = page([{"id": "b"}], "/api/workflows/automations?cursor=3")
LAST = page([{"id": "c"}])


@pytest.mark.parametrize(
    "second",
    [
        [FIRST, SECOND],
        [page([{"id": "a", "other": 1}], "/api/workflows/automations?cursor=9"), SECOND],
        [page([{"id": "b"}], "/api/workflows/automations?cursor=2"), SECOND],
        [says(400), SECOND],
        [says(404), SECOND],
        [says(410), SECOND],
    ],
    ids=["same page", "same ids", "same link", "cursor 400", "cursor 404", "cursor 410"],
)
async def test_a_list_that_repeats_or_expires_starts_again(opened, script, second):
    """After the restart every row has come, some of them twice."""
    script.on(f"{LIST}?cursor=2", *second)
    script.on(f"{LIST}?cursor=3", LAST)
    script.on(LIST, FIRST)
    rows = await collect(opened().rows("automation.list"))
    assert {orjson.loads(row)["id"] for row in rows} == {"a", "b", "c"}
    assert len([one for one in script.seen if "cursor" not in one.url]) == 2


async def test_a_list_that_never_ends_is_an_error(opened, script):
    """Restarts are bounded, and the end is not a short list but an error, exit 3."""
    script.on(f"{LIST}?cursor=2", FIRST)
    script.on(LIST, FIRST)
    with pytest.raises(ListUnstableError) as caught:
        await collect(opened().rows("automation.list"))
    assert isinstance(caught.value, PartialError)
    assert (caught.value.exit_code, caught.value.code) == (3, "list-unstable")
    assert len(script.seen) == 8


async def test_endless_empty_pages_end(opened, script):
    """Pages without rows that always link to another cursor do not keep the client forever."""
    calls = iter(range(10_000))

    class Endless:
        def __call__(self, request):
            return page([], f"/api/workflows/automations?cursor={next(calls)}")

    with pytest.raises(ListUnstableError):
        await collect(opened(handler=Endless()).rows("automation.list"))
    assert next(calls) < 1000


async def test_the_first_page_refused_is_no_expired_cursor(opened, script):
    """400 on the first page is the caller's mistake and not tried again."""
    script.on(LIST, says(400, {"errors": [{"code": "HTTP-400", "title": "Bad filter"}]}))
    with pytest.raises(InvalidError, match="Bad filter"):
        await collect(opened().rows("automation.list", query={"filter": "nonsense"}))
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("operation", "status", "kind", "exit_code"),
    [
        ("automation.list", 401, UnauthorizedError, 20),
        ("automation.list", 403, UnauthorizedError, 20),
        ("automation.get", 401, UnauthorizedError, 20),
        ("automation.get", 403, ForbiddenError, 20),
        ("automation.get", 404, MissingError, 1),
        ("automation.update", 409, ConflictError, 1),
        ("automation.update", 400, InvalidError, 1),
        ("automation.update", 422, InvalidError, 1),
    ],
)
async def test_refusals_by_kind(opened, script, operation, status, kind, exit_code):
    """Each refusal is its own error, sent once, told on one line with the server's words and trace id."""
    said = {"errors": [{"code": "HTTP-1", "title": "No.", "detail": "Because\nof that."}], "traceId": "tr1"}
    for what in (LIST, "GET /api/workflows/automations/a", "PUT /api/workflows/automations/a"):
        script.on(what, says(status, said))
    ids = {} if operation.endswith("list") else {"id": "a"}
    with pytest.raises(kind) as caught:
        await opened().call(operation, **ids)
    error = caught.value
    assert (error.status, error.exit_code, error.operation, error.trace_id) == (status, exit_code, operation, "tr1")
    assert error.message == f"`{operation}` on `acme` was answered {status}: HTTP-1 No Because of that (trace tr1)"
    assert isinstance(error, AuthError) is (kind is UnauthorizedError)
    assert len(script.seen) == 1


async def test_what_a_server_echoes_of_a_secret_body_is_not_shown(opened, script):
    """A connection's values may be secrets, so the detail of a refusal stays out of the message."""
    script.on(
        "POST /api/workflows/automation-connections",
        says(422, {"errors": [{"code": "X", "title": "Invalid", "detail": "`hunter2` is too short"}]}),
    )
    with pytest.raises(InvalidError) as caught:
        await opened().call("connection.create", body={"connectorId": "c", "params": []})
    assert "X Invalid" in caught.value.message
    assert "hunter2" not in caught.value.message


async def test_long_and_odd_refusals_stay_one_short_line(opened, script):
    """A server's essay is cut, control characters go, and a body that is no JSON says nothing."""
    script.on("GET /api/workflows/automations/a", says(400, {"errors": [{"title": "\x1b[31m" + "x" * 900}]}))
    script.on("GET /api/workflows/automations/b", says(400, b"<html>"))
    client = opened()
    with pytest.raises(InvalidError) as caught:
        await client.call("automation.get", id="a")
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
    with pytest.raises(InvalidError, match=r"answered 400$"):
        await client.call("automation.get", id="b")


@pytest.mark.parametrize("asked", [Access.STATE, Access.WRITE])
def test_more_access_than_granted_names_the_line_to_add(asked):
    """Opening beyond `access` of the tenants file is a usage error with the line that would allow it."""
    endpoint = Endpoint(name="prod", url=HOST, credentials=ApiKey(key=Secret(KEY)), handler=lambda request: says())
    with pytest.raises(UsageError) as caught:
        CloudClient.open(endpoint, access=asked, clock=ManualClock(), sink=discard)
    assert caught.value.exit_code == 2
    assert caught.value.hint == f'add `access = "{asked}"` under [tenants.prod]'


@pytest.mark.parametrize(
    "url", ["http://acme.eu.qlikcloud.com", "acme.eu.qlikcloud.com", "ftp://x", "https://", "https://x:99999", ""]
)
def test_an_address_that_would_leak_or_cannot_be_is_refused(url):
    """Plain http is for loopback only; what is no web address is named as such."""
    endpoint = Endpoint(name="prod", url=url, credentials=ApiKey(key=Secret(KEY)), handler=lambda request: says())
    with pytest.raises(UsageError) as caught:
        CloudClient.open(endpoint, access=Access.READ, clock=ManualClock(), sink=discard)
    assert caught.value.hint.startswith('write `url = "https://')


@pytest.mark.parametrize("url", ["http://127.0.0.1:80", "http://[::1]:9", "http://localhost:1/", "https://x.y/hub#a"])
def test_loopback_may_be_plain_and_paths_are_ignored(url):
    """A pasted browser address works; loopback needs no TLS."""
    endpoint = Endpoint(name="t", url=url, credentials=ApiKey(key=Secret(KEY)), handler=lambda request: says())
    client = CloudClient.open(endpoint, access=Access.READ, clock=ManualClock(), sink=discard)
    assert client.endpoint.origin == url.rstrip("/").split("/hub")[0]


@pytest.mark.parametrize("key", ["", "two words", "line\n", "na\u00efve", "tab\t"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_unseen(key):
    """A pasted key with a blank or a line end is a usage error that does not show it."""
    endpoint = Endpoint(name="prod", url=HOST, credentials=ApiKey(key=Secret(key)), handler=lambda request: says())
    with pytest.raises(UsageError) as caught:
        CloudClient.open(endpoint, access=Access.READ, clock=ManualClock(), sink=discard)
    assert not key.strip() or key not in caught.value.message


async def test_a_page_too_deep_to_take_apart_is_an_error(opened, script):
    """Nesting beyond what can be read ends with an error and not with a crash."""
    deep = b'{"data":[' + b"[" * 1000 + b"]" * 1000 + b"]}"
    script.on(LIST, says(200, deep))
    with pytest.raises(BrokenAnswerError):
        await collect(opened().rows("automation.list"))
