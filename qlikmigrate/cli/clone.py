"""`clone`: backup and restore in one; run again, it brings over what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qlikmigrate.cli.option import command, planning, running, selectors
from qlikmigrate.cli.session import Session


@command("clone")
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

    from qlikmigrate.cli.apply import _check_access, restore
    from qlikmigrate.cli.backup import take_backup
    from qlikmigrate.cli.tenant import find_tenant, selectors_of
    from qlikmigrate.importer.run_folder import RunFolder, default_run
    from qlikmigrate.kernel.error import PartialError, UsageError
    from qlikmigrate.kernel.file import private_folder

    here, there = find_tenant(session, source), find_tenant(session, target)
    _check_access(there, dry_run)
    if resume and not run_path:
        raise UsageError("--resume needs --run DIR")
    folder = Path(run_path) if run_path else default_run(session.clock.now(), there.endpoint.name)
    if RunFolder(folder).started:
        archive = Path(RunFolder(folder).plan().archive.path)
        restore(
            session,
            archive,
            there,
            allow_incomplete=False,
            run_path=str(folder),
            resume=resume,
            dry_run=dry_run,
            flags=flags,
        )
        return
    # The archive stands beside the run folder, which is the run's own from its first plan on.
    private_folder(folder.parent)
    keep = not dry_run
    place = folder.parent if keep else Path(tempfile.mkdtemp(prefix="qlikmigrate-"))
    archive = place / f"{folder.name}.qma"
    try:
        take_backup(
            session,
            here,
            archive,
            force=True,
            with_calls=flags["with_calls"],
            chosen=selectors_of(flags["include"], flags["exclude"]),
        )
        if not session.report["complete"]:
            raise PartialError("the snapshot of the source is incomplete, nothing was written", code="incomplete")
        restore(
            session,
            archive,
            there,
            allow_incomplete=False,
            run_path=str(folder),
            resume=resume,
            dry_run=dry_run,
            flags={**flags, "include": (), "exclude": (), "with_calls": False},
        )
    finally:
        if not keep:
            archive.unlink(missing_ok=True)
            place.rmdir()
