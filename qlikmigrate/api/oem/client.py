"""One provider's accounts: every operation that the OEM API documents, over one stack of transports.

The key pair goes to the configured host only; no link and no redirect is followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from attrs import define, evolve, field

from qlikmigrate import __version__
from qlikmigrate.api.answer import Answer, answer_of
from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import Access, origin_of
from qlikmigrate.api.error import ApiError, BrokenAnswerError, ForeignHostError, error_for
from qlikmigrate.api.oem import paging
from qlikmigrate.api.oem.account import UNKNOWN, AccountNames
from qlikmigrate.api.oem.endpoint import OemEndpoint, check_endpoint
from qlikmigrate.api.oem.limiter import Listener, Pace, Quota, Reservation
from qlikmigrate.api.oem.operation import OPERATIONS, PAGE_ROWS, PUBLIC_LIST
from qlikmigrate.api.oem.refusal import is_gone, oem_kind
from qlikmigrate.api.oem.signature import Signature
from qlikmigrate.api.operation import Operation, Scalar, Shape, named
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.api.transport.guard import Guard, access_error
from qlikmigrate.api.transport.limiter import Limiter, Turnstile
from qlikmigrate.api.transport.log import Log
from qlikmigrate.api.transport.process import ProcessTransport
from qlikmigrate.api.transport.retry import Retry
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Sink
from qlikmigrate.kernel.message import Request, Response

if TYPE_CHECKING:
    from qlikmigrate.api.transport.socket import SocketTransport

    SomeBase = ProcessTransport | SocketTransport

_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "user-agent": f"qlikmigrate/{__version__}",
}


@define
class _Shared:
    """What a client and those with turns of their own have in common."""

    endpoint: OemEndpoint
    access: Access
    clock: Clock
    sink: Sink
    pace: Pace
    base: SomeBase
    counts: RequestCounts = field(factory=RequestCounts)
    announced: set[str] = field(factory=set)
    names: AccountNames = field(factory=AccountNames)
    sizes: paging.PageSizes = field(factory=lambda: paging.PageSizes({PAGE_ROWS}))
    public: SomeBase | None = None
    public_stack: Transport | None = None

    def stack(self, base: SomeBase, gate: Turnstile) -> Transport:
        """All layers for calls to the API itself."""
        log = Log(base, self.counts, self.clock, self.sink, self.announced)
        signed = Signature(Listener(log, self.pace), self.endpoint.credentials)
        return self._guarded(Limiter(signed, {1: gate}, self.counts, self.clock, self.pace.pause_s))

    def unsigned(self) -> Transport:
        """The layers for the public list: another host, which never sees the key pair and has no part in its quota."""
        if self.public_stack is None:
            self.public = _base(evolve(self.endpoint, url=self.endpoint.connectors_url), self.clock)
            log = Log(self.public, self.counts, self.clock, self.sink, self.announced)
            gate = Pace(self.endpoint.limits, self.clock)
            self.public_stack = self._guarded(Limiter(log, {1: gate}, self.counts, self.clock, gate.pause_s))
        return self.public_stack

    def _guarded(self, inner: Transport) -> Transport:
        return Guard(Retry(inner, self.counts, self.clock, self.endpoint, is_gone), self.access, self.endpoint)


def _base(endpoint: OemEndpoint, clock: Clock) -> SomeBase:
    concurrency = endpoint.limits.concurrency
    turns = asyncio.Semaphore(concurrency)
    if endpoint.handler is not None:
        return ProcessTransport(endpoint.handler, clock, endpoint.limits.timeout_s, turns)
    # Here and not above: what never opens a connection does not load the HTTP library.
    from qlikmigrate.api.transport.socket import SocketTransport

    return SocketTransport.open(endpoint, turns, spare=concurrency)


class OemClient:
    """The accounts that one key pair reaches. An async context manager; leaving it closes the connections.

    Many calls may run at a time: the concurrency and the rate of `endpoint.limits` hold whatever the callers do.
    """

    def __init__(self, shared: _Shared, stack: Transport, *, root: bool) -> None:
        """Not called directly: `open` and `reserved` give clients."""
        self._shared = shared
        self._stack = stack
        self._root = root

    @classmethod
    def open(
        cls, endpoint: OemEndpoint, *, access: Access, clock: Clock, sink: Sink, pace: Pace | None = None
    ) -> OemClient:
        """A client of `endpoint` that may do what `access` says: GETs, or with WRITE everything. Sends nothing yet.

        Args:
            endpoint: where, and as whom.
            access: what the work at hand needs.
            clock: where time comes from.
            sink: who is told.
            pace: the rate that clients of one key pair share; without it this client has its own.

        Raises:
            UsageError: the endpoint grants less than `access`; its url, keys, `ca_file` or proxy cannot be used.
        """
        check_endpoint(endpoint)
        if access.rank > endpoint.access.rank:
            raise access_error(endpoint, endpoint.access, access, "this")
        pace = pace or Pace(endpoint.limits, clock)
        shared = _Shared(endpoint, access, clock, sink, pace, _base(endpoint, clock))
        return cls(shared, shared.stack(shared.base, pace), root=True)

    async def __aenter__(self) -> OemClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Nothing happens on a client that `reserved` gave: it shares its parent's."""
        if not self._root:
            return
        await self._shared.base.aclose()
        if self._shared.public is not None:
            await self._shared.public.aclose()

    @property
    def endpoint(self) -> OemEndpoint:
        """Where this client is."""
        return self._shared.endpoint

    @property
    def access(self) -> Access:
        """What this client may do."""
        return self._shared.access

    @property
    def counts(self) -> RequestCounts:
        """Requests sent so far, by this client and all that `reserved` gave; all of them count as `tier1`."""
        return self._shared.counts

    @property
    def quota(self) -> Quota:
        """What the service last said of its limit."""
        return self._shared.pace.quota

    def know_account(self, guid: str, externalid: str) -> None:
        """The account `guid` is also called `externalid`.

        A GET that calls it by its guid and is answered 400 or 404 is tried once with the externalid. Which of them
        worked is remembered, for each part of the API, and used from then on for writes to that part, too.
        """
        self._shared.names.know(guid, externalid)

    @asynccontextmanager
    async def reserved(self, turns: int) -> AsyncIterator[OemClient]:
        """A client whose next `turns` calls wait for nothing: neither for the rate nor for other calls to end.

        Waits until so many may go out, also where the service says that less are left, and keeps them for this client
        alone; what was not used is given back at the end. Less than `turns` are kept only where the limit does not
        allow as many at once: the calls beyond wait as usual. A call that is answered 429 waits as the service asks.
        """
        shared = self._shared
        reservation = Reservation(shared.pace, shared.clock, await shared.pace.hold(turns))
        lane = evolve(shared.base, turns=asyncio.Semaphore(max(turns, 1)))
        try:
            yield OemClient(shared, shared.stack(lane, reservation), root=False)
        finally:
            reservation.end()

    async def call(
        self,
        operation: str,
        *,
        query: Mapping[str, Scalar] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        **ids: str,
    ) -> Answer:
        """Carry out one operation of the table.

        Args:
            operation: its name, such as `blend.get`.
            query: names of the operation's `query`; booleans are sent as `true` and `false`.
            body: a JSON object; bytes are sent as they are.
            ids: the ids of its path, such as `account` and `blend`.

        Raises:
            ApiError: see `qlikmigrate.api.error` for what each stands for.
            UsageError: the client's access does not cover it.
            ValueError: no such operation, query name, member or id.
        """
        wanted = named(OPERATIONS, operation)
        return answer_of(wanted, await self._first(wanted, query or {}, wanted.content(body), ids))

    async def rows(
        self, operation: str, *, query: Mapping[str, Scalar] | None = None, **ids: str
    ) -> AsyncIterator[bytes]:
        """Every row of a list, each exactly as received, page after page, whichever envelope it comes in.

        An id may come more than once, the later row replaces the earlier: a list that lost rows while it was read is
        read again. An answer that is short is no answer: the list is whole, or this raises.

        Raises:
            ApiError: as `call`; ListUnstableError where the list never comes to its end.
        """
        wanted = named(OPERATIONS, operation)
        if wanted.shape is not Shape.LIST or "page" in (query or {}):
            raise ValueError(f"`{operation}` is no list, or one page of it")

        sizes = self._shared.sizes if wanted.page_size else None

        async def fetch(page: int) -> Answer:
            asked = dict(query or {})
            if page > 1 and "page" not in wanted.query:
                raise BrokenAnswerError(
                    f"`{operation}` was answered with a part of it, and no way to the rest is documented",
                    operation=operation,
                )
            if page > 1:
                asked["page"] = page
            return answer_of(wanted, await self._first(wanted, asked, b"", ids))

        async for row in paging.all_rows(fetch, operation=operation, tenant=self.endpoint.name, sizes=sizes):
            yield row

    async def _first(
        self, operation: Operation, query: Mapping[str, Scalar], content: bytes, ids: Mapping[str, str]
    ) -> Response:
        """Send with the account called as it worked before; a GET that nobody knows there, once by its other name."""
        names, asked = self._shared.names, operation.query_text(query)
        called, other = names.called(operation, ids), names.other(operation, ids)
        first: ApiError | None = None
        try:
            response = await self._send(operation, operation.path_under("", called), asked, content)
        except ApiError as error:
            if other is None or error.status not in UNKNOWN:
                raise
            first = error
        if first is not None and other is not None:
            try:
                response, called = await self._send(operation, operation.path_under("", other), asked, content), other
            except ApiError as error:
                # By neither name: what the first was answered is the plainer word.
                raise first if error.status in UNKNOWN else error from None
        names.worked(operation, ids, called)
        return response

    async def _send(self, operation: Operation, path: str, query: str, content: bytes) -> Response:
        place = self.endpoint
        public = operation is PUBLIC_LIST
        url = (place.connectors_url if public else place.base + path) + (f"?{query}" if query else "")
        headers = {**_HEADERS, "content-type": "application/json"} if content else _HEADERS
        call = Call(
            operation=operation, request=Request(method=operation.method, url=url, headers=headers, body=content)
        )
        response = await (self._shared.unsigned() if public else self._stack).send(call)
        if 200 <= response.status < 300:
            return response
        if 300 <= response.status < 400:
            self._refuse_redirect(operation, url, response)
        raise error_for(operation, response, place=place, kind=oem_kind)

    def _refuse_redirect(self, operation: Operation, url: str, response: Response) -> None:
        """Source: no page knows redirects. One to another host is told as that; none is followed."""
        try:
            target = origin_of(urljoin(url, response.headers.get("location", "")))
        except ValueError:
            target = ""
        if target != origin_of(url):
            raise ForeignHostError(
                f"`{operation.name}` on `{self.endpoint.name}` leads to another host: {target or 'none'}",
                operation=operation.name,
                status=response.status,
                hint=f"is `url` of `[tenants.{self.endpoint.table}]` {self.endpoint.service}?",
            )
