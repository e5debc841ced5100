"""A plan: a pure value that says what a restore does, written as JSON that people can review and `apply` obeys.

It holds ids, names, paths and hashes; no bodies and no secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import cattrs
import orjson
from attrs import evolve, field, frozen
from cattrs.preconf.orjson import make_converter

from qlikmigrate.importer.oem.action import AccountAction, OemAction
from qlikmigrate.kernel.error import CorruptError, NotFoundError, UsageError
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.kernel.file import write_atomic
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import CLOUD
from qlikmigrate.model.oem import SOURCE_KIND

FORMAT = "qlikmigrate-plan"
FORMAT_VERSION = 1
SAME_TENANT = "same-tenant"

# Rules by which somebody else stands in for an owner.
FALLBACK = "fallback"
IMPORTER = "importer"


class Verb(StrEnum):
    """What is done with one object."""

    CREATE = "create"
    UPDATE = "update"
    ADOPT = "adopt"
    NONE = "none"
    SKIP = "skip"


class Step(StrEnum):
    """One write. `SHELL` creates what cannot fire; `PUT` completes or updates. The last four: of OEM automations."""

    SHELL = "shell"
    CREATE = "create"
    DISABLE = "disable"
    CHANGE_OWNER = "change-owner"
    CHANGE_SPACE = "change-space"
    PUT = "put"
    ENABLE = "enable"
    DELETE = "delete"
    CHECK = "check"
    INSTALL = "install"
    INPUTS = "inputs"
    RENAME = "rename"
    SCHEDULE = "schedule"


class OwnerMode(StrEnum):
    """How an automation comes to its owner. `CALLER`: the caller is the owner."""

    CALLER = "caller"
    IMPERSONATE = "impersonate"
    TRANSFER = "transfer"
    IMPORTER = "importer"


class Conflict(StrEnum):
    """What to do with a conflict."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"
    NEW = "new"


class SameTenant(StrEnum):
    """What a restore into the tenant it came from means."""

    RECOVER = "recover"
    COPY = "copy"


@frozen(kw_only=True)
class Action:
    """What is done with one automation.

    `owner_id`, `space_id`: at the target, space empty for a personal one. `held`: stays off until `activate`.
    `bind_last`: created without bindings, because its owner changes. `target_core`: hash of the version that an update
    replaces. `run_mode`: at the source. `wanted_owner`: the source user who owns it there; `owner_rule`: by what rule
    `owner_id` stands for them, where `fallback` and `importer` mean that somebody else stands in.
    `kept`: blocks that stay bound to what the target's people chose.
    Of an update: `synced`: what `--sync` brings over; `new_owner`, `new_space`: where to, None: it stays. `own_text`:
    the PUT sends the target's own document, `repoint`: with its calls of these ids led to what the run made of them.
    `adopted`: the document was found to be the source's, so nothing of it is written.
    `oem`: what is done with an automation of an OEM account, where owners, spaces and documents mean nothing.
    """

    seq: int
    verb: Verb
    source_id: str
    target_id: str | None = None
    name: str
    owner_id: str = ""
    owner_mode: OwnerMode = OwnerMode.CALLER
    wanted_owner: str = ""
    owner_rule: str = ""
    space_id: str = ""
    run_mode: str = ""
    armed: bool = False
    held: bool = False
    steps: tuple[Step, ...] = ()
    bind_last: bool = False
    kept: tuple[str, ...] = ()
    max_concurrent_runs: int | None = None
    target_core: str | None = None
    fields: tuple[str, ...] = ()
    synced: tuple[str, ...] = ()
    new_owner: str | None = None
    new_space: str | None = None
    own_text: bool = False
    repoint: tuple[str, ...] = ()
    adopted: bool = False
    oem: OemAction | None = None
    code: str = ""
    reason: str = ""

    @property
    def moves(self) -> bool:
        """Whether an update takes it to another owner or space."""
        return self.new_owner is not None or self.new_space is not None

    @property
    def stands_in(self) -> bool:
        """Whether its owner only stands in for the one it belongs to."""
        return self.verb is Verb.CREATE and self.owner_rule in (FALLBACK, IMPORTER)


