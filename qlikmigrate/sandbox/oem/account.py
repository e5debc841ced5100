"""Customer accounts: listed, made, changed, expired; never deleted and never brought back.

Source: the pages on accounts, and the article for partners for getting one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem import shape
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account
from qlikmigrate.sandbox.oem.run import Runs
from qlikmigrate.sandbox.oem.switches import DuplicateAccount
from qlikmigrate.sandbox.oem.wire import OemCall, OemRoute, RefusalError, text_of
from qlikmigrate.sandbox.wire import answer, reply_json

_MEMBERS = frozenset({"name", "externalid", "user", "datasource"})


class Accounts:
    """The accounts of a provider."""

    def __init__(self, realm: OemRealm, runs: Runs) -> None:
        self._realm = realm
        self._runs = runs

    def add(self, name: str, externalid: str | None) -> Account:
        """Make an account."""
        made = Account(guid=self._realm.mint.time_id(), externalid=externalid, name=name, created_at=self._realm.now())
        self._realm.accounts[made.guid] = made
        return made

    def routes(self) -> Iterator[OemRoute]:
        """Documented operations."""
        yield OemRoute("GET", "/v1/accounts", self._list, query=frozenset({"page"}))
        yield OemRoute("POST", "/v1/accounts", self._create, body=_MEMBERS | {"send_invite"})
        yield OemRoute("GET", "/v1/accounts/{}", self._get, takes_account=True)
        yield OemRoute("PUT", "/v1/accounts/{}", self._put, body=_MEMBERS, takes_account=True)
        yield OemRoute("PUT", "/v1/accounts/{}/expire", self._expire, takes_account=True)

    def _list(self, call: OemCall) -> Response:
        realm = self._realm
        return list_response(
            realm, call, realm.switches.accounts_envelope, list(realm.accounts.values()),
            lambda one: shape.account(realm, one),
        )  # fmt: skip

    def _get(self, call: OemCall, ref: str) -> Response:
        return reply_json(shape.account(self._realm, self._realm.account(call, ref)))

    def _create(self, call: OemCall) -> Response:
        given = call.members()
        name, externalid = text_of(given.get("name"), "name"), text_of(given.get("externalid"), "externalid")
        invited = given.get("send_invite", False)
        if not isinstance(invited, bool):
            raise RefusalError("send_invite is no boolean")
        _check_objects(given)
        same = next((one for one in self._realm.accounts.values() if one.externalid == externalid), None)
        how = self._realm.switches.duplicate_account
        if same is not None and how is DuplicateAccount.REFUSED:
            raise RefusalError("externalid exists")
        one = same if same is not None and how is DuplicateAccount.SAME else self.add(name, externalid)
        one.invited = one.invited or invited
        self._take(one, given)
        return reply_json(shape.account(self._realm, one))

    def _put(self, call: OemCall, ref: str) -> Response:
        one = self._realm.account(call, ref)
        given = call.members()
        name = text_of(given.get("name", one.name), "name")
        externalid = text_of(given["externalid"], "externalid") if "externalid" in given else one.externalid
        _check_objects(given)
        if any(other.externalid == externalid and other is not one for other in self._realm.accounts.values()):
            raise RefusalError("externalid exists")
        one.name, one.externalid = name, externalid
        self._take(one, given)
        return reply_json(shape.account(self._realm, one))

    def _take(self, one: Account, given: dict[str, Any]) -> None:
        one.user = given.get("user", one.user)
        one.datasource = given.get("datasource", one.datasource)
        for value in (given.get("datasource") or {}).values():
            if isinstance(value, str) and value:
                self._realm.secret(value)

    def _expire(self, call: OemCall, ref: str) -> Response:
        """Assumed: nothing of the account runs any more; it can still be read."""
        one = self._realm.account(call, ref)
        one.expired = True
        for blend in one.blends.values():
            self._runs.arm(blend)
        return answer(b"")


def _check_objects(given: dict[str, Any]) -> None:
    for name in ("user", "datasource"):
        if not isinstance(given.get(name), dict | None):
            raise RefusalError(f"{name} is no object")
