"""`clone SOURCE --table CSV`: one source to many targets, each the very restore that `clone` makes of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qlikmigrate.kernel.error import (
    BudgetSpentError,
    InterruptedRunError,
    PartialError,
    UsageError,
)

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.cli.voyage import Ship, Source
    from qlikmigrate.config.target_table import TargetTable
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.fleet import Rules
    from qlikmigrate.importer.fleet_folder import Cloning, FleetFolder
    from qlikmigrate.kernel.row import Row
    from qlikmigrate.model.snapshot import Snapshot

# Flags in which a row's cells may stand.
_FILLED = ("account_name", "default_owner", "fallback_owner", "default_space")


def clone_many(
    session: Session,
    source: str,
    table_path: str,
    *,
    rules: Rules,
    run_path: str | None,
    resume: bool,
    dry_run: bool,
    allow_incomplete: bool,
    flags: dict[str, Any],
) -> None:
    """Clone `source` to every target of the table, or go on with it.

    Raises:
        UsageError: a row, or what it leads to, cannot be used; nothing was sent.
        PartialError: a target failed, was refused, or was not begun.
        RefusedError: nothing was written anywhere, because whatever was begun was refused.
    """
    from qlikmigrate.cli.tenant import file_stamp, file_word
    from qlikmigrate.cli.voyage import Voyage
    from qlikmigrate.config.target_table import read_target_table
    from qlikmigrate.importer.fleet_folder import FleetFolder
    from qlikmigrate.importer.lock import folder_lock
    from qlikmigrate.importer.run_folder import DEFAULT_FOLDER

    if flags["ledger"]:
        raise UsageError("--ledger is for one pair of tenants, and a table has many", hint="leave it out")
    if resume and not run_path:
        raise UsageError("--resume needs --run DIR", hint="name the folder of the run to go on with")
    table = read_target_table(Path(table_path))
    ships = _ships(session, table, flags, writing=not dry_run)
    word = "clone-" + file_word(Path(source).name)
    folder = FleetFolder(Path(run_path) if run_path else DEFAULT_FOLDER / f"{file_stamp(session)}-{word}")
    if folder.started:
        _check_begun(folder, table, flags, resume=resume)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(folder_lock(folder.path))
            folder.prepare()
        given = stack.enter_context(
            _snapshot(session, source, folder, dry_run=dry_run, allow_incomplete=allow_incomplete, flags=flags)
        )
        voyage = Voyage(session, ships, given, folder, rules.dry() if dry_run else rules, dry_run=dry_run)
        if not dry_run and not folder.started:
            folder.begin(_cloning(session, given, table, ships, flags))
        try:
            session.run(voyage.run)
        except (InterruptedRunError, BudgetSpentError) as error:
            if not dry_run:
                error.hint = f"--run {folder.path} --resume goes on where it stopped"
            raise
        finally:
            voyage.report()
    voyage.judge()


# Before anything is sent


def _ships(session: Session, table: TargetTable, flags: dict[str, Any], *, writing: bool) -> list[Ship]:
    from qlikmigrate.cli.request import read_decisions, read_secrets, read_values
    from qlikmigrate.cli.tenant import find_target, require_write
    from qlikmigrate.cli.voyage import Ship
    from qlikmigrate.config.target_table import COLUMN

    decisions, _ = read_decisions(flags["mapping_path"], flags["ids_path"])
    words = Counter(row.cells[COLUMN] for row in table.rows)
    found: list[Ship] = []
    places: dict[tuple[str, ...], Row] = {}
    for row in table.rows:
        word = row.cells[COLUMN]
        try:
            target = find_target(session, word, row=row)
            if writing:
                require_write(target, "cloning into it")
        except UsageError as error:
            error.message = f"{row.where}: {error.message}"
            error.args = (error.message,)
            raise
        place = _place(target)
        if place in places:
            raise UsageError(
                f"{row.where} leads to the same target as {places[place].where}",
                hint="one row a target; two clones of one target are two tables",
                code="table",
            )
        places[place] = row
        read_values(decisions, flags["mapping_path"], session.environ, row=row)
        read_secrets(flags["connections"], flags["secrets_path"], session.environ, row=row)
        name = word if words[word] == 1 else _apart(word, target)
        found.append(Ship(name=name, row=row, target=target, flags=_filled(row, flags)))
    return found


def _place(target: Tenant | OemTenant) -> tuple[str, ...]:
    """What no second row may lead to, as far as the files tell."""
    from qlikmigrate.config.tenants import OemTenant

    url = target.endpoint.url.lower()
    if isinstance(target, OemTenant):
        return (url, target.endpoint.credentials.app_id, target.account)
    return (url,)


def _apart(word: str, target: Tenant | OemTenant) -> str:
    """The name of a target that shares its table of the tenants file with others."""
    from qlikmigrate.config.tenants import OemTenant

    if isinstance(target, OemTenant):
        return f"{word}/{target.account}"
    return f"{word}@{urlsplit(target.endpoint.url).netloc}"


def _filled(row: Row, flags: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: row.fill(value, what=f"--{name.replace('_', '-')}") if name in _FILLED and value else value
        for name, value in flags.items()
    }


def _check_begun(folder: FleetFolder, table: TargetTable, flags: Mapping[str, Any], *, resume: bool) -> None:
    """Raises: UsageError when the folder's clone is another one."""
    if not resume:
        raise UsageError(f"a clone was begun in {folder.path}", hint="--resume goes on with it; --run names another")
    cloning = folder.cloning()
    if cloning.table_digest != table.digest:
        raise UsageError(
            f"the table changed since the clone in {folder.path} was begun",
            hint="a clone of its own, with another --run, takes the new rows and doubles nothing",
            code="table",
        )
    if cloning.mapping_hash != _mapping_hash(flags):
        raise UsageError(f"the clone in {folder.path} has another mapping", hint="name another with --run")


