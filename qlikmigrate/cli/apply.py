"""`apply`: does what a saved plan says."""

from __future__ import annotations

from pathlib import Path

import click

from qlikmigrate.cli.option import command, opening, running
from qlikmigrate.cli.session import Session


@command("apply", "Do exactly what a plan says")
@click.argument("plan_path", metavar="PLAN")
@running
@opening
def apply_command(session: Session, plan_path: str, run_path: str | None, resume: bool, dry_run: bool) -> None:
    """Do exactly what PLAN says. Refuses when the target changed since (7), or when preflight refused it (6)."""
    from qlikmigrate.cli.execution import carry_out, resumable, run_folder
    from qlikmigrate.cli.tenant import find_target
    from qlikmigrate.importer.plan import read_plan

    plan = read_plan(Path(plan_path))
    session.report["plan"] = plan_path
    tenant = find_target(session, plan.target.name)
    folder = run_folder(session, tenant, run_path, resume=resume)
    with resumable(folder):
        session.run(lambda: carry_out(session, plan, tenant, folder, resume=resume, dry_run=dry_run, saved=True))
