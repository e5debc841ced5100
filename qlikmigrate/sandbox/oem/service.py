"""An embedded OEM service of one partner: requests in, answers out, state in memory. No framework, no thread."""

from __future__ import annotations

import hmac
from email.utils import format_datetime
from urllib.parse import urlsplit

import orjson
from attrs import evolve

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Reply, Request, Response
from qlikmigrate.sandbox import fault as faults
from qlikmigrate.sandbox.fault import Effect, Fault, FaultBox
from qlikmigrate.sandbox.oem.connector import PUBLIC
from qlikmigrate.sandbox.oem.limit import MinuteLimiter
from qlikmigrate.sandbox.oem.state import OemState
from qlikmigrate.sandbox.oem.switches import OemSwitches
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute, RefusalError, Undocumented, take
from qlikmigrate.sandbox.tenant import Seen
from qlikmigrate.sandbox.wire import ApiError, Router, dumps


class OemService(OemState):
    """One SaaS Admin with its accounts. Built by the `add_` methods and changed over `handle`, from any thread.

    `seen` holds what arrived, its `identity` the app id; `undocumented` what no page of the vendor knows: such a call
    answers 404. `refusals` says why a call got `{}`: (method, path, reason).
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        switches: OemSwitches = OemSwitches(),  # noqa: B008 - a frozen value
        seed: int = 0,
    ) -> None:
        super().__init__(name, clock=clock, switches=switches, seed=seed)
        self.seen: list[Seen] = []
        self.undocumented: list[Undocumented] = []
        self.refusals: list[tuple[str, str, str]] = []
        self._box = FaultBox()
        self._limiter = MinuteLimiter(self._realm)
        self._router = Router()
        for room in (
            self._accounts, self._blends, self._runs, self._templates, self._datasources, self._connectors,
        ):  # fmt: skip
            for route in room.routes():
                self._router.add(route)

    @property
    def faults(self) -> list[Fault]:
        """What goes wrong; append to it."""
        return self._box.faults

    @property
    def writes(self) -> list[Seen]:
        """The requests seen that could have changed something."""
        return [one for one in self.seen if one.method not in ("GET", "HEAD")]

    @property
    def calls_over_limit(self) -> int:
        """How many calls got 429 for being too many."""
        return self._limiter.refused

    def handle(self, request: Request) -> Reply:
        """Answer a request."""
        with self._lock:
            self._runs.settle()
            call = take(request)
            identity = self._identify(call)
            effects = self._box.strike(call.method, call.path, identity) if self._box.faults else []
            reply = self._struck(call, identity, effects) if effects else self._plain(call, identity)
            if self.switches.dates:
                date = {"date": format_datetime(self._realm.now(), usegmt=True)}
                reply = evolve(reply, response=evolve(reply.response, headers={**reply.response.headers, **date}))
            status = 0 if reply.lost else reply.response.status
            self.seen.append(Seen(call.method, call.path, call.query, status, identity, self._realm.now()))
            return reply

    def _identify(self, call: OemCall) -> str:
        """The app id, or nothing where the pair is wrong. Source: the overview page names the two headers."""
        app_id, key = call.headers.get("x-app-id", ""), call.headers.get("x-api-key", "")
        return app_id if app_id == self._app_id and hmac.compare_digest(key.encode(), self._api_key.encode()) else ""

    def _plain(self, call: OemCall, identity: str) -> Reply:
        response = self._answer(call, identity)
        return Reply(response=response, delay_s=call.delay_s)

    def _answer(self, call: OemCall, identity: str) -> Response:
        headers: dict[str, str] = {}
        try:
            route, ids = self._find(call)
            self.undocumented += route.surplus(call)
            self._check_host(call)
            if route.public:
                self._check_public(call)
            elif not identity:
                raise RefusalError("bad credentials", self.switches.bad_credentials_status, {"error": "Unauthorized"})
            if route.tier:
                account = self._realm.find_account(ids[0]) if route.takes_account else None
                headers = self._limiter.count(account.guid if account else "")
            call.operation = f"{call.method} {route.template}"
            response = route.run(call, *ids)
        except RefusalError as refusal:
            self.refusals.append((call.method, call.path, str(refusal)))
            response = refusal.response(empty=self.switches.empty_400)
        return evolve(response, headers={**response.headers, **headers}) if headers else response

    def _find(self, call: OemCall) -> tuple[OemRoute, list[str]]:
        try:
            route, ids = self._router.find(call.method, call.path)
        except ApiError:
            self.undocumented.append(Undocumented(call.method, call.path, "path"))
            raise RefusalError("not documented", 404) from None
        assert isinstance(route, OemRoute)
        return route, ids

    def _check_public(self, call: OemCall) -> None:
        """The public list is on another host than the API, so that credentials have no business there."""
        if call.path == PUBLIC and ("x-api-key" in call.headers or "x-app-id" in call.headers):
            self.undocumented.append(Undocumented(call.method, call.path, "credentials"))

    def _check_host(self, call: OemCall) -> None:
        """Credentials must not follow a link to another host; the public list has a host of its own."""
        host = urlsplit(call.origin).hostname
        if call.path != PUBLIC and host not in (urlsplit(self.base_url).hostname, "127.0.0.1", "localhost"):
            self.undocumented.append(Undocumented(call.method, call.path, "host", host or ""))

    def _struck(self, call: OemCall, identity: str, effects: list[Effect]) -> Reply:
        delay_s = sum(effect.seconds for effect in effects if isinstance(effect, faults.Delay))
        others = [effect for effect in effects if not isinstance(effect, faults.Delay)]
        reply = self._with_effect(call, identity, others[0]) if others else self._plain(call, identity)
        return evolve(reply, delay_s=reply.delay_s + delay_s)

    def _with_effect(self, call: OemCall, identity: str, effect: Effect) -> Reply:
        match effect:
            case faults.Status():
                if effect.commit:
                    self._answer(call, identity)
                return Reply(response=_fault_status(effect))
            case faults.ResetBefore():
                return faults.LOST
            case faults.ResetAfterCommit():
                self._answer(call, identity)
                return faults.LOST
            case faults.HtmlOk():
                self._answer(call, identity)
                return Reply(response=faults.web_page())
            case faults.Truncate():
                return Reply(response=faults.cut_off(self._answer(call, identity), effect.part))
            case faults.RepeatPage():
                call.query = {name: value for name, value in call.query.items() if name != "page"}
                return self._plain(call, identity)
            case _:
                return Reply(response=_bend(self._answer(call, identity), effect), delay_s=call.delay_s)


def _fault_status(effect: faults.Status) -> Response:
    headers = {} if effect.retry_after is None else {"retry-after": str(effect.retry_after)}
    made = RefusalError("fault", effect.code, {"error": f"Answer {effect.code}"}, headers=headers).response(empty=False)
    if effect.body is None:
        return made
    length = {"content-length": str(len(effect.body))}
    return evolve(made, body=effect.body, headers={**made.headers, **length})


def _bend(response: Response, effect: Effect) -> Response:
    """A list without some rows, or with links elsewhere; other answers stay as they are."""
    try:
        value = orjson.loads(response.body) if response.status == 200 else None
    except orjson.JSONDecodeError:
        value = None
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        return response
    match effect:
        case faults.DropRows():
            del rows[: effect.count]
        case faults.ForeignLink() if isinstance(value, dict) and value.get("links"):
            links = value["links"]
            for name, link in links.items():
                if link:
                    links[name] = f"https://{effect.host}/" + link.split("/", 3)[3]
        case _:
            return response
    body = dumps(value)
    return evolve(response, body=body, headers={**response.headers, "content-length": str(len(body))})
