"""`backup`: tenant → archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, sealing, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.archive import Sealer
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.kernel.event import Sink
    from qlikmigrate.model.manifest import Manifest
    from qlikmigrate.model.selection import Selectors


@command("backup", "Take a snapshot of a tenant into one archive file")
@click.argument("tenant")
@click.option("-o", "--output", "out", required=True, metavar="FILE", help="The archive; a folder gets TENANT-UTC.qma.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@sealing
@selectors
def backup_command(
    session: Session,
    tenant: str,
    out: str,
    force: bool,
    recipients: tuple[str, ...],
    passphrase: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Take a snapshot of TENANT into one archive file.

    Sends GETs only. Ends with 0 when every listed automation is captured, with 3 when the snapshot is incomplete.
    """
    from qlikmigrate.cli.archive import ARCHIVE_SUFFIX
    from qlikmigrate.cli.tenant import file_stamp, file_word, find_tenant, selectors_of
    from qlikmigrate.config.key_source import parse_passphrase, read_sealer

    source = parse_passphrase(passphrase, where="--passphrase") if passphrase is not None else None
    sealer = read_sealer(recipients, source, session.environ)
    found = find_tenant(session, tenant)
    path = Path(out)
    if path.is_dir() or out.endswith("/"):
        path = path / f"{file_word(tenant)}-{file_stamp(session)}{ARCHIVE_SUFFIX}"
    chosen = selectors_of(include, exclude)
    take_backup(session, found, path, force=force, chosen=chosen, with_calls=with_calls, sealer=sealer)


def take_backup(
    session: Session,
    tenant: Tenant,
    path: Path,
    *,
    force: bool,
    chosen: Selectors,
    with_calls: bool,
    sealer: Sealer | None = None,
) -> None:
    """Back a tenant up to `path`, encrypted where there is a `sealer`.

    Raises:
        PartialError: the snapshot is incomplete; the file is there all the same.
    """
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    manifest = take_snapshot(session, tenant, path, force=force, chosen=chosen, with_calls=with_calls, sealer=sealer)
    session.report.update(snapshot_report(manifest, str(path)))
    counts = manifest.counts["automations"]
    sealed = ", encrypted" if sealer is not None else ""
    told = f"{counts.captured} of {counts.listed} automations in {path} ({kibibytes(path.stat().st_size)}{sealed})"
    if not manifest.complete:
        raise PartialError(f"the snapshot is incomplete: {told}", code="incomplete")
    session.closing.append(f"complete: {told}")


def take_snapshot(
    session: Session,
    tenant: Tenant,
    path: Path,
    *,
    force: bool,
    chosen: Selectors,
    with_calls: bool,
    sealer: Sealer | None = None,
    sink: Sink | None = None,
) -> Manifest:
    """Read a tenant into `path` with a client that cannot write. The snapshot may be incomplete.

    `sink`: takes what there is to tell; else the session's output does.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.archive import ArchiveWriter
    from qlikmigrate.exporter.collector import ExportOptions, export

    options = ExportOptions(
        selectors=chosen,
        with_calls=with_calls,
        accept_unreadable=tenant.accept_unreadable,
        abort_on_error=session.on_error == "abort",
    )
    with ArchiveWriter(path, force=force, sealer=sealer) as writer:

        async def work() -> Manifest:
            async with session.connect(tenant, Access.READ) as client:
                return await export(client, writer, options, clock=session.clock, sink=sink or session.output)

        return session.run(work)
