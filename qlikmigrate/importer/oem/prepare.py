"""Everything up to a plan for an OEM account: read the archive, read the account with GETs, match, compare, decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve

from qlikmigrate import __version__
from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.limiter import least_s
from qlikmigrate.api.oem.operation import PAGE_ROWS
from qlikmigrate.api.oem.paging import ROUND
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.ledger import Ledger, default_ledger, read_ledger
from qlikmigrate.importer.oem.action import AccountAction
from qlikmigrate.importer.oem.connection_plan import ConnectionNeeds, plan_connections
from qlikmigrate.importer.oem.matching import OemMatching, match
from qlikmigrate.importer.oem.planner import OemDecided, OemPlanInput, decide
from qlikmigrate.importer.oem.source import OemSource, read_source
from qlikmigrate.importer.oem.target import (
    OemTarget,
    find_connector,
    read_connector,
    read_states,
    read_target,
    with_details,
)
from qlikmigrate.importer.plan import (
    SAME_TENANT,
    ArchiveRef,
    Forecast,
    MappedRow,
    Plan,
    SameTenant,
    Step,
    TargetRef,
    Verb,
)
from qlikmigrate.importer.planner import settled
from qlikmigrate.importer.prepare import mapping_hash
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import SOURCE_KIND, OemConnector, automation_of, is_oem
from qlikmigrate.remap.mapping_file import MappingFile

NEW_ACCOUNT = "new:"


def check_request(request: PlanRequest) -> None:
    """What means nothing in an OEM account is refused rather than passed over.

    Raises:
        UsageError: the archive is of Qlik Cloud, or a flag is for Qlik Cloud.
    """
    if not is_oem(request.snapshot):
        raise UsageError(
            "the archive is of a Qlik Cloud tenant, and an OEM account takes automations from templates only",
            hint="restore it into a tenant of Qlik Cloud",
        )
    options = request.options
    given = {
        "--owner": options.owner != "auto",
        "--default-owner": bool(options.fallback_owner),
        "--default-space": bool(options.default_space),
        "--settings": options.settings,
        "--create-spaces": options.create_spaces,
        "--sync": bool(options.sync),
        "--repoint-callers": options.repoint_callers,
        "--match-items": request.match_items,
        "--with-calls": options.with_calls,
    }
    for flag, said in given.items():
        if said:
            raise UsageError(f"{flag} is for tenants of Qlik Cloud", hint="leave it out for an OEM account")


async def make_oem_plan(client: OemClient, request: PlanRequest, account: str, *, clock: Clock, sink: Sink) -> Plan:
    """The plan of a restore into the account that `account` (guid or externalid) means. Sends GETs only.

    Raises:
        AuthError, FailedError, UsageError, CorruptError: as reading archive and account does.
    """
    check_request(request)
    source = read_source(request.snapshot, request.selectors)
    target = await read_target(client, account, sink=sink)
    options = request.options
    if target.account is None and not options.create_account:
        near = ", ".join(target.labels[:20]) or "none"
        raise UsageError(f"no account is called `{account}` at `{client.endpoint.name}`",
                         hint=f"there are: {near}; --create-account makes a new one")  # fmt: skip
    same = target.account_id == source.holding.account.id
    ledger_path = ledger_of(options.ledger, source, target.account_id)
    ledger = _read_ledger(ledger_path, source, target.account_id)
    connectors = await _connectors(client, source, target, request.decisions)
    matching = match(
        source,
        target,
        decisions=request.decisions,
        ledger=ledger,
        connectors={ident: one.id for ident, one in connectors.items() if one is not None},
        copy=options.same_tenant is SameTenant.COPY,
    )
    target = await _with_details(client, source, target, matching, sink)
    connections, told = plan_connections(
        ConnectionNeeds(
            source=source,
            target=target,
            matching=matching,
            options=options,
            connectors=connectors,
            values=request.secrets,
        )
    )
    decided = decide(
        OemPlanInput(
            source=source,
            target=target,
            matching=matching,
            ledger=ledger,
            options=options,
            connections=connections,
            required=await _required(client, source, target, matching),
        )
    )
    problems = settled((*decided.problems, *told))
    if same and options.same_tenant is None:
        problems = (_same_account(target), *problems)
    plan = _plan_of(client, request, source, target, matching, decided, problems, ledger_path, clock)
    return evolve(plan, forecast=_forecast(plan, client, target))


def ledger_of(chosen: str, source: OemSource, account_id: str) -> Path | None:
    """Where the ledger of the two accounts is; None as long as the target does not exist."""
    if chosen:
        return Path(chosen)
    return default_ledger(source.holding.account.id, account_id) if account_id else None


def _read_ledger(path: Path | None, source: OemSource, account_id: str) -> Ledger:
    if path is None or not account_id:
        return Ledger()
    return read_ledger(path, source_tenant=source.holding.account.id, target_tenant=account_id)


async def _connectors(
    client: OemClient, source: OemSource, target: OemTarget, decisions: MappingFile
) -> dict[str, OemConnector | None]:
    """Source guid → the target's connector: the mapping file's, the one of the same guid, that of exactly its name."""
    found: dict[str, OemConnector | None] = {}
    listed: dict[str, list[str]] = {}
    for one in source.connections():
        if not one.connector_id or one.connector_id in found:
            continue
        name = one.connector_name
        said = [each.target for each in decisions.entries
                if each.kind is Kind.CONNECTOR and each.source in (one.connector_id, name) and each.target]  # fmt: skip
        there = await read_connector(client, said[0] if said else one.connector_id)
        if there is None and name:
            # The guid is another provider's: what the target's own connections say is nearer than the public list.
            names = {each.connector_id for each in target.connections.values() if each.connector_name == name}
            if not names:
                if name not in listed:
                    listed[name] = await _by_name(client, name)
                names = set(listed[name])
            there = await read_connector(client, names.pop()) if len(names) == 1 else None
        found[one.connector_id] = there
    return found


async def _by_name(client: OemClient, name: str) -> list[str]:
    """The public list is a help only: where it cannot be had, nothing is found by name."""
    try:
        return await find_connector(client, name)
    except UnauthorizedError:
        raise
    except ApiError:
        return []


async def _with_details(
    client: OemClient, source: OemSource, target: OemTarget, matching: OemMatching, sink: Sink
) -> OemTarget:
    """The counterparts with their inputs, and with their states where something shows those."""
    idents = {matching.automation(ident).target_id for ident in source.chosen} - {""}
    if not idents:
        return target
    target = await with_details(client, target, idents, sink=sink)
    if idents - target.states.keys():
        states = await read_states(client, target.account_id, target.connections.keys(), sink=sink)
        target = evolve(target, states={**states, **target.states})
    return target


async def _required(
    client: OemClient, source: OemSource, target: OemTarget, matching: OemMatching
) -> dict[str, frozenset[str]]:
    """Template of the target → names of required inputs, those of a bundle's parts included."""
    needed: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for ident in source.chosen:
        if matching.automation(ident).target_id:
            continue
        top = source.parents.get(ident, ident)
        template, whole = (matching.template(source.automation(one).template_id).target_id for one in (ident, top))
        if template and whole:
            needed.setdefault(whole, set()).add(template)
            own.setdefault(template, set())

    async def read(ident: str) -> None:
        try:
            value = (await client.call("template.get", template=ident)).json() or {}
        except MissingError:
            return
        own[ident] |= {one.name for one in automation_of(value).inputs if one.is_required and one.is_writable}

    await fan_out(sorted(own), read, width=client.endpoint.limits.concurrency)
    return {whole: frozenset().union(*(own[one] for one in ones)) for whole, ones in needed.items()}


