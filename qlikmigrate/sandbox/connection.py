"""Automation connections. A run uses its owner's; consent to an OAuth connector is not given over the API.

Source: openapi/workflows-automation-connections.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox import catalogue
from qlikmigrate.sandbox.catalogue import Connector, Param
from qlikmigrate.sandbox.connector import Connectors
from qlikmigrate.sandbox.directory import Directory
from qlikmigrate.sandbox.identity import Identity
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import ADMIN_ROLES, Realm
from qlikmigrate.sandbox.scim import compile_filter
from qlikmigrate.sandbox.space import Spaces
from qlikmigrate.sandbox.switches import BotConnections, Wrapping
from qlikmigrate.sandbox.wire import ApiError, Call, Route, bad_request, dumps, no_content, not_found, reply_json

MASK = "********"
_PAGING = Paging(default_limit=100, max_limit=200, cursor=True, sorts=("id", "name", "createdAt", "updatedAt"))


@define(eq=False)
class Connection:
    """A stored connection. `values`: by parameter name. `consented`: a person has been in the browser."""

    id: str
    name: str
    connector_id: str
    owner_id: str
    space_id: str
    created_at: str
    updated_at: str
    values: dict[str, str] = field(factory=dict)
    consented: bool = True
    broken: bool = False
    redirect: str | None = None
    account: str | None = None


class Connections:
    """The connections of a tenant. `is_used(id)` says whether an automation is bound to one."""

    def __init__(
        self,
        realm: Realm,
        directory: Directory,
        spaces: Spaces,
        connectors: Connectors,
        is_used: Callable[[str], bool],
    ) -> None:
        self._realm = realm
        self._directory = directory
        self._spaces = spaces
        self._connectors = connectors
        self._is_used = is_used
        self.records: dict[str, Connection] = {}

    def add(self, connector_id: str, name: str, owner: str, space: str, values: dict[str, str]) -> Connection:
        """Make a connection.

        Raises:
            ApiError: 400, no such connector, parameter or space.
        """
        connector = self._connectors.connectors.get(connector_id)
        if connector is None:
            raise bad_request("connectorId is not a connector")
        known = {param.name for param in connector.params}
        if not set(values) <= known:
            raise bad_request(f"Unknown parameter: {min(set(values) - known)}")
        if space and space not in self._spaces.spaces:
            raise bad_request("spaceId is not a space")
        mint = self._realm.mint
        moment = stamp(self._realm.now())
        made = Connection(mint.time_id(), name, connector_id, owner, space, moment, moment, dict(values))
        if connector.oauth:
            made.consented = False
            made.redirect = f"https://{self._realm.hostnames[0]}/automations/oauth/start?state={mint.token(32)}"
        self.records[made.id] = made
        self._realm.changed()
        return made

    def ensure_managed(self, user_id: str) -> None:
        """Give a user the connection that the system keeps for them."""
        connector = self._connectors.connectors[catalogue.QLIK_CLOUD_SERVICES]
        if not any(one.owner_id == user_id and self.is_managed(one.id) for one in self.records.values()):
            self.add(connector.id, connector.name, user_id, "", {})

    def is_managed(self, ident: str) -> bool:
        """Whether the system keeps this connection."""
        one = self.records.get(ident)
        return one is not None and one.connector_id == catalogue.QLIK_CLOUD_SERVICES

    def connector_of(self, one: Connection) -> Connector:
        """Its connector."""
        return self._connectors.connectors[one.connector_id]

    def is_connected(self, one: Connection) -> bool:
        """Whether it would work: consent given, and every parameter that must be there is."""
        params = self.connector_of(one).params
        return one.consented and not one.broken and all(p.optional or one.values.get(p.name) for p in params)

    def routes(self) -> Iterator[Route]:
        """Operations of openapi/workflows-automation-connections.json, under both families."""
        for family in ("v1", "workflows"):
            base = f"/api/{family}/automation-connections"
            yield Route("GET", base, self._list)
            yield Route("POST", base, self._create, 2)
            yield Route("GET", f"{base}/{{}}", self._get)
            yield Route("PUT", f"{base}/{{}}", self._put, 2)
            yield Route("DELETE", f"{base}/{{}}", self._delete, 2)
            yield Route("POST", f"{base}/{{}}/actions/change-owner", self._change_owner, 2)
            yield Route("POST", f"{base}/{{}}/actions/change-space", self._change_space, 2)
            yield Route("POST", f"{base}/{{}}/actions/check", self._check, 2)

    def _listed(self, who: Identity, one: Connection) -> bool:
        if one.owner_id == who.user_id:
            return True
        if who.is_bot and self._realm.switches.bot_connections is BotConnections.NONE:
            return False
        return self._realm.is_admin(who)

    def _readable(self, call: Call, ident: str) -> Connection:
        self._realm.check_scope(call.identity, write=False)
        one = self.records.get(ident)
        if one is None:
            raise not_found("Connection not found")
        who = call.identity
        bot_reads = self._realm.bot_may(who, write=False) and (
            self._realm.switches.bot_connections is BotConnections.READ
        )
        if one.owner_id != who.user_id and not bot_reads:
            raise self._realm.foreign("connection")
        return one

    def _writable(self, call: Call, ident: str) -> Connection:
        self._realm.check_scope(call.identity, write=True)
        one = self.records.get(ident)
        if one is None:
            raise not_found("Connection not found")
        if one.owner_id != call.identity.user_id:
            raise self._realm.foreign("connection")
        if self.is_managed(ident):
            raise bad_request("The connection is managed by the system")
        return one

    def _manageable(self, call: Call, ident: str) -> Connection:
        """Deleting and handing over is an administrator's right too, but not a bot's."""
        one = self.records.get(ident)
        who = call.identity
        admin = not who.is_bot and not self._realm.roles_of(who.user_id).isdisjoint(ADMIN_ROLES)
        if one is not None and admin and not self.is_managed(ident):
            return one
        return self._writable(call, ident)

    def _bool(self, value: bool) -> bool | str:
        return str(value).lower() if self._realm.switches.string_booleans else value

    def _row(self, one: Connection) -> dict[str, Any]:
        return {
            "id": one.id,
            "name": one.name,
            "ownerId": one.owner_id,
            "spaceId": one.space_id,
            "createdAt": one.created_at,
            "updatedAt": one.updated_at,
            "connectorId": one.connector_id,
            "isConnected": self._bool(self.is_connected(one)),
        }

    def shown(self, one: Connection) -> dict[str, Any]:
        """Its own answer."""
        params = [
            self._param(one, order, param) for order, param in enumerate(self.connector_of(one).params)
        ]  # fmt: skip
        return self._row(one) | {
            "error": {},
            "params": params,
            "redirect": one.redirect if not one.consented else None,
            "oauthAccountName": one.account,
        }

    def _param(self, one: Connection, order: int, param: Param) -> dict[str, Any]:
        value = one.values.get(param.name, "")
        if value and param.field_type == "password" and self._realm.switches.masks_values:
            value = MASK
        return {
            "id": catalogue.own_id(one.connector_id, param.name),
            "meta": [],
            "name": param.name,
            "order": order,
            "value": value,
            "fieldType": param.field_type,
            "isOptional": self._bool(param.optional),
            "exampleValue": param.example,
            "paramOptions": [],
            "documentation": "",
        }

    def _list(self, call: Call) -> Response:
        who = call.identity
        self._realm.check_scope(who, write=False)
        everybody = call.flag("listAll", False)
        ids = [
            one.id
            for one in self.records.values()
            if one.owner_id == who.user_id or (everybody and self._listed(who, one))
        ]
        rows = {ident: self._row(self.records[ident]) for ident in ids}
        if text := call.query.get("filter"):
            test = compile_filter(text, ("name", "connectorId", "ownerId", "spaceId"))
            rows = {ident: row for ident, row in rows.items() if test(row.get)}
        page = cut_page(_PAGING, call, ascending_keys(_PAGING, call, rows, lambda ident, name: rows[ident][name]))
        return page_response(_PAGING, call, page, [dumps(rows[ident]) for ident in page.ids])

    def _answer(self, one: Connection, status: int = 200) -> Response:
        shown = self.shown(one)
        wrapped = self._realm.switches.wrapping is not Wrapping.NONE
        return reply_json({"data": shown} if wrapped else shown, status)

    def _create(self, call: Call) -> Response:
        who = call.identity
        self._realm.check_scope(who, write=True)
        given = call.fields("connectorId", "name", "params", "spaceId")
        connector = self._connectors.connectors.get(str(given.get("connectorId")))
        if connector is None:
            raise bad_request("connectorId is not a connector")
        if connector.managed:
            raise bad_request("Connections of this connector are managed by the system")
        values = self._values(given.get("params"), "name", {param.name: param.name for param in connector.params})
        space = given.get("spaceId") or ""
        if space and not self._realm.member_of(who.user_id, space) and not self._realm.is_admin(who):
            raise bad_request("spaceId is not a space of yours")
        return self._answer(
            self.add(connector.id, str(given.get("name") or connector.name), who.user_id, space, values), 201
        )

    @staticmethod
    def _values(params: Any, key: str, known: dict[str, str]) -> dict[str, str]:
        values = {}
        for one in params or ():
            name = known.get(str(one.get(key))) if isinstance(one, dict) else None
            if name is None:
                raise bad_request(f"Unknown parameter {key}")
            values[name] = str(one.get("value") or "")
        return values

    def _get(self, call: Call, ident: str) -> Response:
        return self._answer(self._readable(call, ident))

    def _put(self, call: Call, ident: str) -> Response:
        one = self._writable(call, ident)
        given = call.fields("name", "params")
        known = {catalogue.own_id(one.connector_id, p.name): p.name for p in self.connector_of(one).params}
        values = self._values(given.get("params"), "id", known)
        if not self._realm.switches.mask_overwrites:
            values = {name: value for name, value in values.items() if value != MASK}
        one.values.update(values)
        one.name = str(given.get("name") or one.name)
        self._touch(one)
        return self._answer(one)

    def _touch(self, one: Connection) -> None:
        one.updated_at = stamp(self._realm.now())
        self._realm.changed()

    def _delete(self, call: Call, ident: str) -> Response:
        self._manageable(call, ident)
        if self._is_used(ident) and not call.flag("forced", False):
            raise ApiError(409, "HTTP-409", "Conflict", "The connection is in use")
        del self.records[ident]
        self._realm.changed()
        return no_content()

    def _change_owner(self, call: Call, ident: str) -> Response:
        one = self._manageable(call, ident)
        owner = call.fields("userId").get("userId")
        if not isinstance(owner, str) or not self._directory.active(owner):
            raise bad_request("userId is not an active user")
        one.owner_id = owner
        self._touch(one)
        return no_content()

    def _change_space(self, call: Call, ident: str) -> Response:
        one = self._manageable(call, ident)
        space = call.fields("spaceId").get("spaceId")
        if not isinstance(space, str) or (space and space not in self._spaces.spaces):
            raise bad_request("spaceId is not a space")
        one.space_id = space
        self._touch(one)
        return no_content()

    def _check(self, call: Call, ident: str) -> Response:
        connected = self.is_connected(self._readable(call, ident))
        return reply_json({"connected": connected, "is_connected": connected})
