"""Connectors: one at a time for the partner, and the public list, which takes no credentials.

Source: the pages on getting a connector and on listing all connectors. Assumed: the shape of the public list; a browser
that does not ask for JSON gets a web page.
"""

from __future__ import annotations

from collections.abc import Iterator

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.fault import web_page
from qlikmigrate.sandbox.oem import shape
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute
from qlikmigrate.sandbox.wire import reply_json

PUBLIC = "/integrations"


class Connectors:
    """The catalogue of a provider's platform."""

    def __init__(self, realm: OemRealm) -> None:
        self._realm = realm

    def routes(self) -> Iterator[OemRoute]:
        """Documented operations."""
        yield OemRoute("GET", "/v1/connectors/{}", self._get)
        yield OemRoute("GET", PUBLIC, self._list, 0, True, query=frozenset({"page"}))

    def _get(self, call: OemCall, guid: str) -> Response:
        one = self._realm.connectors.get(guid)
        if one is None:
            raise self._realm.missing("connector")
        return reply_json(shape.connector(self._realm, one))

    def _list(self, call: OemCall) -> Response:
        if "json" not in call.headers.get("accept", ""):
            return web_page()
        realm = self._realm
        return list_response(
            realm, call, realm.switches.connectors_envelope, list(realm.connectors.values()),
            lambda one: shape.connector_row(realm, one),
        )  # fmt: skip
