"""`reassign`: gives automations to owners who have appeared since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session
from qlikmigrate.kernel.error import CorruptError, NotFoundError, PartialError
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.reassign import ReassignResult
    from qlikmigrate.importer.run_view import RunView


@command("reassign", "Give automations to owners who have appeared since")
@click.argument("run_path", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Say what would be done; send nothing but GETs.")
@opening
def reassign_command(session: Session, run_path: str, dry_run: bool) -> None:
    """Give automations of RUN that a fallback owner or the importer holds to their own owners, once they are there.

    Run history is lost and connections are detached; they are bound to the new owner's where this identity may.
    """
    from qlikmigrate.cli.run import open_run
    from qlikmigrate.cli.tenant import require_write

    view, tenant = open_run(session, run_path)
    view.plan.check_lasting(view.folder.path)
    if not dry_run:
        require_write(tenant, "reassigning")
        session.output.say("a change of owner ends an automation's run history and detaches its connections")
    result = _preview(session, view, tenant) if dry_run else _reassign(session, view, tenant)
    for problem in result.problems:
        session.output(problem)
    session.report["counts"] = {"automations": dict(result.counts)}
    words = ", ".join(f"{number} {word}" for word, number in result.counts.items() if word != "selected" and number)
    session.closing.append(
        f"{number(result.counts['selected'], 'automation')} with somebody else as owner: {words or 'nothing to do'}"
    )
    if result.failed:
        raise PartialError(
            f"{number(result.failed, 'automation')} could not be given away", hint="`reassign` again goes on"
        )


def _preview(session: Session, view: RunView, tenant: Tenant) -> ReassignResult:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.reassign import preview_reassign

    async def work() -> ReassignResult:
        async with session.connect(tenant, Access.READ) as client:
            return await preview_reassign(client, view, sink=session.output)

    return session.run(work)


def _reassign(session: Session, view: RunView, tenant: Tenant) -> ReassignResult:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.reassign import ReassignInput, reassign

    wanted = _wanted(session, view)

    async def work() -> ReassignResult:
        async with session.connect(tenant, Access.WRITE) as client:
            given = ReassignInput(view=view, client=client, wanted=wanted, abort_on_error=session.on_error == "abort")
            return await reassign(given, clock=session.clock, sink=session.output)

    with target_lock(view.plan.target.tenant_id):
        return session.run(work)


def _wanted(session: Session, view: RunView) -> dict[str, dict[str, tuple[str, str]]]:
    """What each block was bound to at the source, as far as the archive is still there."""
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.importer.own_owner import wanted_bindings
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import inventory_of, parse

    plan = view.plan
    try:
        with open_planned(session, plan) as archive:
            if archive.digest != plan.archive.digest:
                return {}
            source = inventory_of(archive)
            return {
                action.source_id: wanted_bindings(
                    plan, source, parse(archive.detail(Kind.AUTOMATION, action.source_id).raw)
                )
                for action in plan.actions
                if action.stands_in
            }
    except (NotFoundError, CorruptError):
        return {}
