"""Everything up to a plan: read the archive, read the target with GETs, match, rewrite in memory, compare, decide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve

from qlikmigrate import __version__
from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.caller_left import face_here, read_callers_left, repointed
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.importer.connection_plan import (
    ConnectionInput,
    ConnectionPlan,
    Parameter,
    plan_connections,
    used_connections,
)
from qlikmigrate.importer.connector_catalogue import ConnectorCatalogue, read_catalogue
from qlikmigrate.importer.connector_reading import read_parameters
from qlikmigrate.importer.counterpart import PlanRequest, find_counterparts
from qlikmigrate.importer.draft import Draft, draft_of
from qlikmigrate.importer.forecast import forecast
from qlikmigrate.importer.hidden_connection import with_hidden
from qlikmigrate.importer.ledger import Ledger, default_ledger, read_ledger
from qlikmigrate.importer.plan import (
    SAME_TENANT,
    Action,
    ArchiveRef,
    MappedRow,
    Plan,
    SameTenant,
    TargetRef,
    WantedOwner,
)
from qlikmigrate.importer.planner import Decided, PlanInput, decide, settled
from qlikmigrate.importer.preflight import PreflightInput, check_probes, first_impersonated
from qlikmigrate.importer.preview import Preview, preview
from qlikmigrate.importer.probe import probe
from qlikmigrate.importer.source import Source, read_source
from qlikmigrate.importer.space_plan import read_spaces
from qlikmigrate.importer.target import Target, read_faces, read_target, with_unlisted
from qlikmigrate.kernel.clock import Clock, rfc3339
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.mapping import PENDING, UNMATCHED
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.mapping_file import MappingFile
from qlikmigrate.remap.name_reference import find_names, name_index
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting
from qlikmigrate.remap.secret import with_secrets


async def propose_mapping(client: CloudClient, request: PlanRequest, *, sink: Sink) -> tuple[IdMapping, Source, Target]:
    """Match the whole archive against the target.

    Raises:
        AuthError, FailedError, UsageError, CorruptError: as reading them does.
    """
    source = read_source(request.snapshot, request.selectors, with_calls=request.options.with_calls)
    target = await read_target(client, sink=sink, match_items=request.match_items)
    tenant = request.snapshot.manifest.tenant
    ledger_path = (
        Path(request.options.ledger)
        if request.options.ledger
        else default_ledger(tenant.id, target.inventory.tenant.id)
    )
    ledger = read_ledger(ledger_path, source_tenant=tenant.id, target_tenant=target.inventory.tenant.id)
    mapping, _ = await find_counterparts(client, request, source, target, ledger)
    return mapping, source, target


async def make_plan(client: CloudClient, request: PlanRequest, *, clock: Clock, sink: Sink) -> Plan:
    """The plan of a restore. Sends GETs and token requests only.

    Raises:
        AuthError, FailedError, UsageError, CorruptError: as reading archive and target does.
    """
    return (await _make_plan(client, request, clock=clock, sink=sink))[0]


async def make_plan_and_preview(
    client: CloudClient, request: PlanRequest, *, clock: Clock, sink: Sink
) -> tuple[Plan, Preview]:
    """The same, and what its updates change, for which the documents concerned are read once more.

    Raises:
        AuthError, FailedError, UsageError, CorruptError: as reading archive and target does.
    """
    plan, target = await _make_plan(client, request, clock=clock, sink=sink)
    return plan, await preview(client, plan, request.snapshot, target.inventory, values=request.values, sink=sink)


async def _make_plan(client: CloudClient, request: PlanRequest, *, clock: Clock, sink: Sink) -> tuple[Plan, Target]:
    options = request.options
    source = read_source(request.snapshot, request.selectors, with_calls=options.with_calls)
    facts = await client.tenant()
    manifest = request.snapshot.manifest
    target = await read_target(client, sink=sink, match_items=request.match_items)
    ledger_path = Path(options.ledger) if options.ledger else default_ledger(manifest.tenant.id, facts.id)
    ledger = read_ledger(ledger_path, source_tenant=manifest.tenant.id, target_tenant=facts.id)
    target = await with_unlisted(client, target, _written_for(source, ledger))
    mapping, fallback = await find_counterparts(client, request, source, target, ledger)
    seen = target
    if options.connections != "skip":
        target = await with_hidden(client, target, used_connections(source), mapping, ledger)
    if target is not seen:
        mapping, fallback = await find_counterparts(client, request, source, target, ledger)
    planned = await _plan_connections(client, request, source, target, mapping)
    mapping = mapping.with_pending(planned.pending())
    counterparts = [
        found
        for one in source.automations.values()
        if (found := target.inventory.get(Kind.AUTOMATION, mapping.target_of(Kind.AUTOMATION, one.entity.id)))
    ]
    faces = await read_faces(client, counterparts, sink=sink)
    catalogue = await read_catalogue(client, source, mapping)
    recovered = faces if options.same_tenant is SameTenant.RECOVER else {}
    given = PlanInput(
        source=source,
        target=target,
        mapping=mapping,
        ledger=ledger,
        options=options,
        drafts=_drafts(source, target, mapping, catalogue, recovered, sink),
        faces=faces,
        now=clock.now(),
        fallback=fallback,
        records=read_spaces(request.snapshot),
        connections=planned,
        max_runs_wanted=_max_runs(request.snapshot) if options.settings else None,
    )
    decided = decide(given)
    unmade = decided.unmade() & {ident.lower() for ident in source.automations}
    if decided.renewed or unmade:
        # References to what is made anew go to the new one, and to what is not made they go nowhere: drafted once more.
        mapping = _without_pending(_renewed(mapping, decided.renewed), unmade)
        given = evolve(given, mapping=mapping, drafts=_drafts(source, target, mapping, catalogue, recovered, sink))
        decided = decide(given)
    problems = (*decided.problems, *catalogue.problems)
    if options.same_tenant is SameTenant.RECOVER:
        callers = await read_callers_left(client, target, decided.actions, sink=sink)
        actions, told = repointed(decided.actions, callers, target, repoint=options.repoint_callers)
        decided, problems = evolve(decided, actions=actions), settled((*problems, *told))
    preflight = PreflightInput(
        source=source,
        target=target,
        actions=decided.actions,
        connections=decided.connections,
        settings=decided.settings,
        now=given.now,
    )
    probes = await probe(client, first_impersonated(decided.actions, decided.connections))
    problems = settled((*problems, *check_probes(probes, preflight)))
    if options.settings and target.max_runs_setting is None:
        problems = settled((*problems, _settings_unreadable()))
    if facts.id == manifest.tenant.id and options.same_tenant is None:
        problems = (_same_tenant(facts), *problems)
    plan = _plan_of(client, request, target, mapping, source, decided, problems, ledger_path, clock)
    return evolve(plan, forecast=forecast(plan, target, client.endpoint)), target


async def _plan_connections(
    client: CloudClient, request: PlanRequest, source: Source, target: Target, mapping: IdMapping
) -> ConnectionPlan:
    parameters: Mapping[str, tuple[Parameter, ...]] = {}
    if request.options.connections == "create":
        missing = [one for one in used_connections(source) if mapping.target_of(Kind.CONNECTION, one.id) is None]
        parameters = await read_parameters(client, request.snapshot, missing, mapping)
    return plan_connections(
        ConnectionInput(
            source=source,
            target=target,
            mapping=mapping,
            options=request.options,
            values=request.secrets,
            parameters=parameters,
        )
    )


def _max_runs(snapshot: Snapshot) -> int | None:
    """The source's limit of concurrent runs for each automation, where the archive has it."""
    try:
        value = parse(snapshot.detail(Kind.SETTINGS, "").raw)
    except KeyError:
        return None
    found = value.get("maxConcurrentRunsPerAutomation") if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _settings_unreadable() -> Problem:
    return Problem(
        code="settings-unreadable",
        severity=Severity.WARNING,
        message="the target's settings cannot be read, so they are left as they are",
        where="settings",
        hint="they exist under `/api/workflows` only",
    )


