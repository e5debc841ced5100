"""`plan`, `apply` and `restore` where the target is an OEM account."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.result import Result
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.model.snapshot import Snapshot


async def oem_plan_for(
    session: Session, archive: Snapshot, archive_path: str | Path, target: OemTenant, flags: dict[str, Any]
) -> Plan:
    """Make a plan with a client that cannot write."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.request import request_of
    from qlikmigrate.importer.oem.prepare import make_oem_plan

    request = request_of(archive, archive_path, session.environ, flags, row=session.row)
    async with session.connect_oem(target, Access.READ) as client:
        return await make_oem_plan(client, request, target.account, clock=session.clock, sink=session.output)


async def check_fresh(session: Session, plan: Plan, target: OemTenant) -> None:
    """A dry run ends as the real one would: a stale plan is refused here, too."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.importer.oem.restore import check_oem_plan

    with open_snapshot(session, plan.archive.path) as archive:
        async with session.connect_oem(target, Access.READ) as client:
            await check_oem_plan(client, archive, plan, sink=session.output)


async def close_left_open(session: Session, target: OemTenant, folder: RunFolder) -> None:
    """Switch off what a run that was cut short may have left on: nothing is read or asked before that."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.oem.restore import close_windows, lock_name, windows_open

    plan = folder.plan()
    if not plan.is_oem or plan.target.name != target.endpoint.name or not windows_open(folder):
        return
    with target_lock(lock_name(plan)):
        async with session.connect_oem(target, Access.WRITE) as client:
            await close_windows(client, folder, clock=session.clock)


async def apply_oem_locked(
    session: Session, plan: Plan, target: OemTenant, folder: RunFolder, archive: Snapshot | None
) -> Result:
    """Apply the plan while nobody else on this machine writes to the account. `archive`: where it is open already."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.request import read_secrets
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.oem.restore import apply_oem_plan, lock_name

    options = plan.options
    secrets = read_secrets(options.connections, options.secrets_file or None, session.environ, row=session.row)
    with (
        target_lock(lock_name(plan)),
        nullcontext(archive) if archive is not None else open_snapshot(session, plan.archive.path) as opened,
    ):
        async with session.connect_oem(target, Access.WRITE) as client:
            return await apply_oem_plan(
                client,
                opened,
                plan,
                folder,
                secrets=secrets,
                abort_on_error=session.on_error == "abort",
                clock=session.clock,
                sink=session.output,
            )
