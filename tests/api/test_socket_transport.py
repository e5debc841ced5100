"""The client over real loopback sockets: what only a wire can do to it."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits
from qlikmigrate.api.error import (
    BrokenAnswerError,
    ForeignHostError,
    OutcomeUnknownError,
    ServerError,
    UnreachableError,
)
from qlikmigrate.api.transport.socket import SocketTransport
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret

Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = {"operation": "automation.get", "id": "a"}
CREATE = {"operation": "automation.create", "body": {"name": "n"}}


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Calls `serve` with each request's head, on kept connections; gives the address and all heads seen."""
    heads: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().splitlines():
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                heads.append(head)
                await serve(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", heads
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def http(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def sending(*answers: bytes, then: str = "keep") -> Serve:
    """Sends the answers in order, the last of them again and again; `then` closes or resets the connection."""
    queue = list(answers)

    async def serve(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(queue.pop(0) if len(queue) > 1 else queue[0])
        await writer.drain()
        if then == "close":
            writer.close()
        elif then == "reset":
            writer.transport.abort()

    return serve


def opened(url: str, **changes) -> CloudClient:
    limits = changes.pop("limits", Limits(timeout_s=5))
    endpoint = Endpoint(
        name="acme", url=url, access=Access.WRITE, credentials=ApiKey(key=Secret("key-1")), family="workflows",
        limits=limits, **changes,
    )  # fmt: skip
    return CloudClient.open(endpoint, access=Access.WRITE, clock=ManualClock(), sink=discard)


async def test_a_pool_of_kept_connections():
    """Two hundred calls over eight connections at most, answers as they were sent, gzip undone, no cookie kept."""
    raw = b'{"id":"a", "x":1.50}'
    packed = gzip.compress(raw)
    plain = http(200, raw, "set-cookie: session=u1; Path=/")
    ports = set()

    async def serve(head, reader, writer):
        ports.add(writer.get_extra_info("peername")[1])
        await sending(http(200, packed, "content-encoding: gzip") if b"/b " in head else plain)(head, reader, writer)

    async with server(serve) as (url, heads), opened(url) as client:
        answers = await asyncio.gather(*(client.call("automation.get", id="ab"[i % 2]) for i in range(200)))
    assert {answer.raw for answer in answers} == {raw}
    assert len(ports) <= 8
    assert len(heads) == 200
    assert not any(b"cookie" in head.lower() for head in heads)
    assert all(b"authorization: Bearer key-1\r\n" in head for head in heads)


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (http(200, b'{"id":', length=500), "close"),
        (http(200, b'{"id":', length=500), "reset"),
        (b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"", "close"),
        (http(200, b"no gzip at all", "content-encoding: gzip"), "keep"),
        (http(200, b"<html>", "content-type: text/html"), "keep"),
    ],
    ids=["cut", "cut by reset", "chunk cut", "bad gzip", "html"],
)  # fmt: skip
async def test_a_broken_success(answer, then):
    """Body cut off or no JSON: a read is repeated and then says so, a create is unknown after one request."""
    async with server(sending(answer, then=then)) as (url, heads), opened(url) as client:
        with pytest.raises(BrokenAnswerError) as caught:
            await client.call(**GET)
        assert caught.value.exit_code == 1
        assert len(heads) == 5
        with pytest.raises(OutcomeUnknownError):
            await client.call(**CREATE)
        assert len(heads) == 6


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_no_answer(then):
    """A connection that closes without a word: a read is repeated, a create is unknown after one request."""
    async with server(sending(b"", then=then)) as (url, heads), opened(url) as client:
        with pytest.raises(UnreachableError):
            await client.call(**GET)
        assert len(heads) == 5
        with pytest.raises(OutcomeUnknownError):
            await client.call(**CREATE)
        assert len(heads) == 6


async def test_a_passing_cut_is_mended():
    """A body that is whole on the second try is as if nothing had been."""
    answers = [http(200, b'{"id":', length=500), http(200, b'{"id":"a"}')]

    async def serve(head, reader, writer):
        answer = answers.pop(0)
        await sending(answer, then="close" if answers else "keep")(head, reader, writer)

    async with server(serve) as (url, _), opened(url) as client:
        assert (await client.call(**GET)).json() == {"id": "a"}


@pytest.mark.parametrize("part", [b"", http(200, b"{", length=9)], ids=["head", "body"])
async def test_an_attempt_that_takes_too_long(part):
    """A server that stops talking, before or within its answer, is left after the attempt's time; a create is lost."""

    async def serve(head, reader, writer):
        writer.write(part)
        await asyncio.Event().wait()

    async with server(serve) as (url, heads), opened(url, limits=Limits(timeout_s=0.05)) as client:
        with pytest.raises(UnreachableError, match=r"timed out after 0\.05 s"):
            await client.call(**GET)
        assert len(heads) == 5
        with pytest.raises(OutcomeUnknownError):
            await client.call(**CREATE)


async def test_a_cancelled_call_leaves_the_client_usable():
    """Cancelling passes through at once, gives the turn back, and the next call works."""
    asked = asyncio.Event()

    async def serve(head, reader, writer):
        if b"/slow " in head:
            asked.set()
            await asyncio.Event().wait()
        await sending(http(200, b"{}"))(head, reader, writer)

    async with server(serve) as (url, _), opened(url, limits=Limits(concurrency=1)) as client:
        for _ in range(3):
            asked.clear()
            slow = asyncio.create_task(client.call("automation.get", id="slow"))
            await asked.wait()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert (await client.call(**GET)).json() == {}


async def test_nobody_listens():
    """A refused connection was never a request: a create is not unknown, only unreachable."""
    async with server(sending(b"")) as (url, _):
        pass
    async with opened(url) as client:
        with pytest.raises(UnreachableError, match="no connection") as caught:
            await client.call(**GET)
        assert "`url` of `[tenants.acme]`" in caught.value.hint
        with pytest.raises(UnreachableError):
            await client.call(**CREATE)
        assert client.counts.tier2 == 1


async def test_a_redirect_to_another_host_is_not_contacted():
    """The other host never sees a connection, so it never sees the key."""
    async with server(sending(http(200, b'{"id":"u"}'))) as (other, stolen):
        to_other = http(302, b"", f"location: {other}/api/v1/users/u")

        async def serve(head, reader, writer):
            facts = http(200, b'{"id":"t","hostnames":["acme.example"]}')
            await sending(facts if b"/tenants/me " in head else to_other)(head, reader, writer)

        async with server(serve) as (url, heads), opened(url) as client:
            with pytest.raises(ForeignHostError):
                await client.whoami()
            assert len(heads) == 2
        assert stolen == []


async def test_an_error_page_of_a_gateway_is_a_server_error():
    """502 with HTML is what it says, not a broken success."""
    async with server(sending(http(502, b"<html>Bad gateway"))) as (url, _), opened(url) as client:
        with pytest.raises(ServerError, match=r"answered 502$"):
            await client.call(**GET)


async def test_a_host_without_tls():
    """https to a port that answers in plain http is named as that, once, without retries."""

    async def plain(reader, writer):
        await reader.read(100)
        writer.write(http(400))
        writer.close()

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listening, opened(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(UnreachableError, match="speaks no TLS"):
            await client.call(**GET)
        assert client.counts.tier1 == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A fresh certificate for 127.0.0.1 that only itself vouches for, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    made = [*words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    return cert, key


async def test_certificates_are_verified(certificate):
    """A certificate that nobody vouches for is refused at once and named; with `ca_file` it is trusted."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    async with server(sending(http(200, b'{"id":"a"}')), tls) as (url, heads):
        async with opened(url) as client:
            with pytest.raises(UnreachableError, match="certificate is not trusted") as caught:
                await client.call(**CREATE)
            assert "ca_file" in caught.value.hint
            assert (heads, client.counts.tier2) == ([], 1)
        async with opened(url, ca_file=certificate[0]) as client:
            assert (await client.call(**GET)).json() == {"id": "a"}


def test_a_ca_file_that_is_none(tmp_path):
    """A missing or empty `ca_file` is a mistake of the tenants file, exit 2."""
    (tmp_path / "empty.pem").write_text("")
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(UsageError, match="`ca_file`"):
            opened("https://127.0.0.1:1", ca_file=tmp_path / name)


async def test_a_named_proxy_is_used():
    """With `proxy`, the request goes to the proxy, whole address in its first line."""
    async with server(sending(http(200, b'{"id":"a"}'))) as (proxy, heads):
        async with opened("http://127.0.0.1:9", proxy=proxy) as client:
            await client.call(**GET)
        assert heads[0].startswith(b"GET http://127.0.0.1:9/api/workflows/automations/a HTTP/1.1\r\n")


async def test_the_environments_proxy_is_used_but_not_for_loopback(monkeypatch):
    """HTTPS_PROXY is honoured: the tunnel is asked for there, and the key stays out of that request."""
    async with server(sending(http(403))) as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with opened("https://acme.eu.qlikcloud.example") as client:
            with pytest.raises(UnreachableError, match="proxy refused"):
                await client.call(**GET)
        assert heads[0].startswith(b"CONNECT acme.eu.qlikcloud.example:443")
        assert not any(b"key-1" in head for head in heads)
        asked = len(heads)
        async with server(sending(http(200, b"{}"))) as (url, _), opened(url) as client:
            await client.call(**GET)
        assert len(heads) == asked


def test_a_proxy_that_cannot_be():
    """Nonsense under `proxy` is a mistake of the tenants file, and is not repeated: it may hold a password."""
    with pytest.raises(UsageError) as caught:
        opened("https://127.0.0.1:1", proxy="gopher://u:hunter2@x")
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "answer", [http(200, b"x" * 4000), http(200, gzip.compress(b"x" * 4000), "content-encoding: gzip")]
)
async def test_a_body_without_bounds(answer):
    """More than the bound is not read, unpacked or not, and not asked for again."""
    async with server(sending(answer)) as (url, heads), opened(url) as client:
        base = client._shared.base
        client._shared.base = SocketTransport(base.pool, base.timeout_s, base.turns, max_body_bytes=1000)
        limited = CloudClient(client._shared, _Nobody(), client._limits, root=False)
        with pytest.raises(BrokenAnswerError, match="more than 1000 bytes"):
            await limited.call(**GET)
        assert len(heads) == 1


class _Nobody:
    async def current(self) -> Secret:
        return Secret("")

    async def renewed(self, refused: Secret) -> None:
        return None
