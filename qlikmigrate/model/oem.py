"""An account of Qlik Application Automation for OEM as typed values. A field that an answer lacks is empty, or None.

Of a blend the API gives neither its workspace nor its schedule, of a datasource no credential: what people hand in
stands beside. Reading is liberal: both spellings that the vendor's pages have are understood.
Source: help.qlik.com, blendr, SaaS API: the pages of each object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from qlikmigrate.kernel.error import CorruptError, UsageError
from qlikmigrate.model.document import Document
from qlikmigrate.model.inventory import as_bool
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse

T = TypeVar("T")

SOURCE_KIND = "oem"
AVAILABLE, DISABLED = "available", "disabled"

# Source: help.qlik.com, "Update integration": seconds; -1: off, 0: once.
INTERVALS = (
    -1, 0, 30, 60, 120, 300, 900, 1800, 3600, 14_400, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
)  # fmt: skip
SCHEDULE_FIELDS = ("schedule_start_at", "schedule_stop_at", "schedule_interval", "schedule_timezone")


@frozen(kw_only=True)
class Account:
    """An isolated customer of the provider. `external_id` is the provider's own word for it, and may be missing."""

    id: str
    external_id: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """How people know it."""
        return self.external_id or self.name or self.id

    def is_meant_by(self, word: str) -> bool:
        """Whether `word` is its guid or its external id."""
        return bool(word) and (word.lower() == self.id.lower() or word == self.external_id)


@frozen(kw_only=True)
class Input:
    """An input block of an automation. `value`: what is stored, which may be a secret that a customer typed."""

    name: str
    label: str = ""
    prompt: str = ""
    block_id: str = ""
    value: Any = field(default=None, repr=False)
    is_required: bool = False
    is_writable: bool = False


@frozen(kw_only=True)
class OemAutomation:
    """A blend. `template_id` is empty for one built by hand; `state` where the API says it; `children`: of a bundle.

    `schedule`: the API's own schedule fields, where it shows any.
    """

    id: str
    name: str
    template_id: str = ""
    state: str = ""
    run_mode: str = ""
    status: str = ""
    description: str = ""
    is_bundle: bool = False
    setup_complete: bool | None = None
    children: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    schedule: Mapping[str, Any] = field(factory=dict)
    admin_url: str = ""
    created_at: str = ""

    def stored_inputs(self) -> dict[str, Any]:
        """Field name → value of what may be written back and has a value."""
        return {one.name: one.value for one in self.inputs if one.is_writable and one.value is not None}


@frozen(kw_only=True)
class OemConnection:
    """A datasource. `used_by`: automations that are hard-linked to it; loosely coupled ones are not known.

    `states`: what it says of those, by id, which the automations' own answers need not show.
    """

    id: str
    name: str
    connector_id: str = ""
    connector_name: str = ""
    connected: bool | None = None
    used_by: tuple[str, ...] = ()
    states: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Template:
    """A template, or a bundle of templates."""

    id: str
    name: str
    status: str = ""
    is_bundle: bool = False
    children: tuple[Template, ...] = ()


@frozen(kw_only=True)
class OemConnector:
    """A connector. `parameters`: name → whether it is required."""

    id: str
    name: str = ""
    parameters: Mapping[str, bool] = field(factory=dict)


@frozen(kw_only=True)
class Schedule:
    """One schedule as the API takes it: times naive in `timezone`, the interval in seconds.

    `interval_s` -1: off, 0: once. `state`: whether the automation is on, empty where nobody says.
    """

    start_at: str = ""
    stop_at: str = ""
    interval_s: int | None = None
    timezone: str = ""
    state: str = ""

    @property
    def fires(self) -> bool:
        """Whether it would start the automation by itself."""
        return self.interval_s is not None and self.interval_s >= 0

    def body(self) -> dict[str, Any]:
        """The members of `PUT /accounts/{a}/blends/{b}`; nothing where no interval is known."""
        if self.interval_s is None:
            return {}
        return {
            "schedule_start_at": self.start_at or None,
            "schedule_stop_at": self.stop_at or None,
            "schedule_interval": self.interval_s,
            "schedule_timezone": self.timezone or None,
        }