def _same_account(target: OemTarget) -> Problem:
    name = target.account.label if target.account else ""
    return Problem(
        code=SAME_TENANT,
        severity=Severity.ERROR,
        message=f"the archive is of this very account: `{name}`",
        where=f"account {target.account_id}",
        hint="say --same-tenant recover (bring back what is gone) or copy (make new ones)",
    )


def _plan_of(
    client: OemClient,
    request: PlanRequest,
    source: OemSource,
    target: OemTarget,
    matching: OemMatching,
    decided: OemDecided,
    problems: tuple[Problem, ...],
    ledger_path: Path | None,
    clock: Clock,
) -> Plan:
    holding, options, endpoint = source.holding, request.options, client.endpoint
    account = AccountAction(
        source_id=holding.account.id,
        external_id=target.account.external_id if target.account else target.word,
        name=target.account.name if target.account else options.account_name or holding.account.name or target.word,
        id=target.account_id,
        creates=target.account is None,
    )
    used = {matching.template(source.automation(ident).template_id).target_id for ident in source.chosen}
    prints = {kind: dict(rows) for kind, rows in target.fingerprint.items()}
    templates = prints.get(Kind.TEMPLATE.value, {})
    prints[Kind.TEMPLATE.value] = {ident: one for ident, one in templates.items() if ident in used}
    return Plan(
        tool_version=__version__,
        created_at=rfc3339(clock.now()),
        archive=ArchiveRef(
            path=request.archive,
            digest=request.snapshot.digest,
            tenant_id=holding.account.id,
            tenant_name=holding.account.label,
            host=request.snapshot.manifest.tenant.host,
            source_kind=request.snapshot.manifest.source_kind,
        ),
        target=TargetRef(
            name=endpoint.name,
            tenant_id=target.account_id or f"{NEW_ACCOUNT}{target.word}",
            host=endpoint.host,
            caller_id=f"app {endpoint.credentials.app_id}",
            api=SOURCE_KIND,
            fingerprint=prints,
        ),
        options=evolve(
            options,
            mapping_hash=mapping_hash(request.mapping_text),
            ledger=str(ledger_path.absolute()) if ledger_path else "",
        ),
        rows=tuple(_rows(source, matching)),
        account=account,
        connections=decided.connections,
        actions=decided.actions,
        problems=problems,
    )


