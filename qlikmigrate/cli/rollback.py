"""`rollback`: undoes a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.rollback_book import RollbackResult
    from qlikmigrate.importer.run_view import RunView


@command("rollback", "Undo a run")
@click.argument("run_path", metavar="RUN")
@click.option("--force", is_flag=True, help="Also automations that were changed, switched on or run since.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; send nothing but GETs.")
def rollback_command(session: Session, run_path: str, force: bool, dry_run: bool) -> None:
    """Undo RUN: delete what it created, restore what it updated, where nobody changed, enabled or ran it since.

    Adopted automations are never touched. What is kept is listed. In an OEM account what RUN started is switched off,
    and nothing is deleted. Asks first.
    """
    from qlikmigrate.cli import oem_run
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.run import open_run
    from qlikmigrate.cli.tenant import require_write

    if (found := oem_run.open_oem_run(session, run_path)) is not None:
        oem_run.roll_back(session, *found, force=force, dry_run=dry_run)
        return
    view, tenant = open_run(session, run_path)
    if not dry_run:
        require_write(tenant, "rolling back")
    preview = _preview(session, view, tenant, force=force, quiet=not dry_run)
    if dry_run or not preview.changes:
        if not dry_run:
            _tell_again(session, preview)
        _tell(session, preview, "would be " if dry_run else "")
        return
    words = [f"{counts['deleted']} {kind}" for kind, counts in preview.counts.items() if counts["deleted"]]
    restored = preview.counts["automations"]["restored"]
    told = [f"delete {', '.join(words)}"] if words else []
    told += [f"restore {number(restored, 'automation')}"] if restored else []
    confirm(session, f"{' and '.join(told)} on `{tenant.endpoint.name}`?")
    _roll_back(session, view, tenant, force=force)


def _preview(session: Session, view: RunView, tenant: Tenant, *, force: bool, quiet: bool) -> RollbackResult:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.rollback import preview_rollback
    from qlikmigrate.kernel.event import Event, Outcome, Problem

    def hear(event: Event) -> None:
        # What is planned is told when nothing else is; else what was done is told.
        if not (quiet and isinstance(event, Outcome | Problem)):
            session.output(event)

    async def work() -> RollbackResult:
        async with session.connect(tenant, Access.READ) as client:
            return await preview_rollback(client, view, force=force, clock=session.clock, sink=hear)

    return session.run(work)


def _tell_again(session: Session, result: RollbackResult) -> None:
    """Nothing is to be done: what the preview found is what came of it."""
    from attrs import evolve

    for outcome in result.outcomes:
        session.output(evolve(outcome, status="done") if outcome.status == "planned" else outcome)
    for problem in result.problems:
        session.output(problem)


def _roll_back(session: Session, view: RunView, tenant: Tenant, *, force: bool) -> None:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.rollback import roll_back
    from qlikmigrate.kernel.error import MismatchError, PartialError
    from qlikmigrate.report.rollback import write_rollback

    async def work() -> RollbackResult:
        async with session.connect(tenant, Access.WRITE) as client:
            return await roll_back(
                client,
                view,
                force=force,
                abort_on_error=session.on_error == "abort",
                clock=session.clock,
                sink=session.output,
            )

    with target_lock(view.plan.target.tenant_id):
        result = session.run(work)
        write_rollback(view.folder, view.plan, result)
    _tell(session, result, "")
    session.closing.append(f"report: {view.folder.path / 'rollback.md'}")
    if result.failed:
        raise PartialError(f"{number(result.failed, 'object')} could not be undone", hint="`rollback` again goes on")
    if result.differing:
        verb = "differs" if result.differing == 1 else "differ"
        raise MismatchError(f"{number(result.differing, 'automation')} {verb} when read back", code="readback-differs")


def _tell(session: Session, result: RollbackResult, words: str) -> None:
    session.report["counts"] = result.counts
    for kind, counts in result.counts.items():
        if counts["selected"]:
            told = ", ".join(f"{words}{word}: {number}" for word, number in counts.items() if word != "selected")
            session.closing.append(
                f"{kind if kind == 'settings' else number(counts['selected'], kind.removesuffix('s'))}: {told}"
            )
