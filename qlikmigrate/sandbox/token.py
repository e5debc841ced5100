"""API keys, OAuth clients and the tokens minted for them. Tokens last six hours by the tenant's clock.

Source: openapi/oauth.json; Qlik's pages on machine-to-machine clients and on user impersonation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.directory import Directory
from qlikmigrate.sandbox.identity import Credential, Identity
from qlikmigrate.sandbox.realm import Realm
from qlikmigrate.sandbox.wire import ApiError, Call, Route, bad_request, reply_json

LIFETIME_S = 21_600
IMPERSONATION = "urn:qlik:oauth:user-impersonation"
DEFAULT_SCOPES = {
    "m2m": ("user_default", "admin_classic", "admin.automations"),
    "impersonation": ("user_default", "admin_classic", "automations"),
}


@frozen
class Client:
    """An OAuth client. `kind`: m2m or impersonation. `bot_id`: its bot user, for m2m."""

    id: str
    secret: str
    kind: str
    trusted: bool
    scopes: frozenset[str]
    bot_id: str = ""


class Tokens:
    """Who a bearer token stands for."""

    def __init__(self, realm: Realm, directory: Directory) -> None:
        self._realm = realm
        self._directory = directory
        self._clients: dict[str, Client] = {}
        self._keys: dict[str, Identity] = {}
        self._minted: dict[str, tuple[Identity, float]] = {}

    def add_key(self, user_id: str) -> str:
        """A new API key of the user."""
        key = f"eyJ{self._realm.mint.token(61)}"
        self._keys[key] = Identity(user_id, Credential.API_KEY)
        return key

    def add_client(self, kind: str, *, trusted: bool, scopes: tuple[str, ...]) -> Client:
        """A new OAuth client; an m2m client brings its bot, a tenant admin.

        Raises:
            ValueError: no such kind.
        """
        if kind not in DEFAULT_SCOPES:
            raise ValueError(f"no such kind of client: {kind}")
        mint = self._realm.mint
        ident = mint.token(32).lower()
        bot_id = ""
        if kind == "m2m":
            # Source: Qlik's tutorial on deploying an automation to a tenant.
            bot = self._directory.add(f"qlikbot\\{ident}", f"Bot {ident[:6]}", "", ("TenantAdmin",), "active", ident)
            bot_id = bot["id"]
        client = Client(ident, mint.token(64), kind, trusted, frozenset(scopes or DEFAULT_SCOPES[kind]), bot_id)
        self._clients[ident] = client
        return client

    def expire(self, bearer: str) -> None:
        """Let one minted token end now."""
        self._minted.pop(bearer, None)

    def identify(self, headers: Mapping[str, str]) -> Identity | None:
        """Who the `authorization` header stands for; None when nobody."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        who = self._keys.get(bearer)
        if who is None:
            found = self._minted.get(bearer)
            if found is None or found[1] <= self._realm.clock.monotonic():
                return None
            who = found[0]
        return who if self._directory.active(who.user_id) else None

    def routes(self) -> Iterator[Route]:
        """Operations of openapi/oauth.json that machines use."""
        yield Route("POST", "/oauth/token", self._mint, 2, public=True)
        yield Route("POST", "/oauth/revoke", self._revoke, 2, public=True)

    @staticmethod
    def _form(call: Call) -> dict[str, Any]:
        if "x-www-form-urlencoded" not in call.headers.get("content-type", ""):
            return call.fields()
        form: dict[str, Any] = {}
        for name, value in parse_qsl(call.body.decode(), keep_blank_values=True):
            outer, bracket, inner = name.partition("[")
            if bracket:
                form.setdefault(outer, {})[inner.rstrip("]")] = value
            else:
                form[name] = value
        return form

    def _mint(self, call: Call) -> Response:
        form = self._form(call)
        client = self._clients.get(str(form.get("client_id")))
        if client is None or client.secret != form.get("client_secret"):
            raise ApiError(401, "OAUTH-1", "invalid_client", "Unknown client or wrong secret")
        grant = form.get("grant_type")
        wanted = "client_credentials" if client.kind == "m2m" else IMPERSONATION
        if grant != wanted:
            raise bad_request(f"unauthorized_client: {client.kind} clients use {wanted}")
        if not client.trusted:
            raise ApiError(403, "OAUTH-14", "access_denied", "The consent method of the client is not Trusted")
        scopes = frozenset(str(form.get("scope") or "").split()) or client.scopes
        if not scopes <= client.scopes:
            raise bad_request("invalid_scope: the client does not have it")
        identity = (
            Identity(client.bot_id, Credential.BOT, scopes, client.id)
            if client.kind == "m2m"
            else self._impersonated(client, scopes, form.get("user_lookup"))
        )
        bearer = f"eyJ{self._realm.mint.token(125)}"
        self._minted[bearer] = (identity, self._realm.clock.monotonic() + LIFETIME_S)
        ends = self._realm.now() + timedelta(seconds=LIFETIME_S)
        return reply_json(
            {
                "access_token": bearer,
                "token_type": "bearer",
                "expires_in": LIFETIME_S,
                "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "scope": " ".join(sorted(scopes)),
            }
        )

    def _impersonated(self, client: Client, scopes: frozenset[str], lookup: Any) -> Identity:
        if not isinstance(lookup, dict) or lookup.get("field") not in ("userId", "subject"):
            raise bad_request("invalid_request: user_lookup is required")
        field = "id" if lookup["field"] == "userId" else "subject"
        user = self._directory.find(field, str(lookup.get("value")))
        if user is None or user["status"] != "active":
            raise ApiError(401, "OAUTH-9", "unauthorized", "No such user in this tenant")
        return Identity(user["id"], Credential.IMPERSONATION, scopes, client.id)

    def _revoke(self, call: Call) -> Response:
        self._minted.pop(str(self._form(call).get("token")), None)
        return reply_json({})
