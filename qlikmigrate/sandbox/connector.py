"""The connectors of a tenant: the built-in ones and those added to it. Detail exists under workflows only."""

from __future__ import annotations

from collections.abc import Iterator

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox import catalogue
from qlikmigrate.sandbox.catalogue import Connector
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import Realm
from qlikmigrate.sandbox.scim import compile_filter
from qlikmigrate.sandbox.wire import Call, Route, dumps, not_found, reply_json

_PAGING = Paging(default_limit=100, max_limit=200, cursor=True, sorts=("id", "name"))


class Connectors:
    """The catalogue."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self.connectors: dict[str, Connector] = {one.id: one for one in catalogue.BUILT_IN}

    def routes(self) -> Iterator[Route]:
        """Operations of openapi/workflows-automation-connectors.json."""
        for family in ("v1", "workflows"):
            yield Route("GET", f"/api/{family}/automation-connectors", self._list)
        yield Route("GET", "/api/workflows/automation-connectors/{}", self._get)
        yield Route("GET", "/api/workflows/automation-connectors/{}/webhooks/configuration", self._webhooks)

    def _list(self, call: Call) -> Response:
        self._realm.check_scope(call.identity, write=False)
        found = {ident: catalogue.row(one) for ident, one in self.connectors.items()}
        if text := call.query.get("filter"):
            test = compile_filter(text, ("name",))
            found = {ident: row for ident, row in found.items() if test(row.get)}
        page = cut_page(_PAGING, call, ascending_keys(_PAGING, call, found, lambda ident, name: found[ident][name]))
        return page_response(_PAGING, call, page, [dumps(found[ident]) for ident in page.ids])

    def _one(self, ident: str) -> Connector:
        one = self.connectors.get(ident)
        if one is None:
            raise not_found("Connector not found")
        return one

    def _get(self, call: Call, ident: str) -> Response:
        self._realm.check_scope(call.identity, write=False)
        return reply_json(catalogue.detail(self._one(ident)))

    def _webhooks(self, call: Call, ident: str) -> Response:
        self._realm.check_scope(call.identity, write=False)
        one = self._one(ident)
        if not one.events:
            raise not_found("The connector has no webhooks")
        return reply_json(catalogue.webhooks(one))
