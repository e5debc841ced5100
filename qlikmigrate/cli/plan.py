"""`plan`: what a restore would do, saved for review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.option import command, planning, selectors
from qlikmigrate.cli.session import Session
from qlikmigrate.kernel.event import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qlikmigrate.archive import Archive
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.plan import Plan


@command("plan")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("tenant")
@click.option("-o", "--output", "out", metavar="PLAN", help="Save the plan, for `apply`.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 4 when something would change.")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@planning(on_conflict="fail")
@selectors
def plan_command(
    session: Session,
    archive_path: str,
    tenant: str,
    out: str | None,
    detailed_exitcode: bool,
    allow_incomplete: bool,
    **flags: Any,
) -> None:
    """Say what restoring ARCHIVE into TENANT would do. Sends GETs only; PLAN holds no bodies and no secrets."""
    from qlikmigrate.cli.tenant import find_tenant, open_complete
    from qlikmigrate.importer.plan import read_plan, write_plan
    from qlikmigrate.kernel.error import QlikmigrateError, RefusedError, UsageError

    target = find_tenant(session, tenant)
    if out and Path(out).exists():
        try:
            read_plan(Path(out))
        except QlikmigrateError:
            raise UsageError(f"{out} exists and is no plan", hint="name another file") from None
    with open_complete(archive_path, allow_incomplete=allow_incomplete) as archive:
        made = compute_plan(session, archive, archive_path, target, flags)
    tell_plan(session, made)
    if out:
        write_plan(made, Path(out))
        session.report["plan"] = out
    session.report.update(archive=archive_path, counts={"automations": {**made.counts(), "failed": 0}})
    if made.refused:
        raise RefusedError(
            f"preflight refuses: {len(made.errors)} errors; nothing was written",
            hint="settle them, or waive one kind with --allow CODE",
        )
    if detailed_exitcode and made.changes:
        session.exit_code = 4


def compute_plan(
    session: Session, archive: Archive, archive_path: str | Path, target: Tenant, flags: dict[str, Any]
) -> Plan:
    """Make a plan with a client that cannot write."""
    from qlikmigrate.cli.request import request_of
    from qlikmigrate.cli.tenant import connect
    from qlikmigrate.importer.prepare import make_plan

    request = request_of(archive, archive_path, session.environ, flags)

    async def work() -> Plan:
        async with connect(session, target) as client:
            try:
                return await make_plan(client, request, clock=session.clock, sink=session.output)
            finally:
                session.report["requests"] = client.counts.as_json()

    return session.run(work)


def tell_problems(session: Session, problems: Iterable[Problem]) -> None:
    """Problems to people, one of each code and how many more; one by one with `--json` or `--verbose`."""
    if session.output.json or session.output.verbose:
        for problem in problems:
            session.output(problem)
        return
    groups: dict[tuple[str, Severity], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.code, problem.severity), []).append(problem)
    for group in groups.values():
        first = group[0]
        session.output.told.update(group)
        if first.severity is Severity.ERROR:
            for problem in group:
                session.output.problem(problem)
            continue
        session.output.problem(first)
        if len(group) > 1:
            session.output.say(f"  and {len(group) - 1} more of `{first.code}`; --verbose lists them")


def tell_plan(session: Session, plan: Plan) -> None:
    """The plan's actions as rows and its problems."""
    from qlikmigrate.report.text import plan_rows, plan_summary

    tell_problems(session, plan.problems)
    for row, text in plan_rows(plan, everything=session.output.verbose or session.output.json):
        session.output.item(row, text)
    session.closing += plan_summary(plan)
