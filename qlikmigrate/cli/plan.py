"""`plan`: what a restore would do, saved for review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.option import command, opening, planning, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.preview import Preview
    from qlikmigrate.model.snapshot import Snapshot


@command("plan", "Say what a restore would do")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("tenant")
@click.option("-o", "--output", "out", metavar="PLAN", help="Save the plan, for `apply`.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 4 when something would change.")
@click.option("--changes", is_flag=True, help="Show block by block what each update changes; never part of PLAN.")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@planning(on_conflict="fail")
@selectors
@opening
def plan_command(
    session: Session,
    archive_path: str,
    tenant: str,
    out: str | None,
    detailed_exitcode: bool,
    changes: bool,
    allow_incomplete: bool,
    **flags: Any,
) -> None:
    """Say what restoring ARCHIVE into TENANT would do. Sends GETs only; PLAN holds no bodies and no secrets."""
    from qlikmigrate.cli.archive import fitting, open_snapshot
    from qlikmigrate.cli.execution import check_refused
    from qlikmigrate.cli.telling import tell_changes, tell_plan
    from qlikmigrate.cli.tenant import check_place, find_target
    from qlikmigrate.importer.plan import write_plan

    target = find_target(session, tenant)
    check_place(out)
    _check_replaceable(out)
    with open_snapshot(session, archive_path, allow_incomplete=allow_incomplete) as snapshot:
        archive = fitting(snapshot, target, flags)
        if changes:
            made, shown = compute_preview(session, archive, archive_path, target, flags)
        else:
            made, shown = session.run(lambda: plan_for(session, archive, archive_path, target, flags)), None
    session.report["archive"] = archive_path
    if out:
        write_plan(made, Path(out))
        session.report["plan"] = out
    tell_plan(session, made, saved=out)
    if shown is not None:
        tell_changes(session, made, shown)
    check_refused(made)
    if detailed_exitcode and made.changes:
        session.exit_code = 4


def _check_replaceable(out: str | None) -> None:
    """A plan may take an older plan's place, and nothing else's."""
    from qlikmigrate.importer.plan import read_plan
    from qlikmigrate.kernel.error import CorruptError, UsageError

    if out and Path(out).exists():
        try:
            read_plan(Path(out))
        except CorruptError:
            raise UsageError(f"{out} exists and is no plan", hint="name another file") from None


async def plan_for(
    session: Session, archive: Snapshot, archive_path: str | Path, target: Tenant | OemTenant, flags: dict[str, Any]
) -> Plan:
    """Make a plan with a client that cannot write."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.request import request_of
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.prepare import make_plan

    if isinstance(target, OemTenant):
        from qlikmigrate.cli.oem_restore import oem_plan_for

        return await oem_plan_for(session, archive, archive_path, target, flags)
    _check_cloud_flags(flags)
    request = request_of(archive, archive_path, session.environ, flags, row=session.row)
    async with session.connect(target, Access.READ) as client:
        return await make_plan(client, request, clock=session.clock, sink=session.output)


def compute_preview(
    session: Session, archive: Snapshot, archive_path: str | Path, target: Tenant | OemTenant, flags: dict[str, Any]
) -> tuple[Plan, Preview]:
    """The same, and what its updates change.

    Raises:
        UsageError: the target is an OEM account, whose automations have no document to compare.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.request import request_of
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.prepare import make_plan_and_preview
    from qlikmigrate.kernel.error import UsageError

    if isinstance(target, OemTenant):
        raise UsageError("--changes is for tenants of Qlik Cloud", hint="leave it out for an OEM account")
    _check_cloud_flags(flags)
    request = request_of(archive, archive_path, session.environ, flags, row=session.row)

    async def work() -> tuple[Plan, Preview]:
        async with session.connect(target, Access.READ) as client:
            return await make_plan_and_preview(client, request, clock=session.clock, sink=session.output)

    return session.run(work)


def _check_cloud_flags(flags: dict[str, Any]) -> None:
    """Raises: UsageError when a flag means nothing in a tenant of Qlik Cloud."""
    from qlikmigrate.kernel.error import UsageError

    if flags.get("create_account"):
        raise UsageError("--create-account is for OEM accounts", hint="leave it out for a tenant of Qlik Cloud")
