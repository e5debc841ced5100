"""Opening a run that was begun, with the tenant it writes to: what the commands on a RUN have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.cli.tenant import find_tenant

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.run_view import RunView


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
    return view, find_tenant(session, view.plan.target.name)
