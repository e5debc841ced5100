"""Adds who we are to a call. A minted token that is refused is replaced once, and the same request sent again."""

from __future__ import annotations

import asyncio
from typing import Protocol

import orjson
from attrs import frozen

from qlikmigrate.api.answer import answer_of
from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import ApiKey, OAuthClient, is_header_word
from qlikmigrate.api.error import UnauthorizedError, words
from qlikmigrate.api.operation import TOKEN
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Request, Response
from qlikmigrate.kernel.secret import Secret

# Source: Qlik's OAuth pages: tokens live 21,600 s, there is no refresh token.
_LIFETIME_S = 21_600.0
_EARLY_S = 60.0
_IMPERSONATION = "urn:qlik:oauth:user-impersonation"


class Identity(Protocol):
    """Gives what goes into the `authorization` header."""

    @property
    def scopes(self) -> frozenset[str] | None:
        """What the last token minted may be used for; None where nobody has said so."""

    async def current(self) -> Secret:
        """The header's value."""

    async def renewed(self, refused: Secret) -> Secret | None:
        """Another value than the one refused; None where there is none to be had."""


@frozen
class KeyIdentity:
    """An API key: always the same."""

    credentials: ApiKey

    @property
    def scopes(self) -> frozenset[str] | None:
        return None

    async def current(self) -> Secret:
        return Secret(f"Bearer {self.credentials.key.reveal()}")

    async def renewed(self, refused: Secret) -> Secret | None:
        return None


class TokenIdentity:
    """Mints tokens with an OAuth client, for its own bot or for the user that `lookup` (field, value) names.

    One mint at a time, whoever asks. Source: openapi/oauth.json, client credentials; qlik.dev, M2M impersonation.
    """

    def __init__(
        self,
        client: OAuthClient,
        transport: Transport,
        *,
        clock: Clock,
        origin: str,
        tenant: str,
        lookup: tuple[str, str] | None = None,
    ) -> None:
        if lookup is None and client.impersonate is not None:
            lookup = ("subject", client.impersonate)
        self._client = client
        self._transport = transport
        self._clock = clock
        self._origin = origin
        self._tenant = tenant
        self._lookup = lookup
        self._token: Secret | None = None
        self._stale_at = 0.0
        self._minting = asyncio.Lock()
        self._scopes: frozenset[str] | None = None

    @property
    def scopes(self) -> frozenset[str] | None:
        return self._scopes

    async def current(self) -> Secret:
        if self._token is not None and self._clock.monotonic() < self._stale_at:
            return self._token
        async with self._minting:
            if self._token is None or self._clock.monotonic() >= self._stale_at:
                self._token = await self._mint()
            return self._token

    async def renewed(self, refused: Secret) -> Secret | None:
        async with self._minting:
            # Of many calls that were refused together, the first mints for all.
            if self._token is None or self._token == refused:
                self._token = await self._mint()
            return self._token

    async def _mint(self) -> Secret:
        body = {
            "client_id": self._client.client_id,
            "client_secret": self._client.client_secret.reveal(),
            "grant_type": "client_credentials" if self._lookup is None else _IMPERSONATION,
        }
        asked: dict[str, object] = dict(body)
        if self._lookup is not None:
            asked["user_lookup"] = {"field": self._lookup[0], "value": self._lookup[1]}
        request = Request(
            method=TOKEN.method,
            url=self._origin + TOKEN.path,
            headers={"content-type": "application/json", "accept": "application/json"},
            body=orjson.dumps(asked),
        )
        response = await self._transport.send(Call(operation=TOKEN, request=request))
        value = answer_of(TOKEN, response).json() if response.status == 200 else {}
        token = value.get("access_token")
        if not isinstance(token, str) or not is_header_word(token):
            raise self._refusal(response)
        # Source: openapi/oauth.json: the answer names the granted scopes, separated by spaces.
        granted = value.get("scope")
        self._scopes = frozenset(granted.split()) if isinstance(granted, str) else None
        lifetime = value.get("expires_in")
        lifetime_s = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else _LIFETIME_S
        self._stale_at = self._clock.monotonic() + max(lifetime_s - _EARLY_S, lifetime_s / 2)
        return Secret(f"Bearer {token}")

    def _refusal(self, response: Response) -> UnauthorizedError:
        line, trace_id = words(TOKEN, response)
        said = f"{response.status}: {line}" if line else str(response.status)
        if self._lookup is None:
            return UnauthorizedError(
                f"`{self._tenant}` gave the OAuth client no token: {said}",
                operation=TOKEN.name,
                status=response.status,
                trace_id=trace_id,
                hint=f"check `client_id` and `client_secret` of `[tenants.{self._tenant}]`",
            )
        return UnauthorizedError(
            f"`{self._tenant}` does not let the OAuth client act as the user with {self._lookup[0]} "
            f"`{self._lookup[1]}`: {said}",
            operation=TOKEN.name,
            status=response.status,
            trace_id=trace_id,
            hint="does the user exist and is active there; is the client a trusted Web client with M2M impersonation",
            code="impersonation-refused",
        )


@frozen
class Auth:
    """Sends calls as one identity."""

    inner: Transport
    identity: Identity
    counts: RequestCounts

    async def send(self, call: Call) -> Response:
        header = await self.identity.current()
        response = await self.inner.send(call.with_header("authorization", header.reveal()))
        if response.status != 401:
            return response
        fresh = await self.identity.renewed(header)
        if fresh is None:
            return response
        # A refused request was not carried out, so a create may go out again too.
        self.counts.retried += 1
        return await self.inner.send(call.with_header("authorization", fresh.reveal()))
