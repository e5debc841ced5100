"""`backup`: tenant → archive or vault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, passphrase, recipients, selectors, supplying
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.archive import Sealer
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.exporter.oem.export_option import OemExportOptions
    from qlikmigrate.kernel.event import Sink
    from qlikmigrate.model.earlier import Earlier
    from qlikmigrate.model.manifest import Manifest
    from qlikmigrate.model.selection import Selectors
    from qlikmigrate.model.snapshot import SnapshotWriter
    from qlikmigrate.vault import Vault

    Reader = Callable[[SnapshotWriter, Sink, Earlier | None], Awaitable[Manifest]]


@command("backup", "Take a snapshot of a tenant into an archive file or a vault")
@click.argument("tenant")
@click.option("-o", "--output", "out", metavar="FILE", help="The archive; a folder gets TENANT-UTC.qma.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option("--vault", metavar="VAULT", help="A vault, which keeps what did not change once: a folder or s3://…")
@click.option("--init", is_flag=True, help="Make the vault if there is none.")
@click.option(
    "--full", is_flag=True, help="Read every document, also those that the vault's last snapshot vouches for."
)
@supplying
@click.option("--runs", type=click.IntRange(min=1), metavar="N", help="Of OEM: also the newest N runs of each.")
@click.option("--without-input-values", is_flag=True, help="Of OEM: leave out what is stored in inputs.")
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
    workspaces: str | None,
    schedules: str | None,
    runs: int | None,
    without_input_values: bool,
    recipients: tuple[str, ...],
    passphrase: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Take a snapshot of TENANT into one archive file, or into a vault that shares what did not change.

    TENANT is a tenant of Qlik Cloud, an OEM account as PARTNER/ACCOUNT, or PARTNER with all its accounts.

    Sends GETs only. Ends with 0 when every listed automation is captured, with 3 when the snapshot is incomplete.
    """
    from qlikmigrate.cli.archive import ARCHIVE_SUFFIX
    from qlikmigrate.cli.tenant import file_stamp, file_word, find_any_tenant, selectors_of
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
    found = find_any_tenant(session, tenant)
    chosen = selectors_of(include, exclude)
    oem = oem_options(found, workspaces, schedules, runs, without_input_values=without_input_values)
    _check_selection(found, chosen, with_calls=with_calls)
    if vault is not None:
        opened = open_or_make(session, vault, recipients, init=init)
        back_up_into(session, found, opened, vault, full=full, chosen=chosen, with_calls=with_calls, oem=oem)
        return
    sealer = sealer_of(session, recipients)
    path = Path(str(out))
    if path.is_dir() or str(out).endswith("/"):
        path = path / f"{file_word(tenant)}-{file_stamp(session)}{ARCHIVE_SUFFIX}"
    take_backup(session, found, path, force=force, chosen=chosen, with_calls=with_calls, sealer=sealer, oem=oem)


def oem_options(
    tenant: Tenant | OemTenant,
    workspaces: str | None,
    schedules: str | None,
    runs: int | None = None,
    *,
    without_input_values: bool = False,
) -> OemExportOptions | None:
    """What is asked for of OEM accounts alone. All files are read and checked before anything is sent.

    Raises:
        UsageError: such a thing is asked of a tenant of Qlik Cloud, or a file is not what it should be.
    """
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.kernel.error import UsageError

    given = {
        "--workspaces": workspaces, "--schedules": schedules, "--runs": runs,
        "--without-input-values": without_input_values,
    }  # fmt: skip
    if isinstance(tenant, Tenant):
        for flag, value in given.items():
            if value:
                raise UsageError(
                    f"{flag} is for OEM accounts: `{tenant.endpoint.name}` is a tenant of Qlik Cloud",
                    code="only-for-oem",
                )
        return None
    from qlikmigrate.exporter.oem.export_option import OemExportOptions
    from qlikmigrate.exporter.oem.schedule_file import read_schedules
    from qlikmigrate.exporter.oem.supply import Supply
    from qlikmigrate.exporter.oem.workspace_file import read_workspaces

    supply = Supply(
        workspaces=read_workspaces(Path(workspaces)) if workspaces else (),
        schedules=read_schedules(Path(schedules)) if schedules else (),
    )
    return OemExportOptions(supply=supply, runs=runs or 0, input_values=not without_input_values)


def check_unsupplied(archive: str, workspaces: str | None, schedules: str | None) -> None:
    """Raises: UsageError when something is handed in beside an archive, which holds what was handed in with it."""
    from qlikmigrate.kernel.error import UsageError

    for flag, value in (("--workspaces", workspaces), ("--schedules", schedules)):
        if value:
            raise UsageError(f"{flag} is for a backup: {archive} holds what was handed in with it")


