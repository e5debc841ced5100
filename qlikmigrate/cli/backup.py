"""`backup`: tenant → archive."""

from __future__ import annotations

from pathlib import Path

import click

from qlikmigrate.cli.option import command, selectors
from qlikmigrate.cli.session import Session


@command("backup")
@click.argument("tenant")
@click.option("-o", "--output", "out", required=True, metavar="FILE", help="The archive; a folder gets TENANT-UTC.qma.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@selectors
def backup_command(
    session: Session,
    tenant: str,
    out: str,
    force: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Take a snapshot of TENANT into one archive file.

    Sends GETs only. Ends with 0 when every listed automation is captured, with 3 when the snapshot is incomplete.
    """
    from qlikmigrate.cli.tenant import file_stamp, find_tenant, selectors_of

    found = find_tenant(session, tenant)
    path = Path(out)
    if path.is_dir() or out.endswith("/"):
        path = path / f"{tenant.replace(':', '-')}-{file_stamp(session)}.qma"
    take_backup(session, found, path, force=force, chosen=selectors_of(include, exclude), with_calls=with_calls)


def take_backup(session: Session, tenant: object, path: Path, *, force: bool, chosen: object, with_calls: bool) -> None:
    """Back up an opened tenant description to `path`, and report into the session."""
    from qlikmigrate.archive import ArchiveWriter
    from qlikmigrate.cli.tenant import connect
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.exporter.collector import ExportOptions, export
    from qlikmigrate.model.manifest import Manifest
    from qlikmigrate.model.selection import Selectors

    assert isinstance(tenant, Tenant)
    assert isinstance(chosen, Selectors)
    writer = ArchiveWriter(path, force=force)
    options = ExportOptions(
        selectors=chosen,
        with_calls=with_calls,
        accept_unreadable=tenant.accept_unreadable,
        abort_on_error=session.on_error == "abort",
    )

    async def work() -> Manifest:
        async with connect(session, tenant) as client:
            try:
                return await export(client, writer, options, clock=session.clock, sink=session.output)
            finally:
                session.report["requests"] = client.counts.as_json()

    manifest = session.run(work)
    counts = manifest.counts["automations"]
    session.report.update(
        complete=manifest.complete,
        restorable=manifest.restorable.value,
        archive=str(path),
        counts={
            kind: {"listed": c.listed, "captured": c.captured, "unreadable": c.unreadable, "vanished": c.vanished}
            for kind, c in manifest.counts.items()
        },
    )
    size = path.stat().st_size
    state = "complete" if manifest.complete else "INCOMPLETE"
    session.closing.append(
        f"{state}: {counts.captured} of {counts.listed} automations in {path} ({size / 1024:,.0f} KiB)"
    )
    if not manifest.complete:
        session.exit_code = 3
