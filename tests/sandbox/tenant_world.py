"""A tenant with a few people, clients that talk to it in process, and blocks for workspaces."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
from attrs import define, field

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.sandbox import CloudTenant, Switches


@define
class Answer:
    """What a call gave."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@define
class Client:
    """One identity's way in. `family` fills `@` in a path."""

    tenant: CloudTenant
    bearer: str = ""
    family: str = "workflows"

    def reply(self, method: str, path: str, body: Any = None, **query: Any) -> Reply:
        url = self.tenant.base_url + path.replace("@", f"/api/{self.family}")
        if query:
            url += "?" + urlencode(query)
        headers = {"content-type": "application/json"}
        if self.bearer:
            headers["authorization"] = f"Bearer {self.bearer}"
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return self.tenant.handle(Request(method=method, url=url, headers=headers, body=raw))

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        response = self.reply(method, path, body, **query).response
        return Answer(response.status, dict(response.headers), response.body)

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All rows of a list, by following the links."""
        found = []
        answer = self("GET", path, **query)
        while True:
            assert answer.status == 200, answer.body
            found += answer.json["data"]
            href = (answer.json["links"].get("next") or {}).get("href")
            if not href:
                return found
            answer = self("GET", href.removeprefix(self.tenant.base_url))


@define
class World:
    """A tenant with an administrator, two makers and a space of one of them."""

    clock: ManualClock
    tenant: CloudTenant
    admin_id: str
    ann_id: str
    bob_id: str
    sales: str
    clients: dict[str, Client] = field(factory=dict)

    def client(self, who: str) -> Client:
        """`admin`, `ann`, `bob`: by API key. `bot`: a trusted machine. `nobody`: without credentials."""
        if who not in self.clients:
            if who == "nobody":
                bearer = ""
            elif who == "bot":
                bearer = self.token("m2m")
            else:
                bearer = self.tenant.api_key(getattr(self, f"{who}_id"))
            self.clients[who] = Client(self.tenant, bearer)
        return self.clients[who]

    def token(self, kind: str, *, scopes: tuple[str, ...] = (), lookup: dict[str, str] | None = None) -> str:
        ident, secret = self.tenant.oauth_client(kind, scopes=scopes)
        grant = "client_credentials" if kind == "m2m" else "urn:qlik:oauth:user-impersonation"
        form = {"client_id": ident, "client_secret": secret, "grant_type": grant}
        answer = Client(self.tenant)("POST", "/oauth/token", form | ({"user_lookup": lookup} if lookup else {}))
        assert answer.status == 200, answer.body
        return str(answer.json["access_token"])

    def set(self, **switches: Any) -> None:
        """Turn switches."""
        self.tenant.switches = Switches(**switches)

    def create(self, who: str = "ann", **body: Any) -> dict[str, Any]:
        answer = self.client(who)("POST", "@/automations", {"name": "A"} | body)
        assert answer.status == 201, answer.body
        return dict(answer.json)

    def get(self, ident: str) -> dict[str, Any]:
        """What is stored."""
        return dict(self.tenant.automations[ident])


class Blocks:
    """Blocks for workspaces."""

    @staticmethod
    def start(mode: str = "manual") -> dict[str, Any]:
        return {
            "id": "S1", "type": "StartBlock", "inputs": [{"id": "run_mode", "value": mode, "type": "select"}]
        }  # fmt: skip

    @staticmethod
    def call(guid: Any, *, disabled: bool = False) -> dict[str, Any]:
        return {
            "id": "C1", "type": "CallWidgetBlock", "name": "call", "disabled": disabled,
            "inputs": [{"id": "guid", "value": guid, "type": "api-search"}],
        }  # fmt: skip

    @staticmethod
    def bound(connection: str) -> dict[str, Any]:
        return {
            "id": "E1", "type": "EndpointBlock", "datasourcetype_guid": "05407a80-ccfd-11eb-b098-7140f6ac27f4",
            "settings": [{"id": "datasource", "value": connection, "type": "select"}],
        }  # fmt: skip

    @staticmethod
    def workspace(*blocks: dict[str, Any]) -> dict[str, Any]:
        return {"blocks": list(blocks), "variables": []}
