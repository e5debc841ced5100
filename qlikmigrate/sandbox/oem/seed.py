"""Demo content: a maker of software for bicycle dealers, its templates, the account they are tried in, two customers.

All of it is made up. A second SaaS Admin of the same partner has templates of the same names under other guids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.sandbox.catalogue import API_KEY, GITHUB, LIST_RECORDS, LIST_REPOSITORIES
from qlikmigrate.sandbox.draft import Draft
from qlikmigrate.sandbox.oem.catalogue import OEM_AIRTABLE
from qlikmigrate.sandbox.oem.record import OemInput, OemSchedule
from qlikmigrate.sandbox.oem.service import OemService

_RAW_REQUEST = "5f603eb0-8b2e-11ed-8563-71b29f846889"
_SMTP = {"Sender": "bi@velo.example", "Host": "smtp.velo.example", "Port": "587", "Username": "bi"}


@frozen(kw_only=True)
class Partner:
    """The guids of what was made. `templates` by name, parts of the bundle included; `accounts` by externalid.

    Of the model account: `automations` by name (`name/…` where names recur, parts of a bundle `bundle: part`),
    `connections` by name; `workspaces` by guid of the automation: what a person could save from the editor.
    """

    model: str
    accounts: dict[str, str] = field(factory=dict)
    templates: dict[str, str] = field(factory=dict)
    automations: dict[str, str] = field(factory=dict)
    connections: dict[str, str] = field(factory=dict)
    workspaces: dict[str, dict[str, Any]] = field(factory=dict)


def seed_templates(service: OemService) -> dict[str, str]:
    """Make the partner's templates: eight, one of them a bundle of two parts. Returns name → guid."""
    made: dict[str, str] = {}

    def add(name: str, *inputs: OemInput, every: int = -1, start_at: str | None = None, **more: Any) -> None:
        zone = more.pop("timezone", "Europe/Amsterdam")
        mode = more.pop("run_mode", "scheduled" if every >= 0 else "manual")
        plan = OemSchedule(start_at=start_at, interval=every, timezone=zone)
        made[name] = service.add_template(name, inputs=inputs, schedule=plan, run_mode=mode, **more)

    add(
        "Order sync",
        OemInput(field_name="shop", prompt="Name of the shop", is_required=True),
        OemInput(field_name="folder", prompt="Folder for orders", default="orders"),
        every=900,
        start_at="2026-01-05 06:00:00",
        connectors=("Velo CRM", "Airtable"),
        groups=("Sales",),
    )
    add(
        "Stock feed",
        OemInput(field_name="warehouse", is_required=True, label="setup", block_id="inputs"),
        OemInput(field_name="feed_token", prompt="Token of the feed", label="setup", block_id="inputs2"),
        every=3600,
        connectors=("Velo CRM", "API Key"),
        groups=("Stock",),
        has_setup=True,
    )
    add(
        "Daily digest",
        OemInput(field_name="recipient", is_required=True, default="bi@velo.example"),
        OemInput(field_name="note", is_top_input=False),
        every=86_400,
        start_at="2026-01-05 07:30:00",
        connectors=("Velo CRM", "Mail"),
        groups=("Sales",),
    )
    add("New dealer", run_mode="triggered", connectors=("Velo CRM", "Mail"), groups=("Dealers",))
    add(
        "Price export",
        OemInput(field_name="currency", default="EUR"),
        OemInput(field_name="since", prompt="Changed since", is_persisted=False),
        connectors=("Velo CRM",),
        groups=("Sales",),
        description="Run by hand before a season begins",
    )
    add("Push to repository", run_mode="webhook", connectors=("GitHub",))
    add("Status board", OemInput(field_name="board"), every=30, timezone="UTC", connectors=("Velo CRM",))
    add(
        "Invoice import",
        OemInput(field_name="ledger", is_required=True, default="main"),
        every=14_400,
        connectors=("Velo CRM", "API Key"),
    )
    add(
        "Invoice reminder",
        OemInput(field_name="ledger", is_required=True, default="main"),
        OemInput(field_name="days", default=14),
        every=86_400,
        start_at="2026-01-05 08:00:00",
        connectors=("Mail",),
    )
    parts = (made["Invoice import"], made["Invoice reminder"])
    made["Invoicing"] = service.add_template("Invoicing", parts=parts, groups=("Finance",))
    return made


def seed_model(service: OemService) -> Partner:
    """Fill a service: the model account with twenty automations and six connections, and two customers' accounts."""
    partner = Partner(model=service.add_account("Velo model", "model"))
    partner.accounts["model"] = partner.model
    partner.templates.update(seed_templates(service))
    _add_connections(service, partner)
    _Story(service, partner).write()
    _add_customers(service, partner)
    return partner


def seed_other(service: OemService) -> Partner:
    """Fill the service of another SaaS Admin: the same templates, one account without anything in it."""
    partner = Partner(model=service.add_account("Velo staging", "staging"))
    partner.accounts["staging"] = partner.model
    partner.templates.update(seed_templates(service))
    return partner


def _add_connections(service: OemService, partner: Partner) -> None:
    def add(connector: str, name: str, params: Mapping[str, str] = {}) -> None:
        partner.connections[name] = service.add_datasource(partner.model, connector, name, params)

    # The only one of its connector, and bound to nothing: blends find it by themselves.
    add("Velo CRM", "Velo CRM", {"environment": "production", "api_key": "demo-velo-key-6f1c"})
    add("Mail", "Company mail", _SMTP | {"Password": "demo-smtp-password-91"})
    add("Mail", "Dealer mail", _SMTP | {"Username": "dealers", "Password": "demo-dealer-password-92"})
    add("GitHub", "velo-repos")
    add("Airtable", "Dealer base")
    add("API Key", "Warehouse", {"Base URL": "https://wms.velo.example", "API Key": "demo-warehouse-key-93"})


