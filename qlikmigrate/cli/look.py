"""`list`, `show`, `cat`: look into archives, plans and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.report.archive import Row


@command("list", "List an archive's automations, a folder's archives, or a vault's snapshots")
@click.argument("path")
@opening
def list_command(session: Session, path: str) -> None:
    """List the automations of an archive, the archives of a folder, or the snapshots of a vault."""
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.vault import is_vault
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.report.archive import automation_rows, snapshot_report
    from qlikmigrate.report.oem import oem_automation_rows

    if is_vault(path):
        _list_vault(session, path)
        return
    if Path(path).is_dir():
        _list_folder(session, Path(path))
        return
    with open_snapshot(session, path) as archive:
        for row, text in oem_automation_rows(archive) if is_oem(archive) else automation_rows(archive):
            session.output.item(row, text)
        session.report.update(snapshot_report(archive.manifest, path))


def _list_vault(session: Session, location: str) -> None:
    """Raises: NotFoundError when there is none of the tenant that was named.

    CorruptError, after all others were listed, when the head of a snapshot is damaged.
    """
    from qlikmigrate.cli.vault import open_vault
    from qlikmigrate.kernel.clock import to_the_second
    from qlikmigrate.kernel.error import CorruptError, NotFoundError
    from qlikmigrate.ops.evidence import load, shown
    from qlikmigrate.report.vault import snapshot_row

    vault = open_vault(session, location)
    drills = {ident: load(raw) for ident, raw in vault.drills()}
    infos = vault.snapshots(session.tenant)
    if session.tenant and not infos:
        raise NotFoundError(f"no snapshot in {location} of tenant `{session.tenant}`", code="no-snapshot")
    tenants = vault.tenants()
    for info in infos:
        row, text = snapshot_row(info, shown(drills.get(info.id)), tenants.get(info.tenant))
        session.output.item(row, text)
    if session.output.verbose:
        for info in vault.catalog.gone:
            told = f"removed: {info.id[:8]} of {to_the_second(info.taken_at)}"
            session.output.say(f"{told}; `prune {location} --undelete {info.id[:8]}` may have it back")
    session.report["counts"] = {
        "snapshots": {"listed": len(infos), "complete": sum(one.complete for one in infos)},
    }
    broken = vault.catalog.broken
    if broken:
        raise CorruptError(
            f"{len(broken)} heads of snapshots in {location} are damaged", hint="`verify` says more, `repair` mends it"
        )


def _list_folder(session: Session, folder: Path) -> None:
    """Raises: the first error that an archive of the folder gave, after all were listed."""
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.kernel.error import NotFoundError, QlikmigrateError
    from qlikmigrate.ops.cabinet import evidence_in, last_drill
    from qlikmigrate.ops.evidence import shown
    from qlikmigrate.report.archive import archive_row

    files = sorted(folder.glob("*.qma"))
    if not files:
        raise NotFoundError(f"no archive in the folder {folder}", hint="`show` shows a run; archives end in .qma")
    unread: list[QlikmigrateError] = []
    drills = evidence_in(folder)
    for file in files:
        try:
            with open_snapshot(session, file) as archive:
                row, text = archive_row(archive, str(file))
                row["drill"], told = shown(last_drill(drills, archive.digest))
                text += told
        except QlikmigrateError as error:
            unread.append(error)
            row = {"kind": "archive", "path": str(file), "error": error.message}
            text = f"-  {error.message}"
        session.output.item(row, text)
    if unread:
        raise unread[0]


@command("show", "Show an archive, a plan or a run")
@click.argument("path")
@click.argument("automation", required=False)
@opening
def show_command(session: Session, path: str, automation: str | None) -> None:
    """Show an archive, a plan or a run, or one AUTOMATION (id or name) of it."""
    for row, text in _described(session, path, automation):
        session.output.item(row, text)


def _described(session: Session, name: str, automation: str | None) -> Iterator[Row]:
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.vault import is_vault
    from qlikmigrate.importer.plan import read_plan
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.report.archive import describe_archive, describe_automation, find_automation, snapshot_report
    from qlikmigrate.report.oem import describe_oem_automation
    from qlikmigrate.report.plan import describe_plan, describe_run

    where = Path(name)
    if where.is_dir() and not is_vault(name):
        yield from describe_run(RunFolder(where), automation)
        session.report["run"] = str(where)
    elif _starts_like_json(where):
        yield from describe_plan(read_plan(where), automation)
        session.report["plan"] = str(where)
    else:
        with open_snapshot(session, name) as archive:
            if automation is None:
                yield from describe_archive(archive)
            else:
                describe = describe_oem_automation if is_oem(archive) else describe_automation
                yield from describe(archive, find_automation(archive, automation))
            session.report.update(snapshot_report(archive.manifest, name))


def _starts_like_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1) in (b"{", b"[")
    except OSError:
        return False


@command("cat", "Print one document of an archive as received")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("ident", metavar="ID")
@click.option("--workspace", is_flag=True, help="Only the workspace: a file that Qlik's editor can upload.")
@opening
def cat_command(session: Session, archive_path: str, ident: str, workspace: bool) -> None:
    """Print one document of an archive as it was received, secrets cut out.

    ID is the id of any object, or the name of an automation.
    """
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.model.document import received
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.report.archive import find_document, snapshot_report, workspace_of
    from qlikmigrate.report.oem import oem_workspace

    with open_snapshot(session, archive_path) as archive:
        document = find_document(archive, ident)
        if workspace:
            raw = oem_workspace(archive, document.id) if is_oem(archive) else workspace_of(document)
        else:
            raw = received(document)
        session.report.update(snapshot_report(archive.manifest, archive_path))
    if session.output.json:
        session.output.item({"kind": document.kind.value, "id": document.id, "document": raw.decode("utf-8")})
    else:
        session.output.data(raw)
