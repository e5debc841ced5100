"""The client of the OEM API as its callers see it: which requests go out, and what comes back."""

from __future__ import annotations

import asyncio
import json
import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oem_calls import BASE, CALLS, collect, documented, route, sound
from wire_script import HTML, KEY, LOST, SLOW, Script, Told, says

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import (
    ApiError,
    BrokenAnswerError,
    ConflictError,
    ForeignHostError,
    InvalidError,
    MissingError,
    OutcomeUnknownError,
    QueueFullError,
    ServerError,
    UnauthorizedError,
)
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint
from qlikmigrate.api.oem.operation import OPERATIONS
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.kernel.secret import Secret

GUID = "3d4b5c0e-0000-4000-8000-000000000001"
READS_ONE = [name for name, one in OPERATIONS.items() if one.method == "GET" and one.shape != "list"]


def test_each_operation_is_called_here() -> None:
    """The calls of these tests are those of the table, no more and no less."""
    assert list(CALLS) == list(OPERATIONS)


def test_what_these_tests_take_for_documented() -> None:
    """Their own measure tells a documented request from one that is not."""

    def known(method: str, url: str) -> bool:
        return documented(Request(method=method, url=url))

    assert known("GET", f"{BASE}/accounts?page=2")
    assert known("PUT", f"{BASE}/accounts/a%2Fb/blends/t/b")
    assert not known("GET", f"{BASE}/accounts/a?page=2")
    assert not known("DELETE", f"{BASE}/accounts/a")
    assert not known("GET", f"{BASE}/accounts/a/b/blends")
    assert not known("GET", "https://admin.blendr.io/v1/accounts")


@pytest.mark.parametrize("name", CALLS)
async def test_requests_are_what_the_pages_document(reached: Any, script: Script, name: str) -> None:
    """Method, address, query, body and headers, to the letter; the key pair goes with all but the public list."""
    rest, method, url, body = CALLS[name]
    script.on(route(name), sound(name))
    await reached().call(name, **rest)
    (sent,) = script.seen
    assert (sent.method, sent.url) == (method, url)
    assert (json.loads(sent.body) if sent.body else None) == body
    assert sent.headers["accept"] == "application/json"
    assert sent.headers.get("content-type") == ("application/json" if body is not None else None)
    assert "authorization" not in sent.headers
    pair = (sent.headers.get("x-app-id"), sent.headers.get("x-api-key"))
    assert pair == ((None, None) if name == "connector.public-list" else ("12345", KEY))


@pytest.mark.parametrize(
    ("operation", "rest"),
    [
        ("blend.create", {"account": "a"}),
        ("blend.delete", {"account": "a", "blend": "b"}),
        ("account.delete", {"account": "a"}),
        ("connector.list", {}),
        ("automation.list", {}),
        ("blend.get", {"account": "a"}),
        ("blend.get", {"account": "a", "blend": ".."}),
        ("blend.get", {"account": "", "blend": "b"}),
        ("blend.get", {"account": "a", "blend": "b", "template": "t"}),
        ("blend.list", {"account": "a", "query": {"per_page": 500}}),
        ("run.list", {"account": "a", "blend": "b", "query": {"created_at": "x"}}),
        ("blend.update", {"account": "a", "blend": "b", "body": {"workspace": {}}}),
        ("blend.update", {"account": "a", "blend": "b", "body": {"description": "d"}}),
        ("account.update", {"account": "a", "body": {"send_invite": True}}),
        ("account.expire", {"account": "a", "body": {"name": "n"}}),
        ("datasource.update", {"account": "a", "datasource": "d", "body": {"connector_guid": "c"}}),
        ("template.install", {"template": "t", "body": {"account": "a", "name": "n"}}),
    ],
)
async def test_what_is_not_documented_is_not_sent(
    reached: Any, script: Script, operation: str, rest: dict[str, Any]
) -> None:
    """Unknown operations, ids, query names and members are refused before anything goes out."""
    with pytest.raises(ValueError, match="`"):
        await reached().call(operation, **rest)
    assert script.seen == []


