"""One identity on one Qlik Cloud tenant: every operation of the table, over one stack of transports.

Credentials go to the configured host only; links and redirects decide the path, never the host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote, urljoin, urlsplit

from attrs import define, field

from qlikmigrate import __version__
from qlikmigrate.api import paging
from qlikmigrate.api.answer import Answer, answer_of
from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, OAuthClient, check_key, check_url
from qlikmigrate.api.error import ApiError, ForeignHostError, UnreachableError, UnsupportedError, error_for
from qlikmigrate.api.operation import OPERATIONS, Family, Operation, Scalar, Shape, named
from qlikmigrate.api.transport.auth import Auth, Identity, KeyIdentity, TokenIdentity
from qlikmigrate.api.transport.exchange import Base, Call, Transport
from qlikmigrate.api.transport.guard import Guard, access_error
from qlikmigrate.api.transport.limiter import Gate, Limiter, gates
from qlikmigrate.api.transport.log import Log
from qlikmigrate.api.transport.process import ProcessTransport
from qlikmigrate.api.transport.retry import Retry
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Sink
from qlikmigrate.kernel.message import Request, Response
from qlikmigrate.model.inventory import TenantFacts

FamilyName = Literal["workflows", "v1"]

# Source: Qlik's changelog 266: months 02, 05, 08, 11; decides only which deprecation headers come back.
_API_VERSION = "2026-08"
_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "qlik-api-version": _API_VERSION,
    "user-agent": f"qlikmigrate/{__version__}",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 5


@define
class _Shared:
    """What all identities of one opened tenant have in common."""

    endpoint: Endpoint
    access: Access
    clock: Clock
    sink: Sink
    base: Base
    counts: RequestCounts = field(factory=RequestCounts)
    announced: set[str] = field(factory=set)
    family: FamilyName | None = None
    deciding: asyncio.Lock = field(factory=asyncio.Lock)
    facts: TenantFacts | None = None
    users: dict[str, CloudClient] = field(factory=dict)

    def sending(self, limits: Mapping[int, Gate]) -> Limiter:
        """The layers up to the limiter: what a token request and any other call share."""
        log = Log(self.base, self.counts, self.clock, self.sink, self.announced)
        return Limiter(log, limits, self.counts, self.clock)

    def guarded(self, inner: Transport) -> Guard:
        """The layers from retry up."""
        return Guard(Retry(inner, self.counts, self.clock, self.endpoint), self.access, self.endpoint)

    def minting(self, client: OAuthClient, limits: Mapping[int, Gate], lookup: tuple[str, str] | None) -> TokenIdentity:
        """An identity whose token requests count against `limits`."""
        return TokenIdentity(
            client,
            self.guarded(self.sending(limits)),
            clock=self.clock,
            origin=self.endpoint.origin,
            tenant=self.endpoint.name,
            lookup=lookup,
        )


class CloudClient:
    """A tenant, opened as one identity. An async context manager; leaving it closes the connections.

    Many calls may run at a time: the concurrency and the rates of `endpoint.limits` hold whatever the callers do.
    """

    def __init__(self, shared: _Shared, identity: Identity, limits: Mapping[int, Gate], *, root: bool) -> None:
        """Not called directly: `open` and `as_user` give clients."""
        self._shared = shared
        self._limits = limits
        self._root = root
        self._identity = identity
        self._stack = shared.guarded(Auth(shared.sending(limits), identity, shared.counts))

    @classmethod
    def open(cls, endpoint: Endpoint, *, access: Access, clock: Clock, sink: Sink) -> CloudClient:
        """A client of `endpoint` that may do what `access` says. Sends nothing yet.

        Raises:
            UsageError: the endpoint grants less than `access`; its url, key, `ca_file` or proxy cannot be used.
        """
        check_url(endpoint)
        check_key(endpoint)
        if access.rank > endpoint.access.rank:
            raise access_error(endpoint, endpoint.access, access, "this")
        turns = asyncio.Semaphore(endpoint.limits.concurrency)
        base: Base
        if endpoint.handler is not None:
            base = ProcessTransport(endpoint.handler, clock, endpoint.limits.timeout_s, turns)
        else:
            # Here and not above: what never opens a tenant does not load the HTTP library.
            from qlikmigrate.api.transport.socket import SocketTransport

            base = SocketTransport.open(endpoint, turns)
        shared = _Shared(endpoint, access, clock, sink, base)
        if endpoint.family != "auto":
            shared.family = endpoint.family
        limits = gates(endpoint.limits, clock)
        credentials = endpoint.credentials
        identity: Identity
        if isinstance(credentials, ApiKey):
            identity = KeyIdentity(credentials)
        else:
            identity = shared.minting(credentials, limits, None)
        return cls(shared, identity, limits, root=True)

    async def __aenter__(self) -> CloudClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Nothing happens on a client that `as_user` gave: it shares its parent's."""
        if self._root:
            await self._shared.base.aclose()

    @property
    def endpoint(self) -> Endpoint:
        """Where this client is."""
        return self._shared.endpoint

    @property
    def access(self) -> Access:
        """What this client may do."""
        return self._shared.access

    @property
    def counts(self) -> RequestCounts:
        """Requests sent so far, by this client and all that `as_user` gave."""
        return self._shared.counts

    @property
    def scopes(self) -> frozenset[str] | None:
        """What the OAuth token in use may be used for; None for an API key, and before the first call."""
        return self._identity.scopes

    @property
    def family(self) -> str:
        """`workflows` or `v1`; `auto` until the first call of the automation family has decided."""
        return self._shared.family or "auto"

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
            operation: its name, such as `automation.get`.
            query: names of the operation's `query`; booleans are sent as `true` and `false`.
            body: a JSON object; bytes are sent as they are.
            ids: the ids of its path. The object's own is `id`, a parent's `automation_id` or `space_id`.

        Raises:
            ApiError: see `qlikmigrate.api.error` for what each stands for.
            UsageError: the client's access does not cover it.
            ValueError: no such operation, query name, member or id.
        """
        wanted = named(OPERATIONS, operation)
        response = await self._first(wanted, query, body, ids)
        return answer_of(wanted, response)

    async def rows(
        self, operation: str, *, query: Mapping[str, Scalar] | None = None, **ids: str
    ) -> AsyncIterator[bytes]:
        """Every row of a list, each exactly as received, page after page.

        An id may come more than once, the later row replaces the earlier: a page that repeats or a cursor that
        expires restarts the list. An answer that is short is no answer: the list is whole, or this raises.

        Raises:
            ApiError: as `call`; ListUnstableError where the list never comes to its end.
        """
        wanted = named(OPERATIONS, operation)
        if wanted.shape is not Shape.PAGE:
            raise ValueError(f"`{operation}` is no list")
        asked: dict[str, Scalar] = {"limit": wanted.page_size, **(query or {})}

        async def fetch(href: str | None) -> Answer:
            if href is None:
                response = await self._first(wanted, asked, None, ids)
            else:
                # A link that is a query alone goes with the list's own path.
                base = self.endpoint.origin + wanted.path_under(self._shared.family or "v1", ids)
                response = await self._get(wanted, await self._local(href, wanted, base=base if href[0] == "?" else ""))
            return answer_of(wanted, response)

        async for row in paging.all_rows(fetch, operation=operation, tenant=self.endpoint.name):
            yield row

    async def as_user(self, user_id: str) -> CloudClient:
        """A client that acts as that user of the tenant, with the same access, and rates of its own.

        It shares connections and counts with this one, and is closed with it. Asked again, the same client is given.

        Raises:
            UsageError: the endpoint names no client for impersonation.
            UnauthorizedError: the tenant refuses, code `impersonation-refused`.
        """
        shared = self._shared
        if user_id in shared.users:
            return shared.users[user_id]
        client = shared.endpoint.impersonation
        if client is None:
            name = shared.endpoint.name
            raise UsageError(
                f"`{name}` has no OAuth client that may act as other users",
                hint=f"add `impersonation = {{ client_id = …, client_secret = … }}` under [tenants.{name}]",
                code="impersonation-not-configured",
            )
        # Source: qlik.dev, M2M impersonation: `user_lookup` by `userId` or `subject`.
        identity = shared.minting(client, self._limits, ("userId", user_id))
        await identity.current()
        return shared.users.setdefault(
            user_id, CloudClient(shared, identity, gates(shared.endpoint.limits, shared.clock), root=False)
        )

    async def whoami(self) -> Answer:
        """The user that this client acts as. Source: openapi/users.json: `/users/me` answers 301."""
        return await self.call("user.me")

    async def tenant(self) -> TenantFacts:
        """Who the tenant is; read once. Source: openapi/tenants.json: `/tenants/me` answers 302."""
        shared = self._shared
        if shared.facts is None:
            shared.facts = _facts((await self.call("tenant.me")).json(), shared.endpoint)
        return shared.facts

    async def _first(
        self,
        operation: Operation,
        query: Mapping[str, Scalar] | None,
        body: bytes | Mapping[str, Any] | None,
        ids: Mapping[str, str],
    ) -> Response:
        asked = operation.query_text(query or {})
        content = operation.content(body)
        if operation.family is Family.PLATFORM:
            return await self._send(operation, operation.path_under("v1", ids), asked, content)
        shared = self._shared
        if shared.family is None:
            async with shared.deciding:
                if shared.family is None:
                    if operation.shape is Shape.PAGE and not ids:
                        return await self._decide(operation, asked)
                    probe = OPERATIONS["automation.list"]
                    await self._decide(probe, probe.query_text({"limit": 1}))
        family = shared.family
        assert family is not None
        if family == "v1" and operation.family is Family.WORKFLOWS:
            raise UnsupportedError(
                f"`{operation.name}` exists under `/api/workflows` only, "
                f"`{self.endpoint.name}` is used through `/api/v1`",
                operation=operation.name,
            )
        return await self._send(operation, operation.path_under(family, ids), asked, content)

    async def _decide(self, operation: Operation, asked: str) -> Response:
        """Send a first list under `/api/workflows`; where that is not found, under `/api/v1`. The one found is kept."""
        shared = self._shared
        try:
            response = await self._send(operation, operation.path_under("workflows", {}), asked, b"")
            shared.family = "workflows"
        except ApiError as error:
            if error.status != 404:
                raise
            response = await self._send(operation, operation.path_under("v1", {}), asked, b"")
            shared.family = "v1"
        return response

    async def _send(self, operation: Operation, path: str, query: str, content: bytes) -> Response:
        url = f"{self.endpoint.origin}{path}" + (f"?{query}" if query else "")
        if operation.method == "GET":
            return await self._get(operation, url)
        headers = {**_HEADERS, "content-type": "application/json"} if content else _HEADERS
        request = Request(method=operation.method, url=url, headers=headers, body=content)
        return self._checked(operation, await self._stack.send(Call(operation=operation, request=request)))

    async def _get(self, operation: Operation, url: str) -> Response:
        """Follow redirects to the end; each is a request of its own."""
        for _ in range(_MAX_HOPS):
            request = Request(method="GET", url=url, headers=_HEADERS)
            response = await self._stack.send(Call(operation=operation, request=request))
            if response.status not in _REDIRECTS:
                return self._checked(operation, response)
            url = await self._local(response.headers.get("location", ""), operation, base=url)
        raise UnreachableError(
            f"`{operation.name}` on `{self.endpoint.name}` is redirected in circles", operation=operation.name
        )

    def _checked(self, operation: Operation, response: Response) -> Response:
        if 200 <= response.status < 300:
            return response
        raise error_for(operation, response, place=self.endpoint)

    async def _local(self, href: str, operation: Operation, *, base: str = "") -> str:
        """The address on the configured host that a link or redirect means.

        Raises:
            ForeignHostError: it leads to a host that the tenant does not name as its own.
        """
        origin = self.endpoint.origin
        try:
            target = urlsplit(urljoin(base or f"{origin}/", href))
            host, port = (target.hostname or "").lower(), target.port
        except ValueError:
            host, port, target = "", None, urlsplit("")
        own = urlsplit(origin)
        local = origin + quote(target.path, safe="/%:@!$&'()*+,;=~-._") + (f"?{target.query}" if target.query else "")
        if not href or target.scheme not in ("http", "https"):
            raise self._foreign(operation, host)
        if host == own.hostname and (port == own.port or (port is None and target.scheme != own.scheme)):
            return local
        if operation.name == "tenant.me":
            # Which hosts are the tenant's own is only being asked; the answer comes from the configured host and tells.
            facts = await self._facts_at(local, operation)
        else:
            facts = await self.tenant()
        if host not in facts.hostnames and f"{host}:{port}" not in facts.hostnames:
            raise self._foreign(operation, host)
        return local

    async def _facts_at(self, url: str, operation: Operation) -> TenantFacts:
        request = Request(method="GET", url=url, headers=_HEADERS)
        response = await self._stack.send(Call(operation=operation, request=request))
        return _facts(answer_of(operation, self._checked(operation, response)).json(), self.endpoint)

    def _foreign(self, operation: Operation, host: str) -> ForeignHostError:
        name = self.endpoint.name
        return ForeignHostError(
            f"`{operation.name}` on `{name}` leads to a host that is not the tenant's: {host or 'none'}",
            operation=operation.name,
            hint=f"is `url` of `[tenants.{name}]` the tenant's own address?",
        )


def _facts(value: Any, endpoint: Endpoint) -> TenantFacts:
    names = value.get("hostnames")
    return TenantFacts(
        id=_text(value, "id"),
        name=_text(value, "name"),
        host=endpoint.host,
        hostnames=tuple(name.lower() for name in names if isinstance(name, str)) if isinstance(names, list) else (),
        region=_text(value, "region") or _text(value, "datacenter"),
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
