"""`doctor`: who am I here, what may I do, what is missing and how to get it."""

from __future__ import annotations

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session


@command("doctor")
@click.argument("tenant")
def doctor_command(session: Session, tenant: str) -> None:
    """Probe TENANT with harmless reads and say what this identity can do there."""
    from qlikmigrate.cli.tenant import connect, find_tenant
    from qlikmigrate.ops.doctor import Check, examine

    found = find_tenant(session, tenant)

    async def work() -> list[Check]:
        async with connect(session, found) as client:
            try:
                return await examine(client)
            finally:
                session.report["requests"] = client.counts.as_json()

    findings = session.run(work)
    for one in findings:
        row = {"kind": "check", "check": one.check, "ok": one.ok, "message": one.message, "hint": one.hint}
        sign = {True: "ok  ", False: "MISS", None: "note"}[one.ok]
        hint = f"\n     hint: {one.hint}" if one.hint else ""
        session.output.item(row, f"{sign} {one.check}: {one.message}{hint}")
    session.closing.append(f"{sum(1 for one in findings if one.ok is False)} things are missing")
