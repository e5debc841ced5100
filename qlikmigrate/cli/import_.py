"""`import`: an archive → a snapshot of a vault."""

from __future__ import annotations

import click

from qlikmigrate.cli.option import command, opening, recipients
from qlikmigrate.cli.session import Session


@command("import", "Take an archive, or a snapshot of another vault, into a vault")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("vault")
@click.option("--init", is_flag=True, help="Make VAULT if there is none.")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@click.option("--dry-run", is_flag=True, help="Read ARCHIVE; change nothing.")
@recipients
@opening
def import_command(
    session: Session,
    archive_path: str,
    vault: str,
    init: bool,
    allow_incomplete: bool,
    dry_run: bool,
    recipients: tuple[str, ...],
) -> None:
    """Take ARCHIVE into VAULT as one more snapshot, of the time when it was taken. It stays as it is."""
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.vault import open_or_make
    from qlikmigrate.model.snapshot import copy_snapshot
    from qlikmigrate.report.archive import kibibytes, snapshot_report

    with open_snapshot(session, archive_path, allow_incomplete=allow_incomplete) as snapshot:
        captured = snapshot.manifest.counts["automations"].captured
        if dry_run:
            session.closing.append(f"would take {captured} automations into {vault}")
            return
        opened = open_or_make(session, vault, recipients, init=init)
        with opened.writer(sink=session.output, watch=session.watch) as writer:
            copy_snapshot(snapshot, writer)
        assert writer.info is not None
        session.report.update(snapshot_report(snapshot.manifest, f"{vault}@{writer.info.id}"))
    session.closing.append(
        f"{captured} automations in {vault}@{writer.info.id[:8]} ({kibibytes(writer.stored_bytes)} stored)"
    )
