"""Spaces and who has a part in them. Names are unique; a space with content is not deleted.

Source: openapi/spaces.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import ADMIN_ROLES, Realm
from qlikmigrate.sandbox.wire import (
    ApiError,
    Call,
    Route,
    bad_request,
    dumps,
    forbidden,
    no_content,
    not_found,
    reply_json,
)

_PAGING = Paging(
    default_limit=10, max_limit=0, sorts=("id", "name", "createdAt", "updatedAt", "type"), default_sort="name"
)
_MEMBERS = Paging(default_limit=10, max_limit=0)
_ROLES = {
    "shared": ("codeveloper", "consumer", "dataconsumer", "facilitator", "producer"),
    "managed": ("basicconsumer", "consumer", "contributor", "dataconsumer", "facilitator", "publisher"),
    "data": ("consumer", "dataconsumer", "datapreview", "facilitator", "operator", "producer", "publisher"),
}
_FORBIDDEN = frozenset('"*?<>/|\\:')
# Who may keep automations in a shared space.
MAKERS = frozenset({"producer", "facilitator", "codeveloper", "operator"})


class Spaces:
    """Spaces and assignments. `in_use(space_id)` says whether something lives there."""

    def __init__(self, realm: Realm, in_use: Callable[[str], bool]) -> None:
        self._realm = realm
        self._in_use = in_use
        self.spaces: dict[str, dict[str, Any]] = {}
        self.assignments: dict[str, dict[str, Any]] = {}
        realm.member_of = self.is_maker

    def is_maker(self, user_id: str, space_id: str) -> bool:
        """Whether the user may keep automations in the space."""
        space = self.spaces.get(space_id)
        if space is None:
            return False
        return space["ownerId"] == user_id or any(
            not MAKERS.isdisjoint(one["roles"])
            for one in self.assignments.values()
            if one["spaceId"] == space_id and one["assigneeId"] == user_id
        )

    def add(self, name: str, space_type: str, owner: str, description: str = "") -> dict[str, Any]:
        """Make a space.

        Raises:
            ApiError: 409, the name is taken; 400, not a name or type.
        """
        self._check_name(name)
        if space_type not in _ROLES:
            raise bad_request(f"Invalid type: {space_type}")
        ident = self._realm.mint.hex_id()
        moment = stamp(self._realm.now())
        self.spaces[ident] = {
            "id": ident,
            "name": name,
            "type": space_type,
            "ownerId": owner,
            "tenantId": self._realm.id,
            "createdAt": moment,
            "createdBy": owner,
            "updatedAt": moment,
            "description": description,
        }
        self._realm.changed()
        return self.spaces[ident]

    def _check_name(self, name: Any, but: str = "") -> None:
        if not isinstance(name, str) or not name.strip() or len(name) > 256 or not _FORBIDDEN.isdisjoint(name):
            raise bad_request("Invalid name")
        if any(one["name"] == name and ident != but for ident, one in self.spaces.items()):
            raise ApiError(409, "HTTP-409", "Conflict", "A space with this name exists")

    def add_member(self, space_id: str, assignee: str, roles: tuple[str, ...], kind: str = "user") -> dict[str, Any]:
        """Give somebody roles in a space.

        Raises:
            ApiError: 409, the assignee has an assignment already; 400, no such role.
        """
        space = self._space(space_id)
        self._check_roles(space, roles)
        if any(one["spaceId"] == space_id and one["assigneeId"] == assignee for one in self.assignments.values()):
            raise ApiError(409, "HTTP-409", "Conflict", "The assignee has an assignment")
        ident = self._realm.mint.hex_id()
        moment = stamp(self._realm.now())
        self.assignments[ident] = {
            "id": ident,
            "type": kind,
            "roles": list(roles),
            "spaceId": space_id,
            "tenantId": self._realm.id,
            "assigneeId": assignee,
            "createdAt": moment,
            "createdBy": space["ownerId"],
            "updatedAt": moment,
            "updatedBy": space["ownerId"],
        }
        self._realm.changed()
        return self.assignments[ident]

    @staticmethod
    def _check_roles(space: dict[str, Any], roles: Any) -> None:
        if not roles or any(role not in _ROLES[space["type"]] for role in roles):
            raise bad_request("Invalid roles")

    def _space(self, ident: str) -> dict[str, Any]:
        space = self.spaces.get(ident)
        if space is None:
            raise not_found("Space not found")
        return space

    def _sees(self, call: Call, space_id: str) -> bool:
        who = call.identity
        return (
            who.is_bot
            or not self._realm.roles_of(who.user_id).isdisjoint(ADMIN_ROLES)
            or self.spaces[space_id]["ownerId"] == who.user_id
            or any(one["spaceId"] == space_id and one["assigneeId"] == who.user_id for one in self.assignments.values())
        )

    def _readable(self, call: Call, ident: str) -> dict[str, Any]:
        space = self._space(ident)
        if not self._sees(call, ident):
            raise not_found("Space not found")
        return space

    def _writable(self, call: Call, ident: str) -> dict[str, Any]:
        space = self._readable(call, ident)
        who = call.identity.user_id
        facilitates = any(
            one["spaceId"] == ident and one["assigneeId"] == who and "facilitator" in one["roles"]
            for one in self.assignments.values()
        )
        if space["ownerId"] != who and not facilitates and "TenantAdmin" not in self._realm.roles_of(who):
            raise forbidden("Only the owner, a facilitator or a tenant admin may change a space")
        return space

    def routes(self) -> Iterator[Route]:
        """Operations of openapi/spaces.json, shares left out."""
        yield Route("GET", "/api/v1/spaces", self._list)
        yield Route("POST", "/api/v1/spaces", self._create, 2)
        yield Route("GET", "/api/v1/spaces/types", self._types)
        yield Route("GET", "/api/v1/spaces/{}", self._get)
        yield Route("PUT", "/api/v1/spaces/{}", self._put, 2)
        yield Route("PATCH", "/api/v1/spaces/{}", self._patch, 2)
        yield Route("DELETE", "/api/v1/spaces/{}", self._delete, 2)
        yield Route("GET", "/api/v1/spaces/{}/assignments", self._list_assignments)
        yield Route("POST", "/api/v1/spaces/{}/assignments", self._create_assignment, 2)
        yield Route("GET", "/api/v1/spaces/{}/assignments/{}", self._get_assignment)
        yield Route("PUT", "/api/v1/spaces/{}/assignments/{}", self._put_assignment, 2)
        yield Route("DELETE", "/api/v1/spaces/{}/assignments/{}", self._delete_assignment, 2)

    def _shown(self, call: Call, space: dict[str, Any]) -> dict[str, Any]:
        mine = space["ownerId"] == call.identity.user_id
        href = f"{call.origin}/api/v1/spaces/{space['id']}"
        return {
            **space,
            "meta": {
                "roles": [],
                "actions": ["create", "read", "update", "delete", "change_owner"] if mine else ["read"],
                "assignableRoles": list(_ROLES[space["type"]]),
            },
            "links": {"self": {"href": href}, "assignments": {"href": f"{href}/assignments"}},
        }

    def _list(self, call: Call) -> Response:
        wanted = call.query.get("name", "").lower()
        ids = [
            ident
            for ident, space in self.spaces.items()
            if wanted in space["name"].lower()
            and call.query.get("type", space["type"]) == space["type"]
            and call.query.get("ownerId", space["ownerId"]) == space["ownerId"]
            and self._sees(call, ident)
        ]
        page = cut_page(_PAGING, call, ascending_keys(_PAGING, call, ids, lambda ident, name: self.spaces[ident][name]))
        rows = [dumps(self._shown(call, self.spaces[ident])) for ident in page.ids]
        personal = {"actions": ["create"], "resourceType": "app"}
        return page_response(_PAGING, call, page, rows, meta={"count": len(ids), "personalSpace": personal})

    def _types(self, call: Call) -> Response:
        return reply_json({"data": list(_ROLES)})

    def _create(self, call: Call) -> Response:
        given = call.fields("name", "type", "description")
        made = self.add(
            given.get("name", ""), str(given.get("type")), call.identity.user_id, given.get("description") or ""
        )
        return reply_json(self._shown(call, made), 201)

    def _get(self, call: Call, ident: str) -> Response:
        return reply_json(self._shown(call, self._readable(call, ident)))

    def _put(self, call: Call, ident: str) -> Response:
        return self._change(call, ident, call.fields("name", "description", "ownerId"))

    def _patch(self, call: Call, ident: str) -> Response:
        patch = call.json()
        allowed = {"/name": "name", "/ownerId": "ownerId", "/description": "description"}
        if not isinstance(patch, list) or any(
            not isinstance(one, dict) or one.get("op") != "replace" or one.get("path") not in allowed for one in patch
        ):
            raise bad_request("Only replace of /name, /ownerId, /description")
        return self._change(call, ident, {allowed[one["path"]]: one.get("value") for one in patch})

    def _change(self, call: Call, ident: str, changes: dict[str, Any]) -> Response:
        space = self._writable(call, ident)
        if "name" in changes:
            self._check_name(changes["name"], but=ident)
        space.update(changes, updatedAt=stamp(self._realm.now()))
        self._realm.changed()
        return reply_json(self._shown(call, space))

    def _delete(self, call: Call, ident: str) -> Response:
        self._writable(call, ident)
        if self._in_use(ident):
            raise ApiError(412, "HTTP-412", "Precondition failed", "The space is not empty")
        del self.spaces[ident]
        self.assignments = {key: one for key, one in self.assignments.items() if one["spaceId"] != ident}
        self._realm.changed()
        return no_content()

    def _shown_assignment(self, call: Call, one: dict[str, Any]) -> dict[str, Any]:
        href = f"{call.origin}/api/v1/spaces/{one['spaceId']}"
        return {**one, "links": {"self": {"href": f"{href}/assignments/{one['id']}"}, "space": {"href": href}}}

    def _list_assignments(self, call: Call, space_id: str) -> Response:
        self._readable(call, space_id)
        ids = [
            ident
            for ident, one in self.assignments.items()
            if one["spaceId"] == space_id
            and call.query.get("type", one["type"]) == one["type"]
            and call.query.get("assigneeId", one["assigneeId"]) == one["assigneeId"]
        ]
        page = cut_page(_MEMBERS, call, ascending_keys(_MEMBERS, call, ids, lambda ident, name: ident))
        rows = [dumps(self._shown_assignment(call, self.assignments[ident])) for ident in page.ids]
        return page_response(_MEMBERS, call, page, rows, meta={"count": len(ids)})

    def _assignment(self, space_id: str, ident: str) -> dict[str, Any]:
        one = self.assignments.get(ident)
        if one is None or one["spaceId"] != space_id:
            raise not_found("Assignment not found")
        return one

    def _create_assignment(self, call: Call, space_id: str) -> Response:
        self._writable(call, space_id)
        given = call.fields("type", "assigneeId", "roles")
        if given.get("type") not in ("user", "group", "bot") or not given.get("assigneeId"):
            raise bad_request("type and assigneeId are required")
        made = self.add_member(space_id, given["assigneeId"], tuple(given.get("roles") or ()), given["type"])
        return reply_json(self._shown_assignment(call, made), 201)

    def _get_assignment(self, call: Call, space_id: str, ident: str) -> Response:
        self._readable(call, space_id)
        return reply_json(self._shown_assignment(call, self._assignment(space_id, ident)))

    def _put_assignment(self, call: Call, space_id: str, ident: str) -> Response:
        space = self._writable(call, space_id)
        one = self._assignment(space_id, ident)
        roles = call.fields("roles").get("roles")
        self._check_roles(space, roles)
        one.update(roles=list(roles or ()), updatedAt=stamp(self._realm.now()))
        self._realm.changed()
        return reply_json(self._shown_assignment(call, one))

    def _delete_assignment(self, call: Call, space_id: str, ident: str) -> Response:
        self._writable(call, space_id)
        self._assignment(space_id, ident)
        del self.assignments[ident]
        self._realm.changed()
        return no_content()
