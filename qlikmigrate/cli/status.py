"""`status`: what of a run is settled, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.importer.status import Link, Status

_NOUNS = {
    "held": "held starts",
    "caller": "callers",
    "consent": "consents",
    "connection-unbound": "unbound connections",
    "bindings-lost-on-transfer": "lost bindings",
    "call-unresolved": "unresolved calls",
    "owner-to-reassign": "owners",
    "source-id-left": "ids without counterpart",
    "id-in-code": "ids in source code",
    "id-in-name": "ids in names",
    "ambiguous-id": "ambiguous ids",
    "hand-built": "automations to build by hand",
    "schedule-unknown": "unknown schedules",
    "setup-incomplete": "setups to go through",
    "connection-values-missing": "connections to make",
}


@command("status", "Tick off what a run left for people")
@click.argument("run_path", metavar="RUN")
@click.option("--links", is_flag=True, help="Fetch where consent is given, and print it; it is stored nowhere.")
def status_command(session: Session, run_path: str, links: bool) -> None:
    """Read the target again and tick the tasks of RUN. Sends GETs only; ends with 4 while something is left."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli import oem_run
    from qlikmigrate.cli.run import open_run
    from qlikmigrate.importer.status import read_status

    if (found := oem_run.open_oem_run(session, run_path)) is not None:
        _tell(session, oem_run.read_status(session, *found, links=links), links=links)
        return
    view, tenant = open_run(session, run_path)

    async def work() -> Status:
        async with session.connect(tenant, Access.READ) as client:
            return await read_status(client, view, links=links, clock=session.clock, sink=session.output)

    _tell(session, session.run(work), links=links)


def _tell(session: Session, status: Status, *, links: bool) -> None:
    output = session.output
    for one in sorted(status.ticks, key=lambda one: (one.settled, one.task.person, one.task.code, one.task.message)):
        row = {"kind": "task", **asdict(one.task), "settled": one.settled, "note": one.note}
        box = "x" if one.settled else " "
        output.item(row, f"[{box}] {one.task.person}: {one.task.message} ({one.task.where}): {one.note}")
    for code, (settled, total) in status.sums().items():
        noun = _NOUNS.get(code, f"tasks `{code}`")
        row = {"kind": "sum", "code": code, "settled": settled, "total": total}
        output.item(row, f"{settled} of {total} {noun}")
    for problem in status.problems:
        output(problem)
    if links:
        _tell_links(session, status.links)
    total = len(status.ticks)
    session.report["counts"] = {"tasks": {"total": total, "settled": total - status.left, "open": status.left}}
    drifted = sum(one.code == "drifted" for one in status.problems)
    if drifted:
        session.closing.append(
            f"changed at the target since the run: {number(drifted, 'automation')}; --verbose lists them"
        )
    session.closing.append(f"{total - status.left} of {total} tasks are settled" if total else "nothing was left to do")
    if status.left:
        session.exit_code = 4


def _tell_links(session: Session, links: tuple[Link, ...]) -> None:
    """On stdout and nowhere else: whoever has such a link may connect in its owner's place."""
    for link in links:
        row = {"kind": "link", "connection": link.connection_id, "name": link.name, "owner": link.owner}
        where = link.redirect or "its owner opens it in the hub"
        session.output.item(row | {"redirect": link.redirect}, f"{link.owner}: `{link.name}`: {where}")
