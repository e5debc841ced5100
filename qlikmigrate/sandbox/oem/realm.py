"""What all rooms of one provider's service share: clock, ids, switches, accounts, templates, connectors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import define, field

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox.mint import Mint
from qlikmigrate.sandbox.oem.record import Account, Blend, OemConnector, Template
from qlikmigrate.sandbox.oem.switches import AccountIds, OemSwitches
from qlikmigrate.sandbox.oem.wire import OemCall, RefusalError


@define(eq=False)
class OemRealm:
    """The shared ground. `base_url`: where clients reach it, `/v1` included; `hub`: host of the pages for people."""

    name: str
    clock: Clock
    mint: Mint
    switches: OemSwitches
    base_url: str
    hub: str
    accounts: dict[str, Account] = field(factory=dict)
    templates: dict[str, Template] = field(factory=dict)
    connectors: dict[str, OemConnector] = field(factory=dict)
    secrets: set[str] = field(factory=set)
    last_input: int = 1000

    def now(self) -> datetime:
        """The service's time."""
        return self.clock.now()

    def missing(self, what: str) -> RefusalError:
        """The refusal for what is not there. Source: 400 is the only failure that the pages show."""
        return RefusalError(f"no such {what}", self.switches.missing_status)

    def secret(self, text: str) -> str:
        """Note a secret, so that tests can look for it where it must not be."""
        self.secrets.add(text)
        return text

    def inputs(self, count: int) -> int:
        """The id before the first of so many new inputs."""
        first = self.last_input
        self.last_input += count
        return first

    def find_account(self, ref: Any) -> Account | None:
        """The account of a guid or externalid, as far as the switch takes either."""
        if not isinstance(ref, str):
            return None
        allowed = self.switches.account_ids
        if allowed is not AccountIds.EXTERNALID_ONLY and ref in self.accounts:
            return self.accounts[ref]
        if allowed is AccountIds.GUID_ONLY:
            return None
        return next((one for one in self.accounts.values() if one.externalid == ref), None)

    def account(self, call: OemCall, ref: Any) -> Account:
        """The account that a call is about.

        Raises:
            RefusalError: there is none.
        """
        found = self.find_account(ref)
        if found is None:
            raise self.missing("account")
        return found

    def blend(self, account: Account, guid: str) -> Blend:
        """A blend of the account, children of bundles included.

        Raises:
            RefusalError: there is none.
        """
        found = account.blends.get(guid)
        if found is None:
            raise self.missing("blend")
        return found

    def template(self, guid: str) -> Template:
        """A template, parts of bundles included.

        Raises:
            RefusalError: there is none.
        """
        found = self.templates.get(guid)
        if found is None:
            raise self.missing("template")
        return found
