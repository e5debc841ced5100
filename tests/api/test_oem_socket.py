"""The client of the OEM API over real loopback sockets: what only a wire can do to it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from oem_calls import CALLS, collect, route
from wire_script import CUT, LOST, Script, says

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.error import ForeignHostError, OutcomeUnknownError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint, OemLimits
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.message import Reply, Response
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.sandbox import Server

ONCE = ["account.create", "blend.run", "template.install", "datasource.create"]


def opened(url: str, **changes: Any) -> OemClient:
    pair = KeyPair(app_id="12345", api_key=Secret("k-1"))
    facts = {"url": f"{url}/v1", "access": Access.WRITE, "limits": OemLimits(timeout_s=5), **changes}
    endpoint = OemEndpoint(name="partner", credentials=pair, **facts)
    return OemClient.open(endpoint, access=Access.WRITE, clock=ManualClock(), sink=discard)


async def test_the_pair_stays_where_it_belongs() -> None:
    """It goes to the API's host, and neither to the public list nor to the target of a redirect."""
    api, other = Script(), Script()
    api.on("GET /v1/accounts", says(200, []))
    other.on("GET /integrations", says(200, [{"guid": "c"}]))
    with Server(api) as here, Server(other) as there:
        api.on("GET /v1/templates", says(302, location=f"{there.url}/v1/templates"))
        async with opened(here.url, connectors_url=f"{there.url}/integrations") as client:
            await client.call("account.list")
            assert await collect(client.rows("connector.public-list")) == [b'{"guid": "c"}']
            with pytest.raises(ForeignHostError):
                await client.call("template.list")
    assert [(one.headers["x-app-id"], one.headers["x-api-key"]) for one in api.seen] == [("12345", "k-1")] * 2
    assert other.asked() == ["GET /integrations"]
    assert not {"x-app-id", "x-api-key", "cookie"} & set(other.seen[0].headers)


@pytest.mark.parametrize("name", ONCE)
async def test_a_create_that_never_left(name: str) -> None:
    """A refused connection was no request: it is not unknown what became of it."""
    with Server(Script()) as server:
        url = server.url
    async with opened(url) as client:
        with pytest.raises(UnreachableError, match="no connection"):
            await client.call(name, **CALLS[name][0])
        assert client.counts.tier1 == 1


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("how", ["reset", "cut"])
async def test_a_create_whose_answer_is_lost(name: str, how: str) -> None:
    """A connection that ends after the request, or within the answer: sent once, and said to be unknown."""
    script = Script()
    script.on(route(name), LOST if how == "reset" else CUT)
    with Server(script) as server:
        async with opened(server.url) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.call(name, **CALLS[name][0])
    assert len(script.seen) == 1


async def test_reserved_calls_have_connections_of_their_own() -> None:
    """With the only place taken by an automation that is waited for, reserved calls go out over another connection."""
    entered = threading.Event()

    def handler(request: Any) -> Reply:
        if request.method == "POST":
            entered.set()
            return Reply(response=Response(status=200, body=b"{}"), delay_s=3.0)
        return says(200, {})

    with Server(handler) as server:
        async with opened(server.url, limits=OemLimits(concurrency=1)) as client:
            run = asyncio.create_task(client.call("blend.run", **CALLS["blend.run"][0]))
            await asyncio.to_thread(entered.wait, 5)
            async with client.reserved(2) as mine:
                for _ in range(2):
                    await mine.call("blend.update", **CALLS["blend.update"][0])
            assert not run.done()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