@frozen(kw_only=True)
class WantedOwner:
    """A source user for whom somebody stands in, as the target's users are searched for them.

    Empty fields are not searched for. Rules of the mapping file that rewrite a field have been applied.
    """

    source_id: str
    name: str = ""
    subject: str = ""
    email: str = ""


@frozen(kw_only=True)
class MappedRow:
    """One row of the id mapping, as applied. `decision`: map | keep | drop | null."""

    kind: Kind
    source_id: str
    source_name: str = ""
    target_id: str | None = None
    target_name: str = ""
    decision: str = "map"
    rule: str = ""


@frozen(kw_only=True)
class ArchiveRef:
    """The archive a plan was made from. `digest` stands for all its documents.

    `source_kind`: what it is of, as its manifest says. Of an OEM archive `tenant_id` is the account that is meant.
    """

    path: str
    digest: str
    tenant_id: str
    tenant_name: str = ""
    host: str = ""
    source_kind: str = CLOUD

    @property
    def is_cloud(self) -> bool:
        """Whether it is of a tenant of Qlik Cloud; else of an OEM account."""
        return self.source_kind == CLOUD


@frozen(kw_only=True)
class TargetRef:
    """The tenant a plan is for. `fingerprint`: kind → id → hash of its list row without run data."""

    name: str
    tenant_id: str
    host: str
    caller_id: str
    api: str = ""
    fingerprint: Mapping[str, Mapping[str, str]] = field(factory=dict)


@frozen(kw_only=True)
class PlanOptions:
    """What the plan was asked for.

    `drill`: each selected automation is made anew, whatever the target holds of it, and removed again at the end.
    `from_table`: one of many targets, whose row of a table goes into values and secrets.
    `create_account`, `account_name`: of an OEM account that does not exist yet.
    """

    owner: str = "auto"
    fallback_owner: str = ""
    default_space: str = ""
    connections: str = "match"
    start: str = "held"
    on_conflict: Conflict = Conflict.FAIL
    settings: bool = False
    create_spaces: bool = False
    sync: tuple[str, ...] = ()
    same_tenant: SameTenant | None = None
    repoint_callers: bool = False
    drill: bool = False
    from_table: bool = False
    allow: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    with_calls: bool = False
    mapping_file: str = ""
    secrets_file: str = ""
    ids_file: str = ""
    mapping_hash: str = ""
    ledger: str = ""
    create_account: bool = False
    account_name: str = ""


@frozen(kw_only=True)
class Member:
    """Somebody's part in a space. `type`: user or bot. `assignee_id`: at the target."""

    assignee_id: str
    roles: tuple[str, ...]
    type: str = "user"


@frozen(kw_only=True)
class SpaceAction:
    """A space to be created first. `owner_id`: who is to own it at the target; empty: whoever creates it."""

    source_id: str
    name: str
    type: str
    description: str = ""
    owner_id: str = ""
    members: tuple[Member, ...] = ()

    @property
    def writes(self) -> int:
        """Writing calls that it takes."""
        return 1 + len(self.members) + bool(self.owner_id)


@frozen(kw_only=True)
class ConnectionAction:
    """What is done with a connection that the selection uses.

    `verb`: create, adopt (newly matched), none (known), skip. `connector_id`, `owner_id`, `space_id` are the target's,
    as for automations. `params`: names of the parameters that get a value; the values are in no plan. `used_by`: ids of
    the automations of the archive that are written with it.
    """

    verb: Verb
    source_id: str
    name: str
    target_id: str | None = None
    connector_id: str = ""
    owner_id: str = ""
    owner_mode: OwnerMode = OwnerMode.CALLER
    space_id: str = ""
    params: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    code: str = ""
    reason: str = ""


@frozen(kw_only=True)
class SettingsAction:
    """The target's limit of concurrent runs for each automation, raised to the source's."""

    before: int
    after: int


@frozen(kw_only=True)
class Forecast:
    """What applying the plan takes when all goes well.

    `tier1`, `tier2`, `token`: calls. `writes`: those of tier 2 that change the target. `seconds`: the least that the
    share of the quota allows, however fast the tenant answers. Of an OEM account all calls are in `tier1`: one rate.
    """

    tier1: int
    tier2: int
    token: int
    writes: int
    seconds: float


