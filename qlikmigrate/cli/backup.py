"""`backup`: tenant → archive or vault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, passphrase, recipients, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.archive import Sealer
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.exporter.collector import ExportOptions
    from qlikmigrate.kernel.event import Sink
    from qlikmigrate.model.manifest import Manifest
    from qlikmigrate.model.selection import Selectors
    from qlikmigrate.vault import Vault


@command("backup", "Take a snapshot of a tenant into an archive file or a vault")
@click.argument("tenant")
@click.option("-o", "--output", "out", metavar="FILE", help="The archive; a folder gets TENANT-UTC.qma.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option("--vault", metavar="VAULT", help="A vault, which keeps what did not change once: a folder or s3://…")
@click.option("--init", is_flag=True, help="Make the vault if there is none.")
@click.option(
    "--full", is_flag=True, help="Read every document, also those that the vault's last snapshot vouches for."
)
@recipients
@passphrase
@selectors
def backup_command(
    session: Session,
    tenant: str,
    out: str | None,
    force: bool,
    vault: str | None,
    init: bool,
    full: bool,
    recipients: tuple[str, ...],
    passphrase: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Take a snapshot of TENANT into one archive file, or into a vault that shares what did not change.

    Sends GETs only. Ends with 0 when every listed automation is captured, with 3 when the snapshot is incomplete.
    """
    from qlikmigrate.cli.archive import ARCHIVE_SUFFIX
    from qlikmigrate.cli.tenant import file_stamp, file_word, find_tenant, selectors_of
    from qlikmigrate.cli.vault import open_or_make, sealer_of
    from qlikmigrate.config.key_source import parse_passphrase
    from qlikmigrate.kernel.error import UsageError

    if (out is None) == (vault is None):
        raise UsageError("a backup goes into a file or a vault", hint="-o FILE, or --vault VAULT")
    if vault is None and (init or full):
        raise UsageError("--init and --full go with --vault")
    if vault is not None and force:
        raise UsageError("--force goes with -o: a vault keeps every snapshot")
    session.passphrase = parse_passphrase(passphrase, where="--passphrase") if passphrase is not None else None
    found = find_tenant(session, tenant)
    chosen = selectors_of(include, exclude)
    if vault is not None:
        opened = open_or_make(session, vault, recipients, init=init)
        back_up_into(session, found, opened, vault, full=full, chosen=chosen, with_calls=with_calls)
        return
    sealer = sealer_of(session, recipients)
    path = Path(str(out))
    if path.is_dir() or str(out).endswith("/"):
        path = path / f"{file_word(tenant)}-{file_stamp(session)}{ARCHIVE_SUFFIX}"
    take_backup(session, found, path, force=force, chosen=chosen, with_calls=with_calls, sealer=sealer)


def back_up_into(
    session: Session,
    tenant: Tenant,
    vault: Vault,
    location: str,
    *,
    full: bool,
    chosen: Selectors,
    with_calls: bool,
) -> None:
    """Back a tenant up into a vault.

    Raises:
        PartialError: the snapshot is incomplete; it is in the vault all the same.
        LockedError: another writer holds the vault.
    """
    from attrs import evolve

    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.exporter.collector import export
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    options = evolve(_options(session, tenant, chosen, with_calls=with_calls), full=full)
    place = Path(location)
    # What is plain never comes near an encrypted vault: its folder may be another machine's.
    beside = place if place.is_dir() and not vault.encrypted else None
    with vault.writer(spool_folder=beside, sink=session.output, watch=session.watch) as writer:

        async def work() -> Manifest:
            async with session.connect(tenant, Access.READ) as client:
                return await export(client, writer, options, clock=session.clock, sink=session.output, earlier=writer)

        manifest = session.run(work)
    assert writer.info is not None
    session.report.update(snapshot_report(manifest, f"{location}@{writer.info.id}"))
    counts = manifest.counts["automations"]
    told = (
        f"{counts.captured} of {counts.listed} automations in {location}@{writer.info.id[:8]} "
        f"({kibibytes(writer.stored_bytes)} stored{', encrypted' if vault.encrypted else ''})"
    )
    if not manifest.complete:
        raise PartialError(f"the snapshot is incomplete: {told}", code="incomplete")
    session.closing.append(f"complete: {told}")


def _options(session: Session, tenant: Tenant, chosen: Selectors, *, with_calls: bool) -> ExportOptions:
    from qlikmigrate.exporter.collector import ExportOptions

    return ExportOptions(
        selectors=chosen,
        with_calls=with_calls,
        accept_unreadable=tenant.accept_unreadable,
        abort_on_error=session.on_error == "abort",
    )


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
    from qlikmigrate.exporter.collector import export

    options = _options(session, tenant, chosen, with_calls=with_calls)
    with ArchiveWriter(path, force=force, sealer=sealer) as writer:

        async def work() -> Manifest:
            async with session.connect(tenant, Access.READ) as client:
                return await export(client, writer, options, clock=session.clock, sink=sink or session.output)

        return session.run(work)