def _plan_of(
    client: CloudClient,
    request: PlanRequest,
    target: Target,
    mapping: IdMapping,
    source: Source,
    decided: Decided,
    problems: tuple[Problem, ...],
    ledger_path: Path,
    clock: Clock,
) -> Plan:
    options, manifest, facts = request.options, request.snapshot.manifest, target.inventory.tenant
    return Plan(
        tool_version=__version__,
        created_at=rfc3339(clock.now()),
        archive=ArchiveRef(
            path=request.archive,
            digest=request.snapshot.digest,
            tenant_id=manifest.tenant.id,
            tenant_name=manifest.tenant.name or manifest.tenant.host,
            host=manifest.tenant.host,
            source_kind=manifest.source_kind,
        ),
        target=TargetRef(
            name=client.endpoint.name,
            tenant_id=facts.id,
            host=facts.host,
            caller_id=target.caller.user_id,
            api=target.api,
            fingerprint=target.fingerprint,
        ),
        options=evolve(options, mapping_hash=mapping_hash(request.mapping_text), ledger=str(ledger_path.absolute())),
        rows=_rows(mapping),
        hosts=dict(mapping.hosts),
        mail_domains=dict(mapping.mail_domains),
        rewrite_code=mapping.rewrite_code,
        rewrite_prose=mapping.rewrite_prose,
        settings=decided.settings,
        spaces=decided.spaces,
        connections=decided.connections,
        actions=decided.actions,
        owners=_wanted_owners(decided.actions, source, request.decisions),
        problems=problems,
    )