ANSWERS = [
    says(200, {"data": [{"guid": "x"}], "links": {"next": "https://evil.example/v1/steal?page=2&key=1"}}),
    says(200, {"data": [{"guid": "y"}], "meta": {"last_page": 3}}),
    says(200, [{"guid": str(i)} for i in range(100)]),
    says(302, location="https://api.blendr.io/v1/somewhere"), says(301, location="/v2/accounts"), says(307),
    says(400, {}), says(404), says(429), says(500), LOST, HTML,
]  # fmt: skip


@given(
    name=st.sampled_from(list(OPERATIONS)),
    words=st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=3),
    known=st.booleans(),
    query=st.dictionaries(st.sampled_from(["page", "async", "finishedOnly", "limit"]), st.just(2), max_size=2),
    rows=st.booleans(),
    answers=st.lists(st.integers(0, len(ANSWERS) - 1), max_size=8),
)
def test_nothing_but_the_table_can_be_sent(
    name: str, words: list[str], known: bool, query: dict[str, Any], rows: bool, answers: list[int]
) -> None:
    """Whatever is asked for, with whatever answers: each request is one of the documented ones."""
    seen: list[Request] = []
    left = list(answers)

    def handler(request: Request) -> Reply:
        seen.append(request)
        return ANSWERS[left.pop()] if left else says(200, {})

    pair = KeyPair(app_id="1", api_key=Secret("k"))
    endpoint = OemEndpoint(name="partner", access=Access.WRITE, credentials=pair, handler=handler)
    client = OemClient.open(endpoint, access=Access.WRITE, clock=ManualClock(), sink=discard)
    client.know_account(GUID, "an externalid/with ?#")
    ids = dict(zip(OPERATIONS[name].id_names, words, strict=False))
    if known and "account" in ids:
        ids["account"] = GUID

    async def ask() -> None:
        with suppress(ApiError, ValueError):
            if rows:
                await collect(client.rows(name, query=query, **ids))
            else:
                await client.call(name, query=query, **ids)

    asyncio.run(ask())
    assert [request for request in seen if not documented(request)] == []


@pytest.mark.parametrize("name", CALLS)
async def test_reading_lets_gets_through_and_nothing_else(reached: Any, script: Script, name: str) -> None:
    """Opened with less than `write`, a client sends GETs; what is refused is not sent, and exit 2 names the line."""
    rest = CALLS[name][0]
    script.on(route(name), sound(name))
    for access in (Access.READ, Access.STATE):
        script.seen.clear()
        client = reached(access=access)
        if OPERATIONS[name].method == "GET":
            await client.call(name, **rest)
            assert len(script.seen) == 1
            continue
        with pytest.raises(UsageError) as caught:
            await client.call(name, **rest)
        assert (caught.value.exit_code, caught.value.code) == (2, "not-enough-access")
        assert "[tenants.partner]" in caught.value.hint
        assert script.seen == []


def test_a_client_is_opened_within_its_access() -> None:
    """More than the tenants file grants, an address in the clear and broken keys are refused at once."""
    good = OemEndpoint(name="partner", credentials=KeyPair(app_id="1", api_key=Secret("k")))

    def opened(access: Access = Access.READ, **changes: Any) -> OemClient:
        facts = {"name": good.name, "credentials": good.credentials, **changes}
        return OemClient.open(OemEndpoint(**facts), access=access, clock=ManualClock(), sink=discard)

    with pytest.raises(UsageError, match="needs `write` access"):
        opened(Access.WRITE)
    for url in ("http://api.blendr.io/v1", "ftp://api.blendr.io", "api.blendr.io", "https://"):
        with pytest.raises(UsageError, match="`url` of tenant `partner`"):
            opened(url=url)
    for pair in (KeyPair(app_id="", api_key=Secret("k")), KeyPair(app_id="1", api_key=Secret("a b"))):
        with pytest.raises(UsageError) as caught:
            opened(credentials=pair)
        assert "a b" not in caught.value.message


# What failures mean


