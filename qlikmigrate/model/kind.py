"""The kinds of resource, each declared once: what is cut out, what may be written, what is compared."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class Kind(StrEnum):
    """A kind of resource. The value is the word used in files, output and messages.

    In a snapshot of OEM accounts an automation is what that API calls a blend, a connection what it calls a datasource.
    """

    AUTOMATION = "automation"
    CONNECTION = "connection"
    CONNECTOR = "connector"
    SPACE = "space"
    ASSIGNMENT = "assignment"
    USER = "user"
    ITEM = "item"
    SETTINGS = "settings"
    TENANT = "tenant"
    # Of Qlik Application Automation for OEM.
    ACCOUNT = "account"
    TEMPLATE = "template"
    MEMBERSHIP = "membership"
    RUN = "run"
    # What people hand in, because no call gives it.
    WORKSPACE = "workspace"
    SCHEDULE = "schedule"


@frozen(kw_only=True)
class KindFacts:
    """What the product must know of one kind.

    A path is the member names from the top down, `*` for each element of a list; a name that ends in `*` is a prefix.
    """

    secret_paths: tuple[tuple[str, ...], ...] = ()
    run_paths: tuple[tuple[str, ...], ...] = ()
    created_fields: tuple[str, ...] = ()
    updated_fields: tuple[str, ...] = ()
    volatile_fields: tuple[str, ...] = ()


_AUTOMATION = KindFacts(
    secret_paths=(("executionToken",), ("execution_token",), ("sub_blends", "*", "execution_token")),
    run_paths=(
        ("lastRun*",),
        ("last_run_at",),
        ("duration",),
        ("schedules", "*", "nextRunAt"),
        ("schedules", "*", "lastStartedAt"),
        ("schedules", "*", "lastStartAt"),
    ),
    # Source: openapi/workflows-automations.json, request bodies of createAutomation and updateAutomation.
    created_fields=("name", "description", "spaceId", "schedules", "workspace", "maxConcurrentRuns"),
    updated_fields=("name", "description", "schedules", "workspace", "maxConcurrentRuns"),
    # Computed by the service, or of one tenant only.
    volatile_fields=(
        "id", "createdAt", "updatedAt", "runMode", "connectorIds", "endpointIds", "snippetIds", "containsBillable",
        "timeout", "links",
    ),
)  # fmt: skip

_CONNECTION = KindFacts(
    # The second line is OEM's: links by which a person connects it. Source: Qlik's page "Get datasource in account".
    secret_paths=(
        ("params", "*", "value"), ("redirect",),
        ("link",), ("additional",), ("redirect_url",),
    ),
    created_fields=("connectorId", "name", "params", "spaceId"),
    updated_fields=("name", "params"),
    volatile_fields=("id", "createdAt", "updatedAt", "isConnected", "error", "links"),
)  # fmt: skip

# Source: Qlik's page "Create account": the credentials for the partner's own connector.
_ACCOUNT = KindFacts(secret_paths=(("datasource",),))

_DECLARED: Mapping[Kind, KindFacts] = {
    Kind.AUTOMATION: _AUTOMATION,
    Kind.CONNECTION: _CONNECTION,
    Kind.ACCOUNT: _ACCOUNT,
}
FACTS: Mapping[Kind, KindFacts] = {kind: _DECLARED.get(kind, KindFacts()) for kind in Kind}
