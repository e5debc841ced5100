"""What a provider's service stores. The values are kept apart from the shapes in which they are answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attrs import define, field, frozen

# Source: the page on updating an integration: -1 disabled, 0 once.
INTERVALS = (
    -1, 0, 30, 60, 120, 300, 900, 1800, 3600, 14_400, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
)  # fmt: skip


@frozen(kw_only=True)
class OemParam:
    """A parameter of a connector. `type`: string, password, select."""

    name: str
    type: str = "string"
    is_required: bool = True
    example_value: str = ""
    options: tuple[str, ...] = ()


@frozen(kw_only=True)
class OemConnector:
    """A connector. `authentication_type` "oAuth2 3-legged": connecting takes a person with a browser."""

    guid: str
    name: str
    description: str = ""
    authentication_type: str = "apiKey"
    params: tuple[OemParam, ...] = ()

    @property
    def is_oauth(self) -> bool:
        """Whether a person must consent."""
        return self.authentication_type.startswith("oAuth2")


@frozen(kw_only=True)
class OemInput:
    """An input of a template or blend. `default`: what an instance has until somebody sets it."""

    field_name: str
    prompt: str = ""
    default: Any = None
    is_required: bool = False
    is_top_input: bool = True
    is_persisted: bool = True
    label: str = "start"
    block_id: str = "inputs"

    @property
    def is_writable(self) -> bool:
        """Whether the API may set it. Source: the page on persisted inputs."""
        return self.is_top_input and self.is_persisted


@frozen(kw_only=True)
class OemSchedule:
    """A schedule, in the form in which it is written. `interval` -1: none."""

    start_at: str | None = None
    stop_at: str | None = None
    interval: int = -1
    timezone: str = "UTC"


@define(eq=False, kw_only=True)
class Template:
    """A template, or a bundle of them. `connectors`: guids of those that its blocks use."""

    guid: str
    name: str
    externalid: str
    created_at: datetime
    short_description: str | None = None
    description: str | None = None
    status: str = "live"
    run_mode: str = "manual"
    has_setup: bool = False
    has_settings: bool = False
    inputs: tuple[OemInput, ...] = ()
    first_input: int = 0
    schedule: OemSchedule = OemSchedule()
    connectors: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    children: tuple[Template, ...] = ()
    is_bundle: bool = False
    workspace: dict[str, Any] | None = None

    def leaves(self) -> tuple[Template, ...]:
        """What would run: its children, or itself."""
        return self.children if self.is_bundle else (self,)


@define(eq=False, kw_only=True)
class Run:
    """A run. `status`: queued, running, finished."""

    guid: str
    blend: Blend
    context: str
    status: str
    created_at: datetime
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    inputs: dict[str, Any] = field(factory=dict)


@define(eq=False, kw_only=True)
class Blend:
    """A blend of an account. `links`: guids of the datasources it is bound to; `activated_at`: since when its schedule
    counts; `due`: when it starts next. `listed_from` and `listed_call`: when lists begin to show it.
    `ignored_states`: how many PUTs with a state were ignored.
    """

    guid: str
    account: Account
    name: str
    token: str
    created_at: datetime
    updated_at: datetime
    template: str | None = None
    parent: Blend | None = None
    children: list[Blend] = field(factory=list)
    is_bundle: bool = False
    short_description: str | None = None
    description: str | None = None
    status: str = "live"
    state: str = "available"
    mode: str = "manual"
    has_setup: bool = False
    has_settings: bool = False
    inputs: tuple[OemInput, ...] = ()
    first_input: int = 0
    values: dict[str, Any] = field(factory=dict)
    schedule: OemSchedule = OemSchedule()
    activated_at: datetime | None = None
    due: datetime | None = None
    connectors: tuple[str, ...] = ()
    links: set[str] = field(factory=set)
    runs: deque[Run] = field(factory=lambda: deque(maxlen=5000))  # Source: platform limits, logs kept for each blend
    last_run_at: datetime | None = None
    workspace: dict[str, Any] | None = None
    response: bytes = b"{}"
    listed_from: float = float("-inf")
    listed_call: int = 0
    ignored_states: int = 0

    @property
    def top(self) -> Blend:
        """The bundle it belongs to, or itself."""
        return self.parent or self

    def leaves(self) -> tuple[Blend, ...]:
        """What runs: its children, or itself."""
        return tuple(self.children) if self.is_bundle else (self,)

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule would start it."""
        return self.schedule.interval >= 0

    @property
    def run_mode(self) -> str:
        """Assumed: a schedule wins, else what its Start block asks for."""
        if self.is_scheduled:
            return "scheduled"
        return "manual" if self.mode == "scheduled" else self.mode

    @property
    def setup_complete(self) -> bool:
        """Assumed: every input that must have a value has one."""
        return all(self.values.get(one.field_name) is not None for one in self.inputs if one.is_required)


@define(eq=False, kw_only=True)
class Datasource:
    """Credentials for a connector. `params` and `link` are never answered but where the page says so."""

    guid: str
    account: Account
    connector: OemConnector
    name: str
    created_at: datetime
    updated_at: datetime
    params: dict[str, Any] = field(factory=dict)
    redirect_url: str | None = None
    consented: bool = True
    link: str = ""
    link_expires_at: datetime | None = None

    @property
    def is_connected(self) -> bool:
        """Whether it would work: a person consented, and each parameter that must be there is."""
        if not self.consented:
            return False
        return all(self.params.get(one.name) not in (None, "") for one in self.connector.params if one.is_required)


@define(eq=False, kw_only=True)
class Account:
    """A customer account. `datasource`: credentials for the partner's own connector, never answered."""

    guid: str
    externalid: str | None
    name: str
    created_at: datetime
    expired: bool = False
    user: dict[str, Any] | None = None
    datasource: dict[str, Any] | None = None
    invited: bool = False
    blends: dict[str, Blend] = field(factory=dict)
    datasources: dict[str, Datasource] = field(factory=dict)
    list_calls: int = 0
    running: dict[str, Run] = field(factory=dict)
    queue: deque[Run] = field(factory=deque)

    def tops(self) -> Iterator[Blend]:
        """The blends that are no bundle's children."""
        return (one for one in self.blends.values() if one.parent is None)
