"""Opening a run that was begun, with the tenant it writes to: what the commands on a RUN have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.cli.tenant import find_tenant
from qlikmigrate.kernel.error import UsageError

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.run_view import RunView
    from qlikmigrate.kernel.row import Row


def open_run(session: Session, path: str) -> tuple[RunView, Tenant]:
    """The run in the folder `path`, and its target as the tenants file describes it.

    Raises:
        NotFoundError: no run was begun there.
        UsageError: the tenants file does not know the target.
    """
    from qlikmigrate.importer.run_view import RunView

    view = RunView.open(Path(path))
    session.report["run"] = path
    session.report["archive"] = view.plan.archive.path
    return view, target_of_run(session, view)


def target_of_run(session: Session, view: RunView) -> Tenant:
    """The target of a run. Where the run is one of a clone to many, the tenants file takes the cells of its row again.

    Raises:
        UsageError: the tenants file does not know it.
    """
    return find_tenant(session, view.plan.target.name, row=row_of(view))


def row_of(view: RunView) -> Row | None:
    """The row of the table; None: there is none, or the table is gone or another one by now."""
    from qlikmigrate.config.target_table import read_target_table
    from qlikmigrate.importer.fleet_folder import cloning_of

    found = cloning_of(view.folder.path) if view.plan.options.from_table else None
    if found is None:
        return None
    cloning, number = found
    try:
        table = read_target_table(Path(cloning.table))
    except UsageError:
        return None
    return table.rows[number] if table.digest == cloning.table_digest else None
