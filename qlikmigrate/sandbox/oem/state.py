"""What a provider's service holds, and the ways to build it up and look into it: a person's hands, not the API's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

from qlikmigrate.kernel.clock import Clock, SystemClock
from qlikmigrate.sandbox.mint import Mint
from qlikmigrate.sandbox.oem import catalogue
from qlikmigrate.sandbox.oem.account import Accounts
from qlikmigrate.sandbox.oem.blend import Blends
from qlikmigrate.sandbox.oem.connector import PUBLIC, Connectors
from qlikmigrate.sandbox.oem.datasource import Datasources
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import (
    Account,
    Blend,
    Datasource,
    OemConnector,
    OemInput,
    OemSchedule,
    Run,
    Template,
)
from qlikmigrate.sandbox.oem.run import Runs
from qlikmigrate.sandbox.oem.switches import OemSwitches
from qlikmigrate.sandbox.oem.template import Templates
from qlikmigrate.sandbox.oem.window import InstallWindow, WindowRun, Windows
from qlikmigrate.sandbox.shelf import ArmedSighting


class OemState:
    """The state of one provider's service. The same calls on the same seed and clock give the same ids.

    Names of connectors stand for their guids: see `connector`.
    """

    def __init__(self, name: str, *, clock: Clock | None, switches: OemSwitches, seed: int) -> None:
        clock = clock or SystemClock()
        mint = Mint(f"{name}/oem/{seed}", clock)
        self._realm = OemRealm(name, clock, mint, switches, "https://api.blendr.io/v1", f"{name}.admin.blendr.io")
        connectors = catalogue.of_provider(name) if switches.own_connector_guids else catalogue.OEM_CONNECTORS
        self._realm.connectors.update({one.guid: one for one in connectors})
        self._app_id = str(mint.random.randrange(10_000, 99_999))
        self._api_key = self._realm.secret(mint.token(48))
        self._windows = Windows(self._realm)
        self._runs = Runs(self._realm, self._windows)
        self._accounts = Accounts(self._realm, self._runs)
        self._blends = Blends(self._realm, self._runs, self._windows)
        self._templates = Templates(self._realm, self._blends, self._runs, self._windows)
        self._datasources = Datasources(self._realm)
        self._connectors = Connectors(self._realm)
        self._lock = RLock()

    # What it is.

    @property
    def name(self) -> str:
        """Its name."""
        return self._realm.name

    @property
    def base_url(self) -> str:
        """Where clients reach it, `/v1` included. May be set."""
        return self._realm.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._realm.base_url = url

    @property
    def connectors_url(self) -> str:
        """Where the public list of connectors is."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}{PUBLIC}"

    @property
    def switches(self) -> OemSwitches:
        """How it answers what the documentation leaves open. May be set anew at any time."""
        return self._realm.switches

    @switches.setter
    def switches(self, switches: OemSwitches) -> None:
        self._realm.switches = switches

    def key_pair(self) -> tuple[str, str]:
        """App id and API key of the SaaS Admin."""
        return self._app_id, self._api_key

    def secrets(self) -> frozenset[str]:
        """Every key, execution token, link, password-like parameter and account credential that there ever was."""
        return frozenset(self._realm.secrets)

    # What it holds: the records themselves, for assertions.

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Guid → account, with its blends and datasources."""
        self._settle()
        return self._realm.accounts

    @property
    def templates(self) -> Mapping[str, Template]:
        """Guid → template, parts of bundles included."""
        return self._realm.templates

    def account(self, ref: str) -> Account:
        """An account by guid, externalid or name.

        Raises:
            LookupError: there is none.
        """
        for one in self.accounts.values():
            if ref in (one.guid, one.externalid, one.name):
                return one
        raise LookupError(f"no account: {ref}")

    def blend(self, guid: str) -> Blend:
        """A blend of any account.

        Raises:
            LookupError: there is none.
        """
        for account in self.accounts.values():
            if guid in account.blends:
                return account.blends[guid]
        raise LookupError(f"no blend: {guid}")

    def datasource(self, guid: str) -> Datasource:
        """A datasource of any account.

        Raises:
            LookupError: there is none.
        """
        for account in self._realm.accounts.values():
            if guid in account.datasources:
                return account.datasources[guid]
        raise LookupError(f"no datasource: {guid}")

    def stored_params(self, guid: str) -> Mapping[str, Any]:
        """The params of a datasource, which the API never answers."""
        return dict(self.datasource(guid).params)

    def connector(self, name: str) -> str:
        """The guid of a connector.

        Raises:
            LookupError: there is none of this name.
        """
        for one in self._realm.connectors.values():
            if name in (one.name, one.guid):
                return one.guid
        raise LookupError(f"no connector: {name}")

    @property
    def runs(self) -> list[Run]:
        """The runs of all blends, by account and blend, oldest first."""
        return [run for one in self.accounts.values() for blend in one.blends.values() for run in blend.runs]

    @property
    def windows(self) -> list[InstallWindow]:
        """Every install over the API, and how long its blend stayed enabled."""
        self._settle()
        return self._windows.windows

    @property
    def runs_in_windows(self) -> list[WindowRun]:
        """The runs that started within a window."""
        self._settle()
        return self._windows.runs

    @property
    def armed_while_enabled(self) -> list[ArmedSighting]:
        """Every request that left a blend of a watched account enabled and scheduled outside its install window."""
        return self._windows.sightings

    def watch(self, *accounts: str) -> None:
        """Watch accounts, by guid; without any: all of them, those to come included."""
        self._windows.watch(accounts)

    def _settle(self) -> None:
        with self._lock:
            self._runs.settle()

    # Building its state.

    def add_account(self, name: str, externalid: str | None = None) -> str:
        """Make an account. Returns the guid."""
        return self._accounts.add(name, externalid).guid

    def add_connector(self, one: OemConnector) -> str:
        """Publish a connector that the catalogue lacks. Returns the guid."""
        self._realm.connectors[one.guid] = one
        return one.guid

    def add_template(
        self,
        name: str,
        *,
        inputs: tuple[OemInput, ...] = (),
        schedule: OemSchedule = OemSchedule(),  # noqa: B008 - a frozen value
        run_mode: str = "manual",
        connectors: Iterable[str] = (),
        parts: Iterable[str] = (),
        description: str = "",
        groups: tuple[str, ...] = (),
        has_setup: bool = False,
        workspace: dict[str, Any] | None = None,
    ) -> str:
        """Make a template; with `parts`, guids of templates, a bundle of them. Returns the guid."""
        children = tuple(self._realm.templates[guid] for guid in parts)
        made = Template(
            guid=self._realm.mint.time_id(),
            name=name,
            externalid=self._realm.mint.hex_id(),
            created_at=self._realm.now(),
            description=description or None,
            short_description=name,
            run_mode=run_mode,
            has_setup=has_setup,
            inputs=inputs,
            first_input=self._realm.inputs(len(inputs)),
            schedule=schedule,
            connectors=tuple(map(self.connector, connectors)),
            groups=groups,
            children=children,
            is_bundle=bool(children),
            workspace=workspace,
        )
        self._realm.templates[made.guid] = made
        return made.guid

    def remove_template(self, guid: str) -> None:
        """Take a template away; its instances stay."""
        del self._realm.templates[guid]

    def add_datasource(
        self, account: str, connector: str, name: str, params: Mapping[str, Any] = {}, *, connected: bool = True
    ) -> str:
        """Make a datasource; an OAuth one with consent unless `connected` is false. Returns the guid."""
        one = self._realm.connectors[self.connector(connector)]
        made = self._datasources.add(self._realm.accounts[account], one, name, dict(params))
        if connected and made.link:
            self._datasources.consent(made.link)
        return made.guid

    def add_blend(
        self,
        account: str,
        name: str,
        *,
        template: str | None = None,
        values: Mapping[str, Any] = {},
        datasources: Iterable[str] = (),
        schedule: OemSchedule | None = None,
        state: str = "available",
        run_mode: str = "manual",
        inputs: tuple[OemInput, ...] = (),
        connectors: Iterable[str] = (),
        description: str = "",
        workspace: dict[str, Any] | None = None,
    ) -> str:
        """Make a blend: from a template, or by hand. No window opens. Returns the guid.

        `schedule` None: the template's. A bundle's children get the values and datasources that they have a use for.
        """
        holder = self._realm.accounts[account]
        pattern = self._realm.templates[template] if template else self._by_hand(name, run_mode, inputs, connectors)
        made = self._blends.make(holder, pattern, name)
        made.template = template
        made.workspace = workspace if workspace is not None else made.workspace
        made.description = description or made.description
        self._blends.give_inputs(made, values)
        made.state = state
        for leaf in made.leaves():
            leaf.state = state
            leaf.schedule = leaf.schedule if schedule is None else schedule
            leaf.links.update(
                guid for guid in datasources if holder.datasources[guid].connector.guid in leaf.connectors
            )
            self._runs.arm(leaf)
        return made.guid

    def _by_hand(self, name: str, run_mode: str, inputs: tuple[OemInput, ...], connectors: Iterable[str]) -> Template:
        return Template(
            guid="", name=name, externalid="", created_at=self._realm.now(), run_mode=run_mode, inputs=inputs,
            connectors=tuple(map(self.connector, connectors)),
        )  # fmt: skip

    def consent(self, link: str) -> str:
        """Play the person who opens a link and agrees. Returns the guid of the datasource.

        Raises:
            LookupError: the link is not known, is used up, or has expired.
        """
        return self._datasources.consent(link).guid

    def revoke(self, guid: str) -> None:
        """Take a person's consent to a datasource back."""
        self._datasources.revoke(self.datasource(guid))
