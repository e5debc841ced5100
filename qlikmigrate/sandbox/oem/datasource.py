"""Datasources: credentials that can be written and never read, and links for people to consent.

Source: the pages on datasources. Assumed: `params` is an object; a parameter that must be there is asked for on create.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem import shape
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account, Blend, Datasource, OemConnector
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute, RefusalError, text_of
from qlikmigrate.sandbox.wire import no_content, reply_json

_LINK_MINUTES = 30


class Datasources:
    """The datasources of all accounts."""

    def __init__(self, realm: OemRealm) -> None:
        self._realm = realm

    def routes(self) -> Iterator[OemRoute]:
        """Documented operations."""
        base = "/v1/accounts/{}/datasources"
        yield OemRoute("GET", base, self._list, query=frozenset({"page"}), takes_account=True)
        yield OemRoute("GET", f"{base}/{{}}", self._get, takes_account=True)
        members = frozenset({"name", "connector_guid", "redirect_url", "params"})
        yield OemRoute("POST", base, self._create, body=members, takes_account=True)
        yield OemRoute("PUT", f"{base}/{{}}", self._put, body=frozenset({"name", "params"}), takes_account=True)
        yield OemRoute("DELETE", f"{base}/{{}}", self._delete, takes_account=True)

    def add(self, account: Account, connector: OemConnector, name: str, params: dict[str, Any]) -> Datasource:
        """Make a datasource; of an OAuth connector, one that waits for consent."""
        now = self._realm.now()
        made = Datasource(
            guid=self._realm.mint.time_id(), account=account, connector=connector, name=name, created_at=now,
            updated_at=now, consented=not connector.is_oauth,
        )  # fmt: skip
        self._give(made, params)
        self._renew(made)
        account.datasources[made.guid] = made
        return made

    def consent(self, link: str) -> Datasource:
        """A person opens a link and agrees.

        Raises:
            LookupError: the link is not known, is used up, or has expired.
        """
        for account in self._realm.accounts.values():
            for one in account.datasources.values():
                if link and one.link == link:
                    if one.link_expires_at is None or one.link_expires_at <= self._realm.now():
                        raise LookupError("the link has expired")
                    one.consented, one.link, one.link_expires_at = True, "", None
                    one.updated_at = self._realm.now()
                    return one
        raise LookupError("no such link")

    def revoke(self, one: Datasource) -> None:
        """The person's consent is gone."""
        one.consented = False
        self._renew(one)

    def linked(self, one: Datasource) -> list[Blend]:
        """The blends that are bound to it. Loose coupling leaves no trace."""
        return [blend for blend in one.account.blends.values() if one.guid in blend.links]

    def _renew(self, one: Datasource) -> None:
        """Source: a link is valid for 30 minutes."""
        if one.consented:
            return
        now = self._realm.now()
        if one.link_expires_at is None or one.link_expires_at <= now:
            one.link = self._realm.secret(f"https://{self._realm.hub}/oauth/connect?state={self._realm.mint.token(40)}")
            one.link_expires_at = now + timedelta(minutes=_LINK_MINUTES)

    def _give(self, one: Datasource, params: dict[str, Any]) -> None:
        one.params.update(params)
        for param in one.connector.params:
            value = params.get(param.name)
            if param.type == "password" and isinstance(value, str) and value:
                self._realm.secret(value)

    def _one(self, call: OemCall, account_ref: str, guid: str) -> Datasource:
        found = self._realm.account(call, account_ref).datasources.get(guid)
        if found is None:
            raise self._realm.missing("datasource")
        self._renew(found)
        return found

    def _list(self, call: OemCall, account_ref: str) -> Response:
        realm, account = self._realm, self._realm.account(call, account_ref)
        used = {guid for blend in account.blends.values() for guid in blend.links}
        return list_response(
            realm, call, realm.switches.datasources_envelope, list(account.datasources.values()),
            lambda one: shape.datasource_row(realm, one, is_used=one.guid in used),
        )  # fmt: skip

    def _get(self, call: OemCall, account_ref: str, guid: str) -> Response:
        one = self._one(call, account_ref, guid)
        made = shape.datasource(self._realm, one, self.linked(one))
        return reply_json(made | ({} if one.consented else {"link": one.link}))

    def _written(self, one: Datasource) -> Response:
        made = shape.datasource(self._realm, one, self.linked(one))
        if not one.consented:
            made["additional"] = {"message": "Open the link to connect the datasource", "link": one.link}
        return reply_json(made)

    @staticmethod
    def _params(connector: OemConnector, given: dict[str, Any]) -> dict[str, Any]:
        params = given.get("params")
        if params is None:
            return {}
        if not isinstance(params, dict):
            raise RefusalError("params is no object")
        known = {one.name: one for one in connector.params}
        for name, value in params.items():
            if name not in known:
                raise RefusalError(f"no such parameter: {name}")
            if known[name].options and value not in known[name].options:
                raise RefusalError(f"none of the options: {name}")
        return params

    def _create(self, call: OemCall, account_ref: str) -> Response:
        account = self._realm.account(call, account_ref)
        given = call.members()
        name = text_of(given.get("name"), "name")
        connector = self._realm.connectors.get(text_of(given.get("connector_guid"), "connector_guid"))
        if connector is None:
            raise RefusalError("connector_guid is not a connector")
        params = self._params(connector, given)
        lacking = [one.name for one in connector.params if one.is_required and params.get(one.name) in (None, "")]
        if lacking:
            raise RefusalError(f"parameters are lacking: {', '.join(lacking)}")
        made = self.add(account, connector, name, params)
        made.redirect_url = given.get("redirect_url")
        return self._written(made)

    def _put(self, call: OemCall, account_ref: str, guid: str) -> Response:
        one = self._one(call, account_ref, guid)
        given = call.members()
        name = text_of(given.get("name", one.name), "name")
        params = self._params(one.connector, given)
        if given.get("params") is not None and self._realm.switches.put_params_replaces:
            one.params.clear()
        self._give(one, params)
        one.name = name
        one.updated_at = self._realm.now()
        return self._written(one)

    def _delete(self, call: OemCall, account_ref: str, guid: str) -> Response:
        """Source: refused while an active blend of the account uses blocks of the connector."""
        one = self._one(call, account_ref, guid)
        blends = [
            blend
            for blend in one.account.blends.values()
            if blend.state == "available" and one.connector.guid in blend.connectors
        ]
        if blends:
            name = "automations" if self._realm.switches.other_spellings else "blends"
            nested = [shape.nested_blend(self._realm, blend) for blend in blends]
            raise RefusalError("in use", body={"error": "The datasource is used by active blends", name: nested})
        for blend in one.account.blends.values():
            blend.links.discard(guid)
        del one.account.datasources[guid]
        return no_content()
