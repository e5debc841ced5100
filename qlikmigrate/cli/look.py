"""`list`, `show`, `cat`: look into archives, plans and runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.archive import Archive
    from qlikmigrate.model.inventory import Entity


@command("list")
@click.argument("path")
def list_command(session: Session, path: str) -> None:
    """List the automations of an archive, or the archives of a folder."""
    from qlikmigrate.archive import open_archive
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import inventory_of

    if Path(path).is_dir():
        _list_folder(session, Path(path))
        return
    with open_archive(path) as archive:
        inventory = inventory_of(archive)
        held = set(archive.ids(Kind.AUTOMATION))
        rows = [one for one in inventory.of(Kind.AUTOMATION) if one.id in held]
        for one in sorted(rows, key=lambda one: (one.name.casefold(), one.id)):
            owner = inventory.get(Kind.USER, one.owner_id)
            space = inventory.get(Kind.SPACE, one.space_id)
            owner_name = owner.name or owner.subject if owner else one.owner_id
            space_name = space.name if space else one.space_id or "personal"
            row = {
                "kind": "automation",
                "id": one.id,
                "name": one.name,
                "state": one.state,
                "run_mode": one.run_mode,
                "owner": owner_name,
                "owner_id": one.owner_id,
                "space": space_name,
                "space_id": one.space_id,
                "updated_at": one.updated_at,
            }
            session.output.item(
                row, f"{one.id}  {one.run_mode or '-':9} {one.state or '-':11} {space_name} / {owner_name} / {one.name}"
            )
        _report_head(session, archive, path)


def _list_folder(session: Session, folder: Path) -> None:
    from qlikmigrate.archive import open_archive
    from qlikmigrate.kernel.clock import rfc3339
    from qlikmigrate.kernel.error import NotFoundError, QlikmigrateError

    files = sorted(folder.glob("*.qma"))
    if not files:
        raise NotFoundError(f"no archive in the folder {folder}")
    for file in files:
        row: dict[str, Any] = {"kind": "archive", "path": str(file)}
        try:
            with open_archive(file) as archive:
                manifest = archive.manifest
                row |= {
                    "tenant": manifest.tenant.name or manifest.tenant.host,
                    "taken_at": rfc3339(archive.capture.finished_at),
                    "complete": manifest.complete,
                    "automations": manifest.counts["automations"].captured,
                }
            state = "complete" if row["complete"] else "INCOMPLETE"
            text = f"{row['taken_at']}  {state:10} {row['automations']:6} automations  {row['tenant']}  {file}"
        except QlikmigrateError as error:
            row["error"] = error.message
            text = f"-  {error.message}"
        session.output.item(row, text)


def _report_head(session: Session, archive: Archive, path: str) -> None:
    manifest = archive.manifest
    counts = manifest.counts["automations"]
    session.report.update(
        complete=manifest.complete,
        restorable=manifest.restorable.value,
        archive=path,
        counts={
            "automations": {
                "listed": counts.listed,
                "captured": counts.captured,
                "unreadable": counts.unreadable,
                "vanished": counts.vanished,
            }
        },
    )


@command("show")
@click.argument("path")
@click.argument("automation", required=False)
def show_command(session: Session, path: str, automation: str | None) -> None:
    """Show an archive, a plan or a run, or one AUTOMATION (id or name) of an archive."""
    from qlikmigrate.archive import open_archive
    from qlikmigrate.importer.plan import read_plan
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.report.text import describe_archive, describe_automation, describe_plan, describe_run

    where = Path(path)
    if where.is_dir():
        folder = RunFolder(where)
        lines: Iterator[tuple[dict[str, Any], str]] = describe_run(folder)
    elif where.suffix == ".json" or _starts_like_json(where):
        lines = describe_plan(read_plan(where), automation)
    else:
        with open_archive(where) as archive:
            if automation:
                one = find_automation(archive, automation)
                lines = iter(list(describe_automation(archive, one)))
            else:
                lines = iter(list(describe_archive(archive)))
            _report_head(session, archive, path)
    for row, text in lines:
        session.output.item(row, text)


def _starts_like_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


@command("cat")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("ident", metavar="ID")
@click.option("--workspace", is_flag=True, help="Only the workspace: a file that Qlik's editor can upload.")
def cat_command(session: Session, archive_path: str, ident: str, workspace: bool) -> None:
    """Print one document of an archive as it was received, secrets cut out.

    ID is the id of any object, or the name of an automation.
    """
    from qlikmigrate.archive import open_archive
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.kernel.jsontext import members
    from qlikmigrate.model.document import received
    from qlikmigrate.model.kind import Kind

    with open_archive(archive_path) as archive:
        document = None
        for kind in Kind:
            if ident in archive.ids(kind):
                document = archive.detail(kind, ident)
                break
        if document is None:
            document = archive.detail(Kind.AUTOMATION, find_automation(archive, ident).id)
        raw = received(document)
        if workspace:
            text = raw.decode("utf-8")
            spans = [one for one in members(text) if one.key == "workspace"]
            if not spans:
                raise UsageError(f"no workspace in `{ident}`")
            raw = text[spans[0].start : spans[0].end].encode()
        _report_head(session, archive, archive_path)
    if session.output.json:
        session.output.item({"kind": document.kind.value, "id": document.id, "document": raw.decode("utf-8")}, "")
    else:
        stream = sys.stdout.buffer
        stream.write(raw if raw.endswith(b"\n") else raw + b"\n")
        stream.flush()


def find_automation(archive: Archive, wanted: str) -> Entity:
    """The one captured automation that an id, the beginning of one (8 or more), or a name means.

    Raises:
        UsageError: none, or more than one.
    """
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import inventory_of

    held = set(archive.ids(Kind.AUTOMATION))
    rows = [one for one in inventory_of(archive, (Kind.AUTOMATION,)).of(Kind.AUTOMATION) if one.id in held]
    found = [one for one in rows if one.id.lower() == wanted.lower()] or [one for one in rows if one.name == wanted]
    if not found and len(wanted) >= 8:
        found = [one for one in rows if one.id.lower().startswith(wanted.lower())]
    if not found:
        raise UsageError(f"no automation in the archive: `{wanted}`", hint="`qlikmigrate list ARCHIVE` shows them")
    if len(found) > 1:
        raise UsageError(f"`{wanted}` means {len(found)} automations: " + ", ".join(one.id for one in found))
    return found[0]
