"""`status`, `activate`, `rollback` and `callers` of a run into an OEM account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.kernel.error import PartialError, RefusedError, UsageError
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.activation import LiveResult
    from qlikmigrate.importer.caller_list import CallerList
    from qlikmigrate.importer.oem.activation import OemActivation
    from qlikmigrate.importer.rollback_book import RollbackResult
    from qlikmigrate.importer.run_view import RunView
    from qlikmigrate.importer.status import Status


def open_oem_run(session: Session, path: str) -> tuple[RunView, OemTenant] | None:
    """The run in the folder `path` and its account, where it is one into an OEM account.

    Raises:
        NotFoundError: no run was begun there.
        UsageError: the tenants file does not know the account.
    """
    from qlikmigrate.cli.run import row_of
    from qlikmigrate.cli.tenant import find_oem_account
    from qlikmigrate.importer.run_view import RunView

    view = RunView.open(Path(path))
    if not view.plan.is_oem:
        return None
    session.report["run"] = path
    session.report["archive"] = view.plan.archive.path
    return view, find_oem_account(session, view.plan.target.name, row=row_of(view))


def read_status(session: Session, view: RunView, target: OemTenant, *, links: bool) -> Status:
    """How the run stands by now."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.oem.status import read_oem_status

    async def work() -> Status:
        async with session.connect_oem(target, Access.READ) as client:
            return await read_oem_status(client, view, links=links, sink=session.output)

    return session.run(work)


def read_callers(session: Session, view: RunView, target: OemTenant, *, with_tokens: bool) -> CallerList:
    """Old and new addresses.

    Raises:
        UsageError: tokens were asked for, which no call shows.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.oem.caller_list import read_oem_callers

    if with_tokens:
        raise UsageError("no call shows the execution tokens of an OEM account", hint="the hub's editor shows them")

    async def work() -> CallerList:
        async with session.connect_oem(target, Access.READ) as client:
            return await read_oem_callers(client, view, sink=session.output)

    return session.run(work)


def activate(
    session: Session,
    view: RunView,
    target: OemTenant,
    *,
    source_name: str | None,
    include_unready: bool,
    allow: frozenset[str],
    dry_run: bool,
) -> None:
    """Start what the run held."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.going_live import report_live, tell_outcomes
    from qlikmigrate.cli.telling import tell_problems
    from qlikmigrate.cli.tenant import require_write
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.oem.activation import activate_oem
    from qlikmigrate.importer.oem.restore import lock_name

    if not dry_run:
        require_write(target, "activating")
    plan = _plan(session, view, target, source_name, include_unready=include_unready, allow=allow)
    tell_problems(session, plan.problems)
    if plan.errors:
        code = plan.errors[0].code
        raise RefusedError(
            f"not started: {number(len(plan.errors), 'error')}; nothing was written",
            hint=f"switch them off at the source, name it with --source, or say --allow {code}",
        )
    planned = [plan.outcome(action) for action in plan.held]
    if dry_run:
        tell_outcomes(session, planned, word="enabled")
        return
    if plan.starts:
        if not session.yes:
            tell_outcomes(session, planned, word="enabled", preview=True)
        confirm(session, f"start {number(len(plan.starts), 'automation')} at `{target.endpoint.name}`?")

    async def work() -> LiveResult:
        async with session.connect_oem(target, Access.WRITE) as client:
            return await activate_oem(
                client, plan, abort_on_error=session.on_error == "abort", clock=session.clock, sink=session.output
            )

    with target_lock(lock_name(view.plan)):
        result = session.run(work)
    report_live(session, result, unit="automations")


def _plan(
    session: Session,
    view: RunView,
    target: OemTenant,
    source_name: str | None,
    *,
    include_unready: bool,
    allow: frozenset[str],
) -> OemActivation:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.tenant import find_any_tenant
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.oem.activation import plan_oem_activation, read_source_states

    source = find_any_tenant(session, source_name) if source_name else target
    if not isinstance(source, OemTenant):
        raise UsageError(f"`{source_name}` is no OEM account", hint="name the account that the archive is of")

    async def work() -> OemActivation:
        async with session.connect_oem(source, Access.READ) as client:
            states = await read_source_states(client, view, sink=session.output)
        if states is None and source_name:
            raise UsageError(
                f"`{source_name}` does not have the account that the archive is of: `{view.plan.archive.tenant_name}`",
                hint="name another with --source",
            )
        async with session.connect_oem(target, Access.READ) as client:
            return await plan_oem_activation(
                client, view, states, include_unready=include_unready, allow=allow, sink=session.output
            )

    return session.run(work)


def roll_back(session: Session, view: RunView, target: OemTenant, *, force: bool, dry_run: bool) -> None:
    """Switch off what the run switched on, and list what remains."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.tenant import require_write
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.oem.restore import lock_name
    from qlikmigrate.importer.oem.rollback import roll_back_oem
    from qlikmigrate.report.rollback import write_rollback

    async def work(access: Access, *, dry: bool) -> RollbackResult:
        async with session.connect_oem(target, access) as client:
            return await roll_back_oem(client, view, force=force, dry_run=dry, clock=session.clock, sink=session.output)

    if dry_run:
        _tell(session, session.run(lambda: work(Access.READ, dry=True)), "would be ")
        return
    require_write(target, "rolling back")
    confirm(session, f"switch off what the run started at `{target.endpoint.name}`? Nothing is deleted.")
    with target_lock(lock_name(view.plan)):
        result = session.run(lambda: work(Access.WRITE, dry=False))
        write_rollback(view.folder, view.plan, result)
    _tell(session, result, "")
    session.closing.append(f"report: {view.folder.path / 'rollback.md'}")
    if result.failed:
        raise PartialError(f"{number(result.failed, 'object')} could not be undone", hint="`rollback` again goes on")


def _tell(session: Session, result: RollbackResult, words: str) -> None:
    session.report["counts"] = result.counts
    counts = result.counts["automations"]
    told = ", ".join(f"{words}{word}: {many}" for word, many in counts.items() if word != "selected")
    session.closing.append(f"{number(counts['selected'], 'automation')}: {told}")
    remains = sum(one.code == "oem-remains" for one in result.problems)
    if remains:
        session.closing.append(f"{number(remains, 'object')} of the run {'remains' if remains == 1 else 'remain'}")
