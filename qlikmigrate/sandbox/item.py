"""The items of a tenant: apps and the like that workspaces name by id, and a second list of the automations.

Source: openapi/items.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import ADMIN_ROLES, Realm
from qlikmigrate.sandbox.shelf import Shelf
from qlikmigrate.sandbox.wire import Call, Route, dumps, not_found, reply_json

_PAGING = Paging(
    default_limit=10, max_limit=100, sorts=("id", "name", "createdAt", "updatedAt"), default_sort="updatedAt"
)


class Items:
    """Items other than automations are added from outside; automations are items by themselves."""

    def __init__(self, realm: Realm, shelf: Shelf) -> None:
        self._realm = realm
        self._shelf = shelf
        self.items: dict[str, dict[str, Any]] = {}

    def add(self, resource_type: str, resource_id: str, name: str, owner: str, space: str) -> dict[str, Any]:
        """Make an item for a resource."""
        ident = self._realm.mint.hex_id()
        moment = stamp(self._realm.now())
        self.items[ident] = self._item(ident, resource_type, resource_id, name, owner, space, moment, moment)
        self._realm.changed()
        return self.items[ident]

    def _item(
        self, ident: str, kind: str, resource: str, name: str, owner: str, space: str, made: str, changed: str
    ) -> dict[str, Any]:
        return {
            "id": ident,
            "name": name,
            "resourceId": resource,
            "resourceType": kind,
            "ownerId": owner,
            "creatorId": owner,
            "tenantId": self._realm.id,
            "createdAt": made,
            "updatedAt": changed,
            "resourceCreatedAt": made,
            "resourceUpdatedAt": changed,
            "resourceAttributes": {},
            "resourceCustomAttributes": {},
            "actions": ["read"],
            "collectionIds": [],
            "isFavorited": False,
            "meta": {"tags": [], "actions": [], "collections": [], "isFavorited": False},
        } | ({"spaceId": space} if space else {})

    def routes(self) -> Iterator[Route]:
        """Reading operations of openapi/items.json."""
        yield Route("GET", "/api/v1/items", self._list)
        yield Route("GET", "/api/v1/items/{}", self._get)

    def _visible(self, call: Call) -> dict[str, dict[str, Any]]:
        who = call.identity
        everything = who.is_bot or not self._realm.roles_of(who.user_id).isdisjoint(ADMIN_ROLES)
        found = {
            ident: item
            for ident, item in self.items.items()
            if everything or item["ownerId"] == who.user_id or "spaceId" in item
        }
        for one in self._shelf.visible(who):
            # The item id of an automation follows from its own id.
            ident = one.id.replace("-", "")[:24]
            found[ident] = self._item(
                ident, "automation", one.id, one.name, one.owner_id, one.space_id, one.created_at, one.updated_at
            )
        return found

    @staticmethod
    def _shown(call: Call, item: dict[str, Any]) -> dict[str, Any]:
        return item | {"links": {"self": {"href": f"{call.origin}/api/v1/items/{item['id']}"}}}

    def _list(self, call: Call) -> Response:
        query = call.query
        kinds = {kind for kind in query.get("resourceType", "").split(",") if kind}
        found = {
            ident: item
            for ident, item in self._visible(call).items()
            if (not kinds or item["resourceType"] in kinds)
            and query.get("name", item["name"]).lower() == item["name"].lower()
            and query.get("ownerId", item["ownerId"]) == item["ownerId"]
            and query.get("spaceId", item.get("spaceId", "")) == item.get("spaceId", "")
            and query.get("resourceId", item["resourceId"]) == item["resourceId"]
        }
        page = cut_page(_PAGING, call, ascending_keys(_PAGING, call, found, lambda ident, name: found[ident][name]))
        return page_response(_PAGING, call, page, [dumps(self._shown(call, found[ident])) for ident in page.ids])

    def _get(self, call: Call, ident: str) -> Response:
        found = self._visible(call)
        if ident not in found:
            raise not_found("Item not found")
        return reply_json(self._shown(call, found[ident]))
