"""`doctor`: who am I here, what may I do, what is missing and how to get it."""

from __future__ import annotations

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session


@command("doctor", "What can I read and write here, and what is missing")
@click.argument("tenant")
def doctor_command(session: Session, tenant: str) -> None:
    """Probe TENANT, or PARTNER/ACCOUNT of OEM, with harmless reads and say what this identity can do there."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.tenant import find_any_tenant
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.ops import doctor, oem_doctor

    found = find_any_tenant(session, tenant)

    async def work() -> list[doctor.Check]:
        if isinstance(found, Tenant):
            async with session.connect(found, Access.READ) as client:
                return await doctor.examine(client)
        async with session.connect_oem(found, Access.READ) as provider:
            return await oem_doctor.examine(provider, found.account)

    findings = session.run(work)
    for one in findings:
        row = {"kind": "check", "check": one.check, "ok": one.ok, "message": one.message, "hint": one.hint}
        sign = {True: "ok  ", False: "MISS", None: "note"}[one.ok]
        hints = [f"     hint: {one.hint}"] if one.hint else []
        session.output.item(row, f"{sign} {one.check}: {one.message}", *hints)
    missing = sum(1 for one in findings if one.ok is False)
    session.closing.append(f"{missing} missing" if missing else "nothing is missing")
