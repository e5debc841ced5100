"""`restore`: plan, apply and read back in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.option import command, opening, planning, running, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.model.snapshot import Snapshot


@command("restore", "Plan, apply and read back")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("tenant")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@planning(on_conflict="fail")
@selectors
@running
@opening
def restore_command(
    session: Session,
    archive_path: str,
    tenant: str,
    allow_incomplete: bool,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    **flags: Any,
) -> None:
    """Plan, apply and read back: bring ARCHIVE into TENANT.

    What could fire stays off until you switch it on; what a machine cannot do is in the run's runbook.
    """
    from qlikmigrate.cli.tenant import find_target

    restore(
        session,
        archive_path,
        find_target(session, tenant),
        allow_incomplete=allow_incomplete,
        run_path=run_path,
        resume=resume,
        dry_run=dry_run,
        flags=flags,
    )


def restore(
    session: Session,
    archive_path: str | Path,
    target: Tenant | OemTenant,
    *,
    allow_incomplete: bool,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    flags: dict[str, Any],
) -> None:
    """Plan and apply, or go on with the run that was begun."""
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.execution import close_first, resumable, run_folder
    from qlikmigrate.cli.tenant import require_write

    if not dry_run:
        require_write(target, "restoring")
    folder = run_folder(session, target, run_path, resume=resume)
    with resumable(folder):
        if folder.started:
            session.run(lambda: close_first(session, target, folder, resume=resume, dry_run=dry_run))
        with open_snapshot(session, archive_path, allow_incomplete=allow_incomplete) as archive:
            session.run(
                lambda: bring(
                    session, archive, archive_path, target, folder, resume=resume, dry_run=dry_run, flags=flags
                )
            )


async def bring(
    session: Session,
    archive: Snapshot,
    archive_path: str | Path,
    target: Tenant | OemTenant,
    folder: RunFolder,
    *,
    resume: bool,
    dry_run: bool,
    flags: dict[str, Any],
) -> None:
    """One restore from its plan to its reports: what `restore` does once, and `clone` as often as it has targets.

    Raises:
        QlikmigrateError: as planning and carrying out do.
    """
    from qlikmigrate.cli.archive import as_planned, fitting
    from qlikmigrate.cli.execution import carry_out
    from qlikmigrate.cli.plan import plan_for

    snapshot, archive = archive, fitting(archive, target, flags)
    if folder.started:
        plan = _begun(folder, archive, target, resume=resume, flags=flags)
        archive = as_planned(snapshot, plan)
    else:
        plan = await plan_for(session, archive, archive_path, target, flags)
    await carry_out(session, plan, target, folder, archive=archive, resume=resume, dry_run=dry_run)


def _begun(
    folder: RunFolder, archive: Snapshot, target: Tenant | OemTenant, *, resume: bool, flags: dict[str, Any]
) -> Plan:
    """The plan of the run that was begun, which must be for the same work."""
    from qlikmigrate.cli.execution import require_resume
    from qlikmigrate.cli.request import read_decisions
    from qlikmigrate.importer.prepare import mapping_hash
    from qlikmigrate.kernel.error import UsageError

    plan = folder.plan()
    require_resume(resume, folder)
    text = read_decisions(flags["mapping_path"], flags["ids_path"])[1]
    if (plan.archive.digest, plan.options.mapping_hash) != (archive.digest, mapping_hash(text)):
        raise UsageError(f"the run in {folder.path} has another archive or mapping", hint="name another with --run")
    if not plan.is_oem and plan.archive.tenant_id != archive.manifest.tenant.id:
        raise UsageError(
            f"the run in {folder.path} is of another account: `{plan.archive.tenant_name}`",
            hint="name another with --run",
        )
    if plan.target.name != target.endpoint.name:
        raise UsageError(
            f"the run in {folder.path} is for another tenant: `{plan.target.name}`", hint="name another with --run"
        )
    return plan
