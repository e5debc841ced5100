"""Applies a saved plan to a live tenant: reads both sides again, then hands over to the executor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.apply import ApplyInput, apply, check_fresh
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.document_source import DocumentSource, mapping_of
from qlikmigrate.importer.ledger import LedgerWriter
from qlikmigrate.importer.plan import Plan
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.importer.stored_input import stored_inputs
from qlikmigrate.importer.target import Target, read_target
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import StaleError
from qlikmigrate.kernel.event import Sink
from qlikmigrate.model.snapshot import Snapshot, inventory_of
from qlikmigrate.remap.rewriting import Rewriting


async def check_plan(client: CloudClient, snapshot: Snapshot, plan: Plan, *, sink: Sink) -> Target:
    """The target as it is now, which must be as the plan saw it. Sends GETs only.

    Raises:
        StaleError: archive or target are not what the plan was made from.
    """
    target = await _read(client, snapshot, plan, sink)
    check_fresh(plan, target)
    return target


async def _read(client: CloudClient, snapshot: Snapshot, plan: Plan, sink: Sink) -> Target:
    if snapshot.digest != plan.archive.digest:
        raise StaleError(f"the archive {plan.archive.path} changed since the plan was made", hint="make the plan again")
    facts = await client.tenant()
    if facts.id != plan.target.tenant_id:
        raise StaleError(
            f"`{plan.target.name}` is another tenant than the one the plan was made for", hint="make the plan again"
        )
    return await read_target(client, sink=sink)


async def apply_plan(
    client: CloudClient,
    snapshot: Snapshot,
    plan: Plan,
    folder: RunFolder,
    *,
    values: Mapping[str, str],
    secrets: Values | None = None,
    abort_on_error: bool,
    clock: Clock,
    sink: Sink,
) -> Result:
    """Apply `plan` in `folder`, or go on with it.

    Raises:
        StaleError: archive or target are not what the plan was made from; nothing was written.
        AuthError, FailedError: resumable.
    """
    if folder.started:
        target = await _read(client, snapshot, plan, sink)
    else:
        target = await check_plan(client, snapshot, plan, sink=sink)
        folder.begin(plan)
    source = inventory_of(snapshot)
    documents = DocumentSource(
        snapshot,
        Rewriting(source=source, target=target.inventory, mapping=mapping_of(plan, source, values)),
    )
    ledger = LedgerWriter(
        Path(plan.options.ledger), source_tenant=plan.archive.tenant_id, target_tenant=plan.target.tenant_id
    )
    with ledger:
        given = ApplyInput(
            plan=plan,
            client=client,
            target=target,
            source=source,
            documents=documents,
            folder=folder,
            ledger=ledger,
            abort_on_error=abort_on_error,
            secrets=secrets or {},
            inputs=stored_inputs(snapshot),
        )
        return await apply(given, clock=clock, sink=sink)