def _check_selection(tenant: Tenant | OemTenant, chosen: Selectors, *, with_calls: bool) -> None:
    """Raises: UsageError when a flag means nothing for this kind of tenant."""
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.selection import CLOUD_KEYS, OEM_KEYS

    if isinstance(tenant, Tenant):
        chosen.check(CLOUD_KEYS, "Qlik Cloud")
        return
    chosen.check(OEM_KEYS, "an OEM account")
    if with_calls:
        raise UsageError("--with-calls is for Qlik Cloud: of OEM accounts nobody can see who calls whom")


def back_up_into(
    session: Session,
    tenant: Tenant | OemTenant,
    vault: Vault,
    location: str,
    *,
    full: bool,
    chosen: Selectors,
    with_calls: bool,
    oem: OemExportOptions | None = None,
) -> None:
    """Back a tenant up into a vault.

    Raises:
        PartialError: the snapshot is incomplete; it is in the vault all the same.
        LockedError: another writer holds the vault.
    """
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    read = _reader(session, tenant, chosen, with_calls=with_calls, full=full, oem=oem)
    place = Path(location)
    # What is plain never comes near an encrypted vault: its folder may be another machine's.
    beside = place if place.is_dir() and not vault.encrypted else None
    with vault.writer(spool_folder=beside, sink=session.output, watch=session.watch) as writer:
        manifest = session.run(lambda: read(writer, session.output, writer))
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


def _reader(
    session: Session,
    tenant: Tenant | OemTenant,
    chosen: Selectors,
    *,
    with_calls: bool,
    full: bool = False,
    oem: OemExportOptions | None = None,
) -> Reader:
    """What reads the tenant into a writer, with a client that cannot write.

    `oem`: what is asked for of OEM accounts alone.
    """
    from attrs import evolve

    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.config.tenants import Tenant

    abort = session.on_error == "abort"
    if isinstance(tenant, Tenant):
        from qlikmigrate.exporter.collector import ExportOptions, export

        options = ExportOptions(
            selectors=chosen,
            with_calls=with_calls,
            accept_unreadable=tenant.accept_unreadable,
            abort_on_error=abort,
            full=full,
        )

        async def read(writer: SnapshotWriter, sink: Sink, earlier: Earlier | None) -> Manifest:
            async with session.connect(tenant, Access.READ) as client:
                return await export(client, writer, options, clock=session.clock, sink=sink, earlier=earlier)

        return read
    from qlikmigrate.exporter.oem.collector import export_oem
    from qlikmigrate.exporter.oem.export_option import OemExportOptions

    wanted = evolve(
        oem or OemExportOptions(),
        account=tenant.account,
        selectors=chosen,
        accept_unreadable=tenant.accept_unreadable,
        abort_on_error=abort,
    )

    async def read_oem(writer: SnapshotWriter, sink: Sink, earlier: Earlier | None) -> Manifest:
        # Nothing is taken over from earlier snapshots: see `exporter.oem.collector`.
        async with session.connect_oem(tenant, Access.READ) as client:
            return await export_oem(client, writer, wanted, clock=session.clock, sink=sink)

    return read_oem


def take_backup(
    session: Session,
    tenant: Tenant | OemTenant,
    path: Path,
    *,
    force: bool,
    chosen: Selectors,
    with_calls: bool,
    sealer: Sealer | None = None,
    oem: OemExportOptions | None = None,
) -> None:
    """Back a tenant up to `path`, encrypted where there is a `sealer`.

    Raises:
        PartialError: the snapshot is incomplete; the file is there all the same.
    """
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    manifest = take_snapshot(
        session, tenant, path, force=force, chosen=chosen, with_calls=with_calls, sealer=sealer, oem=oem
    )
    session.report.update(snapshot_report(manifest, str(path)))
    counts = manifest.counts["automations"]
    sealed = ", encrypted" if sealer is not None else ""
    told = f"{counts.captured} of {counts.listed} automations in {path} ({kibibytes(path.stat().st_size)}{sealed})"
    if not manifest.complete:
        raise PartialError(f"the snapshot is incomplete: {told}", code="incomplete")
    session.closing.append(f"complete: {told}")


def take_snapshot(
    session: Session,
    tenant: Tenant | OemTenant,
    path: Path,
    *,
    force: bool,
    chosen: Selectors,
    with_calls: bool,
    sealer: Sealer | None = None,
    sink: Sink | None = None,
    oem: OemExportOptions | None = None,
) -> Manifest:
    """Read a tenant into `path` with a client that cannot write. The snapshot may be incomplete.

    `sink`: takes what there is to tell; else the session's output does. `oem`: as `_reader` takes it.
    """
    from qlikmigrate.archive import ArchiveWriter

    read = _reader(session, tenant, chosen, with_calls=with_calls, oem=oem)
    with ArchiveWriter(path, force=force, sealer=sealer) as writer:
        return session.run(lambda: read(writer, sink or session.output, None))