@pytest.mark.parametrize("body", [b"{}", b"", b" { } ", b"[]"])
@pytest.mark.parametrize("name", CALLS)
async def test_400_without_a_word(reached: Any, script: Script, name: str, body: bytes) -> None:
    """Of one object that is read it means that there is none; of anything else that the request is not taken."""
    script.on(route(name), says(400, body))
    with pytest.raises(MissingError if name in READS_ONE else InvalidError) as caught:
        await reached().call(name, **CALLS[name][0])
    assert (caught.value.status, caught.value.operation, len(script.seen)) == (400, name, 1)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(401, UnauthorizedError, 20), (403, UnauthorizedError, 20), (404, MissingError, 1), (409, ConflictError, 1),
     (422, InvalidError, 1), (302, BrokenAnswerError, 1)],
)  # fmt: skip
@pytest.mark.parametrize("name", CALLS)
async def test_statuses_that_no_page_has(
    reached: Any, script: Script, name: str, status: int, kind: type[ApiError], code: int
) -> None:
    """Each is told once, without a retry; a refused key pair names what to look at."""
    script.on(route(name), says(status, {"error": "it says so"}))
    with pytest.raises(kind) as caught:
        await reached().call(name, **CALLS[name][0])
    assert (caught.value.exit_code, len(script.seen)) == (code, 1)
    assert ("it says so" in caught.value.message) is not OPERATIONS[name].secret_body
    if kind is UnauthorizedError:
        assert caught.value.hint == "check `app_id` and `api_key` of `[tenants.partner]`"


async def test_a_full_queue(reached: Any, script: Script) -> None:
    """400 whose words speak of the queue, on a run alone: an error of its own, and the run is not sent again."""
    full = says(400, {"error": "Too many jobs in the Queue (200)"})
    for name in CALLS:
        script.seen.clear()
        script.on(route(name), full)
        with pytest.raises(QueueFullError if name == "blend.run" else InvalidError) as caught:
            await reached().call(name, **CALLS[name][0])
        assert len(script.seen) == 1
        assert caught.value.code == ("queue-full" if name == "blend.run" else "invalid-request")


async def test_a_connection_in_use(reached: Any, script: Script) -> None:
    """The one error whose body is documented is told in the service's own words."""
    script.on(route("datasource.delete"), says(400, {"error": "Datasource is used", "blends": [{"guid": "b"}]}))
    with pytest.raises(InvalidError, match="answered 400: Datasource is used"):
        await reached().call("datasource.delete", **CALLS["datasource.delete"][0])


@pytest.mark.parametrize(
    "location", ["https://evil.example/v1/accounts", "//evil.example/x", "http://api.blendr.io/v1/accounts", "http://["]
)
@pytest.mark.parametrize("name", CALLS)
async def test_a_redirect_to_another_host(reached: Any, script: Script, name: str, location: str) -> None:
    """Nothing is sent there, whatever the call: the error says where it would have led."""
    script.on(route(name), says(302, location=location))
    with pytest.raises(ForeignHostError):
        await reached().call(name, **CALLS[name][0])
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"", None), (b"{}", {}), (b'{"a":1.50}', {"a": 1.5}), (b"[1]", [1]), (b"17", 17), (b"done", "done"),
     (b"<ok/>", "<ok/>"), (b"\xff", "\N{REPLACEMENT CHARACTER}"), (b"{broken", "{broken")],
)  # fmt: skip
async def test_a_run_may_answer_anything(reached: Any, script: Script, body: bytes, value: Any) -> None:
    """What an automation answers comes as it is, JSON or not."""
    script.on(route("blend.run"), says(200, body))
    answer = await reached().call("blend.run", **CALLS["blend.run"][0])
    assert (answer.raw, answer.json()) == (body, value)


@pytest.mark.parametrize("page", [HTML, says(200, b"\n<!DOCTYPE html><p>"), says(200, b"<HTML>")])
async def test_a_web_page_is_no_answer_of_a_run(reached: Any, script: Script, page: Any) -> None:
    """It is what proxies and sign-in pages send, so nobody knows whether the automation ran."""
    script.on(route("blend.run"), page)
    with pytest.raises(OutcomeUnknownError):
        await reached().call("blend.run", **CALLS["blend.run"][0])
    assert len(script.seen) == 1