def _wanted_owners(actions: Iterable[Action], source: Source, decisions: MappingFile) -> tuple[WantedOwner, ...]:
    """The source's users for whom somebody stands in."""
    found = []
    for ident in sorted({action.wanted_owner for action in actions if action.stands_in}):
        user = source.inventory.get(Kind.USER, ident)
        if user is not None:
            renamed = decisions.renamed(user)
            # Only those who are active at the source are searched for by address, as when users are matched.
            email = renamed.email if user.status.lower() in ("", "active") else ""
            found.append(WantedOwner(source_id=ident, name=user.name, subject=renamed.subject, email=email))
    return tuple(found)


def _same_tenant(facts: TenantFacts) -> Problem:
    return Problem(
        code=SAME_TENANT,
        severity=Severity.ERROR,
        message=f"the archive is of this very tenant: `{facts.name or facts.host}`",
        where=f"tenant {facts.id}",
        hint="say --same-tenant recover (bring back what is gone) or copy (make new ones)",
    )


def _written_for(source: Source, ledger: Ledger) -> list[str]:
    entries = (ledger.get(Kind.AUTOMATION, ident) for ident in source.automations)
    return [entry.target_id for entry in entries if entry is not None]


def mapping_hash(text: str) -> str:
    """The hash of a mapping file's text; empty for none."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _drafts(
    source: Source,
    target: Target,
    mapping: IdMapping,
    catalogue: ConnectorCatalogue,
    recovered: Mapping[str, Face | None],
    sink: Sink,
) -> dict[str, Draft]:
    """`recovered`: faces of what still exists in the tenant that the archive is of, by id."""
    # What connectors publish changes findings only: applying the plan writes the same without reading them again.
    rewriting = Rewriting(
        source=source.inventory, target=target.inventory, mapping=mapping, published=catalogue.published
    )
    names = name_index(source.inventory, mapping)
    drafts: dict[str, Draft] = {}
    for ident in source.automations:
        raw = source.snapshot.detail(Kind.AUTOMATION, ident).raw
        rewritten = rewrite(raw, rewriting)
        findings = with_secrets((*rewritten.findings, *find_names(raw, names)), raw, source.token_hashes)
        rewritten = evolve(rewritten, findings=findings)
        new = any(kind is Kind.CONNECTION for kind, _ in rewritten.pending)
        bound = face_of(parse(raw)).bindings if new else {}
        face = face_of(parse(rewritten.raw))
        if (there := recovered.get(ident)) is not None:
            face = face_here(raw, there, mapping) or face
        drafts[ident] = draft_of(rewritten, face, bound, f"automation {ident}")
        sink(Progress(phase="rewrite", done=len(drafts), total=len(source.automations)))
    return drafts


def _renewed(mapping: IdMapping, renewed: frozenset[str]) -> IdMapping:
    rows = tuple(
        evolve(row, target_id=None) if row.kind is Kind.AUTOMATION and row.source.id.lower() in renewed else row
        for row in mapping.rows
    )
    return evolve(mapping, rows=rows).with_pending([(Kind.AUTOMATION, ident) for ident in renewed])


def _without_pending(mapping: IdMapping, unmade: frozenset[str]) -> IdMapping:
    rows = tuple(
        evolve(row, rule=UNMATCHED)
        if row.rule == PENDING and row.kind is Kind.AUTOMATION and row.source.id.lower() in unmade
        else row
        for row in mapping.rows
    )
    return evolve(mapping, rows=rows)


def _rows(mapping: IdMapping) -> tuple[MappedRow, ...]:
    return tuple(
        MappedRow(
            kind=row.kind,
            source_id=row.source.id,
            source_name=row.source.name,
            target_id=row.target_id,
            target_name=row.target_name,
            decision=row.decision.value,
            rule=row.rule,
        )
        for row in mapping.rows
    )