def _mapping_hash(flags: Mapping[str, Any]) -> str:
    from qlikmigrate.cli.request import read_decisions
    from qlikmigrate.importer.prepare import mapping_hash

    return mapping_hash(read_decisions(flags["mapping_path"], flags["ids_path"])[1])


# The source, read once


@contextmanager
def _snapshot(
    session: Session,
    source: str,
    folder: FleetFolder,
    *,
    dry_run: bool,
    allow_incomplete: bool,
    flags: dict[str, Any],
) -> Iterator[Source]:
    """The snapshot of the source: the one that was taken when the clone was begun, the named one, or a new one."""
    import tempfile

    from qlikmigrate.cli.archive import lasting_name, names_source_archive, open_snapshot
    from qlikmigrate.cli.backup import check_unsupplied, oem_options, take_backup
    from qlikmigrate.cli.tenant import find_any_tenant, selectors_of
    from qlikmigrate.cli.voyage import Source

    supply = flags["workspaces"], flags["schedules"]

    with ExitStack() as stack:
        if folder.started:
            cloning = folder.cloning()
            snapshot = stack.enter_context(open_snapshot(session, cloning.archive, allow_incomplete=True))
            _check_same(folder, cloning, source, snapshot)
            selected = not names_source_archive(source)
            yield Source(word=source, path=cloning.archive, snapshot=snapshot, selected=selected)
            return
        if names_source_archive(source):
            check_unsupplied(source, *supply)
            snapshot = stack.enter_context(open_snapshot(session, source, allow_incomplete=allow_incomplete))
            yield Source(word=source, path=lasting_name(source, snapshot), snapshot=snapshot)
            return
        path = folder.snapshot_path
        if dry_run:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qlikmigrate-"))) / path.name
        chosen = selectors_of(flags["include"], flags["exclude"])
        tenant = find_any_tenant(session, source)
        oem = oem_options(tenant, *supply)
        try:
            take_backup(session, tenant, path, force=True, chosen=chosen, with_calls=flags["with_calls"], oem=oem)
        except PartialError:
            # An incomplete source is not cloned, and what was read of it is of no use here.
            path.unlink(missing_ok=True)
            session.report["archive"] = None
            raise
        snapshot = stack.enter_context(open_snapshot(session, path, allow_incomplete=allow_incomplete))
        yield Source(word=source, path=str(path.absolute()), snapshot=snapshot, selected=True)
        if dry_run:
            session.report["archive"] = None


def _check_same(folder: FleetFolder, cloning: Cloning, source: str, snapshot: Snapshot) -> None:
    if cloning.source != source or cloning.digest != snapshot.digest:
        raise UsageError(
            f"the clone in {folder.path} is of another source: `{cloning.source}`", hint="name another with --run"
        )


def _cloning(
    session: Session,
    given: Source,
    table: TargetTable,
    ships: list[Ship],
    flags: Mapping[str, Any],
) -> Cloning:
    from qlikmigrate.importer.fleet_folder import Cloning, berths
    from qlikmigrate.kernel.clock import rfc3339

    return Cloning(
        source=given.word,
        archive=given.path,
        digest=given.snapshot.digest,
        table=str(table.path.absolute()),
        table_digest=table.digest,
        mapping_hash=_mapping_hash(flags),
        targets=berths([one.name for one in ships]),
        created_at=rfc3339(session.clock.now()),
    )
