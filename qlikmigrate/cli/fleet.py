"""`clone SOURCE --table CSV`: one source to many targets, each the very restore that `clone` makes of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import frozen

from qlikmigrate.kernel.error import (
    BudgetSpentError,
    InterruptedRunError,
    PartialError,
    QlikmigrateError,
    RefusedError,
    UsageError,
)

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.target_table import TargetTable
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.fleet import Ending, Fleet, Rules
    from qlikmigrate.importer.fleet_folder import Berth, Cloning, FleetFolder
    from qlikmigrate.kernel.row import Row
    from qlikmigrate.model.snapshot import Snapshot

# Flags in which a row's cells may stand.
_FILLED = ("account_name", "default_owner", "fallback_owner", "default_space")


@frozen(kw_only=True)
class _Ship:
    """One row with everything that it needs, checked before anything is sent."""

    name: str
    row: Row
    target: Tenant | OemTenant
    flags: Mapping[str, Any]


@frozen(kw_only=True)
class _Source:
    """The opened snapshot, and what it is called."""

    snapshot: Snapshot
    path: str


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
        voyage = _Voyage(session, ships, given, folder, source, rules.dry() if dry_run else rules, dry_run=dry_run)
        if not dry_run and not folder.started:
            folder.begin(_cloning(session, source, given, table, ships, flags))
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


def _ships(session: Session, table: TargetTable, flags: dict[str, Any], *, writing: bool) -> list[_Ship]:
    from qlikmigrate.cli.request import read_decisions, read_secrets, read_values
    from qlikmigrate.cli.tenant import find_target, require_write
    from qlikmigrate.config.target_table import COLUMN

    decisions, _ = read_decisions(flags["mapping_path"], flags["ids_path"])
    words = Counter(row.cells[COLUMN] for row in table.rows)
    found: list[_Ship] = []
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
        found.append(_Ship(name=name, row=row, target=target, flags=_filled(row, flags)))
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
) -> Iterator[_Source]:
    """The snapshot of the source: the one that was taken when the clone was begun, the named one, or a new one."""
    import tempfile

    from qlikmigrate.cli.archive import lasting_name, names_source_archive, open_snapshot
    from qlikmigrate.cli.backup import take_backup
    from qlikmigrate.cli.tenant import find_any_tenant, selectors_of

    with ExitStack() as stack:
        if folder.started:
            cloning = folder.cloning()
            snapshot = stack.enter_context(open_snapshot(session, cloning.archive, allow_incomplete=True))
            _check_same(folder, cloning, source, snapshot)
            yield _Source(snapshot=snapshot, path=cloning.archive)
            return
        if names_source_archive(source):
            snapshot = stack.enter_context(open_snapshot(session, source, allow_incomplete=allow_incomplete))
            yield _Source(snapshot=snapshot, path=lasting_name(source, snapshot))
            return
        path = folder.snapshot_path
        if dry_run:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qlikmigrate-"))) / path.name
        chosen = selectors_of(flags["include"], flags["exclude"])
        tenant = find_any_tenant(session, source)
        try:
            take_backup(session, tenant, path, force=True, chosen=chosen, with_calls=flags["with_calls"])
        except PartialError:
            # An incomplete source is not cloned, and what was read of it is of no use here.
            path.unlink(missing_ok=True)
            session.report["archive"] = None
            raise
        snapshot = stack.enter_context(open_snapshot(session, path, allow_incomplete=allow_incomplete))
        yield _Source(snapshot=snapshot, path=str(path.absolute()))
        if dry_run:
            session.report["archive"] = None


def _check_same(folder: FleetFolder, cloning: Cloning, source: str, snapshot: Snapshot) -> None:
    if cloning.source != source or cloning.digest != snapshot.digest:
        raise UsageError(
            f"the clone in {folder.path} is of another source: `{cloning.source}`", hint="name another with --run"
        )


def _cloning(
    session: Session,
    source: str,
    given: _Source,
    table: TargetTable,
    ships: list[_Ship],
    flags: Mapping[str, Any],
) -> Cloning:
    from qlikmigrate.importer.fleet_folder import Cloning, berths
    from qlikmigrate.kernel.clock import rfc3339

    return Cloning(
        source=source,
        archive=given.path,
        digest=given.snapshot.digest,
        table=str(table.path.absolute()),
        table_digest=table.digest,
        mapping_hash=_mapping_hash(flags),
        targets=berths([one.name for one in ships]),
        created_at=rfc3339(session.clock.now()),
    )


# Under way


class _Voyage:
    """All targets of one table, and what is told of them."""

    def __init__(
        self,
        session: Session,
        ships: list[_Ship],
        given: _Source,
        folder: FleetFolder,
        source: str,
        rules: Rules,
        *,
        dry_run: bool,
    ) -> None:
        from qlikmigrate.importer.fleet import Fleet

        self._session = session
        self._given = given
        self._folder = folder
        self._source = source
        self._dry_run = dry_run
        from qlikmigrate.importer.fleet_folder import berths

        # A table that did not change has its rows in the order in which the clone was begun with them.
        self._berths: tuple[Berth, ...] = (
            folder.cloning().targets if folder.started else berths([one.name for one in ships])
        )
        self._ships = {berth.name: ship for berth, ship in zip(self._berths, ships, strict=True)}
        self._places = {berth.name: berth for berth in self._berths}
        known = folder.endings() if not dry_run else {}
        self._fleet: Fleet = Fleet(list(self._ships), rules, known)
        # The snapshot holds the selection and nothing else: each restore takes all of it.
        taken = {"include": (), "exclude": (), "with_calls": False}
        self._more: dict[str, Any] = taken if self._took else {}

    @property
    def _took(self) -> bool:
        from qlikmigrate.cli.archive import names_source_archive

        return not names_source_archive(self._source)

    async def run(self) -> None:
        from qlikmigrate.importer.fleet import sail

        await self._close_first()
        await sail(self._fleet, self._bring, tell=self._tell)

    async def _close_first(self) -> None:
        """Whatever may have been left on anywhere is switched off before anything else is done.

        What cannot be is told, and stops no other: its own target fails by it when its turn comes.
        """
        from qlikmigrate.cli.execution import close_first

        async def close(name: str, ship: _Ship) -> None:
            own = self._session.beside(name, ship.row)
            folder = self._folder.run(self._places[name])
            try:
                await close_first(own, ship.target, folder, resume=True, dry_run=self._dry_run)
            except QlikmigrateError as error:
                own.output.say(f"error: {error.message}", level="error")

        await asyncio.gather(*(close(name, ship) for name, ship in self._ships.items()))

    async def _bring(self, name: str) -> Ending:
        """One target: exactly what `clone` and `restore` do with one."""
        from qlikmigrate.cli.restore import bring
        from qlikmigrate.importer.fleet import Ending, Standing

        ship = self._ships[name]
        own = self._session.beside(name, ship.row)
        began = self._session.clock.monotonic()
        standing, code, reason = Standing.PLANNED if self._dry_run else Standing.DONE, "", ""
        try:
            await bring(
                own,
                self._given.snapshot,
                self._given.path,
                ship.target,
                self._folder.run(self._places[name]),
                resume=True,
                dry_run=self._dry_run,
                flags=dict(ship.flags) | self._more,
            )
        except (InterruptedRunError, BudgetSpentError):
            raise
        except RefusedError as error:
            standing, code, reason = Standing.REFUSED, error.code, error.message
        except QlikmigrateError as error:
            standing, code, reason = Standing.FAILED, error.code, error.message
        except OSError as error:
            standing, code, reason = Standing.FAILED, "no-access", error.strerror or type(error).__name__
        except Exception as error:
            self._tell_bug(error)
            standing, code, reason = Standing.FAILED, "bug", f"internal error: {type(error).__name__}"
        windows = own.report.get("install_windows") or {}
        return Ending(
            standing=standing,
            code=code,
            reason=reason,
            counts=own.report.get("counts") or {},
            seconds=round(self._session.clock.monotonic() - began, 3),
            windows=windows.get("count", 0),
            longest_window_s=windows.get("longest_s", 0.0),
        )

    def _tell_bug(self, error: Exception) -> None:
        if self._session.output.verbose:
            import traceback

            traceback.print_exception(error)

    def _tell(self, name: str) -> None:
        """A target was begun, or ended."""
        from qlikmigrate.importer.fleet import Standing
        from qlikmigrate.kernel.event import Progress
        from qlikmigrate.report.fleet import ending_line, ending_row

        fleet = self._fleet
        if not self._dry_run:
            self._folder.save(dict(fleet.endings))
        ending = fleet.endings[name]
        if ending.standing is Standing.UNDER_WAY:
            return
        width = max(map(len, fleet.endings))
        run = self._folder.run(self._places[name])
        row = ending_row(name, ending, str(run.path) if run.started else "")
        self._session.output.item(row, ending_line(name, ending, width=width))
        ended = len(fleet.endings) - fleet.left(Standing.NOT_STARTED) - fleet.left(Standing.UNDER_WAY)
        self._session.output(Progress(phase="targets", done=ended, total=len(fleet.endings), subject=name))

    # Afterwards

    def report(self) -> None:
        """The grid, in the folder and for the summary."""
        from qlikmigrate.importer.fleet import total
        from qlikmigrate.kernel.file import write_atomic
        from qlikmigrate.report.fleet import grid_lines, grid_markdown, target_counts, window_figures, window_line

        session, fleet = self._session, self._fleet
        endings = list(fleet.endings.values())
        session.report["counts"] = {"targets": target_counts(fleet), **total(endings)}
        session.closing += grid_lines(fleet)
        if figures := window_figures(endings):
            session.report["install_windows"] = figures
            session.closing.append(window_line(endings))
        if not self._dry_run:
            self._folder.save(dict(fleet.endings))
            page = self._folder.path / "grid.md"
            write_atomic(page, grid_markdown(fleet, source=self._source).encode())
            session.report["run"] = str(self._folder.path)
            session.closing.append(f"grid: {page}")

    def judge(self) -> None:
        """Raises: PartialError, RefusedError, when not every target ended well."""
        fleet = self._fleet
        many, well = len(fleet.endings), fleet.well
        if well == many:
            return
        why = {
            "canary": ": a canary did not end well, so nothing else was begun",
            "stop-above": ": more failed than --stop-above allows, so nothing new was begun",
            "abort": ": nothing new was begun after a failure",
            "": "",
        }[fleet.stopped]
        hint = "" if self._dry_run else f"--run {self._folder.path} --resume tries them again"
        if fleet.untouched:
            raise RefusedError(f"preflight refuses: nothing was written to any of {many} targets{why}", hint=hint)
        raise PartialError(f"{many - well} of {many} targets did not end well{why}", hint=hint, code="targets-failed")