def _text(value: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        found = value.get(key)
        if isinstance(found, str) and found:
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
    return ""


def _objects(value: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        found = value.get(key)
        if isinstance(found, list):
            yield from (one for one in found if isinstance(one, Mapping))


def account_of(value: Mapping[str, Any]) -> Account:
    """The typed view of an account."""
    return Account(
        id=_text(value, "guid"),
        external_id=_text(value, "externalid", "external_id", "account_externalid"),
        name=_text(value, "name"),
    )


def automation_of(value: Mapping[str, Any]) -> OemAutomation:
    """The typed view of a blend, from a list or its own answer."""
    return OemAutomation(
        id=_text(value, "guid"),
        name=_text(value, "name"),
        template_id=_text(value, "template_guid"),
        state=_text(value, "state"),
        run_mode=_text(value, "run_mode"),
        status=_text(value, "status"),
        description=_text(value, "description", "short_description", "short description"),
        is_bundle=as_bool(value.get("isbundle")) is True,
        setup_complete=as_bool(value.get("setup_complete")),
        children=tuple(_text(one, "guid") for one in children_of(value)),
        inputs=tuple(_input(one) for one in _objects(value, "inputs")),
        schedule={key: value[key] for key in SCHEDULE_FIELDS if key in value},
        admin_url=_text(value, "admin_url"),
        created_at=_text(value, "created_at"),
    )


def children_of(value: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """What a bundle holds. Source: "List templates" says `sub_blends`, "List integrations" `sub_automations`."""
    return [one for one in _objects(value, "sub_blends", "sub_automations") if _text(one, "guid")]


def _input(value: Mapping[str, Any]) -> Input:
    return Input(
        name=_text(value, "field_name"),
        label=_text(value, "label"),
        prompt=_text(value, "prompt"),
        block_id=_text(value, "block_id"),
        value=value.get("persisted_value"),
        is_required=as_bool(value.get("is_required")) is True,
        # Source: "Set persisted inputs": only inputs that are both.
        is_writable=as_bool(value.get("is_top_input")) is True and as_bool(value.get("is_persisted")) is True,
    )


def connection_of(value: Mapping[str, Any]) -> OemConnection:
    """The typed view of a datasource."""
    connector = value.get("connector")
    connector = connector if isinstance(connector, Mapping) else {}
    linked = list(_objects(value, "blends", "automations"))
    return OemConnection(
        id=_text(value, "guid"),
        name=_text(value, "name"),
        connector_id=_text(connector, "guid"),
        connector_name=_text(connector, "name"),
        connected=as_bool(value.get("is_connected")),
        used_by=tuple(dict.fromkeys(ident for one in linked if (ident := _text(one, "guid")))),
        # Source: "Get datasource in account" shows `state` of the blends in it, "Get integration" does not.
        states={_text(one, "guid"): state for one in linked if (state := _text(one, "state"))},
    )


def template_of(value: Mapping[str, Any]) -> Template:
    """The typed view of a template."""
    return Template(
        id=_text(value, "guid"),
        name=_text(value, "name"),
        status=_text(value, "status"),
        is_bundle=as_bool(value.get("isbundle")) is True,
        children=tuple(template_of(one) for one in children_of(value)),
    )


def connector_of(value: Mapping[str, Any]) -> OemConnector:
    """The typed view of a connector."""
    return OemConnector(
        id=_text(value, "guid"),
        name=_text(value, "name"),
        parameters={_text(one, "name"): as_bool(one.get("is_required")) is True for one in _objects(value, "params")},
    )


def schedule_of(value: Mapping[str, Any]) -> Schedule:
    """The typed view of a schedule that people handed in, or of the schedule fields of an answer."""
    interval = value.get("schedule_interval")
    try:
        interval_s = int(interval) if isinstance(interval, int | str) and not isinstance(interval, bool) else None
    except ValueError:
        interval_s = None
    return Schedule(
        start_at=_text(value, "schedule_start_at"),
        stop_at=_text(value, "schedule_stop_at"),
        interval_s=interval_s,
        timezone=_text(value, "schedule_timezone"),
        state=_text(value, "state"),
    )


@frozen(kw_only=True)
class OemHolding:
    """What one account held when a snapshot was taken. All by id; `automations` has the children of bundles, too.

    `top`: ids of the automations that are no bundle's child. `supplied`: those for which people handed in a workspace.
    """

    account: Account
    automations: Mapping[str, OemAutomation] = field(factory=dict, repr=False)
    top: tuple[str, ...] = ()
    connections: Mapping[str, OemConnection] = field(factory=dict, repr=False)
    connectors: Mapping[str, OemConnector] = field(factory=dict, repr=False)
    templates: Mapping[str, Template] = field(factory=dict, repr=False)
    schedules: Mapping[str, Schedule] = field(factory=dict, repr=False)
    supplied: frozenset[str] = frozenset()

    def connections_of(self, automation_id: str) -> list[OemConnection]:
        """Those that the automation is hard-linked to, in id order."""
        return [one for _, one in sorted(self.connections.items()) if automation_id in one.used_by]


def is_oem(snapshot: Snapshot) -> bool:
    """Whether it is a snapshot of OEM accounts."""
    return snapshot.manifest.source_kind == SOURCE_KIND


def accounts_in(snapshot: Snapshot) -> list[Account]:
    """The accounts that a snapshot of OEM holds, by id."""
    return [account_of(parse(snapshot.detail(Kind.ACCOUNT, ident).raw)) for ident in snapshot.ids(Kind.ACCOUNT)]


def choose_account(accounts: Collection[Account], word: str = "") -> Account:
    """The account that `word` (guid or external id) means; the only one where nothing is said.

    Raises:
        UsageError: there is none, or several that it may mean.
    """
    found = [one for one in accounts if not word or one.is_meant_by(word)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(one.label for one in accounts)[:20]) or "none"
    if word:
        what = "several accounts are" if found else "no account is"
        raise UsageError(f"{what} called `{word}` here", hint=f"there are: {names}")
    raise UsageError("which account is meant is not said", hint=f"--include account=ONE of: {names}")


def read_holding(snapshot: Snapshot, account: str = "") -> OemHolding:
    """What an account held. `account`: its guid or external id, needed where the snapshot holds several.

    Raises:
        UsageError: which account is meant cannot be told.
        CorruptError: what is stored is damaged.
    """
    chosen = choose_account(accounts_in(snapshot), account)
    automations, connections = _members(snapshot, chosen)
    rows = {kind: _rows(snapshot, kind) for kind in (Kind.CONNECTION, Kind.TEMPLATE)}
    blends = {ident: automation_of(_value(snapshot, Kind.AUTOMATION, ident)) for ident in automations}
    children = {child for one in blends.values() for child in one.children}
    # What has no answer of its own in the snapshot is known by its list row.
    sources = {ident: connection_of(_value(snapshot, Kind.CONNECTION, ident, rows)) for ident in connections}
    states = {ident: state for one in sources.values() for ident, state in one.states.items()}
    blends = {ident: one if one.state else evolve(one, state=states.get(ident, "")) for ident, one in blends.items()}
    templates = sorted({*snapshot.ids(Kind.TEMPLATE), *rows[Kind.TEMPLATE]})
    return OemHolding(
        account=chosen,
        automations=blends,
        top=tuple(ident for ident in blends if ident not in children),
        connections=sources,
        connectors=_all(snapshot, Kind.CONNECTOR, connector_of),
        templates={ident: template_of(_value(snapshot, Kind.TEMPLATE, ident, rows)) for ident in templates},
        schedules={
            ident: schedule_of(_value(snapshot, Kind.SCHEDULE, ident))
            for ident in snapshot.ids(Kind.SCHEDULE)
            if ident in blends
        },
        supplied=frozenset(ident for ident in snapshot.ids(Kind.WORKSPACE) if ident in blends),
    )


def _all(snapshot: Snapshot, kind: Kind, view: Callable[[Mapping[str, Any]], T]) -> dict[str, T]:
    return {ident: view(_value(snapshot, kind, ident)) for ident in snapshot.ids(kind)}


Rows = Mapping[Kind, Mapping[str, Document]]


def _rows(snapshot: Snapshot, kind: Kind) -> dict[str, Document]:
    return {row.id: row for row in snapshot.rows(kind)}


def _value(snapshot: Snapshot, kind: Kind, ident: str, rows: Rows | None = None) -> Mapping[str, Any]:
    """An object's own document, or else its row."""
    row = rows.get(kind, {}).get(ident) if rows else None
    document = row if row is not None and ident not in snapshot.ids(kind) else snapshot.detail(kind, ident)
    value = parse(document.raw)
    if not isinstance(value, Mapping):
        raise CorruptError(f"the {kind.value} {ident} is no object")
    return value


def _members(snapshot: Snapshot, account: Account) -> tuple[list[str], list[str]]:
    """Ids of its automations and connections that the snapshot holds."""
    try:
        value = _value(snapshot, Kind.MEMBERSHIP, account.id)
    except KeyError:
        raise CorruptError(f"the archive does not say what the account `{account.label}` held") from None
    held = {
        Kind.AUTOMATION: set(snapshot.ids(Kind.AUTOMATION)),
        Kind.CONNECTION: {*snapshot.ids(Kind.CONNECTION), *_rows(snapshot, Kind.CONNECTION)},
    }
    named = ((Kind.AUTOMATION, value.get("automations")), (Kind.CONNECTION, value.get("connections")))
    automations, connections = (
        sorted(one for one in (ids if isinstance(ids, list) else ()) if one in held[kind]) for kind, ids in named
    )
    return automations, connections