async def test_single_objects_keep_their_bytes(reached: Any, script: Script) -> None:
    """Numbers, spaces and unknown members stay as received; a `data` wrapper is taken off."""
    raw = b' { "guid" : "b1", "x":1.50 , "sub_blends":[] }'
    script.on(route("blend.get"), says(200, raw), says(200, b'{"data":{ "guid" :"b1"}}'))
    client = reached()
    assert (await client.call("blend.get", account="acme", blend="b1")).raw == raw
    assert (await client.call("blend.get", account="acme", blend="b1")).raw == b'{ "guid" :"b1"}'


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"guid":"r"}'])
async def test_an_automation_that_never_ran(reached: Any, script: Script, body: bytes) -> None:
    """The last run of a bundle, or of what never ran, may be no data in any spelling."""
    script.on(route("run.last"), says(200, body))
    answer = await reached().call("run.last", account="acme", blend="b1")
    assert answer.json() == (json.loads(body) if body else None)


# Two names of one account


async def test_an_account_that_answers_to_its_externalid_only(reached: Any, script: Script) -> None:
    """A GET is tried once by the other name, percent-encoded; from then on that part of the API is called so."""
    script.on("GET /v1/accounts/a%2F1/blends/b1", says(200, {"guid": "b1"}))
    script.on("PUT /v1/accounts/a%2F1/blends/b1", says(200, {}))
    script.on(f"GET /v1/accounts/{GUID}/blends/b1", says(400, {}))
    script.on(f"GET /v1/accounts/{GUID}/datasources/d1", says(200, {"guid": "d1"}))
    client = reached()
    client.know_account(GUID, "a/1")
    for _ in range(2):
        await client.call("blend.get", account=GUID, blend="b1")
    await client.call("blend.update", account=GUID, blend="b1", body={"name": "n"})
    await client.call("datasource.get", account=GUID, datasource="d1")
    assert script.asked() == [
        f"GET /v1/accounts/{GUID}/blends/b1", "GET /v1/accounts/a%2F1/blends/b1", "GET /v1/accounts/a%2F1/blends/b1",
        "PUT /v1/accounts/a%2F1/blends/b1", f"GET /v1/accounts/{GUID}/datasources/d1",
    ]  # fmt: skip


async def test_lists_try_the_other_name_as_well(reached: Any, script: Script) -> None:
    """Every page of the list is then asked for by the name that works."""
    script.on(f"GET /v1/accounts/{GUID}/blends", says(404))
    script.on("GET /v1/accounts/acme/blends?page=2", says(200, {"data": [{"guid": "b"}], "meta": {"last_page": 2}}))
    script.on("GET /v1/accounts/acme/blends", says(200, {"data": [{"guid": "a"}], "meta": {"last_page": 2}}))
    client = reached()
    client.know_account(GUID, "acme")
    assert len(await collect(client.rows("blend.list", account=GUID))) == 2
    assert len(script.seen) == 3


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if "account" in one.id_names])
async def test_only_gets_try_another_name(reached: Any, script: Script, name: str) -> None:
    """A write that is refused is never sent under another name; what is missing by both names is missing."""
    client = reached()
    client.know_account(GUID, "acme")
    rest = {**CALLS[name][0], "account": GUID}
    with pytest.raises(MissingError):
        await client.call(name, **rest)
    assert len(script.seen) == (2 if OPERATIONS[name].method == "GET" else 1)


@pytest.mark.parametrize("externalid", [".", ".."])
async def test_a_name_that_no_path_can_hold(reached: Any, script: Script, externalid: str) -> None:
    """An externalid is free text; one that would lead elsewhere is not tried, and the guid's answer is told."""
    client = reached()
    client.know_account(GUID, externalid)
    with pytest.raises(MissingError):
        await client.call("blend.get", account=GUID, blend="b1")
    assert script.asked() == [f"GET /v1/accounts/{GUID}/blends/b1"]


