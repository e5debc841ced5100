"""`activate`: starts what a run held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.activation import ActivationPlan, LiveResult
    from qlikmigrate.importer.run_view import RunView


@command("activate", "Start what a run held")
@click.argument("run_path", metavar="RUN")
@click.option("--source", "source_name", metavar="TENANT", help="The source; else the tenant with the archive's host.")
@click.option("--include-unready", is_flag=True, help="Also what is unbound, or has calls that lead nowhere.")
@click.option(
    "--allow", multiple=True, metavar="CODE", help="Go on in spite of source-on, source-unchecked or target-changed."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; send nothing but GETs.")
@opening
def activate_command(
    session: Session,
    run_path: str,
    source_name: str | None,
    include_unready: bool,
    allow: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Start the automations that RUN held, callees first.

    Refuses while one of them is on at the source, or nobody can tell. Run it again after it was cut short.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli import oem_run
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.going_live import find_source, open_view, report_live, tell_outcomes
    from qlikmigrate.cli.run import target_of_run
    from qlikmigrate.cli.telling import tell_problems
    from qlikmigrate.cli.tenant import require_access
    from qlikmigrate.importer.activation import outcome_of_item
    from qlikmigrate.kernel.error import RefusedError

    if (found := oem_run.open_oem_run(session, run_path)) is not None:
        oem_run.activate(
            session,
            *found,
            source_name=source_name,
            include_unready=include_unready,
            allow=frozenset(allow),
            dry_run=dry_run,
        )
        return
    view = open_view(session, run_path)
    target = target_of_run(session, view)
    if not dry_run:
        require_access(target, Access.STATE, "activating")
    source = find_source(session, view, source_name, needed=False)
    plan = _plan(
        session, view, target, source, include_unready=include_unready, allow=frozenset(allow), named=bool(source_name)
    )
    tell_problems(session, plan.problems)
    if plan.errors:
        raise RefusedError(
            f"not started: {len(plan.errors)} errors; nothing was written",
            hint="settle them at the source, or waive them with --allow source-on",
        )
    planned = [outcome_of_item(item, clock=session.clock, planned=True) for item in plan.items]
    if dry_run:
        tell_outcomes(session, planned, word="enabled")
        return
    if plan.starts:
        if not session.yes:
            tell_outcomes(session, planned, word="enabled", preview=True)
        confirm(session, f"start {number(len(plan.starts), 'automation')} at `{target.endpoint.name}`?")
    result = _carry_out(session, view, target, source, plan)
    report_live(session, result, unit="automations")


def _plan(
    session: Session,
    view: RunView,
    target: Tenant,
    source: Tenant | None,
    *,
    include_unready: bool,
    allow: frozenset[str],
    named: bool,
) -> ActivationPlan:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.cli.going_live import read_source_or_why
    from qlikmigrate.importer.activation import plan_activation
    from qlikmigrate.importer.held import read_held
    from qlikmigrate.importer.side import Standing

    async def work() -> ActivationPlan:
        with open_planned(session, view.plan) as archive:
            async with session.connect(target, Access.READ) as client:
                _, held = await read_held(view, archive, client, sink=session.output)
        if source is None:
            why = "no tenant of the tenants file has the archive's host"
            if not view.plan.archive.is_cloud:
                why = "it is an OEM account, of which no call says what is on"
            return plan_activation(held, None, why_unchecked=why, include_unready=include_unready, allow=allow)
        async with session.connect(source, Access.READ) as client:
            side, why = await read_source_or_why(client, view, named=named)
            standings = {
                one.action.source_id: await side.standing(one.action.source_id, "")
                for one in held
                if side is not None and side.listed(one.action.source_id) is Standing.UNKNOWN
            }
        return plan_activation(
            held, side, why_unchecked=why, standings=standings, include_unready=include_unready, allow=allow
        )

    return session.run(work)


def _carry_out(
    session: Session, view: RunView, target: Tenant, source: Tenant | None, plan: ActivationPlan
) -> LiveResult:
    from contextlib import AsyncExitStack

    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.activation import SOURCE_ON, SOURCE_UNCHECKED, ActivationInput, activate
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.side import read_side

    asks = source is not None and not ({SOURCE_ON, SOURCE_UNCHECKED} & plan.allow)

    async def work() -> LiveResult:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(session.connect(target, Access.STATE))
            there = await read_side(client, "target")
            here = None
            if asks and source is not None:
                here = await read_side(await stack.enter_async_context(session.connect(source, Access.READ)), "source")
            given = ActivationInput(
                plan=plan,
                target=there,
                source=here,
                folder=view.folder,
                abort_on_error=session.on_error == "abort",
            )
            return await activate(given, clock=session.clock, sink=session.output)

    with target_lock(view.plan.target.tenant_id):
        return session.run(work)