@frozen(kw_only=True)
class Plan:
    """The whole plan. `refused`: preflight found errors, and `apply` will not start. `account`: the OEM account."""

    tool_version: str
    created_at: str
    archive: ArchiveRef
    target: TargetRef
    options: PlanOptions
    rows: tuple[MappedRow, ...] = ()
    hosts: Mapping[str, str] = field(factory=dict)
    mail_domains: Mapping[str, str] = field(factory=dict)
    rewrite_code: bool = False
    rewrite_prose: bool = False
    account: AccountAction | None = None
    settings: SettingsAction | None = None
    spaces: tuple[SpaceAction, ...] = ()
    connections: tuple[ConnectionAction, ...] = ()
    actions: tuple[Action, ...] = ()
    owners: tuple[WantedOwner, ...] = ()
    problems: tuple[Problem, ...] = ()
    forecast: Forecast | None = None
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse it. Which tenant it is cannot be waived, only said with `--same-tenant`."""
        waived = set(self.options.allow) - {SAME_TENANT}
        return tuple(one for one in self.problems if one.severity is Severity.ERROR and one.code not in waived)

    @property
    def told(self) -> tuple[Problem, ...]:
        """The problems as people are told them: an error that `--allow` waives is the warning that it has become."""
        errors = set(self.errors)
        return tuple(
            evolve(one, severity=Severity.WARNING, message=f"{one.message} (allowed)")
            if one.severity is Severity.ERROR and one not in errors
            else one
            for one in self.problems
        )

    @property
    def refused(self) -> bool:
        """Whether preflight refuses it."""
        return bool(self.errors)

    @property
    def writes(self) -> int:
        """Writing calls that applying it takes when all goes well."""
        writes = [len(one.steps) for one in self.actions]
        writes += [len(one.steps) for one in self.connections]
        writes += [one.writes for one in self.spaces]
        account = self.account is not None and self.account.creates
        return sum(writes) + (1 if self.settings else 0) + account

    @property
    def is_oem(self) -> bool:
        """Whether it is for an OEM account."""
        return self.target.api == SOURCE_KIND

    @property
    def changes(self) -> bool:
        """Whether applying it would change the target."""
        return self.writes > 0

    def check_lasting(self, where: Path) -> None:
        """What a drill makes is made to be removed: nobody goes on from there. `where`: the run or plan, for the hint.

        Raises:
            UsageError: the plan is a drill's.
        """
        if self.options.drill:
            raise UsageError(f"{where} is a drill's", hint="`rollback RUN` removes what it left")

    def counts(self) -> dict[str, int]:
        """Automations by what is planned for them; `selected` is their sum."""
        return _count(one.verb for one in self.actions)

    def connection_counts(self) -> dict[str, int]:
        """The connections that the selection uses, counted likewise."""
        return _count(one.verb for one in self.connections)


COUNTED = {
    Verb.CREATE: "created",
    Verb.UPDATE: "updated",
    Verb.NONE: "unchanged",
    Verb.ADOPT: "adopted",
    Verb.SKIP: "skipped",
}


def _count(verbs: Iterable[Verb]) -> dict[str, int]:
    found = list(verbs)
    return {"selected": len(found)} | {word: found.count(verb) for verb, word in COUNTED.items()}


_CONVERTER = make_converter(forbid_extra_keys=True)


def dump_plan(plan: Plan) -> bytes:
    """The plan as JSON, the same bytes for the same plan."""
    value = _CONVERTER.unstructure(plan) | {"refused": plan.refused}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_plan(plan: Plan, path: Path) -> None:
    """Save a plan, readable by its owner only."""
    write_atomic(path, dump_plan(plan))


def read_plan(path: Path) -> Plan:
    """Read a saved plan.

    Raises:
        NotFoundError: there is no such file.
        CorruptError: it is no plan, damaged, or of a newer format.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no such plan: {path}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read the plan {path}: {error.strerror}") from None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise CorruptError(f"no plan: {path}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise CorruptError(f"no plan: {path}")
    if value.get("format_version") != FORMAT_VERSION:
        raise CorruptError(
            f"the plan {path} has format version {value.get('format_version')}; this program reads {FORMAT_VERSION}",
            hint="make the plan again with this version",
        )
    value.pop("refused", None)
    try:
        return _CONVERTER.structure(value, Plan)
    except cattrs.BaseValidationError:
        raise CorruptError(f"the plan {path} is damaged", hint="make the plan again") from None
