"""`clone`: backup and restore in one; run again, it brings over what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qlikmigrate.cli.backup import check_unsupplied, oem_options, take_backup
from qlikmigrate.cli.option import command, opening, percent, planning, running, selectors, supplying
from qlikmigrate.cli.session import Session

# Each restore sends several calls at a time, and plans are made on one core.
_AT_A_TIME = 4
_MOST_AT_A_TIME = 32


@command("clone", "Backup and restore in one, to one target or many")
@click.argument("source")
@click.argument("target", required=False)
@click.option("--table", metavar="CSV", help="Many targets instead of one: a row each, in column `target`.")
@click.option(
    "--canary",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --table: the first N rows first; nothing else is begun unless all of them end well.",
)
@click.option(
    "--stop-above",
    callback=percent,
    metavar="P%",
    help="With --table: begin nothing new once more than P per cent of those that ended have failed.",
)
@click.option(
    "--parallel",
    type=click.IntRange(min=1, max=_MOST_AT_A_TIME),
    metavar="K",
    help=f"With --table: so many targets at a time; {_AT_A_TIME} unless said.",
)
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@supplying
@planning(on_conflict="update")
@selectors
@running
@opening
def clone_command(
    session: Session,
    source: str,
    target: str | None,
    table: str | None,
    canary: int | None,
    stop_above: float | None,
    parallel: int | None,
    allow_incomplete: bool,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    **flags: Any,
) -> None:
    """Bring the automations of SOURCE to tenant TARGET, or to every target of a table. Run again, it doubles nothing.

    SOURCE is a tenant or an archive. With --table each column can be used as {column}: in the address, account and
    secret references of the target's table of the tenants file, in [values] of the mapping file, in the secrets file,
    and in --fallback-owner.
    """
    from qlikmigrate.cli.fleet import clone_many
    from qlikmigrate.importer.fleet import Rules
    from qlikmigrate.kernel.error import UsageError

    if (target is None) == (table is None):
        raise UsageError("a clone goes to one TARGET or to those of a --table", hint="name one of them")
    if table is None and (canary, stop_above, parallel) != (None, None, None):
        raise UsageError("--canary, --stop-above and --parallel go with --table")
    if table is not None:
        clone_many(
            session,
            source,
            table,
            rules=Rules(
                canary=canary or 0,
                stop_above=stop_above,
                parallel=parallel or _AT_A_TIME,
                abort=session.on_error == "abort",
            ),
            run_path=run_path,
            resume=resume,
            dry_run=dry_run,
            allow_incomplete=allow_incomplete,
            flags=flags,
        )
        return
    assert target is not None
    _clone_one(session, source, target, allow_incomplete, run_path, resume, dry_run, flags)


def _clone_one(
    session: Session,
    source: str,
    target: str,
    allow_incomplete: bool,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    flags: dict[str, Any],
) -> None:
    import tempfile

    from qlikmigrate.cli.archive import names_source_archive
    from qlikmigrate.cli.execution import run_folder
    from qlikmigrate.cli.restore import restore
    from qlikmigrate.cli.tenant import find_any_tenant, find_target, require_write, selectors_of
    from qlikmigrate.kernel.file import private_folder

    supply = flags.pop("workspaces"), flags.pop("schedules")
    here = None if names_source_archive(source) else find_any_tenant(session, source)
    oem = None if here is None else oem_options(here, *supply)
    if here is None:
        check_unsupplied(source, *supply)
    there = find_target(session, target)
    if not dry_run:
        require_write(there, "cloning into it")
    folder = run_folder(session, there, run_path, resume=resume)

    def bring(archive: str | Path, more: dict[str, Any]) -> None:
        restore(
            session,
            archive,
            there,
            allow_incomplete=allow_incomplete,
            run_path=str(folder.path),
            resume=resume,
            dry_run=dry_run,
            flags=flags | more,
        )

    if folder.started:
        bring(folder.plan().archive.path, {})
        return
    if here is None:
        bring(source, {})
        return
    chosen = selectors_of(flags["include"], flags["exclude"])
    # The archive holds the selection and nothing else: the restore takes all of it.
    taken = {"include": (), "exclude": (), "with_calls": False}
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="qlikmigrate-") as place:
            archive = Path(place) / "source.qma"
            take_backup(session, here, archive, force=False, chosen=chosen, with_calls=flags["with_calls"], oem=oem)
            bring(archive, taken)
        session.report["archive"] = None
        return
    # Beside the run folder, which must be empty when the run begins.
    private_folder(folder.path.parent)
    archive = folder.path.parent / f"{folder.path.name}-source.qma"
    try:
        take_backup(session, here, archive, force=False, chosen=chosen, with_calls=flags["with_calls"], oem=oem)
        bring(archive, taken)
    except BaseException:
        if not folder.started and session.report.get("archive"):
            archive.unlink(missing_ok=True)
            session.report["archive"] = None
        raise
