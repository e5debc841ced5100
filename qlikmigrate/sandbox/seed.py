"""Demo content: a small maker of bicycles, its people, spaces, connections and automations, and the tenant it moves to.

All of it is made up. The target has what a prepared target has: the same people and spaces under other ids, some
connections, and a few gaps that a migration must find.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from qlikmigrate.sandbox import catalogue
from qlikmigrate.sandbox.catalogue import PLATFORM_OPERATIONS, QLIK_CLOUD_SERVICES
from qlikmigrate.sandbox.draft import Draft
from qlikmigrate.sandbox.tenant import CloudTenant

_PEOPLE = {
    "lena": ("Lena Sjöberg", ("TenantAdmin", "AutomationCreator")),
    "tomasz": ("Tomasz Wójcik", ("AutomationCreator",)),
    "amara": ("Amara Okafor", ("AutomationCreator",)),
    "jules": ("Jules Marchand", ("AutomationCreator",)),
    "mei": ("Mei Tanaka", ("AutomationCreator",)),
    "oskar": ("Oskar Lindqvist", ("AutomationCreator",)),
    "rita": ("Rita Fonseca", ()),
}
_SPACES = {
    "Sales": "shared",
    "Finance": "shared",
    "Operations": "shared",
    "Data Platform": "shared",
    "Kundtjänst Norden": "shared",
    "Published": "managed",
    "Archive 2019": "shared",
}
_MEMBERS = {
    "Sales": ("tomasz", "amara", "rita"),
    "Finance": ("amara", "jules"),
    "Operations": ("mei", "oskar"),
    "Data Platform": ("tomasz", "mei"),
    "Kundtjänst Norden": ("oskar", "rita"),
}
_APPS = {
    "Sales Overview": "Sales",
    "Dealer Scorecard": "Sales",
    "General Ledger": "Finance",
    "Cash Forecast": "Finance",
    "Plant Stock": "Operations",
    "Frame Quality": "Operations",
    "Master Data": "Data Platform",
    "Ärendeöversikt": "Kundtjänst Norden",
}
_EVERY_HOUR = [{"startAt": "2026-01-05 06:00:00", "interval": 3600, "timezone": "Europe/Stockholm"}]
_EVERY_QUARTER = [{"startAt": "2026-01-05 06:00:00", "interval": 900, "timezone": "Europe/Warsaw"}]
_EVERY_MORNING = [
    {
        "startAt": "2026-10-20 06:30:00",
        "recurrence": "RRULE:FREQ=DAILY;BYHOUR=6;BYMINUTE=30;BYSECOND=0",
        "timezone": "Europe/Stockholm",
    }
]
_EVERY_MONDAY = [
    {"recurrence": "RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=0;BYSECOND=0", "timezone": "Europe/Paris"}
]
_PLACEHOLDER = [{"startAt": None, "stopAt": None, "interval": -1, "timezone": "Europe/London"}]


@frozen(kw_only=True)
class Company:
    """The ids of what was made, by the name that is easy to say. Automations of one name: by `space/name`."""

    users: dict[str, str] = field(factory=dict)
    spaces: dict[str, str] = field(factory=dict)
    connections: dict[str, str] = field(factory=dict)
    apps: dict[str, str] = field(factory=dict)
    automations: dict[str, str] = field(factory=dict)


def seed_source(tenant: CloudTenant) -> Company:
    """Fill a tenant with the company as it works today."""
    company = Company()
    for word, (name, roles) in _PEOPLE.items():
        company.users[word] = tenant.add_user(f"NORDLICHT\\{word}", name, f"{word}@nordlicht.example", roles=roles)
    _add_spaces(tenant, company, tuple(_SPACES))
    for name, space in _APPS.items():
        _add_app(tenant, company, name, space)
    _add_app(tenant, company, "Sales 2019", "Archive 2019")
    _add_source_connections(tenant, company)
    _Story(tenant, company).write()
    for name in ("Sales/Nightly reload", "Stock alert", "Month-end close"):
        tenant.run(company.automations[name])
    return company


def seed_target(tenant: CloudTenant) -> Company:
    """Fill a tenant as one that was prepared to take the company's automations over.

    Rita has not been invited yet. Jules is known by e-mail only: another subject. `Archive 2019` does not exist, and
    nobody has connected to GitHub and Airtable.
    """
    company = Company()
    for word, (name, roles) in reversed(_PEOPLE.items()):
        if word != "rita":
            subject = "auth0|b1f0c7d2" if word == "jules" else f"NORDLICHT\\{word}"
            company.users[word] = tenant.add_user(subject, name, f"{word}@nordlicht.example", roles=roles)
    _add_spaces(tenant, company, tuple(name for name in reversed(_SPACES) if name != "Archive 2019"))
    for name, space in reversed(_APPS.items()):
        _add_app(tenant, company, name, space)
    smtp = {"Sender": "bi@nordlicht.example", "Host": "smtp.nordlicht.example", "Port": "587", "Username": "bi"}
    for owner in ("lena", "tomasz", "amara", "mei"):
        company.connections[f"mail {owner}"] = tenant.add_connection(
            catalogue.MAIL, "Company mail", owner=company.users[owner], params=smtp | {"Password": "demo-smtp-password"}
        )
    company.connections["platform"] = tenant.add_connection(
        PLATFORM_OPERATIONS,
        "Tenant operations",
        owner=company.users["lena"],
        params={"Client Id": "demo-dr", "Client Secret": "demo-secret", "Region": "eu.qlikcloud.com"},
    )
    return company


def _add_spaces(tenant: CloudTenant, company: Company, names: tuple[str, ...]) -> None:
    for name in names:
        company.spaces[name] = tenant.add_space(name, _SPACES[name], owner=company.users["lena"])
        for word in _MEMBERS.get(name, ()):
            if word in company.users:
                role = "consumer" if word == "rita" else "producer"
                tenant.add_member(company.spaces[name], company.users[word], (role,))


def _add_app(tenant: CloudTenant, company: Company, name: str, space: str) -> None:
    company.apps[name] = tenant.add_item("app", name, owner=company.users["lena"], space=company.spaces[space])


def _add_source_connections(tenant: CloudTenant, company: Company) -> None:
    smtp = {"Sender": "bi@nordlicht.example", "Host": "smtp.nordlicht.example", "Port": "587", "Username": "bi"}
    for owner in ("lena", "tomasz", "amara", "mei"):
        company.connections[f"mail {owner}"] = tenant.add_connection(
            catalogue.MAIL, "Company mail", owner=company.users[owner], params=smtp | {"Password": "demo-smtp-password"}
        )
    company.connections["platform"] = tenant.add_connection(
        PLATFORM_OPERATIONS,
        "Tenant operations",
        owner=company.users["lena"],
        params={"Client Id": "demo-prod", "Client Secret": "demo-secret", "Region": "eu.qlikcloud.com"},
    )
    company.connections["github"] = tenant.add_connection(
        catalogue.GITHUB, "nordlicht-bikes", owner=company.users["tomasz"], space=company.spaces["Data Platform"]
    )
    company.connections["airtable"] = tenant.add_connection(
        catalogue.AIRTABLE, "Dealer base", owner=company.users["amara"], connected=False
    )
    company.connections["carrier"] = tenant.add_connection(
        catalogue.API_KEY,
        "Carrier tracking",
        owner=company.users["mei"],
        params={"Base URL": "https://api.carrier.example", "API Key": "demo-carrier-key"},
    )
    company.connections["talend"] = tenant.add_connection(
        catalogue.TALEND_CLOUD,
        "Talend EU",
        owner=company.users["mei"],
        params={"Region": "eu", "Access Token": "demo-talend-token"},
    )
    company.connections["old"] = tenant.add_connection(
        catalogue.API_KEY, "Survey tool", owner=company.users["rita"], connected=False
    )


class _Story:
    """Writes the automations of the source."""

    def __init__(self, tenant: CloudTenant, company: Company) -> None:
        self._tenant = tenant
        self._company = company

    def _add(self, name: str, owner: str, space: str, draft: Draft, **more: object) -> str:
        company = self._company
        state = str(more.pop("state", "available"))
        document = {"name": name, "workspace": draft.workspace(), **more}
        key = f"{space}/{name}" if name == "Nightly reload" else name
        company.automations[key] = ident = self._tenant.add_automation(
            document, owner=company.users[owner], space=company.spaces[space] if space else "", state=state
        )
        return ident

    def _reload(self, draft: Draft, *apps: str) -> Draft:
        for app in apps:
            draft.reload(self._company.apps[app], app)
        return draft

    def write(self) -> None:
        """All of them."""
        self._reloads()
        self._chains()
        self._webhooks()
        self._connected()
        self._literals()
        self._small_ones()

    def _reloads(self) -> None:
        sales = self._reload(Draft("s1").starts("scheduled"), "Sales Overview", "Dealer Scorecard")
        self._add(
            "Nightly reload", "tomasz", "Sales", sales, schedules=_EVERY_MORNING, description="Before the shops open"
        )
        finance = self._reload(Draft("s2").starts("scheduled"), "General Ledger", "Cash Forecast")
        self._add("Nightly reload", "amara", "Finance", finance, schedules=_EVERY_MORNING)
        stock = self._reload(Draft("s3").starts("scheduled"), "Plant Stock")
        self._add("Stock refresh", "mei", "Operations", stock, schedules=_EVERY_QUARTER, maxConcurrentRuns=2)
        quality = self._reload(Draft("s4").starts("scheduled"), "Frame Quality")
        self._add("Quality refresh", "oskar", "Operations", quality, schedules=_EVERY_HOUR)
        cases = self._reload(Draft("s5").starts("scheduled"), "Ärendeöversikt").shows("Klart för i dag ✅")
        self._add("Ärenden varje måndag", "oskar", "Kundtjänst Norden", cases, schedules=_EVERY_MONDAY)
        master = self._reload(Draft("s6").starts("scheduled"), "Master Data")
        self._add("Master data", "lena", "Data Platform", master, schedules=_EVERY_HOUR, state="disabled")

    def _chains(self) -> None:
        notify = Draft("c1").mail(self._company.connections["mail lena"], "bi@nordlicht.example", "A run has failed")
        notify_id = self._add("Notify on failure", "lena", "Data Platform", notify)
        load = self._reload(Draft("c2"), "Master Data").calls(notify_id, "Notify on failure")
        load_id = self._add("Load master data", "lena", "Data Platform", load)
        publish = Draft("c3").calls(load_id, "Load master data").variable("vSpace", self._company.spaces["Published"])
        publish_id = self._add("Publish apps", "lena", "Data Platform", publish)
        close = Draft("c4").calls(load_id, "Load master data").calls(publish_id, "Publish apps").shows("Closed")
        self._add("Month-end close", "amara", "Finance", close, description="Run by hand on the first working day")
        # Two that call each other: the first is written before the second exists.
        ping_id = self._add("Sync dealers", "amara", "Sales", Draft("c5").calls(None, "Sync orders", disabled=True))
        pong_id = self._add("Sync orders", "amara", "Sales", Draft("c6").calls(ping_id, "Sync dealers"))
        self._tenant.replace_workspace(ping_id, Draft("c5").calls(pong_id, "Sync orders").workspace())
        own_id = self._add("Retry myself", "tomasz", "", Draft("c7").variable("vOwnId", "not known yet"))
        again = Draft("c7").variable("vOwnId", own_id).shows(f"Started as {own_id}")
        self._tenant.replace_workspace(own_id, again.workspace())

    def _webhooks(self) -> None:
        company = self._company
        welcome = (
            Draft("w1")
            .on_event("5be4c220-6156-11eb-a3df-fdbac6cc38a0")
            .endpoint(
                QLIK_CLOUD_SERVICES,
                "272d9c70-6d31-11eb-870f-67624392ed86",
                "Qlik Cloud Services - Add Member To Space",
                {
                    "3162f740-6d33-11eb-a089-71f7ccab24b9": f"{company.spaces['Sales']}|Sales",
                    "27499b00-6d31-11eb-bbe5-5b3db3c974dc": "{$.Start.data.id}",
                    "2751b870-6d31-11eb-9d77-41c5fae28bc5": '["consumer"]',
                },
            )
        )
        self._add("Welcome new colleagues", "lena", "", welcome, schedules=_PLACEHOLDER)
        updated = (
            Draft("w2")
            .on_event(
                "1b4b5dd0-889f-11eb-a114-59957f3a756f",
                where={"3aeb3660-5ddb-11ec-9122-1fe6c1dec4cc": f"{company.apps['Plant Stock']}|Plant Stock"},
            )
            .mail(company.connections["mail mei"], "plant@nordlicht.example", "Stock has changed")
        )
        self._add("Stock alert", "mei", "Operations", updated)
        push = Draft("w3").on_event(catalogue.PUSH, connector=catalogue.GITHUB)
        self._add("On push", "tomasz", "Data Platform", self._reload(push, "Master Data"))
        button = self._reload(Draft("w4").starts("triggered"), "Dealer Scorecard")
        self._add("Refresh from the button", "tomasz", "Sales", button, description="Called by the button in the app")

    def _connected(self) -> None:
        connections = self._company.connections
        for owner, space, name, to in (
            ("tomasz", "Sales", "Weekly sales mail", "sales@nordlicht.example"),
            ("amara", "Finance", "Overdue invoices", "finance@nordlicht.example"),
            ("mei", "Operations", "Late deliveries", "plant@nordlicht.example"),
        ):
            draft = (
                Draft(f"m {name}").starts("scheduled").mail(connections[f"mail {owner}"], to, f"{name}: {{$.count}}")
            )
            self._add(name, owner, space, draft, schedules=_EVERY_MONDAY)
        track = Draft("m4").endpoint(
            catalogue.API_KEY, "5f603eb0-8b2e-11ed-8563-71b29f846889", "API Key - Raw API Request",
            {"path": "/v2/parcels?status=late"}, connection=connections["carrier"],
        )  # fmt: skip
        self._add(
            "Track parcels", "mei", "Operations", track.mail(connections["mail mei"], "plant@nordlicht.example", "Late")
        )
        task = Draft("m5").endpoint(
            catalogue.TALEND_CLOUD, catalogue.RUN_TASK, "Talend - Run Task",
            {"task": "load_customers"}, connection=connections["talend"],
        )  # fmt: skip
        self._add("Load customers", "mei", "", task)
        issues = Draft("m6").endpoint(
            catalogue.GITHUB, catalogue.LIST_REPOSITORIES, "GitHub - List Repositories",
            {}, connection=connections["github"],
        )  # fmt: skip
        self._add("Back up scripts", "tomasz", "Data Platform", issues)
        dealers = Draft("m7").endpoint(
            catalogue.AIRTABLE, catalogue.LIST_RECORDS, "Airtable - List Records",
            {}, connection=connections["airtable"],
        )  # fmt: skip
        self._add("Import dealers", "amara", "Sales", dealers, state="disabled")
        unbound = Draft("m8").mail(None, "jules@nordlicht.example", "Not bound yet")
        self._add("Draft of a reminder", "jules", "", unbound)

    def _literals(self) -> None:
        company, host = self._company, self._tenant.hostnames[0]
        apps = Draft("l1").endpoint(
            PLATFORM_OPERATIONS, "8263bab0-fc5c-11ec-8f4a-433e011739ae", "Qlik Platform Operations - List Apps",
            {"e9b6c6e0-fc5c-11ec-a80b-6bcbe0fce3f9": host}, connection=company.connections["platform"],
        )  # fmt: skip
        self._add("Inventory of apps", "lena", "Data Platform", apps)
        # Text that is nearly JSON: a formula stands outside the quotes.
        body = (
            f'{{"name":"Copy of reload","spaceId":"{company.spaces["Sales"]}","interval":{{$.interval}},"workspace":'
            f'{{"blocks":[{{"settings":[{{"id":"datasource","value":"{company.connections["platform"]}"}}]}}]}}}}'
        )
        create = Draft("l2").endpoint(
            PLATFORM_OPERATIONS, "7b5d4040-c463-11f0-9b81-e7987de54c81", "Qlik Platform Operations - Raw API Request",
            {
                "7b9385e0-c463-11f0-9f64-919f692becef": host,
                "7bb5c320-c463-11f0-be15-db4bddfc1b4a": "automations",
                "7c28a2d0-c463-11f0-a866-73afb2fbaa30": body,
            },
            connection=company.connections["platform"],
        )  # fmt: skip
        self._add("Roll out reloads", "lena", "Data Platform", create)
        button = company.automations["Refresh from the button"]
        asks = Draft("l3").asks(
            f"https://{host}/api/v1/automations/{button}/actions/execute",
            {"X-Execution-Token": self._tenant.automations[button]["executionToken"]},
        )
        self._add("Press the button", "tomasz", "Sales", asks)
        owners = (
            Draft("l4").variable("vOwner", company.users["amara"]).variable("vApps", list(company.apps.values())[:3])
        )
        self._add("Hand over apps", "lena", "", owners)
        source = f'space = "{company.spaces["Finance"]}"\nprint(script.replace(space, "<space>"))\n'
        self._add("Script templates", "jules", "Finance", Draft("l5").code(source))
        secret = Draft("l6").asks("https://hooks.example/post", {"Authorization": "Basic ZGVtbzpkZW1vLXBhc3N3b3Jk"})
        self._add("Post to chat", "jules", "", secret, state="unavailable")

    def _small_ones(self) -> None:
        texts: tuple[tuple[str, str, str, Callable[[Draft], Draft]], ...] = (
            ("Hello world", "jules", "", lambda draft: draft.shows("Hello 🌍")),
            ("Test – do not use", "oskar", "", lambda draft: draft.shows("…")),
            ("Räkna ärenden", "oskar", "Kundtjänst Norden", lambda draft: draft.variable("antal", "0")),
            ("価格の確認", "mei", "", lambda draft: draft.variable("価格", '{"currency": "JPY"}')),
        )
        for name, owner, space, write in texts:
            self._add(name, owner, space, write(Draft(f"t {name}")))
