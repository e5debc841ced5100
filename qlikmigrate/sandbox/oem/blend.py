"""The blends of an account: what may be read and written of them.

Source: the pages on listing, getting and updating integrations, on updating one from its template, and on persisted
inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem import schedule, shape
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account, Blend, OemInput, OemSchedule, Template
from qlikmigrate.sandbox.oem.run import Runs
from qlikmigrate.sandbox.oem.window import Windows
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute, RefusalError, text_of
from qlikmigrate.sandbox.wire import no_content, reply_json

_STATES = ("available", "disabled")


class Blends:
    """Blends and the operations on them."""

    def __init__(self, realm: OemRealm, runs: Runs, windows: Windows) -> None:
        self._realm = realm
        self._runs = runs
        self._windows = windows

    def routes(self) -> Iterator[OemRoute]:
        """Documented operations."""
        base = "/v1/accounts/{}/blends"
        yield OemRoute("GET", base, self._list, query=frozenset({"page"}), takes_account=True)
        yield OemRoute("GET", f"{base}/{{}}", self._get, takes_account=True)
        members = frozenset({"name", "state", *schedule.MEMBERS})
        yield OemRoute("PUT", f"{base}/{{}}", self._put, body=members, takes_account=True)
        yield OemRoute("PUT", f"{base}/{{}}/{{}}", self._update_from_template, takes_account=True)
        yield OemRoute("POST", f"{base}/{{}}/set-persisted-inputs", self._set_inputs, body=None, takes_account=True)

    def make(self, account: Account, template: Template, name: str, parent: Blend | None = None) -> Blend:
        """Copy a template into an account: enabled, with its schedule, not yet armed."""
        now = self._realm.now()
        made = Blend(
            guid=self._realm.mint.time_id(),
            account=account,
            name=name,
            token=self._realm.secret(self._realm.mint.token()),
            created_at=now,
            updated_at=now,
            template=template.guid,
            parent=parent,
            is_bundle=template.is_bundle,
            has_setup=template.has_setup,
            first_input=self._realm.inputs(len(template.inputs)),
        )
        self.copy(made, template)
        made.values = {one.field_name: one.default for one in template.inputs}
        made.schedule = template.schedule
        account.blends[made.guid] = made
        made.children = [self.make(account, child, child.name, made) for child in template.children]
        return made

    @staticmethod
    def copy(blend: Blend, template: Template) -> None:
        """What a template gives an instance, at install and at each update."""
        blend.short_description = template.short_description
        blend.description = template.description
        blend.status = template.status
        blend.mode = template.run_mode
        blend.has_settings = template.has_settings
        blend.inputs = template.inputs
        blend.connectors = template.connectors
        blend.workspace = template.workspace

    def saved(self, blend: Blend, how: str) -> None:
        """Note a change of state or schedule."""
        self._runs.arm(blend)
        self._windows.changed(blend, how)

    def check_inputs(self, inputs: tuple[OemInput, ...], given: Mapping[str, Any]) -> None:
        """Whether these inputs may be set.

        Raises:
            RefusalError: 400, one of them is not known or not writable, or a required one is null.
        """
        known = {one.field_name: one for one in inputs if one.is_writable}
        for name, value in given.items():
            if name not in known:
                raise RefusalError(f"no input that can be set: {name}")
            if value is None and known[name].is_required:
                raise RefusalError(f"a required input is null: {name}")

    def give_inputs(self, blend: Blend, given: Mapping[str, Any]) -> None:
        """Set inputs, of a bundle in each child that has them; they were checked."""
        for leaf in blend.leaves():
            own = {one.field_name for one in leaf.inputs if one.is_writable}
            leaf.values.update({name: value for name, value in given.items() if name in own})
            if not own.isdisjoint(given):
                leaf.updated_at = self._realm.now()

    def _list(self, call: OemCall, account_ref: str) -> Response:
        realm, account = self._realm, self._realm.account(call, account_ref)
        if call.query.get("page", "1") == "1":
            account.list_calls += 1
        now_s = realm.clock.monotonic()
        blends = account.blends.values() if realm.switches.sub_blends_listed else account.tops()
        shown = [one for one in blends if one.top.listed_from <= now_s and one.top.listed_call < account.list_calls]
        return list_response(
            realm, call, realm.switches.blends_envelope, shown, lambda one: shape.blend_row(realm, one)
        )

    def _get(self, call: OemCall, account_ref: str, guid: str) -> Response:
        return reply_json(shape.blend(self._realm, self._realm.blend(self._realm.account(call, account_ref), guid)))

    def _put(self, call: OemCall, account_ref: str, guid: str) -> Response:
        blend = self._realm.blend(self._realm.account(call, account_ref), guid)
        given, switches = call.members(), self._realm.switches
        name = text_of(given.get("name", blend.name), "name")
        state = given.get("state", "available" if switches.put_blend_replaces else blend.state)
        if state not in _STATES:
            raise RefusalError("state is neither available nor disabled")
        if "state" in given and blend.ignored_states < switches.ignored_states:
            blend.ignored_states, state = blend.ignored_states + 1, blend.state
        base = OemSchedule() if switches.put_blend_replaces else blend.schedule
        wanted = schedule.changed(base, given, switches.interval_form)
        is_rearmed = state != blend.state or wanted != blend.schedule
        blend.name, blend.schedule, blend.state = name, wanted, state
        blend.updated_at = self._realm.now()
        if is_rearmed:
            self._runs.arm(blend)
        if blend.is_bundle and switches.bundle_state_cascades and "state" in given:
            for child in blend.children:
                child.state = state
                self.saved(child, call.operation)
        self._windows.changed(blend, call.operation)
        return reply_json({})

    def _update_from_template(self, call: OemCall, account_ref: str, template_guid: str, guid: str) -> Response:
        blend = self._realm.blend(self._realm.account(call, account_ref), guid)
        template = self._realm.template(template_guid)
        if blend.template != template.guid:
            raise RefusalError("the blend was made from another template")
        self.update(blend, template, call.operation)
        return reply_json({})

    def update(self, blend: Blend, template: Template, how: str) -> None:
        """Push the template's present version onto an instance of it. Source: which switches say what stays."""
        switches = self._realm.switches
        self.copy(blend, template)
        kept = blend.values if switches.update_keeps_inputs else {}
        blend.values = {one.field_name: kept.get(one.field_name, one.default) for one in template.inputs}
        if not switches.update_keeps_name:
            blend.name = template.name
        if not switches.update_keeps_schedule:
            blend.schedule = template.schedule
            self._runs.arm(blend)
        blend.updated_at = self._realm.now()
        self._windows.changed(blend, how)
        for child in blend.children:
            part = self._realm.templates.get(child.template or "")
            if part is not None:
                self.update(child, part, how)

    def _set_inputs(self, call: OemCall, account_ref: str, guid: str) -> Response:
        blend = self._realm.blend(self._realm.account(call, account_ref), guid)
        given = call.members()
        self.check_inputs(tuple(one for leaf in blend.leaves() for one in leaf.inputs), given)
        self.give_inputs(blend, given)
        return no_content()
