"""`callers`: which old address became which new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.importer.caller_list import CallerList


@command("callers", "List old and new ids and addresses")
@click.argument("run_path", metavar="RUN")
@click.option("-o", "--output", "out", metavar="FILE", required=True, help="The list, as CSV.")
@click.option("--with-tokens", is_flag=True, help="Read the target's execution tokens, and write them into FILE.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
def callers_command(session: Session, run_path: str, out: str, with_tokens: bool, force: bool) -> None:
    """Write old id and address → new id and address of the automations of RUN to FILE, readable by you only.

    Sends GETs only. With tokens FILE is a secret: hand it over as one, and delete it.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli import oem_run
    from qlikmigrate.cli.run import open_run
    from qlikmigrate.cli.tenant import check_place
    from qlikmigrate.importer.caller_list import read_callers
    from qlikmigrate.kernel.error import UsageError

    check_place(out)
    if Path(out).exists() and not force:
        raise UsageError(f"{out} exists", hint="--force replaces it", code="output-exists")
    oem = oem_run.open_oem_run(session, run_path)
    if oem is not None:
        found = oem_run.read_callers(session, *oem, with_tokens=with_tokens)
        _write(session, found, out, with_tokens=with_tokens)
        return
    view, tenant = open_run(session, run_path)

    async def work() -> CallerList:
        async with session.connect(tenant, Access.READ) as client:
            return await read_callers(client, view, tokens=with_tokens, clock=session.clock, sink=session.output)

    _write(session, session.run(work), out, with_tokens=with_tokens)


def _write(session: Session, found: CallerList, out: str, *, with_tokens: bool) -> None:
    from qlikmigrate.importer.caller_list import callers_csv
    from qlikmigrate.kernel.file import write_atomic

    write_atomic(Path(out), callers_csv(found.rows, tokens=with_tokens).encode())
    for problem in found.problems:
        session.output(problem)
    tokens = sum(row.token is not None for row in found.rows)
    session.report["counts"] = {"automations": {"listed": len(found.rows), "with_token": tokens}}
    told = f", {tokens} with their tokens: keep it secret" if with_tokens else ""
    session.closing.append(f"{number(len(found.rows), 'automation')} in {out}{told}")
