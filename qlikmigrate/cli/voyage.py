"""All targets of one table under way: each restored by itself, its line told, the grid kept, the exit code found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from qlikmigrate.kernel.error import (
    BudgetSpentError,
    InterruptedRunError,
    PartialError,
    QlikmigrateError,
    RefusedError,
)

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.fleet import Ending, Rules
    from qlikmigrate.importer.fleet_folder import FleetFolder
    from qlikmigrate.kernel.row import Row
    from qlikmigrate.model.snapshot import Snapshot

_WHY = {
    "canary": ": a canary did not end well, so nothing else was begun",
    "stop-above": ": more failed than --stop-above allows, so nothing new was begun",
    "abort": ": nothing new was begun after a failure",
    "": "",
}


@frozen(kw_only=True)
class Ship:
    """One row with everything that it needs, checked before anything is sent."""

    name: str
    row: Row
    target: Tenant | OemTenant
    flags: Mapping[str, Any]


@frozen(kw_only=True)
class Source:
    """The opened snapshot. `word`: what the command line calls the source, `path`: what plans call the snapshot.

    `selected`: it holds the selection and nothing else.
    """

    word: str
    path: str
    snapshot: Snapshot
    selected: bool = False


class Voyage:
    """All targets of one table, and what is told of them."""

    def __init__(
        self,
        session: Session,
        ships: list[Ship],
        source: Source,
        folder: FleetFolder,
        rules: Rules,
        *,
        dry_run: bool,
    ) -> None:
        from qlikmigrate.importer.fleet import Fleet
        from qlikmigrate.importer.fleet_folder import berths

        self._session = session
        self._source = source
        self._folder = folder
        self._dry_run = dry_run
        # A table that did not change has its rows in the order in which the clone was begun with them.
        places = folder.cloning().targets if folder.started else berths([one.name for one in ships])
        self._ships = {berth.name: ship for berth, ship in zip(places, ships, strict=True)}
        self._runs = {berth.name: folder.run(berth) for berth in places}
        self._fleet = Fleet(list(self._ships), rules, {} if dry_run else folder.endings())

    async def run(self) -> None:
        from qlikmigrate.importer.fleet import sail

        await self._close_first()
        await sail(self._fleet, self._bring, tell=self._tell)

    async def _close_first(self) -> None:
        """Whatever may have been left on anywhere is switched off before anything else is done.

        What cannot be is told, and stops no other: its own target fails by it when its turn comes.
        """
        from qlikmigrate.cli.execution import close_first

        async def close(name: str, ship: Ship) -> None:
            own = self._session.beside(name, ship.row)
            try:
                await close_first(own, ship.target, self._runs[name], resume=True, dry_run=self._dry_run)
            except QlikmigrateError as error:
                own.output.say(f"error: {error.message}", level="error")

        await asyncio.gather(*(close(name, ship) for name, ship in self._ships.items()))

    async def _bring(self, name: str) -> Ending:
        """One target: exactly what `clone` and `restore` do with one."""
        from qlikmigrate.cli.restore import bring
        from qlikmigrate.importer.fleet import Ending, Standing

        ship, source = self._ships[name], self._source
        # Each restore takes all of a snapshot that holds nothing else.
        taken = {"include": (), "exclude": (), "with_calls": False} if source.selected else {}
        own = self._session.beside(name, ship.row)
        began = self._session.clock.monotonic()
        standing, code, reason = Standing.PLANNED if self._dry_run else Standing.DONE, "", ""
        try:
            await bring(
                own,
                source.snapshot,
                source.path,
                ship.target,
                self._runs[name],
                resume=True,
                dry_run=self._dry_run,
                flags={**ship.flags, **taken},
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
        run = self._runs[name]
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
            write_atomic(page, grid_markdown(fleet, source=self._source.word).encode())
            session.report["run"] = str(self._folder.path)
            session.closing.append(f"grid: {page}")

    def judge(self) -> None:
        """Raises: PartialError, RefusedError, when not every target ended well."""
        fleet = self._fleet
        many, well = len(fleet.endings), fleet.well
        if well == many:
            return
        why = _WHY[fleet.stopped]
        hint = "" if self._dry_run else f"--run {self._folder.path} --resume tries them again"
        if fleet.untouched:
            raise RefusedError(f"preflight refuses: nothing was written to any of {many} targets{why}", hint=hint)
        raise PartialError(f"{many - well} of {many} targets did not end well{why}", hint=hint, code="targets-failed")
