"""Opening what the command line names: tenants, archives, mapping files."""

from __future__ import annotations

from pathlib import Path

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access
from qlikmigrate.archive import Archive, open_archive
from qlikmigrate.cli.option import read_lines
from qlikmigrate.cli.session import Session
from qlikmigrate.config.tenants import Tenant, open_tenant
from qlikmigrate.kernel.error import PartialError
from qlikmigrate.kernel.event import Log
from qlikmigrate.model.selection import Selectors, parse_selectors


def find_tenant(session: Session, name: str) -> Tenant:
    """The tenant of the tenants file; says which file with `--verbose`."""
    tenant = open_tenant(name, session.config, session.environ)
    session.output(Log(message=f"tenant `{name}` is described in {tenant.source}", level="debug"))
    return tenant


def connect(session: Session, tenant: Tenant, access: Access = Access.READ) -> CloudClient:
    """A client that may do what `access` says and no more."""
    return CloudClient.open(tenant.endpoint, access=access, clock=session.clock, sink=session.output)


def open_complete(path: str | Path, *, allow_incomplete: bool = False) -> Archive:
    """An archive to restore from.

    Raises:
        PartialError: its snapshot is incomplete and nobody said that this will do.
    """
    archive = open_archive(Path(path))
    if not archive.manifest.complete and not allow_incomplete:
        archive.close()
        raise PartialError(
            f"the snapshot in {path} is incomplete", hint="--allow-incomplete uses it as it is", code="incomplete"
        )
    return archive


def selectors_of(include: tuple[str, ...], exclude: tuple[str, ...]) -> Selectors:
    """Selectors as given on the command line."""
    return parse_selectors(include, exclude, read_lines)


def file_stamp(session: Session) -> str:
    """The time in file names, UTC."""
    return f"{session.clock.now():%Y%m%dT%H%M%SZ}"