def _rows(source: OemSource, matching: OemMatching) -> Iterable[MappedRow]:
    holding = source.holding
    names: Mapping[Kind, Mapping[str, str]] = {
        Kind.TEMPLATE: {ident: one.name for ident, one in holding.templates.items()},
        Kind.CONNECTION: {ident: one.name for ident, one in holding.connections.items()},
        Kind.AUTOMATION: {ident: one.name for ident, one in holding.automations.items()},
    }
    for kind, found in (
        (Kind.TEMPLATE, matching.templates),
        (Kind.CONNECTION, matching.connections),
        (Kind.AUTOMATION, matching.automations),
    ):
        for ident, one in sorted(found.items()):
            yield MappedRow(
                kind=kind,
                source_id=ident,
                source_name=names[kind].get(ident, ""),
                target_id=one.target_id or None,
                decision=one.decision.value,
                rule=one.rule,
            )


def _forecast(plan: Plan, client: OemClient, target: OemTarget) -> Forecast:
    """The calls of applying the plan when all goes well; reads and writes come out of one bucket.

    Writes that turn out to change nothing, as where a template gives what is wanted, are counted all the same.
    """
    limits = client.endpoint.limits
    calls = _reads(plan, target) + plan.writes
    return Forecast(tier1=calls, tier2=0, token=0, writes=plan.writes, seconds=round(least_s(limits, calls), 1))


def _reads(plan: Plan, target: OemTarget) -> int:
    """Both sides are looked at again, then each install is looked for in a list that grows, and all is read back."""
    rows = len(target.automations) - len(target.parts)
    installs = sum(Step.INSTALL in one.steps for one in plan.actions)
    reads = 1 + _pages(len(target.templates))
    if target.account is None:
        reads += 1
    else:
        reads += _pages(rows) + _pages(len(target.connections), told=True)
    if installs:
        reads += _pages(rows) + sum(_pages(rows + one) for one in range(1, installs + 1)) + _pages(rows + installs)
    there = [one for one in plan.connections if one.verb is Verb.CREATE or one.target_id]
    # The list before it is made, and whether it connects.
    reads += sum(1 + (one.verb is Verb.CREATE) for one in there)
    written = [one for one in plan.actions if one.verb in (Verb.CREATE, Verb.UPDATE)]
    for one in written:
        made = one.verb is Verb.CREATE and not (one.oem and one.oem.parts)
        reads += 1 + (Step.INPUTS in one.steps or Step.RENAME in one.steps) + made
    # Their states, which as a rule only the connections show.
    return reads + (len(there) if written else 0)


def _pages(rows: int, *, told: bool = False) -> int:
    """Calls for a list. `told`: it says how long it is; else a round number of rows may be a full page."""
    left = rows % PAGE_ROWS
    return rows // PAGE_ROWS + 1 + (not told and left > 0 and left % ROUND == 0)
