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
    `deep_secrets`, `deep_runs`: names of members that are cut wherever they stand, but for what people made (`OPAQUE`).
    """

    secret_paths: tuple[tuple[str, ...], ...] = ()
    run_paths: tuple[tuple[str, ...], ...] = ()
    deep_secrets: tuple[str, ...] = ()
    deep_runs: tuple[str, ...] = ()
    created_fields: tuple[str, ...] = ()
    updated_fields: tuple[str, ...] = ()
    volatile_fields: tuple[str, ...] = ()


_AUTOMATION = KindFacts(
    secret_paths=(("executionToken",),),
    run_paths=(
        ("lastRun*",),
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
    secret_paths=(("params", "*", "value"), ("redirect",)),
    created_fields=("connectorId", "name", "params", "spaceId"),
    updated_fields=("name", "params"),
    volatile_fields=("id", "createdAt", "updatedAt", "isConnected", "error", "links"),
)  # fmt: skip

_DECLARED: Mapping[Kind, KindFacts] = {Kind.AUTOMATION: _AUTOMATION, Kind.CONNECTION: _CONNECTION}
FACTS: Mapping[Kind, KindFacts] = {kind: _DECLARED.get(kind, KindFacts()) for kind in Kind}

# What people made or entered: nothing in it is cut, and secrets there are counted instead.
OPAQUE = frozenset({"workspace", "persisted_value"})
# Blends stand in answers of several kinds. Assumed: should one show its token, it is called so at any depth.
_TOKENS = ("executionToken", "execution_token")
_RUNS = ("last_run_at",)
_OEM_DECLARED: Mapping[Kind, KindFacts] = {
    # `datasource`: the credentials for the partner's own connector. Source: Qlik's page "Create account".
    Kind.ACCOUNT: KindFacts(secret_paths=(("datasource",),), deep_secrets=_TOKENS),
    # `params` are only written, by the documentation; `link` and `additional` hold the address by which a person
    # connects it. Source: Qlik's pages "Get datasource in account" and "Create datasource in account".
    Kind.CONNECTION: KindFacts(
        secret_paths=(("params",), ("link",), ("additional",), ("redirect_url",)),
        deep_secrets=_TOKENS,
        deep_runs=_RUNS,
    ),
    # What people hand in is stored as it is. It may be a whole answer of the API, saved with its token.
    Kind.WORKSPACE: KindFacts(secret_paths=tuple((name,) for name in _TOKENS)),
    **dict.fromkeys((Kind.SCHEDULE, Kind.MEMBERSHIP), KindFacts()),
}
OEM_FACTS: Mapping[Kind, KindFacts] = {
    kind: _OEM_DECLARED.get(kind, KindFacts(deep_secrets=_TOKENS, deep_runs=_RUNS)) for kind in Kind
}
"""The same for documents of OEM accounts."""
