"""`apply` and `restore`: the commands that write to a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.option import command, planning, running, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.result import Result
    from qlikmigrate.importer.run_folder import RunFolder


@command("apply")
@click.argument("plan_path", metavar="PLAN")
@running
def apply_command(session: Session, plan_path: str, run_path: str | None, resume: bool, dry_run: bool) -> None:
    """Do exactly what PLAN says. Refuses when the target changed since (7), or when preflight refused it (6)."""
    from qlikmigrate.cli.tenant import find_tenant
    from qlikmigrate.importer.plan import read_plan

    plan = read_plan(Path(plan_path))
    tenant = find_tenant(session, plan.target.name)
    carry_out(session, plan, tenant, run_path=run_path, resume=resume, dry_run=dry_run)


@command("restore")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("tenant")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@planning(on_conflict="fail")
@selectors
@running
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
    from qlikmigrate.cli.tenant import find_tenant

    restore(
        session,
        archive_path,
        find_tenant(session, tenant),
        allow_incomplete=allow_incomplete,
        run_path=run_path,
        resume=resume,
        dry_run=dry_run,
        flags=flags,
    )


def restore(
    session: Session,
    archive_path: str | Path,
    target: Tenant,
    *,
    allow_incomplete: bool,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    flags: dict[str, Any],
) -> None:
    """Plan and apply, or go on with the run that was begun."""
    from qlikmigrate.cli.plan import compute_plan, tell_plan
    from qlikmigrate.cli.request import read_decisions
    from qlikmigrate.cli.tenant import open_complete
    from qlikmigrate.importer.prepare import mapping_hash
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.kernel.error import UsageError

    _check_access(target, dry_run)
    with open_complete(archive_path, allow_incomplete=allow_incomplete) as archive:
        digest = archive.digest
        if run_path and (folder := RunFolder(Path(run_path))).started:
            begun = folder.plan()
            _refuse_unless(resume, folder)
            text = read_decisions(flags["mapping_path"], flags["ids_path"])[1]
            if (begun.archive.digest, begun.options.mapping_hash) != (digest, mapping_hash(text)):
                raise UsageError(
                    f"the run in {run_path} has another archive or mapping", hint="name another with --run"
                )
            if begun.target.name != target.endpoint.name:
                raise UsageError(f"the run in {run_path} is for another tenant: `{begun.target.name}`")
            plan = begun
        else:
            plan = compute_plan(session, archive, archive_path, target, flags)
            tell_plan(session, plan)
            session.closing.clear()
    carry_out(session, plan, target, run_path=run_path, resume=resume, dry_run=dry_run)


def _refuse_unless(resume: bool, folder: RunFolder) -> None:
    from qlikmigrate.kernel.error import UsageError

    if not resume:
        raise UsageError(f"a run was begun in {folder.path}", hint="--resume goes on with it")


def _check_access(target: Tenant, dry_run: bool) -> None:
    """Not enough `access` is told before anything is read."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.api.transport.guard import access_error

    endpoint = target.endpoint
    if not dry_run and endpoint.access is not Access.WRITE:
        raise access_error(endpoint.name, endpoint.access, Access.WRITE, "restoring")


def carry_out(
    session: Session, plan: Plan, target: Tenant, *, run_path: str | None, resume: bool, dry_run: bool
) -> None:
    """Apply a plan in its run folder, and write the reports.

    Raises:
        RefusedError: preflight refused the plan.
    """
    from qlikmigrate.importer.run_folder import RunFolder, default_run
    from qlikmigrate.kernel.error import RefusedError, UsageError
    from qlikmigrate.report.text import plan_summary

    session.report.update(archive=plan.archive.path, counts={"automations": {**plan.counts(), "failed": 0}})
    if plan.refused:
        raise RefusedError(
            f"preflight refuses: {len(plan.errors)} errors; nothing was written",
            hint="settle them, or waive one kind with --allow CODE",
        )
    _check_access(target, dry_run)
    if dry_run:
        _tell_planned(session, plan)
        session.closing += plan_summary(plan)
        return
    if resume and not run_path:
        raise UsageError("--resume needs --run DIR")
    folder = RunFolder(Path(run_path) if run_path else default_run(session.clock.now(), target.endpoint.name))
    if folder.started:
        _refuse_unless(resume, folder)
        if not folder.same_work(plan):
            raise UsageError(f"the run in {folder.path} has another archive or mapping", hint="name another with --run")
        plan = folder.plan()
    session.report["run"] = str(folder.path)
    result = _apply_locked(session, plan, target, folder)
    _report(session, plan, folder, result)


def _tell_planned(session: Session, plan: Plan) -> None:
    from qlikmigrate.kernel.event import Outcome

    for action in plan.actions:
        session.output(
            Outcome(
                kind="automation",
                source_id=action.source_id,
                target_id=action.target_id,
                name=action.name,
                action=action.verb.value,
                status="planned",
                code=action.code,
                reason=action.reason,
            )
        )


def _apply_locked(session: Session, plan: Plan, target: Tenant, folder: RunFolder) -> Result:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.archive import open_archive
    from qlikmigrate.cli.tenant import connect
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.restore import apply_plan

    values = _values(session, plan)
    with target_lock(plan.target.tenant_id), open_archive(plan.archive.path) as archive:

        async def work() -> Result:
            async with connect(session, target, Access.WRITE) as client:
                try:
                    return await apply_plan(
                        client,
                        archive,
                        plan,
                        folder,
                        values=values,
                        abort_on_error=session.on_error == "abort",
                        clock=session.clock,
                        sink=session.output,
                    )
                finally:
                    session.report["requests"] = client.counts.as_json()

        return session.run(work)


def _values(session: Session, plan: Plan) -> dict[str, str]:
    """`@@KEY@@` texts are in no plan: the mapping file is read again, and must be the one the plan was made with."""
    from qlikmigrate.cli.request import read_decisions, read_values
    from qlikmigrate.importer.prepare import mapping_hash
    from qlikmigrate.kernel.error import UsageError

    options = plan.options
    if not options.mapping_file and not options.ids_file:
        return {}
    decisions, text = read_decisions(options.mapping_file or None, options.ids_file or None)
    if mapping_hash(text) != options.mapping_hash:
        raise UsageError("the mapping file changed since the plan was made", hint="make the plan again")
    return read_values(decisions, options.mapping_file or None, session.environ)


def _report(session: Session, plan: Plan, folder: RunFolder, result: Result) -> None:
    from qlikmigrate.report.run import write_reports

    write_reports(folder, plan, result)
    session.report.update(run=str(folder.path), counts=result.counts, problems=len(result.problems))
    counts = result.counts["automations"]
    told = ", ".join(f"{number} {word}" for word, number in counts.items() if word != "selected" and number)
    session.closing.append(f"{counts['selected']} automations: {told or 'nothing to do'}")
    if result.tasks:
        session.closing.append(f"left for people: {len(result.tasks)} tasks in {folder.path / 'runbook.md'}")
    session.closing.append(f"report: {folder.path / 'report.md'}")
    if result.failed:
        session.exit_code = 3
    elif result.differing:
        session.exit_code = 5
