"""A provider with an account, a client that talks to it in process, and what its pages document."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import orjson
from attrs import define

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.sandbox.oem import OemInput, OemSchedule, OemService, OemSwitches

SHOP = OemInput(field_name="shop", is_required=True, default="Berlin")
MAIL_PARAMS = {
    "Sender": "a@acme.example", "Host": "smtp.acme.example", "Port": "587", "Username": "a",
    "Password": "planted-mail-password",
}  # fmt: skip
HOURLY = OemSchedule(interval=3600)


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
class OemWorld:
    """One provider, and its SaaS Admin's way in. `account` is an account, `a` its path."""

    clock: ManualClock
    service: OemService
    account: str
    template: str

    @property
    def a(self) -> str:
        return f"/accounts/{self.account}"

    def set(self, **switches: Any) -> None:
        """Turn switches."""
        self.service.switches = OemSwitches(**switches)

    def reply(self, method: str, path: str, body: Any = None, *, headers: Any = None, **query: Any) -> Reply:
        app_id, key = self.service.key_pair()
        known = {"x-app-id": app_id, "x-api-key": key, "accept": "application/json"} if headers is None else headers
        url = (path if path.startswith("http") else self.service.base_url + quote(path, safe="/%?=&[]")) + (
            f"?{urlencode(query)}" if query else ""
        )
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return self.service.handle(Request(method=method, url=url, headers=known, body=raw))

    def __call__(self, method: str, path: str, body: Any = None, *, headers: Any = None, **query: Any) -> Answer:
        response = self.reply(method, path, body, headers=headers, **query).response
        return Answer(response.status, dict(response.headers), response.body)

    def rows(self, path: str) -> list[Any]:
        """The rows of a list's first page, whatever it comes in."""
        value = self("GET", path).json
        return list(value["data"]) if isinstance(value, dict) else list(value)

    def install(self, template: str | None = None, **body: Any) -> str:
        """Install a template; the guid of the new blend."""
        before = set(self.service.accounts[self.account].blends)
        answer = self("POST", f"/templates/{template or self.template}/install", {"account": self.account} | body)
        assert (answer.status, answer.body) == (200, b"{}"), self.service.refusals
        made = [one for one in self.service.accounts[self.account].tops() if one.guid not in before]
        assert len(made) == 1
        return made[0].guid
