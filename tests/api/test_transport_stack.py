"""What happens to a call between client and wire: retries, limits, tokens, the guard. Time is manual, nothing waits."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime
from itertools import pairwise

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from wire_script import CLIENT_SECRET, CUT, HTML, KEY, LOST, SLOW, says

from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import Access, Limits, OAuthClient
from qlikmigrate.api.error import (
    BrokenAnswerError,
    OutcomeUnknownError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from qlikmigrate.api.operation import OPERATIONS, Retry, Shape
from qlikmigrate.api.transport.exchange import Call
from qlikmigrate.api.transport.limiter import LONGEST_PAUSE_S, Gate, Limiter, gates, retry_after_s
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Log
from qlikmigrate.kernel.message import Request
from qlikmigrate.kernel.secret import Secret

# What the contract says may be sent again; everything else that is no GET must happen once.
REPEATABLE = {
    "token.create", "automation.update", "automation.delete", "automation.enable", "automation.disable",
    "automation.change-owner", "automation.change-space", "connection.update", "connection.delete",
    "connection.change-owner", "connection.change-space", "connection.check", "settings.put", "space.update",
    "space.delete", "assignment.update", "assignment.delete",
}  # fmt: skip
FAULTS = {
    "500": says(500), "502": says(502), "503": says(503), "504": says(504), "reset": LOST, "timeout": SLOW,
    "cut": CUT, "html": HTML, "empty": says(200, b""), "number": says(200, b"17"),
}  # fmt: skip
CALLABLE = sorted(name for name in OPERATIONS if name != "token.create")


def route(operation):
    return f"{operation.method} {operation.path_under('workflows', ids_of(operation))}"


def ids_of(operation):
    return {name: f"{name}-1" for name in operation.id_names}


def sound(operation):
    if operation.shape is Shape.NOTHING:
        return says(204)
    if operation.shape is Shape.TEXT:
        return says(200, b"log", content_type="text/plain")
    return says(200, {"data": [], "id": "x"})


def harmless(operation, fault):
    """A 204 answers without a body, a debug log is any text: there these are no faults."""
    return (operation.shape is Shape.NOTHING and fault in ("empty", "number")) or (
        operation.shape is Shape.TEXT and fault in ("empty", "number")
    )


def test_what_may_be_repeated_is_what_the_contract_lists():
    """GET and the listed verbs are SAFE, everything else is ONCE."""
    safe = {name for name, one in OPERATIONS.items() if one.retry is Retry.SAFE and one.method != "GET"}
    assert safe == REPEATABLE
    assert all(one.retry is Retry.SAFE for one in OPERATIONS.values() if one.method == "GET")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLABLE)
async def test_every_call_against_every_fault(opened, script, name, fault):
    """One fault: what may be repeated succeeds with the second request, what must happen once says it is unknown."""
    operation = OPERATIONS[name]
    if harmless(operation, fault):
        return
    script.on(route(operation), FAULTS[fault], sound(operation))
    client = opened(family="workflows")
    if operation.retry is Retry.SAFE:
        await client.call(name, **ids_of(operation))
        assert (len(script.seen), client.counts.retried) == (2, 1)
    else:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.call(name, **ids_of(operation))
        assert (len(script.seen), client.counts.retried) == (1, 0)
        assert caught.value.operation == name


@pytest.mark.parametrize("name", CALLABLE)
async def test_every_call_is_sent_again_on_429(opened, script, name):
    """A throttled request was not carried out: creates too go out again, after the time the server asks for."""
    operation = OPERATIONS[name]
    script.on(route(operation), says(429, retry_after="13"), sound(operation))
    client = opened()
    await client.call(name, **ids_of(operation))
    assert (client.counts.throttled, client.counts.retried) == (1, 1)
    assert script.times[1] - script.times[0] >= 13


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(says(503), ServerError), (LOST, UnreachableError), (SLOW, UnreachableError), (HTML, BrokenAnswerError),
     (CUT, BrokenAnswerError), (says(429), ServerError)],
    ids=["503", "reset", "timeout", "html", "cut", "429"],
)  # fmt: skip
async def test_what_stays_ends_with_exit_1(opened, script, fault, kind):
    """Retries are bounded and spread in time; what is left names the operation and ends with exit 1."""
    script.on("GET /api/workflows/automations/a", fault)
    with pytest.raises(kind) as caught:
        await opened().call("automation.get", id="a")
    assert caught.value.exit_code == 1
    assert "`automation.get` on `acme`" in caught.value.message
    assert len(script.seen) == (12 if kind is ServerError and "429" in caught.value.message else 5)
    gaps = [later - sooner for sooner, later in pairwise(script.times)]
    assert all(0.25 <= gap <= 3605 for gap in gaps)
    if kind is BrokenAnswerError:
        assert "Qlik tenant" in caught.value.hint


async def test_waits_grow_and_are_spread(opened, script):
    """Backoff doubles, and two clients that fail together do not come back together."""
    script.on("GET /api/workflows/automations/a", says(502))
    client = opened()
    for _ in range(2):
        with pytest.raises(ServerError):
            await client.call("automation.get", id="a")
    one, two = script.times[:5], script.times[5:]
    gaps = [[b - a for a, b in pairwise(times)] for times in (one, two)]
    assert gaps[0] != gaps[1]
    for run in gaps:
        for gap, most in zip(run, (0.5, 1, 2, 4), strict=True):
            assert most / 2 <= gap <= most


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 501])
async def test_lasting_failures_are_not_retried(opened, script, status):
    """A 4xx, or a 5xx that is no matter of the moment, is sent once."""
    script.on("PUT /api/workflows/automations/a", says(status))
    with pytest.raises(Exception, match=str(status)):
        await opened().call("automation.update", id="a", body={"name": "n"})
    assert len(script.seen) == 1


async def test_any_5xx_of_a_create_is_unknown(opened, script):
    """Even a 5xx that is never retried leaves open whether the create was carried out."""
    script.on("POST /api/workflows/automations", says(501))
    with pytest.raises(OutcomeUnknownError) as caught:
        await opened().call("automation.create", body={"name": "n"})
    assert caught.value.status == 501


async def test_a_create_refused_is_not_unknown(opened, script):
    """A 4xx says that nothing was created."""
    script.on("POST /api/workflows/automations", says(429), says(400))
    with pytest.raises(Exception, match="answered 400"):
        await opened().call("automation.create", body={"name": "n"})
    assert len(script.seen) == 2


async def test_gone_on_a_retry_is_deleted(opened, script):
    """404 after a lost DELETE is done; 404 at first, or after a mere 429, is missing."""
    path = "DELETE /api/workflows/automations/a"
    script.on(path, LOST, says(404))
    assert (await opened().call("automation.delete", id="a")).status == 204
    script.on(path, says(404))
    with pytest.raises(Exception, match="404"):
        await opened().call("automation.delete", id="a")
    script.on(path, says(429), says(404))
    with pytest.raises(Exception, match="404"):
        await opened().call("automation.delete", id="a")


async def test_half_a_surrogate_is_still_json(opened, script):
    """A text cut in the middle of an emoji is no broken answer, and its bytes stay."""
    raw = b'{"id":"a","name":"\\ud83d"}'
    script.on("GET /api/workflows/automations/a", says(200, raw))
    assert (await opened().call("automation.get", id="a")).raw == raw


@pytest.mark.parametrize("raw", [b"NaN", b'{"a":NaN}', b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}', b"[" * 5000, b"[]"])
async def test_what_only_looks_like_json_is_broken(opened, script, raw):
    """NaN, bad UTF-8, endless nesting and a list in place of an object are not taken for an automation."""
    script.on("GET /api/workflows/automations/a", says(200, raw))
    with pytest.raises(BrokenAnswerError):
        await opened().call("automation.get", id="a")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_stops_the_whole_tier_and_no_other(status):
    """While tier 2 is asked to wait, its other calls wait too, and tier 1 goes on."""
    clock = ManualClock()
    answers = [says(status, retry_after="60"), says(200), says(204), says(204)]

    class Wire:
        async def send(self, call):
            return answers.pop(0).response

    limiter = Limiter(Wire(), gates(Limits(), clock), RequestCounts(), clock)

    async def spent(name: str) -> float:
        started = clock.monotonic()
        operation = OPERATIONS[name]
        await limiter.send(Call(operation=operation, request=Request(method=operation.method, url="https://x/y")))
        return clock.monotonic() - started

    assert await spent("automation.enable") == 0
    assert await spent("automation.get") == 0
    assert await spent("automation.update") == 60
    assert await spent("automation.update") == 0


def test_retry_after_in_every_spelling():
    """Seconds, a date, nonsense and absurd values: bounded, never negative, None where nothing is said."""
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    told = {
        "13": 13.0, " 7 ": 7.0, "1.5": 1.5, "-4": 0.0, "0": 0.0, "999999999": LONGEST_PAUSE_S, "inf": LONGEST_PAUSE_S,
        "nan": None, "soon": None, "": None, "Sun, 01 Nov 2026 12:00:20 GMT": 20.0,
        "Sun, 01 Nov 2026 11:00:00 GMT": 0.0, "Sun, 01 Nov 2037 12:00:20 GMT": LONGEST_PAUSE_S,
        "Sun, 01 Nov 2026 12:00:20 -0000": 20.0,
    }  # fmt: skip
    assert {text: retry_after_s({"retry-after": text}, now) for text in told} == told
    assert retry_after_s({}, now) is None


@given(rate=st.integers(1, 2000), calls=st.integers(1, 400))
def test_a_gate_never_lets_more_through_than_its_rate(rate, calls):
    """One minute's budget at once, the rest at its rate: not sooner, and nobody waits longer than needed."""

    async def run() -> float:
        clock = ManualClock()
        gate = Gate(rate, clock)
        for _ in range(calls):
            await gate.enter()
        return clock.monotonic()

    elapsed = asyncio.run(run())
    assert elapsed == pytest.approx(max(0, calls - rate) * 60 / rate, abs=1e-3)


