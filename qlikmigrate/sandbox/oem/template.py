"""Templates, and installing them: the one documented way to a new blend. It starts the template's schedule.

Source: the pages on listing, getting and installing templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem import shape
from qlikmigrate.sandbox.oem.blend import Blends
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account, Blend, Datasource, Template
from qlikmigrate.sandbox.oem.run import Runs
from qlikmigrate.sandbox.oem.window import Windows
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute, RefusalError, text_of
from qlikmigrate.sandbox.wire import reply_json


class Templates:
    """The templates of a provider."""

    def __init__(self, realm: OemRealm, blends: Blends, runs: Runs, windows: Windows) -> None:
        self._realm = realm
        self._blends = blends
        self._runs = runs
        self._windows = windows

    def routes(self) -> Iterator[OemRoute]:
        """Documented operations."""
        yield OemRoute("GET", "/v1/templates", self._list, query=frozenset({"page"}))
        yield OemRoute("GET", "/v1/templates/{}", self._get)
        yield OemRoute(
            "POST", "/v1/templates/{}/install", self._install, query=frozenset({"template_prevent_duplicates"}),
            body=frozenset({"account", "inputs", "datasources"}),
        )  # fmt: skip

    def _list(self, call: OemCall) -> Response:
        realm = self._realm
        parts = {child.guid for one in realm.templates.values() for child in one.children}
        shown = [one for one in realm.templates.values() if one.guid not in parts]
        return list_response(
            realm, call, realm.switches.templates_envelope, shown, lambda one: shape.template_row(realm, one)
        )

    def _get(self, call: OemCall, guid: str) -> Response:
        return reply_json(shape.template(self._realm, self._realm.template(guid)))

    def _install(self, call: OemCall, guid: str) -> Response:
        realm, template = self._realm, self._realm.template(guid)
        given = call.members()
        account = realm.account(call, text_of(given.get("account"), "account"))
        inputs = given.get("inputs") or {}
        if not isinstance(inputs, dict):
            raise RefusalError("inputs is no object")
        self._blends.check_inputs(tuple(one for leaf in template.leaves() for one in leaf.inputs), inputs)
        sources = self._datasources(account, given.get("datasources"))
        only_once = call.boolean("template_prevent_duplicates")
        same = self._instance(account, template, inputs) if only_once else None
        if same is not None:
            self._blends.copy(same, template)
            self._put_on(same, template, inputs, sources, call.operation)
            return reply_json({})
        made = self.install(account, template, inputs, sources, call.operation)
        made.listed_from = realm.clock.monotonic() + realm.switches.list_lag_s
        made.listed_call = account.list_calls + realm.switches.list_lag_calls
        return reply_json({})

    def install(
        self, account: Account, template: Template, inputs: dict[str, Any], sources: list[Datasource], how: str
    ) -> Blend:
        """Make an instance, enabled and with its schedule active; a window opens."""
        made = self._blends.make(account, template, template.name + self._realm.switches.installed_suffix)
        self._put_on(made, template, inputs, sources, how)
        return made

    def _put_on(
        self, blend: Blend, template: Template, inputs: dict[str, Any], sources: list[Datasource], how: str
    ) -> None:
        self._windows.opened(blend)
        self._blends.give_inputs(blend, inputs)
        for leaf, part in zip(blend.leaves(), template.leaves(), strict=False):
            leaf.state, leaf.schedule = "available", part.schedule
            for source in sources:
                # Assumed: matched by connector; of two of one connector, both.
                if source.connector.guid in part.connectors:
                    leaf.links.add(source.guid)
            self._blends.saved(leaf, how)
            if self._realm.switches.install_starts_run and leaf.is_scheduled:
                self._runs.start(leaf, "scheduled", self._realm.now(), scheduled_for=self._realm.now())
        blend.state = "available"

    @staticmethod
    def _datasources(account: Account, given: Any) -> list[Datasource]:
        if given is None:
            return []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise RefusalError("datasources is no array of guids")
        unknown = [one for one in given if one not in account.datasources]
        if unknown:
            raise RefusalError("no such datasource in the account")
        return [account.datasources[one] for one in given]

    @staticmethod
    def _instance(account: Account, template: Template, inputs: dict[str, Any]) -> Blend | None:
        """The instance whose inputs are the ones that a new one would have."""
        for blend in account.tops():
            if blend.template == template.guid and all(
                leaf.values == {
                    one.field_name: inputs.get(one.field_name, one.default) if one.is_writable else one.default
                    for one in leaf.inputs
                }
                for leaf in blend.leaves()
            ):  # fmt: skip
                return blend
        return None
