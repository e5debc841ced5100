"""`cutover`: from the source to the target, pair by pair, and back again with `--undo`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from attrs import frozen

from qlikmigrate.cli.option import command, opening, seconds
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.activation import LiveResult
    from qlikmigrate.importer.cutover import CutoverPlan
    from qlikmigrate.importer.held import Held
    from qlikmigrate.importer.run_view import RunView
    from qlikmigrate.importer.running_job import Running


@frozen(kw_only=True)
class _Scene:
    """What the command line names."""

    session: Session
    view: RunView
    source: Tenant
    target: Tenant
    running: Running
    limit_s: float


@command("cutover", "Switch from the source to the target, or back")
@click.argument("run_path", metavar="RUN")
@click.option("--source", "source_name", metavar="TENANT", help="The source; else the tenant with the archive's host.")
@click.option("--undo", is_flag=True, help="Switch back what this run's cutover switched.")
@click.option(
    "--running",
    type=click.Choice(["wait", "stop"]),
    default="wait",
    show_default=True,
    help="Jobs that still run: wait for them, or stop them (needs write access there).",
)
@click.option(
    "--wait-limit",
    callback=seconds,
    default="1h",
    show_default=True,
    metavar="90s|30m|2h",
    help="How long one pair's jobs are waited for.",
)
@click.option("--include-unready", is_flag=True, help="Also what is unbound, or has calls that lead nowhere.")
@click.option("--allow", multiple=True, metavar="CODE", help="Switch in spite of source-changed or target-changed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; send nothing but GETs.")
@opening
def cutover_command(
    session: Session,
    run_path: str,
    source_name: str | None,
    undo: bool,
    running: str,
    wait_limit: float,
    include_unready: bool,
    allow: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Switch what RUN held from the source to the target: off there, running jobs done, on here; pair by pair.

    A pair whose source changed since the archive stays as it is. Run it again after it was cut short.
    """
    from qlikmigrate.cli.going_live import find_source, open_view
    from qlikmigrate.cli.run import target_of_run
    from qlikmigrate.cli.tenant import require_access
    from qlikmigrate.importer.running_job import Running

    view = open_view(session, run_path)
    target = target_of_run(session, view)
    source = find_source(session, view, source_name, needed=True)
    assert source is not None
    scene = _Scene(
        session=session, view=view, source=source, target=target, running=Running(running), limit_s=wait_limit
    )
    if not dry_run:
        what = "undoing a cutover" if undo else "a cutover"
        require_access(source, _need(scene, here=not undo), what)
        require_access(target, _need(scene, here=undo), what)
    if undo:
        _undo(scene, dry_run=dry_run)
    else:
        _cutover(scene, include_unready=include_unready, allow=frozenset(allow), dry_run=dry_run)


