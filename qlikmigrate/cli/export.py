"""`export`: a snapshot → an archive of its own, or plain files for git."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening, recipients
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.archive import Sealer
    from qlikmigrate.model.snapshot import Snapshot


@command("export", "Write a snapshot to an archive of its own, or as plain files for git")
@click.argument("archive_path", metavar="ARCHIVE")
@click.option("-o", "--output", "out", metavar="FILE", help="The archive to write; a folder gets TENANT-UTC.qma.")
@click.option("--plain", metavar="FOLDER", help="Write plain JSON files into FOLDER: a new one, or an earlier export.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@recipients
@opening
def export_command(
    session: Session,
    archive_path: str,
    out: str | None,
    plain: str | None,
    force: bool,
    allow_incomplete: bool,
    recipients: tuple[str, ...],
) -> None:
    """Write ARCHIVE's snapshot to a self-contained archive, or as plain files that git can follow.

    The new archive is encrypted where that is said here, whether or not ARCHIVE is.

    Plain files are for reading and reviews: nothing can be restored from them. Secrets that people typed into
    workspaces are in either.
    """
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.config.key_source import read_sealer
    from qlikmigrate.kernel.error import UsageError

    if (out is None) == (plain is None):
        raise UsageError("export needs either -o or --plain", hint="-o FILE.qma, or --plain FOLDER")
    if force and plain is not None:
        raise UsageError("--force goes with -o", hint="an export into an earlier one's folder replaces its files")
    if recipients and plain is not None:
        raise UsageError("--recipient goes with -o", hint="plain files are for reading: nothing encrypts them")
    sealer = read_sealer(recipients, None, session.environ) if out is not None else None
    with open_snapshot(session, archive_path, allow_incomplete=allow_incomplete) as archive:
        if out is not None:
            _export_archive(session, archive, out, force=force, sealer=sealer)
        else:
            _export_plain(session, archive, Path(str(plain)))
        complete = archive.manifest.complete
    if not complete:
        session.closing.append("incomplete: the snapshot is, and so is what was written")
        session.exit_code = 3


def _export_archive(session: Session, snapshot: Snapshot, out: str, *, force: bool, sealer: Sealer | None) -> None:
    from qlikmigrate.archive import ArchiveWriter
    from qlikmigrate.cli.tenant import file_word
    from qlikmigrate.model.snapshot import copy_snapshot
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    path = Path(out)
    if path.is_dir() or out.endswith("/"):
        tenant = snapshot.manifest.tenant
        path /= f"{file_word(tenant.name or tenant.host)}-{snapshot.capture.finished_at:%Y%m%dT%H%M%SZ}.qma"
    with ArchiveWriter(path, force=force, sealer=sealer) as writer:
        copy_snapshot(snapshot, writer)
    session.report.update(snapshot_report(snapshot.manifest, str(path)))
    sealed = ", encrypted" if sealer is not None else ""
    captured = snapshot.manifest.counts["automations"].captured
    session.closing.append(f"{captured} automations in {path} ({kibibytes(path.stat().st_size)}{sealed})")


def _export_plain(session: Session, snapshot: Snapshot, folder: Path) -> None:
    from qlikmigrate.report.archive import snapshot_report
    from qlikmigrate.report.plain_folder import write_plain

    done = write_plain(snapshot, folder)
    report = snapshot_report(snapshot.manifest, str(folder))
    files = {"written": done.written, "unchanged": done.unchanged, "removed": done.removed}
    session.report.update(report, counts={**report["counts"], "files": files})
    words = ", ".join(f"{number} {word}" for word, number in files.items() if number)
    session.closing.append(f"plain files in {folder}: {words}")
