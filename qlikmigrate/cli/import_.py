"""`import`: an archive → a snapshot of a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.model.snapshot import Snapshot, SnapshotWriter


def take_in(session: Session, snapshot: Snapshot, writer: SnapshotWriter, path: str) -> None:
    """Copy a snapshot with all it holds into `writer`. `path`: where it is then, for the summary.

    Raises:
        CorruptError: a document is damaged; nothing is taken in.
    """
    from qlikmigrate.model.snapshot import copy_snapshot
    from qlikmigrate.report.archive import snapshot_report

    try:
        copy_snapshot(snapshot, writer)
    except BaseException:
        writer.abandon()
        raise
    session.report.update(snapshot_report(snapshot.manifest, path))
