"""People: users, roles and groups, and the tenant's own card. A subject belongs to one user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import Realm
from qlikmigrate.sandbox.scim import Test, compile_filter
from qlikmigrate.sandbox.wire import (
    ApiError,
    Call,
    Route,
    bad_request,
    dumps,
    forbidden,
    no_content,
    not_found,
    redirect,
    reply_json,
)

USERS = Paging(default_limit=20, max_limit=100, sorts=("id", "name", "email", "subject", "status"), default_sort="name")
NAMED = Paging(default_limit=20, max_limit=100, sorts=("id", "name"), default_sort="name")
_USER_FILTERS = (
    "id", "subject", "name", "email", "status", "clientId", "assignedRoles.id", "assignedRoles.name",
    "assignedGroups.id",
)  # fmt: skip
_ADMIN = frozenset({"TenantAdmin", "AnalyticsAdmin", "AuditAdmin"})
ROLES = ("TenantAdmin", "AnalyticsAdmin", "AutomationCreator", "SharedSpaceCreator", "PrivateAnalyticsContentCreator")


class Directory:
    """Users, roles, groups."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        moment = stamp(realm.now())
        self.roles: dict[str, dict[str, Any]] = {}
        for name in ROLES:
            ident = realm.mint.hex_id()
            self.roles[ident] = {
                "id": ident,
                "name": name,
                "type": "default",
                "level": "admin" if name in _ADMIN else "user",
                "tenantId": realm.id,
                "description": name,
                "createdAt": moment,
                "lastUpdatedAt": moment,
            }
        self._role_names: dict[str, frozenset[str]] = {}
        realm.roles_of = self.roles_of

    def roles_of(self, user_id: str) -> frozenset[str]:
        """Names of a user's roles."""
        return self._role_names.get(user_id, frozenset())

    def add(
        self, subject: str, name: str, email: str, roles: tuple[str, ...], status: str, client_id: str = ""
    ) -> dict[str, Any]:
        """Make a user.

        Raises:
            ApiError: 409, the subject is taken; 400, no such role.
        """
        if any(user["subject"] == subject for user in self.users.values()):
            raise ApiError(409, "HTTP-409", "Conflict", "A user with this subject exists")
        mint = self._realm.mint
        ident = mint.user_id() if mint.random.random() < 0.5 else mint.hex_id()
        moment = stamp(self._realm.now())
        user = {
            "id": ident,
            "subject": subject,
            "name": name,
            "email": email,
            "status": status,
            "tenantId": self._realm.id,
            "createdAt": moment,
            "lastUpdatedAt": moment,
            "assignedRoles": [self._assigned(role) for role in roles],
            "assignedGroups": [],
        }
        if client_id:
            user["clientId"] = client_id
        self.users[ident] = user
        self._role_names[ident] = frozenset(roles)
        self._realm.changed()
        return user

    def _assigned(self, name: str) -> dict[str, str]:
        for role in self.roles.values():
            if name in (role["name"], role["id"]):
                return {key: role[key] for key in ("id", "name", "type", "level")}
        raise bad_request(f"No such role: {name}")

    def set_roles(self, user_id: str, names: tuple[str, ...]) -> None:
        """Give a user exactly these roles."""
        self.users[user_id]["assignedRoles"] = [self._assigned(name) for name in names]
        self._role_names[user_id] = frozenset(one["name"] for one in self.users[user_id]["assignedRoles"])
        self._realm.changed()

    def add_group(self, name: str) -> str:
        """Make a group."""
        ident = self._realm.mint.hex_id()
        moment = stamp(self._realm.now())
        self.groups[ident] = {
            "id": ident, "name": name, "status": "active", "tenantId": self._realm.id, "providerType": "idp",
            "assignedRoles": [], "createdAt": moment, "lastUpdatedAt": moment,
        }  # fmt: skip
        return ident

    def active(self, user_id: str) -> bool:
        """Whether such a user exists and may work."""
        user = self.users.get(user_id)
        return user is not None and user["status"] == "active"

    def find(self, field: str, value: str) -> dict[str, Any] | None:
        """The user with that `id` or `subject`."""
        if field == "id":
            return self.users.get(value)
        return next((user for user in self.users.values() if user.get(field) == value), None)

    def routes(self) -> Iterator[Route]:
        """Operations of openapi/users.json, roles.json, groups.json, tenants.json."""
        yield Route("GET", "/api/v1/users", self._list_users)
        yield Route("POST", "/api/v1/users", self._create_user, 2)
        yield Route("GET", "/api/v1/users/me", self._me)
        yield Route("GET", "/api/v1/users/actions/count", self._count_users)
        yield Route("POST", "/api/v1/users/actions/filter", self._filter_users)
        yield Route("GET", "/api/v1/users/{}", self._get_user)
        yield Route("PATCH", "/api/v1/users/{}", self._patch_user, 2)
        yield Route("DELETE", "/api/v1/users/{}", self._delete_user, 2)
        yield Route("GET", "/api/v1/roles", self._list_roles)
        yield Route("GET", "/api/v1/roles/{}", self._get_role)
        yield Route("GET", "/api/v1/groups", self._list_groups)
        yield Route("GET", "/api/v1/groups/{}", self._get_group)
        yield Route("GET", "/api/v1/tenants/me", self._my_tenant)
        yield Route("GET", "/api/v1/tenants/{}", self._get_tenant)

    def _me(self, call: Call) -> Response:
        return redirect(301, f"{call.origin}/api/v1/users/{call.identity.user_id}")

    def _count_users(self, call: Call) -> Response:
        return reply_json({"total": len(self.users)})

    def _list_users(self, call: Call) -> Response:
        return self._user_page(call, call.query.get("filter"))

    def _filter_users(self, call: Call) -> Response:
        return self._user_page(call, call.fields("filter").get("filter"))

    def _user_page(self, call: Call, text: str | None) -> Response:
        found = dict(self.users)
        if text:
            test = compile_filter(text, _USER_FILTERS)
            found = {ident: user for ident, user in found.items() if _matches(test, user)}
        names = [name for name in call.query.get("fields", "").split(",") if name]
        page = cut_page(USERS, call, ascending_keys(USERS, call, found, lambda ident, name: found[ident].get(name)))
        rows = []
        for ident in page.ids:
            shown = _shown(call, "users", found[ident])
            rows.append(dumps({name: shown[name] for name in names if name in shown} if names else shown))
        extra = {"totalResults": len(found)} if call.flag("totalResults", False) else {}
        return page_response(USERS, call, page, rows, **extra)

    def _get_user(self, call: Call, ident: str) -> Response:
        return reply_json(_shown(call, "users", _of(self.users, ident, "User")))

    def _require_admin(self, call: Call) -> None:
        if "TenantAdmin" not in self.roles_of(call.identity.user_id):
            raise forbidden("TenantAdmin is required")

    def _create_user(self, call: Call) -> Response:
        self._require_admin(call)
        given = call.fields()
        subject = given.get("subject")
        if not isinstance(subject, str) or not subject:
            raise bad_request("subject is required")
        roles = tuple(str(one.get("name") or one.get("id")) for one in given.get("assignedRoles") or ())
        user = self.add(
            subject, str(given.get("name") or subject), str(given.get("email") or ""), roles,
            str(given.get("status") or "invited"),
        )  # fmt: skip
        return reply_json(_shown(call, "users", user), 201)

    def _patch_user(self, call: Call, ident: str) -> Response:
        self._require_admin(call)
        user = _of(self.users, ident, "User")
        patch = call.json()
        if not isinstance(patch, list):
            raise bad_request("A JSON Patch is a list")
        for one in patch:
            path = one.get("path")
            if path == "/assignedRoles":
                self.set_roles(ident, tuple(str(role.get("name") or role.get("id")) for role in one.get("value") or ()))
            elif path in ("/name", "/status"):
                user[path[1:]] = str(one.get("value"))
            else:
                raise bad_request(f"Cannot patch: {path}")
        self._realm.changed()
        return no_content()

    def _delete_user(self, call: Call, ident: str) -> Response:
        self._require_admin(call)
        _of(self.users, ident, "User")
        del self.users[ident]
        self._role_names.pop(ident, None)
        self._realm.changed()
        return no_content()

    def _list_roles(self, call: Call) -> Response:
        return self._named_page(call, "roles", self.roles)

    def _get_role(self, call: Call, ident: str) -> Response:
        return reply_json(_shown(call, "roles", _of(self.roles, ident, "Role")))

    def _list_groups(self, call: Call) -> Response:
        return self._named_page(call, "groups", self.groups)

    def _get_group(self, call: Call, ident: str) -> Response:
        return reply_json(_shown(call, "groups", _of(self.groups, ident, "Group")))

    def _named_page(self, call: Call, kind: str, found: dict[str, dict[str, Any]]) -> Response:
        text = call.query.get("filter")
        if text:
            test = compile_filter(text, ("id", "name", "type", "level", "status", "description"))
            found = {ident: one for ident, one in found.items() if _matches(test, one)}
        page = cut_page(NAMED, call, ascending_keys(NAMED, call, found, lambda ident, name: found[ident].get(name)))
        extra = {"totalResults": len(found)} if call.flag("totalResults", False) else {}
        return page_response(
            NAMED, call, page, [dumps(_shown(call, kind, found[ident])) for ident in page.ids], **extra
        )

    def _my_tenant(self, call: Call) -> Response:
        return redirect(302, f"{call.origin}/api/v1/tenants/{self._realm.id}")

    def _get_tenant(self, call: Call, ident: str) -> Response:
        realm = self._realm
        if ident != realm.id:
            raise not_found("Tenant not found")
        return reply_json(
            {
                "id": realm.id,
                "name": realm.name,
                "hostnames": list(realm.hostnames),
                "region": "eu",
                "datacenter": "eu-west-1",
                "status": "active",
                "links": {"self": {"href": f"{call.origin}/api/v1/tenants/{realm.id}"}},
            }
        )


def _of(found: Mapping[str, dict[str, Any]], ident: str, what: str) -> dict[str, Any]:
    one = found.get(ident)
    if one is None:
        raise not_found(f"{what} not found")
    return one


def _shown(call: Call, kind: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "links": {"self": {"href": f"{call.origin}/api/v1/{kind}/{one['id']}"}}}


def _matches(test: Test, one: Mapping[str, Any]) -> bool:
    def get(name: str) -> Any:
        outer, _, inner = name.partition(".")
        value = one.get(outer)
        return [part.get(inner) for part in value or ()] if inner else value

    return test(get)