async def test_a_cancelled_waiter_takes_no_turn():
    """Who is cancelled in the queue leaves the budget and the queue as they were."""
    clock = ManualClock()
    gate = Gate(1, clock)
    await gate.enter()
    gate.pause(1000)

    class Stuck(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    gate._clock = Stuck()
    waiter = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate._clock = clock
    await gate.enter()
    assert clock.monotonic() == pytest.approx(1000)


async def test_the_share_of_the_quota_is_kept(opened, script):
    """Twice a minute's share of writes takes a minute; reads have their own budget."""
    script.on("POST /api/workflows/automations/a/actions/enable", says(204))
    client = opened(limits=Limits(tier2_per_minute=50, share=0.5))
    for _ in range(50):
        await client.call("automation.enable", id="a")
    assert script.clock.monotonic() == pytest.approx(60)
    assert client.counts.tier2 == 50


async def test_concurrency_holds_whatever_the_callers_do(opened, script):
    """A hundred calls at once, of three identities: as many on the wire as the endpoint allows, never more."""
    busy = most = 0

    class Busy(ManualClock):
        async def sleep(self, seconds: float) -> None:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            for _ in range(5):
                await asyncio.sleep(0)
            busy -= 1

    def handler(request):
        return evolve(says(200, {"access_token": "t", "id": "a"}), delay_s=0.01)

    script.clock = Busy()
    client = opened(handler=handler, limits=Limits(concurrency=3), impersonation=OAUTH)
    users = [client, await client.as_user("u1"), await client.as_user("u2")]
    await asyncio.gather(*(users[i % 3].call("automation.get", id="a") for i in range(99)))
    assert most == 3


OAUTH = OAuthClient(client_id="client-1", client_secret=Secret(CLIENT_SECRET))


def minted(token: str, **more):
    return says(200, {"access_token": token, "token_type": "bearer", "expires_in": 21600, **more})


async def test_a_client_mints_one_token_for_all(opened, script):
    """Client credentials go to the token address once, however many calls start together; the token is reused."""
    script.on("POST /oauth/token", minted("T1"))
    script.on("GET /api/workflows/automations/a", says(200, {}))
    client = opened(credentials=OAUTH, access=Access.READ)
    await asyncio.gather(*(client.call("automation.get", id="a") for _ in range(8)))
    assert (client.counts.token, client.counts.tier1, client.counts.tier2) == (1, 8, 0)
    asked = orjson.loads(script.seen[0].body)
    assert asked == {"client_id": "client-1", "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}
    assert "authorization" not in script.seen[0].headers
    assert {request.headers["authorization"] for request in script.seen[1:]} == {"Bearer T1"}


async def test_an_expiring_token_is_replaced_in_time(opened, script):
    """Shortly before its end a token is not used any more."""
    script.on("POST /oauth/token", minted("T1"), minted("T2"))
    script.on("GET /api/workflows/automations/a", says(200, {}))
    client = opened(credentials=OAUTH)
    await client.call("automation.get", id="a")
    script.clock.advance(21600 - 30)
    await client.call("automation.get", id="a")
    assert script.seen[-1].headers["authorization"] == "Bearer T2"
    assert client.counts.token == 2


@pytest.mark.parametrize("what", ["GET /api/workflows/automations/a", "POST /api/workflows/automations"])
async def test_401_with_a_minted_token_mints_one_more(opened, script, what):
    """The same request goes out again with a new token, creates too; refused again, it is an error."""
    operation, ids = ("automation.get", {"id": "a"}) if what.startswith("GET") else ("automation.create", {})
    script.on("POST /oauth/token", minted("T1"), minted("T2"))
    script.on(what, says(401), says(200, {"id": "a"}), says(401))
    client = opened(credentials=OAUTH)
    await client.call(operation, **ids)
    assert [one.headers.get("authorization") for one in script.seen] == [None, "Bearer T1", None, "Bearer T2"]
    with pytest.raises(UnauthorizedError):
        await client.call(operation, **ids)
    assert client.counts.token == 3


async def test_many_refused_together_mint_once(opened, script):
    """Eight calls refused with the same token share one new one."""
    script.on("POST /oauth/token", minted("T1"), minted("T2"), says(500))

    def handler(request):
        if request.headers.get("authorization") == "Bearer T1":
            return says(401)
        return script(request)

    script.on("GET /api/workflows/automations/a", says(200, {}))
    client = opened(credentials=OAUTH, handler=handler)
    await asyncio.gather(*(client.call("automation.get", id="a") for _ in range(8)))
    assert client.counts.token == 2


async def test_401_with_a_key_is_final(opened, script):
    """A key cannot be renewed: one request, exit 20."""
    script.on("GET /api/workflows/automations/a", says(401))
    with pytest.raises(UnauthorizedError) as caught:
        await opened().call("automation.get", id="a")
    assert (caught.value.exit_code, len(script.seen)) == (20, 1)


@pytest.mark.parametrize("reply", [says(401, {"errors": [{"code": "X", "title": "no"}]}), says(400), says(200, {})])
async def test_a_refused_client_is_told(opened, script, reply):
    """No token, no guessing: exit 20, with where to look, and no secret in the words."""
    script.on("POST /oauth/token", reply)
    with pytest.raises(UnauthorizedError) as caught:
        await opened(credentials=OAUTH).call("automation.get", id="a")
    assert "client_secret" in caught.value.hint
    assert CLIENT_SECRET not in caught.value.message


async def test_token_requests_are_retried(opened, script):
    """Minting changes nothing, so it is repeated like a read."""
    script.on("POST /oauth/token", says(503), HTML, LOST, minted("T1"))
    script.on("GET /api/workflows/automations/a", says(200, {}))
    client = opened(credentials=OAUTH, access=Access.READ)
    await client.call("automation.get", id="a")
    assert (client.counts.token, client.counts.retried) == (4, 3)


async def test_one_user_for_everything(opened, script):
    """`impersonate` makes the client act as the user with that subject."""
    script.on("POST /oauth/token", minted("T1"))
    script.on("GET /api/workflows/automations/a", says(200, {}))
    acting = OAuthClient(client_id="c", client_secret=Secret(CLIENT_SECRET), impersonate="auth0|ann")
    await opened(credentials=acting).call("automation.get", id="a")
    asked = orjson.loads(script.seen[0].body)
    assert asked["grant_type"] == "urn:qlik:oauth:user-impersonation"
    assert asked["user_lookup"] == {"field": "subject", "value": "auth0|ann"}


async def test_acting_as_users(opened, script):
    """Each user gets a token by id and rates of its own; counts, pool and access are the parent's."""
    script.on("POST /oauth/token", minted("U1"), minted("U2"))
    script.on("POST /api/workflows/automations", says(201, {"id": "n"}))
    client = opened(impersonation=OAUTH, limits=Limits(tier2_per_minute=10, share=1.0))
    ann, bob = await client.as_user("u1"), await client.as_user("u2")
    assert await client.as_user("u1") is ann
    assert [orjson.loads(one.body)["user_lookup"] for one in script.seen] == [
        {"field": "userId", "value": "u1"},
        {"field": "userId", "value": "u2"},
    ]
    for _ in range(10):
        await ann.call("automation.create", body={"name": "n"})
        await bob.call("automation.create", body={"name": "n"})
    assert script.clock.monotonic() == 0
    assert ann.counts is client.counts
    assert (client.counts.tier2, client.counts.token) == (20, 2)
    assert {one.headers["authorization"] for one in script.seen[2:]} == {"Bearer U1", "Bearer U2"}
    await ann.aclose()
    assert ann.access is client.access


async def test_acting_as_a_user_may_be_refused_or_not_configured(opened, script):
    """Both say what to do: exit 20 with the user's id, exit 2 with the line to add."""
    script.on("POST /oauth/token", says(401, {"errors": [{"code": "X", "title": "unauthorized"}]}))
    with pytest.raises(UnauthorizedError, match="`u1`") as refused:
        await opened(impersonation=OAUTH).as_user("u1")
    assert (refused.value.code, refused.value.exit_code) == ("impersonation-refused", 20)
    with pytest.raises(UsageError) as missing:
        await opened().as_user("u1")
    assert "[tenants.acme]" in missing.value.hint


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("name", CALLABLE)
async def test_the_guard_lets_through_what_access_covers(opened, script, name, access):
    """READ: GET only. STATE: enable and disable too. WRITE: all. What is refused is not sent, exit 2 names the line."""
    operation = OPERATIONS[name]
    script.on(route(operation), sound(operation))
    state = name in ("automation.enable", "automation.disable")
    covered = operation.method == "GET" or access is Access.WRITE or (access is Access.STATE and state)
    client = opened(access=access)
    if covered:
        await client.call(name, **ids_of(operation))
        assert len(script.seen) == 1
        return
    with pytest.raises(UsageError) as caught:
        await client.call(name, **ids_of(operation))
    assert caught.value.hint == f'add `access = "{"state" if state else "write"}"` under [tenants.acme]'
    assert script.seen == []


async def test_nothing_secret_is_told(opened, script, told):
    """Keys, tokens, secrets and query values are in no event, error, repr or traceback, with or without faults."""
    script.on("POST /oauth/token", minted("TOKEN-NOBODY-MAY-SEE"))
    script.on("GET /api/workflows/automations", HTML)
    script.on("GET /api/workflows/automations/a", LOST)
    script.on("POST /api/workflows/automations", SLOW)
    client = opened(credentials=OAUTH)
    shown = [repr(client.endpoint), repr(client._stack)]
    for name, rest in {
        "automation.list": {"query": {"filter": 'name eq "hunter2"'}},
        "automation.get": {"id": "a"},
        "automation.create": {"body": b'{"name":"hunter2"}'},
    }.items():
        try:
            await client.call(name, **rest)
        except Exception as error:
            shown += [str(error), repr(error), error.hint, "".join(traceback.format_exception(error))]
            cause: BaseException | None = error
            while cause is not None:
                shown += [repr(cause), repr(cause.args), repr(getattr(cause, "request", ""))]
                cause = cause.__cause__ or cause.__context__
    shown += [repr(event) for event in told.events]
    text = "\n".join(shown)
    assert "GET /api/workflows/automations" in text
    for secret in (KEY, CLIENT_SECRET, "TOKEN-NOBODY-MAY-SEE", "hunter2"):
        assert secret not in text


async def test_deprecation_is_told_once_an_operation(opened, script, told):
    """`Deprecation` and `Sunset` headers are worth one warning each operation and run, children included."""
    old = {"deprecation": "@1790000000", "sunset": "Tue, 30 Nov 2027 00:00:00 GMT"}
    script.on("POST /oauth/token", minted("U1"))
    script.on("GET /api/workflows/automations/a", says(200, {}, **old))
    script.on("GET /api/v1/users/u", says(200, {}, **old))
    client = opened(impersonation=OAUTH)
    for _ in range(3):
        await client.call("automation.get", id="a")
    await (await client.as_user("u1")).call("automation.get", id="a")
    await client.call("user.get", id="u")
    warned = [event.message for event in told.events if isinstance(event, Log) and event.level == "warning"]
    assert len(warned) == 2
    assert "30 Nov 2027" in warned[0]


async def test_counts_are_requests_sent(opened, script):
    """Every attempt counts in its tier, redirects and retries included."""
    script.on("GET /api/v1/users/me", says(301, location="/api/v1/users/u1"))
    script.on("GET /api/v1/users/u1", says(502), says(200, {"id": "u1"}))
    client = opened()
    await client.whoami()
    assert client.counts.as_json() == {"tier1": 3, "tier2": 0, "token": 0, "retried": 1, "throttled": 0}