def _need(scene: _Scene, *, here: bool) -> Access:
    """The access that a side needs. `here`: it is the one that is switched off, whose jobs may have to be stopped."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.importer.running_job import Running

    return Access.WRITE if here and scene.running is Running.STOP else Access.STATE


def _cutover(scene: _Scene, *, include_unready: bool, allow: frozenset[str], dry_run: bool) -> None:
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.going_live import report_live, tell_outcomes
    from qlikmigrate.cli.telling import tell_problems
    from qlikmigrate.importer.cutover import planned_outcomes

    session = scene.session
    plan = _plan(scene, include_unready=include_unready, allow=allow)
    tell_problems(session, plan.problems)
    planned = planned_outcomes(plan, session.clock)
    if dry_run:
        tell_outcomes(session, planned, word="switched")
        return
    if plan.switches:
        if not session.yes:
            tell_outcomes(session, planned, word="switched", preview=True)
        names = f"`{scene.source.endpoint.name}` to `{scene.target.endpoint.name}`"
        confirm(session, f"switch {number(len(plan.switches), 'automation')} from {names}?")
    report_live(session, _carry_out(scene, plan), unit="automations")


def _plan(scene: _Scene, *, include_unready: bool, allow: frozenset[str]) -> CutoverPlan:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.cli.going_live import check_source
    from qlikmigrate.importer.cutover import plan_cutover, stopped_sources
    from qlikmigrate.importer.held import read_held
    from qlikmigrate.importer.plan import Verb
    from qlikmigrate.importer.side import read_side
    from qlikmigrate.importer.source_change import find_changes

    session, view = scene.session, scene.view

    async def work() -> CutoverPlan:
        selected = [one for one in view.plan.actions if one.verb is not Verb.SKIP]
        with open_planned(session, view.plan) as archive:
            async with session.connect(scene.target, Access.READ) as client:
                _, held = await read_held(view, archive, client, sink=session.output)
            async with session.connect(scene.source, Access.READ) as client:
                await check_source(client, view)
                source = await read_side(client, "source")
                changes = await find_changes(
                    archive,
                    source,
                    [one.source_id for one in selected],
                    stopped=stopped_sources(view),
                    sink=session.output,
                )
        return plan_cutover(held, source, changes, selected=selected, include_unready=include_unready, allow=allow)

    return session.run(work)


def _carry_out(scene: _Scene, plan: CutoverPlan) -> LiveResult:
    from qlikmigrate.importer.cutover import CutoverInput, cutover
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.side import read_side

    session = scene.session

    async def work() -> LiveResult:
        async with (
            session.connect(scene.source, _need(scene, here=True)) as source,
            session.connect(scene.target, _need(scene, here=False)) as target,
        ):
            given = CutoverInput(
                plan=plan,
                target=await read_side(target, "target"),
                source=await read_side(source, "source"),
                folder=scene.view.folder,
                running=scene.running,
                limit_s=scene.limit_s,
                abort_on_error=session.on_error == "abort",
            )
            return await cutover(given, clock=session.clock, sink=session.output)

    with target_lock(scene.view.plan.target.tenant_id), _in_between(scene):
        return session.run(work)


def _undo(scene: _Scene, *, dry_run: bool) -> None:
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.going_live import report_live, tell_outcomes
    from qlikmigrate.importer.cutover import touched
    from qlikmigrate.kernel.event import Outcome

    session, view = scene.session, scene.view
    actions = touched(view)
    planned = [
        Outcome(
            kind="automation",
            source_id=one.source_id,
            target_id=view.target_of(one.seq),
            name=one.name,
            action="disable",
            status="planned",
        )
        for one in actions
    ]
    if dry_run:
        tell_outcomes(session, planned, word="switched")
        return
    if actions:
        if not session.yes:
            tell_outcomes(session, planned, word="switched", preview=True)
        names = f"`{scene.target.endpoint.name}` to `{scene.source.endpoint.name}`"
        confirm(session, f"switch {number(len(actions), 'automation')} back from {names}?")
    report_live(session, _carry_back(scene), unit="automations")


def _carry_back(scene: _Scene) -> LiveResult:
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.cli.going_live import check_source
    from qlikmigrate.importer.cutover import UndoInput, touched, undo
    from qlikmigrate.importer.held import read_held
    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.importer.run_view import RunView
    from qlikmigrate.importer.side import read_side

    session = scene.session

    async def work() -> LiveResult:
        view = RunView.open(scene.view.folder.path)
        async with (
            session.connect(scene.source, _need(scene, here=False)) as source,
            session.connect(scene.target, _need(scene, here=True)) as target,
        ):
            await check_source(source, view)
            with open_planned(session, view.plan) as archive:
                there, held = await read_held(view, archive, target, sink=session.output)
            by_seq: dict[int, Held] = {one.action.seq: one for one in held}
            given = UndoInput(
                held=tuple(by_seq[one.seq] for one in touched(view)),
                target=there,
                source=await read_side(source, "source"),
                folder=view.folder,
                running=scene.running,
                limit_s=scene.limit_s,
                abort_on_error=session.on_error == "abort",
            )
            return await undo(given, clock=session.clock, sink=session.output)

    with target_lock(scene.view.plan.target.tenant_id), _in_between(scene):
        return session.run(work)


@contextmanager
def _in_between(scene: _Scene) -> Iterator[None]:
    """Whoever is stopped between two switches is told so."""
    from qlikmigrate.kernel.error import QlikmigrateError

    try:
        yield
    except QlikmigrateError as error:
        if not error.hint:
            path = scene.view.folder.path
            error.hint = (
                f"one pair may be off at both sides: `cutover {path}` goes on, `cutover {path} --undo` goes back"
            )
        raise
