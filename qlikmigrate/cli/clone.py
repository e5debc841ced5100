"""`clone`: backup and restore in one; run again, it brings over what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qlikmigrate.cli.backup import take_backup
from qlikmigrate.cli.option import command, planning, running, selectors
from qlikmigrate.cli.session import Session


@command("clone", "Backup and restore in one")
@click.argument("source")
@click.argument("target")
@planning(on_conflict="update")
@selectors
@running
def clone_command(
    session: Session, source: str, target: str, run_path: str | None, resume: bool, dry_run: bool, **flags: Any
) -> None:
    """Bring the automations of tenant SOURCE to tenant TARGET. Run again, it doubles nothing."""
    import tempfile

    from qlikmigrate.cli.execution import run_folder
    from qlikmigrate.cli.restore import restore
    from qlikmigrate.cli.tenant import find_tenant, require_write, selectors_of
    from qlikmigrate.kernel.file import private_folder

    here, there = find_tenant(session, source), find_tenant(session, target)
    if not dry_run:
        require_write(there, "cloning into it")
    folder = run_folder(session, there, run_path, resume=resume)

    def bring(archive: Path, more: dict[str, Any]) -> None:
        restore(
            session,
            archive,
            there,
            allow_incomplete=False,
            run_path=str(folder.path),
            resume=resume,
            dry_run=dry_run,
            flags=flags | more,
        )

    if folder.started:
        bring(Path(folder.plan().archive.path), {})
        return
    chosen = selectors_of(flags["include"], flags["exclude"])
    # The archive holds the selection and nothing else: the restore takes all of it.
    taken = {"include": (), "exclude": (), "with_calls": False}
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="qlikmigrate-") as place:
            archive = Path(place) / "source.qma"
            take_backup(session, here, archive, force=False, chosen=chosen, with_calls=flags["with_calls"])
            bring(archive, taken)
        session.report["archive"] = None
        return
    # Beside the run folder, which must be empty when the run begins.
    private_folder(folder.path.parent)
    archive = folder.path.parent / f"{folder.path.name}-source.qma"
    try:
        take_backup(session, here, archive, force=False, chosen=chosen, with_calls=flags["with_calls"])
        bring(archive, taken)
    except BaseException:
        if not folder.started and session.report.get("archive"):
            archive.unlink(missing_ok=True)
            session.report["archive"] = None
        raise
