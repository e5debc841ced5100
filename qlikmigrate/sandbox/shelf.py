"""The automations of a tenant: who may read and write them, and what the service makes of what it is given.

Source: openapi/workflows-automations.json and the texts of Qlik's tutorial on deploying an automation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox import schedule, workspace
from qlikmigrate.sandbox.automation import Automation
from qlikmigrate.sandbox.connection import Connections
from qlikmigrate.sandbox.directory import Directory
from qlikmigrate.sandbox.identity import Identity
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Key, Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import ADMIN_ROLES, Realm
from qlikmigrate.sandbox.scim import compile_filter
from qlikmigrate.sandbox.space import Spaces
from qlikmigrate.sandbox.switches import EmptyWorkspace, PutConflict, Wrapping
from qlikmigrate.sandbox.wire import (
    ApiError,
    Call,
    Route,
    answer,
    bad_request,
    forbidden,
    no_content,
    not_found,
    reply_json,
)

_SORTS = (
    "id", "name", "runMode", "state", "createdAt", "updatedAt", "lastRunAt", "lastRunStatus", "maxConcurrentRuns",
)  # fmt: skip
_PAGING = Paging(default_limit=100, max_limit=200, cursor=True, sorts=_SORTS)
_FILTERS = ("name", "runMode", "lastRunStatus", "ownerId", "spaceId")
_FIELDS = ("name", "description", "schedules", "workspace", "maxConcurrentRuns")
_CREATOR = frozenset({"AutomationCreator", "TenantAdmin"})


@frozen
class ArmedSighting:
    """An automation was enabled and armed at that moment. `how`: the operation that made it so."""

    automation_id: str
    at: str
    how: str


class Shelf:
    """Automations and the operations on them."""

    def __init__(self, realm: Realm, directory: Directory, spaces: Spaces, open_editors: set[str]) -> None:
        self._realm = realm
        self._directory = directory
        self._spaces = spaces
        self._open_editors = open_editors
        self.connections: Connections | None = None
        self.records: dict[str, Automation] = {}
        self.sightings: list[ArmedSighting] = []
        self.max_runs = 10
        self.list_calls = 0
        self._orders: dict[tuple[Any, ...], list[Key]] = {}
        self._orders_revision = -1

    # Making and changing, without questions of rights.

    def make(self, given: dict[str, Any], owner: str, space: str) -> Automation:
        """Store a new automation out of the accepted fields of a create.

        Raises:
            ApiError: 400 or 422, the service would refuse the save.
        """
        switches = self._realm.switches
        moment = stamp(self._realm.now())
        mint = self._realm.mint
        one = Automation(mint.time_id(), "", owner, space, moment, moment, mint.token())
        spelled = self._checked_workspace(given.get("workspace"), one.id)
        if switches.empty_workspace is EmptyWorkspace.NEEDS_START and not any(
            block.get("type") == "StartBlock" for block in workspace.blocks(spelled)
        ):
            raise self._refused("The workspace has no StartBlock")
        one.max_runs = self._checked_runs(given.get("maxConcurrentRuns", 1))
        one.schedules = schedule.keep(given.get("schedules"), switches, mint.time_id)
        one.name = given["name"]
        one.description = given.get("description") or ""
        one.set_workspace(spelled)
        one.state = "disabled" if switches.created_disabled else "available"
        return one

    def put_on(self, one: Automation, *, listed_now: bool = True) -> None:
        """Take an automation in; unless `listed_now`, lists show it after the lag of the switches."""
        if not listed_now:
            one.listed_from = self._realm.clock.monotonic() + self._realm.switches.list_lag_s
            one.listed_call = self.list_calls + self._realm.switches.list_lag_calls
        self.records[one.id] = one
        self._realm.changed()

    def _refused(self, detail: str) -> ApiError:
        status = self._realm.switches.refused_save_status
        return ApiError(status, f"HTTP-{status}", "The automation cannot be saved", detail)

    def _checked_runs(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise bad_request("maxConcurrentRuns must be a number from 1")
        if value > self.max_runs:
            raise self._refused(f"maxConcurrentRuns must be at most {self.max_runs}")
        return value

    def _checked_workspace(self, value: Any, own_id: str) -> dict[str, Any]:
        switches = self._realm.switches
        # An empty list is what an empty object becomes on its way through the service.
        if value is None or value == []:
            value = {}
        if not isinstance(value, dict):
            raise bad_request("workspace must be an object")
        if switches.check_calls:
            for name, callee, disabled in workspace.calls(value):
                if disabled and switches.disabled_calls_exempt:
                    continue
                is_formula = isinstance(callee, str) and "{" in callee
                if callee == own_id or not (is_formula or (isinstance(callee, str) and callee in self.records)):
                    raise self._refused(f"Block {name} has no valid automation to call")
        return workspace.normalise(value) if switches.normalises else value

    def note_if_armed(self, one: Automation, how: str) -> None:
        """Record the moment when an automation is enabled and armed at once."""
        if one.state == "available" and one.is_armed:
            self.sightings.append(ArmedSighting(one.id, stamp(self._realm.now()), how))

    def _saved(self, one: Automation, call: Call, *, edit: bool = True) -> None:
        if edit or self._realm.switches.updates_on_state:
            one.updated_at = stamp(self._realm.now())
        one.version += 1
        one.readers[call.identity.user_id] = one.version
        one.touch()
        self._realm.changed()
        self.note_if_armed(one, call.operation)

    def is_bound(self, connection_id: str) -> bool:
        """Whether a block of any automation is bound to the connection."""
        needle = connection_id.encode()
        return any(
            isinstance(one.workspace, bytes)
            and needle in one.workspace
            and connection_id in workspace.connections_used(one.workspace_value())
            for one in self.records.values()
        )

    # Rights.

    def _is_admin_role(self, who: Identity) -> bool:
        return self._realm.is_admin(who) and not who.is_bot

    def _needs_space(self, who: Identity, one: Automation) -> bool:
        return bool(
            who.is_bot
            and self._realm.switches.bot_needs_space_role
            and one.space_id
            and not self._realm.member_of(who.user_id, one.space_id)
        )

    def reach(self, call: Call, ident: str, *, write: bool = True, admin: bool = False) -> Automation:
        """The automation, for its owner, a bot with the scope and, where `admin`, for administrators.

        Raises:
            ApiError: 404, or the refusal for somebody else's object.
        """
        who = call.identity
        self._realm.check_scope(who, write=write)
        one = self.records.get(ident)
        if one is None:
            raise not_found("Automation not found")
        if who.is_bot and one.owner_id != who.user_id:
            allowed = self._realm.bot_may(who, write=write)
        else:
            allowed = one.owner_id == who.user_id or (admin and self._is_admin_role(who))
        if not allowed:
            raise self._realm.foreign("automation")
        if self._needs_space(who, one):
            raise forbidden("The space of the automation is closed to the caller")
        return one

    def _check_creator(self, user_id: str) -> None:
        if self._realm.roles_of(user_id).isdisjoint(_CREATOR):
            raise forbidden("The role AutomationCreator is required")

    def _check_space(self, who: Identity, space: Any) -> str:
        if space is None or space == "":
            return ""
        found = self._spaces.spaces.get(space) if isinstance(space, str) else None
        if found is None or found["type"] != "shared":
            raise bad_request("spaceId is not a shared space")
        free = self._realm.is_admin(who) and not (who.is_bot and self._realm.switches.bot_needs_space_role)
        if not free and not self._realm.member_of(who.user_id, space):
            raise forbidden("Insufficient permissions in this space")
        return str(space)

    # Operations.

    def routes(self) -> Iterator[Route]:
        """Operations on automations of openapi/workflows-automations.json, under both families; settings under one."""
        for family in ("v1", "workflows"):
            base = f"/api/{family}/automations"
            yield Route("GET", base, self._list)
            yield Route("POST", base, self._create, 2)
            yield Route("GET", f"{base}/{{}}", self._get)
            yield Route("PUT", f"{base}/{{}}", self._put, 2)
            yield Route("DELETE", f"{base}/{{}}", self._delete, 2)
            yield Route("POST", f"{base}/{{}}/actions/copy", self._copy, 2)
            yield Route("POST", f"{base}/{{}}/actions/change-owner", self._change_owner, 2)
            yield Route("POST", f"{base}/{{}}/actions/move", self._change_owner, 2)
            yield Route("POST", f"{base}/{{}}/actions/change-space", self._change_space, 2)
            yield Route("POST", f"{base}/{{}}/actions/enable", self._enable, 2)
            yield Route("POST", f"{base}/{{}}/actions/disable", self._disable, 2)
        yield Route("GET", "/api/workflows/automations/settings", self._get_settings)
        yield Route("PUT", "/api/workflows/automations/settings", self._put_settings, 2)

    def _list(self, call: Call) -> Response:
        who = call.identity
        self._realm.check_scope(who, write=False)
        self.list_calls += 1
        everybody = call.flag("listAll", True) and self._realm.is_admin(who)
        page = cut_page(_PAGING, call, self._order(call, "" if everybody else who.user_id))
        filled = self._realm.switches.list_workspace
        rows = [self.records[ident].row(with_workspace=filled) for ident in page.ids]
        return page_response(_PAGING, call, page, rows)

    def _order(self, call: Call, owner: str) -> list[Key]:
        if self._orders_revision != self._realm.revision:
            self._orders.clear()
            self._orders_revision = self._realm.revision
        text = call.query.get("filter", "")
        key = (owner, text, _PAGING.sort_of(call)[0])
        lagging = self._realm.switches.list_lag_s or self._realm.switches.list_lag_calls
        if not lagging and key in self._orders:
            return self._orders[key]
        test = compile_filter(text, _FILTERS) if text else None
        now = self._realm.clock.monotonic()
        ids = [
            one.id
            for one in self.records.values()
            if (not owner or one.owner_id == owner)
            and one.listed_from <= now
            and one.listed_call < self.list_calls
            and (test is None or test(one.get))
        ]
        order = ascending_keys(_PAGING, call, ids, lambda ident, name: self.records[ident].get(name))
        self._orders[key] = order
        return order

    def visible(self, who: Identity) -> Iterator[Automation]:
        """What the caller's lists would hold."""
        everybody = self._realm.is_admin(who)
        return (one for one in self.records.values() if everybody or one.owner_id == who.user_id)

    def _answer(self, one: Automation, status: int = 200) -> Response:
        body = one.detail()
        return answer(b'{"data":' + body + b"}" if self._realm.switches.wrapping is Wrapping.ALL else body, status)

    def _get(self, call: Call, ident: str) -> Response:
        one = self.reach(call, ident, write=False)
        one.readers[call.identity.user_id] = one.version
        return self._answer(one)

    def _create(self, call: Call) -> Response:
        who = call.identity
        self._realm.check_scope(who, write=True)
        if who.is_bot and not self._realm.bot_may(who, write=True) and not who.has_scope("automations"):
            raise forbidden("The token lacks the scope for automations")
        self._check_creator(who.user_id)
        given = call.fields(*_FIELDS, "spaceId")
        if call.path.startswith("/api/v1/"):
            given.setdefault("name", "Untitled")
        self._check_texts(given)
        if "name" not in given:
            raise bad_request("name is required")
        one = self.make(given, who.user_id, self._check_space(who, given.get("spaceId")))
        self.put_on(one, listed_now=False)
        one.readers[who.user_id] = one.version
        self.note_if_armed(one, call.operation)
        return self._answer(one, 201)

    @staticmethod
    def _check_texts(given: dict[str, Any]) -> None:
        if "name" in given and (not isinstance(given["name"], str) or not given["name"]):
            raise bad_request("name must be text")
        if not isinstance(given.get("description", ""), str | None):
            raise bad_request("description must be text")

    def _check_conflict(self, call: Call, one: Automation) -> None:
        mode = self._realm.switches.put_conflict
        if call.path.startswith("/api/v1/") or mode is PutConflict.NEVER:
            return
        stale = mode is PutConflict.STALE and one.readers.get(call.identity.user_id) != one.version
        if stale or (mode is PutConflict.OPEN_EDITOR and one.id in self._open_editors):
            raise ApiError(409, "HTTP-409", "Conflict", "The automation was changed or is being edited")

    def _put(self, call: Call, ident: str) -> Response:
        one = self.reach(call, ident)
        self._check_conflict(call, one)
        given = call.fields(*_FIELDS)
        self._check_texts(given)
        switches = self._realm.switches
        runs = self._checked_runs(given.get("maxConcurrentRuns", one.max_runs))
        spelled = self._checked_workspace(given["workspace"], one.id) if "workspace" in given else None
        if "schedules" in given or not switches.put_keeps_schedules:
            one.schedules = schedule.keep(given.get("schedules"), switches, self._realm.mint.time_id)
        if spelled is not None:
            one.set_workspace(spelled)
        one.max_runs = runs
        one.name = given.get("name", one.name)
        one.description = given.get("description", one.description) or ""
        if not switches.put_keeps_disabled:
            one.state = "available"
        self._saved(one, call)
        return self._answer(one)

    def _delete(self, call: Call, ident: str) -> Response:
        self.reach(call, ident, admin=True)
        del self.records[ident]
        self._realm.changed()
        return no_content()

    def _copy(self, call: Call, ident: str) -> Response:
        source = self.reach(call, ident)
        self._check_creator(call.identity.user_id)
        given = call.fields("name")
        self._check_texts(given)
        if "name" not in given:
            raise bad_request("name is required")
        given |= {"workspace": source.workspace_value(), "description": source.description}
        made = self.make(given, call.identity.user_id, source.space_id)
        self.put_on(made, listed_now=False)
        self.note_if_armed(made, call.operation)
        return reply_json({"id": made.id}, 201)

    def _change_owner(self, call: Call, ident: str) -> Response:
        one = self.reach(call, ident, admin=True)
        who = call.identity
        roles = self._realm.roles_of(who.user_id)
        if not who.is_bot and roles.isdisjoint(ADMIN_ROLES):
            raise forbidden("TenantAdmin, AnalyticsAdmin or admin.automations is required")
        owner = call.fields("userId").get("userId")
        if not isinstance(owner, str) or not self._directory.active(owner):
            raise bad_request("userId is not an active user")
        # Source: Qlik community 2548771, since May 2026.
        if not who.is_bot and "TenantAdmin" not in roles and owner != who.user_id:
            raise forbidden("An AnalyticsAdmin can only claim ownership")
        self._check_creator(owner)
        one.owner_id = owner
        one.runs.clear()
        if self._realm.switches.owner_change_nulls_bindings:
            self._unbind(one)
        if not self._realm.switches.owner_change_keeps_disabled:
            one.state = "available"
        self._saved(one, call, edit=False)
        return no_content()

    def _unbind(self, one: Automation) -> None:
        value = one.workspace_value()
        managed: Callable[[str], bool] = self.connections.is_managed if self.connections else lambda ident: False
        workspace.null_bindings(value, managed)
        one.set_workspace(value)

    def _change_space(self, call: Call, ident: str) -> Response:
        one = self.reach(call, ident, admin=True)
        given = call.fields("spaceId")
        if "spaceId" not in given:
            raise bad_request("spaceId is required")
        one.space_id = self._check_space(call.identity, given["spaceId"])
        if self._realm.switches.space_change_nulls_bindings:
            self._unbind(one)
        self._saved(one, call, edit=False)
        return no_content()

    def _enable(self, call: Call, ident: str) -> Response:
        return self._set_state(call, ident, "available")

    def _disable(self, call: Call, ident: str) -> Response:
        return self._set_state(call, ident, "disabled")

    def _set_state(self, call: Call, ident: str, state: str) -> Response:
        one = self.reach(call, ident, admin=True)
        one.state = state
        self._saved(one, call, edit=False)
        return no_content()

    def _get_settings(self, call: Call) -> Response:
        return reply_json({"maxConcurrentRunsPerAutomation": self.max_runs})

    def _put_settings(self, call: Call) -> Response:
        who = call.identity
        if "TenantAdmin" not in self._realm.roles_of(who.user_id):
            raise forbidden("TenantAdmin is required")
        value = call.fields().get("maxConcurrentRunsPerAutomation")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 50:
            raise bad_request("maxConcurrentRunsPerAutomation must be 1 to 50")
        self.max_runs = value
        return self._get_settings(call)
