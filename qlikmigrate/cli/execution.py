"""Carrying out a plan in its run folder: what `apply`, `restore` and `clone` have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.cli.tenant import require_write
from qlikmigrate.kernel.error import (
    BudgetSpentError,
    InterruptedRunError,
    MismatchError,
    PartialError,
    QlikmigrateError,
    RefusedError,
    UsageError,
)
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.result import Result
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.model.snapshot import Snapshot


def check_refused(plan: Plan) -> None:
    """Raises: RefusedError when preflight refused the plan."""
    if plan.refused:
        own_hints = {one.hint for one in plan.errors}
        raise RefusedError(
            f"preflight refuses: {number(len(plan.errors), 'error')}; nothing was written",
            hint=own_hints.pop() if len(own_hints) == 1 else "settle them, or waive one kind with --allow CODE",
        )


def require_resume(resume: bool, folder: RunFolder) -> None:
    """Raises: UsageError when a run was begun and nobody said to go on with it."""
    if not resume:
        raise UsageError(f"a run was begun in {folder.path}", hint="--resume goes on with it; --run names another")


def run_folder(session: Session, tenant: Tenant | OemTenant, run_path: str | None, *, resume: bool) -> RunFolder:
    """The folder of the run.

    Raises:
        UsageError: `--resume` does not say of what.
    """
    from qlikmigrate.importer.run_folder import RunFolder, default_run

    if run_path:
        return RunFolder(Path(run_path))
    if resume:
        raise UsageError("--resume needs --run DIR", hint="name the folder of the run to go on with")
    return RunFolder(default_run(session.clock.now(), tenant.endpoint.name))


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """What was stopped from outside says how to go on, where there is something to go on with."""
    try:
        yield
    except (InterruptedRunError, BudgetSpentError) as error:
        _tell_how_to_go_on(error, folder)
        raise


def _tell_how_to_go_on(error: QlikmigrateError, folder: RunFolder) -> None:
    if folder.started and not error.hint:
        error.hint = f"--run {folder.path} --resume goes on where it stopped"


async def close_first(
    session: Session, target: Tenant | OemTenant, folder: RunFolder, *, resume: bool, dry_run: bool
) -> None:
    """Before anything else, what a run that was cut short may have left on is switched off.

    Raises:
        FailedError: it could not be.
    """
    from qlikmigrate.config.tenants import OemTenant

    if isinstance(target, OemTenant) and folder.started and resume and not dry_run:
        from qlikmigrate.cli.oem_restore import close_left_open

        await close_left_open(session, target, folder)


async def carry_out(
    session: Session,
    plan: Plan,
    target: Tenant | OemTenant,
    folder: RunFolder,
    *,
    archive: Snapshot | None = None,
    resume: bool,
    dry_run: bool,
    saved: bool = False,
) -> None:
    """Apply a plan in its run folder, and write the reports.

    `archive`: the plan's, where it is open already. `saved`: the plan was seen before.

    Raises:
        RefusedError: preflight refused the plan.
        UsageError: not enough `access`, the folder holds another run, or the plan is a drill's.
    """
    from qlikmigrate.cli.telling import tell_plan_problems, tell_planned

    session.report["archive"] = plan.archive.path
    await close_first(session, target, folder, resume=resume, dry_run=dry_run)
    plan.check_lasting(folder.path if folder.started else Path("the plan"))
    tell_plan_problems(session, plan, known=saved)
    check_refused(plan)
    if dry_run:
        if saved:
            await _check_fresh(session, plan, target)
        tell_planned(session, plan)
        return
    require_write(target, "restoring")
    if plan.options.from_table and session.row is None:
        raise UsageError(
            "the plan is one of a clone to many, whose table is needed",
            hint="clone SOURCE --table CSV --run DIR --resume",
        )
    if folder.started:
        require_resume(resume, folder)
        if not folder.same_work(plan):
            raise UsageError(f"the run in {folder.path} has another archive or mapping", hint="name another with --run")
        plan = folder.plan()
        plan.check_lasting(folder.path)
    try:
        result = await _apply_locked(session, plan, target, folder, archive)
    except QlikmigrateError as error:
        _tell_how_to_go_on(error, folder)
        raise
    finally:
        session.report["run"] = str(folder.path) if folder.started else None
    _report(session, plan, folder, result)


async def _check_fresh(session: Session, plan: Plan, target: Tenant | OemTenant) -> None:
    """A dry run ends as the real one would: a stale plan is refused here, too."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.restore import check_plan

    if isinstance(target, OemTenant):
        from qlikmigrate.cli.oem_restore import check_fresh

        await check_fresh(session, plan, target)
        return
    with open_planned(session, plan) as archive:
        async with session.connect(target, Access.READ) as client:
            await check_plan(client, archive, plan, sink=session.output)


