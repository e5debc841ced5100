"""What a tenant holds, and the ways to build it up from outside: an administrator's hands, not the API's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import RLock
from typing import Any

from qlikmigrate.kernel.clock import Clock, SystemClock
from qlikmigrate.sandbox.automation import Automation, AutomationView
from qlikmigrate.sandbox.catalogue import Connector
from qlikmigrate.sandbox.connection import Connection, Connections
from qlikmigrate.sandbox.connector import Connectors
from qlikmigrate.sandbox.directory import Directory
from qlikmigrate.sandbox.item import Items
from qlikmigrate.sandbox.mint import Mint, stamp
from qlikmigrate.sandbox.realm import Realm
from qlikmigrate.sandbox.run import Runs
from qlikmigrate.sandbox.shelf import ArmedSighting, Shelf
from qlikmigrate.sandbox.space import Spaces
from qlikmigrate.sandbox.switches import Switches
from qlikmigrate.sandbox.synthetic import Recipe
from qlikmigrate.sandbox.token import Tokens


class TenantState:
    """The state of one tenant. The same calls on the same seed and clock give the same ids."""

    def __init__(self, name: str, *, host: str | None, clock: Clock | None, switches: Switches, seed: int) -> None:
        clock = clock or SystemClock()
        mint = Mint(f"{name}/{seed}", clock)
        host = host or f"{name}.eu.qlikcloud.com"
        self.base_url = f"https://{host}"
        tenant_id = mint.user_id()
        guid_host = f"{tenant_id.lower()}.eu.qlikcloud.com"
        self._realm = Realm(name, tenant_id, tuple(dict.fromkeys((host, guid_host))), clock, mint, switches)
        self.open_editors: set[str] = set()
        self._directory = Directory(self._realm)
        self._spaces = Spaces(self._realm, self._space_in_use)
        self._shelf = Shelf(self._realm, self._directory, self._spaces, self.open_editors)
        self._connectors = Connectors(self._realm)
        self._connections = Connections(
            self._realm, self._directory, self._spaces, self._connectors, self._shelf.is_bound
        )
        self._shelf.connections = self._connections
        self._runs = Runs(self._realm, self._shelf)
        self._items = Items(self._realm, self._shelf)
        self._tokens = Tokens(self._realm, self._directory)
        self._lock = RLock()

    # What it is.

    @property
    def name(self) -> str:
        """Its name."""
        return self._realm.name

    @property
    def id(self) -> str:
        """Its id."""
        return self._realm.id

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The hosts it answers to: its own name first, then the one made of its id."""
        return self._realm.hostnames

    @property
    def switches(self) -> Switches:
        """How it answers what the documentation leaves open. May be set anew at any time."""
        return self._realm.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._realm.switches = switches
        self._realm.changed()

    @property
    def armed_while_enabled(self) -> list[ArmedSighting]:
        """Every moment at which a request left an automation enabled and armed."""
        return self._shelf.sightings

    @property
    def automations(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored."""
        self._runs.settle()
        return AutomationView(self._shelf.records)

    @property
    def connections(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored."""
        return {ident: self._connections.shown(one) for ident, one in self._connections.records.items()}

    @property
    def users(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored."""
        return self._directory.users

    @property
    def spaces(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored."""
        return self._spaces.spaces

    @property
    def assignments(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored."""
        return self._spaces.assignments

    @property
    def items(self) -> Mapping[str, dict[str, Any]]:
        """Id → what is stored, automations left out."""
        return self._items.items

    # Building its state.

    def add_user(
        self, subject: str, name: str, email: str, roles: tuple[str, ...] | None = None, status: str = "active"
    ) -> str:
        """Make a user; with `roles` None they have what the tenant gives by default. Returns the id."""
        if roles is None:
            roles = ("AutomationCreator",) if self.switches.auto_creator_role else ()
        with self._lock:
            ident: str = self._directory.add(subject, name, email, roles, status)["id"]
            self._connections.ensure_managed(ident)
            return ident

    def set_roles(self, user_id: str, *roles: str) -> None:
        """Give a user exactly these roles."""
        self._directory.set_roles(user_id, roles)

    def add_group(self, name: str) -> str:
        """Make a group. Returns the id."""
        return self._directory.add_group(name)

    def add_space(self, name: str, type: str = "shared", *, owner: str, description: str = "") -> str:  # noqa: A002
        """Make a space. Returns the id."""
        return str(self._spaces.add(name, type, owner, description)["id"])

    def add_member(self, space: str, user: str, roles: Iterable[str]) -> str:
        """Give a user roles in a space. Returns the assignment's id."""
        return str(self._spaces.add_member(space, user, tuple(roles))["id"])

    def add_connector(self, connector: Connector) -> str:
        """Offer one more connector (or another one under the same id). Returns the id."""
        self._connectors.connectors[connector.id] = connector
        return connector.id

    def drop_connector(self, connector_id: str) -> None:
        """Stop offering a connector."""
        del self._connectors.connectors[connector_id]

    def add_connection(
        self,
        connector_id: str,
        name: str,
        owner: str,
        space: str = "",
        params: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        connected: bool = True,
    ) -> str:
        """Make a connection. `params`: values by name. `connected` also gives the consent to an OAuth connector."""
        with self._lock:
            one = self._connections.add(connector_id, name, owner, space, dict(params))
            one.consented = connected or not self._connectors.connectors[connector_id].oauth
            one.broken = not connected
            if one.consented and one.redirect:
                one.account = self._directory.users[owner]["email"]
            return one.id

    def consent(self, connection_id: str) -> None:
        """A person opens the redirect of an OAuth connection and agrees."""
        one: Connection = self._connections.records[connection_id]
        one.consented, one.broken = True, False
        one.account = self._directory.users[one.owner_id]["email"]
        self._realm.changed()

    def add_automation(self, document: Mapping[str, Any], owner: str, space: str = "", state: str = "available") -> str:
        """Take an automation in as the service would, with ids and a token of its own. Returns the id."""
        with self._lock:
            names = ("description", "schedules", "workspace", "maxConcurrentRuns")
            given = {name: document[name] for name in names if name in document}
            one = self._shelf.make(given | {"name": document.get("name", "Untitled")}, owner, space)
            one.state = state
            self._shelf.put_on(one)
            return one.id

    def replace_workspace(self, automation_id: str, workspace: Mapping[str, Any]) -> None:
        """Store another workspace, as its owner would in the editor."""
        with self._lock:
            one = self._shelf.records[automation_id]
            one.set_workspace(self._shelf.make({"name": one.name, "workspace": workspace}, "", "").workspace_value())
            one.version += 1
            one.updated_at = stamp(self._realm.now())
            self._realm.changed()

    def run(self, automation_id: str) -> str:
        """Run an automation by its schedule. Returns the run's id."""
        with self._lock:
            one = self._shelf.records[automation_id]
            return str(self._runs.start(one, "api_async", one.owner_id)["id"])

    def add_synthetic(
        self, count: int, size_bytes: int = 50_000, *, owners: tuple[str, ...], spaces: tuple[str, ...] = ("",)
    ) -> list[str]:
        """Take `count` made-up automations in whose workspaces are made anew on each GET. Returns the ids.

        Memory: about 2 kB each, whatever their size.
        """
        ids = []
        for index in range(count):
            mint = self._realm.mint
            recipe = Recipe(seed=mint.random.getrandbits(48), size_bytes=size_bytes)
            moment = stamp(self._realm.now())
            owner, space = owners[index % len(owners)], spaces[index % len(spaces)]
            one = Automation(mint.time_id(), recipe.name(index), owner, space, moment, moment, mint.token())
            one.description = recipe.description()
            one.workspace = recipe
            one.start = recipe.start()
            one.derived = recipe.derived()
            self._shelf.put_on(one)
            ids.append(one.id)
        return ids

    def add_item(
        self, resource_type: str, name: str, owner: str, space: str = "", resource_id: str | None = None
    ) -> str:
        """Make an item, an app for instance. Returns the id of the resource: the one that workspaces hold."""
        resource_id = resource_id or self._realm.mint.time_id()
        self._items.add(resource_type, resource_id, name, owner, space)
        return resource_id

    def api_key(self, user_id: str) -> str:
        """A new API key of a user."""
        return self._tokens.add_key(user_id)

    def oauth_client(self, kind: str, *, trusted: bool = True, scopes: tuple[str, ...] = ()) -> tuple[str, str]:
        """A new OAuth client, `m2m` or `impersonation`: its id and secret. An m2m client brings its bot user."""
        client = self._tokens.add_client(kind, trusted=trusted, scopes=scopes)
        return client.id, client.secret

    def _space_in_use(self, space_id: str) -> bool:
        return (
            any(one.space_id == space_id for one in self._shelf.records.values())
            or any(one.space_id == space_id for one in self._connections.records.values())
            or any(item.get("spaceId") == space_id for item in self._items.items.values())
        )
