"""The base layer over the network, HTTP/1.1 with TLS verified: the only module that knows the HTTP library.

Nothing of a request's headers leaves it in an exception: what httpx raises carries them, what this raises does not.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from urllib.parse import urlsplit

import httpx
from attrs import field, frozen

from qlikmigrate.api.endpoint import Place, is_loopback
from qlikmigrate.api.transport.exchange import MAX_BODY_BYTES, Call, ExchangeError
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.message import Response

_CONNECT_S = 15.0

# The request never left.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@frozen
class SocketTransport:
    """Sends over a pool of kept connections, at most as many at a time as the pool holds.

    The library's transport is used without its client: that would follow redirects to other hosts, keep cookies and so
    let identities that share the pool meet.
    """

    pool: httpx.AsyncHTTPTransport = field(repr=False)
    timeout_s: float
    turns: asyncio.Semaphore
    max_body_bytes: int = MAX_BODY_BYTES

    @classmethod
    def open(cls, endpoint: Place, turns: asyncio.Semaphore, *, spare: int = 0) -> SocketTransport:
        """A pool of as many connections as the endpoint's concurrency: a larger one is slower.

        `spare`: further ones, for those who come with turns of their own.

        Raises:
            UsageError: `ca_file` or `proxy` cannot be used.
        """
        size = endpoint.limits.concurrency
        try:
            pool = httpx.AsyncHTTPTransport(
                verify=_tls(endpoint),
                http2=False,
                limits=httpx.Limits(max_connections=size + spare, max_keepalive_connections=size),
                proxy=_proxy(endpoint),
            )
        except (ValueError, httpx.InvalidURL, ImportError):
            raise UsageError(f"`proxy` of tenant `{endpoint.name}` cannot be used") from None
        return cls(pool, endpoint.limits.timeout_s, turns)

    async def send(self, call: Call) -> Response:
        async with self.turns:
            failure: ExchangeError | None = None
            try:
                async with asyncio.timeout(self.timeout_s):
                    return await self._exchange(call)
            except TimeoutError:
                failure = ExchangeError(f"timed out after {self.timeout_s:g} s", sent=True)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                failure = _failure(error)
            # Raised here and not above, so that the library's exception is not even its context.
            raise failure

    async def aclose(self) -> None:
        """Close every connection."""
        await self.pool.aclose()

    async def _exchange(self, call: Call) -> Response:
        sent = call.request
        request = httpx.Request(
            sent.method, sent.url, headers=dict(sent.headers), content=sent.body or None, extensions=self._extensions()
        )
        answer = await self.pool.handle_async_request(request)
        status = answer.status_code
        failure: ExchangeError | None = None
        try:
            body = await self._body(answer)
        except (httpx.HTTPError, httpx.StreamError) as error:
            why = "timed out" if isinstance(error, httpx.TimeoutException) else "cut off"
            failure = ExchangeError(f"the body was {why}" if why != "timed out" else why, sent=True, status=status)
        finally:
            await answer.aclose()
        if failure is not None:
            raise failure
        return Response(status=status, headers=dict(answer.headers.items()), body=body)

    async def _body(self, answer: httpx.Response) -> bytes:
        declared = answer.headers.get("content-length", "")
        chunks: list[bytes] = []
        size = int(declared) if declared.isdigit() and int(declared) > self.max_body_bytes else 0
        if size == 0:
            # Unpacked only where packed: the library's own reading costs as much as a tenth of the whole call.
            plain = answer.stream if "content-encoding" not in answer.headers else None
            chunks_read = plain if isinstance(plain, httpx.AsyncByteStream) else answer.aiter_bytes()
            async for chunk in chunks_read:
                chunks.append(chunk)
                size += len(chunk)
                if size > self.max_body_bytes:
                    break
        if size > self.max_body_bytes:
            limit = f"more than {self.max_body_bytes} bytes"
            raise ExchangeError(f"the body is {limit}", sent=True, status=answer.status_code, lasting=True)
        return b"".join(chunks)

    def _extensions(self) -> dict[str, object]:
        # The whole attempt is timed from outside. Nobody waits for the pool: it has as many places as there are turns.
        # A connection that cannot be made ends sooner than the attempt: then it is known that nothing was sent.
        step_s = self.timeout_s
        connect_s = min(_CONNECT_S, step_s * 0.9)
        return {"timeout": {"connect": connect_s, "read": step_s, "write": step_s, "pool": step_s}}


def _tls(endpoint: Place) -> ssl.SSLContext:
    try:
        if endpoint.ca_file is not None:
            return ssl.create_default_context(cafile=str(endpoint.ca_file))
        # Honours SSL_CERT_FILE and SSL_CERT_DIR.
        return httpx.create_ssl_context(trust_env=True)
    except (OSError, ssl.SSLError):
        named = f"`ca_file` of tenant `{endpoint.name}`" if endpoint.ca_file is not None else "`SSL_CERT_FILE`"
        raise UsageError(f"{named} holds no certificates that can be read") from None


def _proxy(endpoint: Place) -> httpx.Proxy | None:
    if endpoint.proxy:
        return httpx.Proxy(endpoint.proxy)
    parts = urlsplit(endpoint.url)
    if is_loopback(endpoint.host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    url = proxies.get(parts.scheme) or proxies.get("all")
    if not url:
        return None
    return httpx.Proxy(url if "://" in url else f"http://{url}")


def _failure(error: Exception) -> ExchangeError:
    sent = not isinstance(error, _UNSENT)
    tls = _tls_error(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        why = f"the certificate is not trusted: {tls.verify_message or 'verification failed'}"
        hint = "name the certificate authority of the proxy or tenant in `ca_file`"
        return ExchangeError(why, sent=False, lasting=True, hint=hint)
    if tls is not None:
        plain = tls.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
        why = "the host speaks no TLS" if plain else f"TLS failed: {tls.reason or 'handshake'}"
        return ExchangeError(why, sent=sent, lasting=plain)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return ExchangeError("the address is not usable", sent=False, lasting=True)
    if isinstance(error, httpx.ProxyError):
        return ExchangeError("the proxy refused", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return ExchangeError("timed out", sent=sent)
    if isinstance(error, httpx.ConnectError):
        return ExchangeError(_connect_words(error), sent=False)
    return ExchangeError("the connection was reset", sent=True)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    return next((one for one in _chain(error) if isinstance(one, ssl.SSLError)), None)


def _connect_words(error: BaseException) -> str:
    for one in _chain(error):
        if isinstance(one, OSError) and one.strerror:
            return f"no connection: {one.strerror}"
    return "no connection"
