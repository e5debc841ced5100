"""What a plan is asked for, and the target's counterparts of what it selects. Sends GETs only."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.fallback import Fallback, find_fallback, with_account
from qlikmigrate.importer.ledger import Ledger
from qlikmigrate.importer.plan import PlanOptions, SameTenant
from qlikmigrate.importer.renaming import with_renamed
from qlikmigrate.importer.source import Source
from qlikmigrate.importer.target import Target, read_automation
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem_view import OemView
from qlikmigrate.model.selection import Selectors
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.mapping import UNMATCHED, Decision, MappingRow
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.mapping_file import MappingFile
from qlikmigrate.remap.matching import Contents, contested, match
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting


@frozen(kw_only=True)
class PlanRequest:
    """What a plan is asked for. `values`: resolved `@@KEY@@` texts, `secrets`: values of connection parameters.

    Both are used and never stored.
    """

    archive: str
    snapshot: Snapshot
    selectors: Selectors = field(factory=Selectors)
    decisions: MappingFile = field(factory=MappingFile)
    mapping_text: str = ""
    values: Mapping[str, str] = field(factory=dict, repr=False)
    options: PlanOptions = field(factory=PlanOptions)
    match_items: bool = False
    secrets: Values = field(factory=dict, repr=False)


async def find_counterparts(
    client: CloudClient, request: PlanRequest, source: Source, target: Target, ledger: Ledger
) -> tuple[IdMapping, Fallback]:
    """The mapping of what a request selects to what the target holds, and who and what stands in for those without.

    Raises:
        UsageError: who or what is to stand in cannot be told.
        ApiError: an automation that must be told from its namesakes cannot be read.
    """
    options = request.options
    fallback = find_fallback(target, options, from_cloud=source.inventory.is_cloud)
    decisions = request.decisions
    if isinstance(source.snapshot, OemView):
        decisions = with_account(decisions, source.snapshot, fallback)

    def run(contents: Contents | None) -> IdMapping:
        mapping = match(
            source.inventory,
            target.inventory,
            decisions=decisions,
            ledger=ledger.pairs(),
            needed=source.needed(),
            contents=contents,
            owner_override=target.caller.user_id if options.owner == "importer" else None,
            fallback_owner=fallback.owner_id,
            fallback_space=fallback.space_id,
            copy=options.same_tenant is SameTenant.COPY,
            match_items=request.match_items,
        )
        mapping = _without_connections(mapping) if options.connections == "skip" else mapping
        return _without_counterparts(mapping, source) if options.drill else mapping

    mapping = run(None)
    unsure_here, unsure_there = contested(source.inventory, target.inventory, mapping)
    if unsure_here and unsure_there:
        mapping = run(await _contents(client, source, target, mapping, unsure_there))
    if not options.drill and target.inventory.tenant.id != request.snapshot.manifest.tenant.id:
        # Within one tenant, an automation of the same content is somebody's copy.
        owner = target.caller.user_id if options.owner == "importer" else None
        mapping = await with_renamed(client, source, target, mapping, owner=owner, fallback=fallback)
    pending = [
        (Kind.AUTOMATION, ident) for ident in source.automations if mapping.target_of(Kind.AUTOMATION, ident) is None
    ]
    return mapping.with_pending(pending).with_values(request.values), fallback


async def _contents(
    client: CloudClient, source: Source, target: Target, mapping: IdMapping, unsure: frozenset[str]
) -> Contents:
    """Hashes of the automations that share name, space and owner, so that content can tell them apart."""
    rewriting = Rewriting(source=source.inventory, target=target.inventory, mapping=mapping)
    there: dict[str, str] = {}

    async def read(one: Entity) -> None:
        _, value = await read_automation(client, one)
        there[one.id] = face_of(value).core

    ones = [one for ident in sorted(unsure) if (one := target.inventory.get(Kind.AUTOMATION, ident))]
    await fan_out(ones, read, width=client.endpoint.limits.concurrency)

    def here(ident: str) -> str | None:
        if ident not in source.automations:
            return None
        raw = rewrite(source.snapshot.detail(Kind.AUTOMATION, ident).raw, rewriting).raw
        return face_of(parse(raw)).core

    return Contents(source=here, target=there.get)


def _without_connections(mapping: IdMapping) -> IdMapping:
    rows = tuple(
        evolve(row, target_id=None, target_name="") if row.kind is Kind.CONNECTION and row.rule != "explicit" else row
        for row in mapping.rows
    )
    # A connection that nobody binds need not be told from others.
    unsure = {f"{row.kind} {row.source.id}" for row in mapping.of(Kind.CONNECTION) if row.rule == "ambiguous"}
    problems = tuple(one for one in mapping.problems if one.where not in unsure)
    return evolve(mapping, rows=rows, problems=problems)


def _without_counterparts(mapping: IdMapping, source: Source) -> IdMapping:
    """The mapping in which none of the selected automations has a counterpart; what is dropped stays so."""
    chosen = {ident.lower() for ident in source.automations}

    def anew(row: MappingRow) -> bool:
        bound = row.decision in (Decision.MAP, Decision.KEEP)
        return row.kind is Kind.AUTOMATION and row.source.id.lower() in chosen and bound

    rows = tuple(
        evolve(row, target_id=None, target_name="", decision=Decision.MAP, rule=UNMATCHED) if anew(row) else row
        for row in mapping.rows
    )
    # Nobody asks which namesake is meant where none of them is.
    settled = {f"{row.kind} {row.source.id}" for row in mapping.rows if anew(row)}
    problems = tuple(one for one in mapping.problems if one.where not in settled)
    return evolve(mapping, rows=rows, problems=problems)