async def test_a_name_that_worked_is_not_doubted(reached: Any, script: Script) -> None:
    """Once a GET by the guid was answered, what is missing is missing, and costs one request."""
    script.on(f"GET /v1/accounts/{GUID}/blends/b1", says(200, {}))
    client = reached()
    client.know_account(GUID, "acme")
    await client.call("blend.get", account=GUID, blend="b1")
    with pytest.raises(MissingError):
        await client.call("blend.get", account=GUID, blend="b2")
    assert len(script.seen) == 2


async def test_no_other_name_after_another_failure(reached: Any, script: Script) -> None:
    """A server error, or a failure of the second name that is no matter of names, is told as what it is."""
    client = reached()
    client.know_account(GUID, "acme")
    script.on(f"GET /v1/accounts/{GUID}", says(403))
    with pytest.raises(UnauthorizedError):
        await client.call("account.get", account=GUID)
    assert len(script.seen) == 1
    script.on(f"GET /v1/accounts/{GUID}", says(400, {}))
    script.on("GET /v1/accounts/acme", says(500))
    with pytest.raises(ServerError):
        await client.call("account.get", account=GUID)


# Secrets


async def test_nothing_secret_is_told(reached: Any, script: Script, told: Told) -> None:
    """Keys, values, credentials and links are in no event, error, repr or traceback, whatever goes wrong."""
    secrets = ["hunter2", "sesame-link", KEY]
    body = {"hunter2": "hunter2"}
    shown: list[str] = []
    answers = [
        says(400, {"error": "bad value hunter2", "additional": {"link": "https://x/sesame-link"}}),
        says(500, {"error": "hunter2"}), says(401, {"error": KEY}), LOST, SLOW, HTML, says(200, b"hunter2 no json"),
        says(302, location="https://api.blendr.io/sesame-link"),
    ]  # fmt: skip
    for name, one in OPERATIONS.items():
        if not one.secret_body:
            continue
        for answer in answers:
            script.on(route(name), answer)
            client = reached()
            shown += [repr(client.endpoint), repr(client._stack), repr(client._shared)]
            content = body if one.open_body else json.dumps(body).encode()
            try:
                await client.call(name, **{**CALLS[name][0], "body": content})
            except ApiError as error:
                shown += [str(error), repr(error), error.hint, "".join(traceback.format_exception(error))]
                cause: BaseException | None = error
                while cause is not None:
                    shown += [repr(cause), repr(cause.args)]
                    cause = cause.__cause__ or cause.__context__
    shown += [repr(event) for event in told.events]
    text = "\n".join(shown)
    assert "POST /v1/accounts/acme/blends/b1/set-persisted-inputs: 500 in" in text
    assert [secret for secret in secrets if secret in text] == []


async def test_the_public_list_has_no_part_in_the_quota(reached: Any, script: Script) -> None:
    """Another host: no keys go there, what it says of limits concerns nobody, and what it answers may be refused."""
    script.on("GET /integrations", says(200, [{"guid": "c"}], x_ratelimit_remaining="0", x_ratelimit_limit="1"))
    script.on("GET /v1/accounts", says(200, []))
    client = reached()
    assert await collect(client.rows("connector.public-list")) == [b'{"guid": "c"}']
    await client.call("account.list")
    assert script.clock.monotonic() == 0
    assert client.quota.limit is None
    assert client.counts.tier1 == 2
    script.on("GET /integrations", says(200, {"data": [{}], "meta": {"last_page": 2}}))
    with pytest.raises(BrokenAnswerError, match="no way to the rest"):
        await collect(client.rows("connector.public-list"))


async def test_counts(reached: Any, script: Script) -> None:
    """Every attempt counts as one of the first tier; there is no other."""
    script.on("PUT /v1/accounts/acme/blends/b1", says(502), says(429), says(200, {}))
    client = reached()
    await client.call("blend.update", account="acme", blend="b1", body={"state": "disabled"})
    assert client.counts.as_json() == {"tier1": 3, "tier2": 0, "token": 0, "retried": 2, "throttled": 1}
    assert BASE in script.seen[0].url
