"""What is not known of the real service, as switches: a tool tested on both answers is right whichever holds.

Each default is the answer that public samples or Qlik's texts make the more likely one.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Families(StrEnum):
    """Path families that a tenant answers; the others give 404."""

    BOTH = "both"
    V1_ONLY = "v1-only"
    WORKFLOWS_ONLY = "workflows-only"


class BotConnections(StrEnum):
    """What a bot with `admin.automations` sees of other people's connections."""

    LIST_ONLY = "list-only"
    READ = "read"
    NONE = "none"


class EmptyWorkspace(StrEnum):
    """Whether an automation may be created without blocks."""

    ACCEPTED = "accepted"
    NEEDS_START = "needs-start"


class PutConflict(StrEnum):
    """What makes a PUT of an automation answer 409 (workflows paths only).

    `stale`: the caller has not read the version it writes over. `open-editor`: the id is in `CloudTenant.open_editors`.
    """

    NEVER = "never"
    STALE = "stale"
    OPEN_EDITOR = "open-editor"


class BothForms(StrEnum):
    """What a schedule with a recurrence and an interval becomes."""

    RECURRENCE_WINS = "recurrence-wins"
    INTERVAL_WINS = "interval-wins"
    REFUSED = "refused"


class ScheduleForms(StrEnum):
    """Forms of a schedule that the tenant keeps; the other one is dropped without a word."""

    BOTH = "both"
    INTERVAL_ONLY = "interval-only"
    RECURRENCE_ONLY = "recurrence-only"


class RecurrenceInterval(StrEnum):
    """What `interval` says beside a recurrence. Observed: a public sample has -2."""

    MINUS_TWO = "minus-two"
    COMPUTED = "computed"
    NULL = "null"


class Wrapping(StrEnum):
    """Which single objects come inside `{"data": …}`. Observed: a connection in Qlik's changelog 97."""

    NONE = "none"
    CONNECTIONS = "connections"
    ALL = "all"


@frozen(kw_only=True)
class RateLimits:
    """Calls a minute for each identity and tier, judged over `window_s` seconds: bursts pass until the window is full.

    Source: Qlik's page on rate limiting.
    """

    tier1_per_minute: int = 1000
    tier2_per_minute: int = 100
    window_s: float = 300.0


@frozen(kw_only=True)
class Switches:
    """How one tenant answers what the documentation leaves open."""

    families: Families = Families.BOTH
    list_workspace: bool = False  # rows of a list carry the workspace
    list_lag_s: float = 0.0  # a new object shows in lists after so many seconds …
    list_lag_calls: int = 0  # … and after so many list calls
    foreign_status: int = 403  # 403 or 404 for somebody else's object
    bot_connections: BotConnections = BotConnections.LIST_ONLY
    bot_needs_space_role: bool = False  # the bot too must be a member of the automation's space
    auto_creator_role: bool = True  # users get AutomationCreator by default
    created_disabled: bool = False  # state after create: `disabled` instead of `available`
    empty_workspace: EmptyWorkspace = EmptyWorkspace.ACCEPTED
    normalises: bool = True  # the stored workspace is re-spelled (keys, empty maps, empty texts)
    check_calls: bool = True  # a Call Automation block without a valid callee refuses the save
    disabled_calls_exempt: bool = True  # … unless that block is disabled
    refused_save_status: int = 400  # for such a save, and for too many concurrent runs: 400 or 422
    put_keeps_schedules: bool = True  # PUT without `schedules` keeps them (merge) or drops them (replace)
    put_keeps_disabled: bool = True  # `disabled` survives a PUT …
    owner_change_keeps_disabled: bool = True  # … and a change of owner
    owner_change_nulls_bindings: bool = True  # detached connections: values nulled, or left dangling
    space_change_nulls_bindings: bool = False
    put_conflict: PutConflict = PutConflict.NEVER
    both_forms: BothForms = BothForms.RECURRENCE_WINS
    schedule_forms: ScheduleForms = ScheduleForms.BOTH
    minutely_accepted: bool = True  # RRULE FREQ=MINUTELY
    rewrites_recurrence: bool = True  # the rule comes back in the service's own spelling
    recurrence_interval: RecurrenceInterval = RecurrenceInterval.MINUS_TWO
    masks_values: bool = False  # values of secret connection parameters come masked
    mask_overwrites: bool = True  # a PUT with the mask stores the mask
    wrapping: Wrapping = Wrapping.NONE
    string_booleans: bool = False  # booleans of connections come as "true" and "false"
    updates_on_state: bool = True  # enabling, disabling and handing over set `updatedAt`
    dates: bool = True  # answers carry the `Date` of the server's clock
    run_seconds: float = 0.0  # how long a run runs
    rate_limits: RateLimits | None = None