class _Story:
    """Writes the automations of the model account."""

    def __init__(self, service: OemService, partner: Partner) -> None:
        self._service = service
        self._partner = partner

    def _add(self, key: str, template: str = "", *, uses: tuple[str, ...] = (), **more: Any) -> None:
        """`key`: the name, or `name/what tells it apart`."""
        partner = self._partner
        partner.automations[key] = guid = self._service.add_blend(
            partner.model,
            key.partition("/")[0],
            template=partner.templates[template] if template else None,
            datasources=[partner.connections[name] for name in uses],
            **more,
        )
        blend = self._service.blend(guid)
        for child in blend.children:
            partner.automations[f"{key}: {child.name}"] = child.guid
        for leaf in blend.leaves():
            bound = {name: partner.connections[name] for name in uses if partner.connections[name] in leaf.links}
            leaf.workspace = partner.workspaces[leaf.guid] = _workspace(leaf.name, template, bound, more)

    def write(self) -> None:
        """All of them."""
        for shop, state in (("Berlin", "available"), ("Malmö", "available"), ("Gent", "disabled")):
            self._add(f"Order sync {shop}", "Order sync", uses=("Dealer base",), values={"shop": shop}, state=state)
        self._add(
            "Order sync archive",
            "Order sync",
            uses=("Dealer base",),
            values={"shop": "*", "folder": "archive"},
            schedule=OemSchedule(),
            state="disabled",
        )
        for house in ("North", "South", "Returns"):
            values = {"warehouse": house.lower()}
            if house == "North":
                values["feed_token"] = "ghp_demo0123456789abcdefghijklmnopqrstuv"  # noqa: S105 - made up
            self._add(f"Stock feed {house}", "Stock feed", uses=("Warehouse",), values=values)
        self._add("Daily digest", "Daily digest", uses=("Company mail",))
        self._add(
            "Daily digest for dealers",
            "Daily digest",
            uses=("Dealer mail",),
            values={"recipient": "dealers@velo.example"},
        )
        self._add("Daily digest (old)", "Daily digest", uses=("Company mail",), state="disabled")
        self._add("New dealer", "New dealer", uses=("Dealer mail",), run_mode="triggered")
        self._add("New dealer test", "New dealer", uses=("Company mail",), state="disabled")
        # Two of one name, as installing a template twice leaves them.
        self._add("Price export/EUR", "Price export")
        self._add("Price export/SEK", "Price export", values={"currency": "SEK"})
        self._add("Price export summer", "Price export", values={"currency": "GBP"})
        self._add("Push to repository", "Push to repository", uses=("velo-repos",))
        self._add("Status board", "Status board", values={"board": "hall 3"})
        self._add("Invoicing", "Invoicing", uses=("Warehouse", "Company mail"), values={"ledger": "2026"})
        self._add(
            "Dealer import (by hand)",
            connectors=("Airtable", "Velo CRM"),
            uses=("Dealer base",),
            description="Built in the editor, not from a template",
        )
        self._add(
            "Återförsäljare",
            connectors=("Mail",),
            uses=("Company mail",),
            run_mode="scheduled",
            schedule=OemSchedule(start_at="2026-01-05 05:00:00", interval=604_800, timezone="Europe/Stockholm"),
        )


def _workspace(name: str, template: str, bound: Mapping[str, str], more: Mapping[str, Any]) -> dict[str, Any]:
    """What the editor would save of it. `bound`: connection → guid."""
    draft = Draft(f"oem {name} {more}").starts(more.get("run_mode", "manual"))
    for connection, guid in bound.items():
        if connection in ("Company mail", "Dealer mail"):
            draft.mail(guid, "bi@velo.example", f"{name}: {{$.count}}")
        elif connection == "Dealer base":
            draft.endpoint(OEM_AIRTABLE, LIST_RECORDS, "Airtable - List Records", {}, connection=guid)
        elif connection == "Warehouse":
            draft.endpoint(API_KEY, _RAW_REQUEST, "API Key - Raw API Request", {"path": "/v1/stock"}, connection=guid)
        elif connection == "velo-repos":
            draft.endpoint(GITHUB, LIST_REPOSITORIES, "GitHub - List Repositories", {}, connection=guid)
    if template == "Price export":
        draft.variable("currency", more.get("values", {}).get("currency", "EUR"))
    return draft.shows(f"{name}: done").workspace()


def _add_customers(service: OemService, partner: Partner) -> None:
    """One with two automations, and one that is new. The second's externalid is free text, as customers' ids are."""
    hamburg = service.add_account("Rad Hamburg GmbH", "rad-hamburg")
    crm = service.add_datasource(
        hamburg, "Velo CRM", "Velo CRM", {"environment": "production", "api_key": "demo-hamburg-key-94"}
    )
    service.add_blend(
        hamburg, "Order sync", template=partner.templates["Order sync"], values={"shop": "Hamburg"}, datasources=(crm,)
    )
    service.add_blend(hamburg, "Price export", template=partner.templates["Price export"], state="disabled")
    partner.accounts["rad-hamburg"] = hamburg
    partner.accounts["cykel/malmö 7"] = service.add_account("Cykel i Malmö", "cykel/malmö 7")