async def _apply_locked(
    session: Session, plan: Plan, target: Tenant | OemTenant, folder: RunFolder, archive: Snapshot | None
) -> Result:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.cli.request import read_secrets
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.restore import apply_plan

    if isinstance(target, OemTenant):
        from qlikmigrate.cli.oem_restore import apply_oem_locked

        return await apply_oem_locked(session, plan, target, folder, archive)
    values = _values(session, plan)
    secrets = read_secrets(
        plan.options.connections, plan.options.secrets_file or None, session.environ, row=session.row
    )
    with (
        target_lock(plan.target.tenant_id),
        nullcontext(archive) if archive is not None else open_planned(session, plan) as opened,
    ):
        async with session.connect(target, Access.WRITE) as client:
            return await apply_plan(
                client,
                opened,
                plan,
                folder,
                values=values,
                secrets=secrets,
                abort_on_error=session.on_error == "abort",
                clock=session.clock,
                sink=session.output,
            )


def _values(session: Session, plan: Plan) -> dict[str, str]:
    """`@@KEY@@` texts are in no plan: the mapping file is read again, and must be the one the plan was made with."""
    from qlikmigrate.cli.request import read_decisions, read_values
    from qlikmigrate.importer.prepare import mapping_hash

    options = plan.options
    if not options.mapping_file and not options.ids_file:
        return {}
    decisions, text = read_decisions(options.mapping_file or None, options.ids_file or None)
    if mapping_hash(text) != options.mapping_hash:
        raise UsageError("the mapping file changed since the plan was made", hint="make the plan again")
    return read_values(decisions, options.mapping_file or None, session.environ, row=session.row)


def _others(result: Result) -> str:
    """The failed objects of other kinds, for one sentence."""
    told = [
        kind if kind == "settings" else number(numbers["failed"], kind.removesuffix("s"))
        for kind, numbers in result.counts.items()
        if kind != "automations" and numbers.get("failed")
    ]
    return f", and {', '.join(told)}" if told else ""


def _report(session: Session, plan: Plan, folder: RunFolder, result: Result) -> None:
    """Raises: PartialError or MismatchError when the run came to less than it should."""
    from qlikmigrate.report.run import window_words, write_reports

    write_reports(folder, plan, result)
    for problem in result.problems:
        if problem not in session.output.told and problem not in plan.told:
            session.output(problem)
    session.report["counts"] = result.counts
    counts = result.counts["automations"]
    told = ", ".join(f"{many} {word}" for word, many in counts.items() if word != "selected" and many)
    session.closing.append(f"{number(counts['selected'], 'automation')}: {told or 'nothing to do'}")
    if result.tasks:
        session.closing.append(f"left for people: {number(len(result.tasks), 'task')} in {folder.path / 'runbook.md'}")
    session.closing.append(f"report: {folder.path / 'report.md'}")
    for alarm in result.alarms:
        session.output.say(alarm, level="error")
    if result.windows:
        session.report["install_windows"] = {"count": len(result.windows), "longest_s": max(result.windows.values())}
        session.closing.append(window_words(result.windows))
    if result.fatal is not None:
        raise result.fatal
    if result.failed:
        raise PartialError(
            f"{counts['failed']} of {number(counts['selected'], 'automation')} failed{_others(result)}",
            hint=f"--run {folder.path} --resume tries them again",
        )
    if result.differing:
        verb = "differs" if result.differing == 1 else "differ"
        raise MismatchError(f"{number(result.differing, 'automation')} {verb} when read back", code="readback-differs")
