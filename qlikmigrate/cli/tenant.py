"""Opening what the command line names: tenants, selectors; and finding places for what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Log

if TYPE_CHECKING:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.kernel.row import Row
    from qlikmigrate.model.selection import Selectors


def find_any_tenant(session: Session, name: str, *, row: Row | None = None) -> Tenant | OemTenant:
    """What the tenants file calls `name`, whatever its kind; says which file with `--verbose`.

    `row`: whose cells its table takes.
    """
    from qlikmigrate.config.tenants import open_tenant

    tenant = open_tenant(name, session.config, session.environ, row=row)
    session.output(Log(message=f"tenant `{name}` is described in {tenant.source}", level="debug"))
    return tenant


def find_tenant(session: Session, name: str, *, row: Row | None = None) -> Tenant:
    """The tenant of Qlik Cloud of that name, for commands that do not know OEM accounts. `row`: as above.

    Raises:
        UsageError: it is an OEM account.
    """
    from qlikmigrate.config.tenants import Tenant

    tenant = find_any_tenant(session, name, row=row)
    if not isinstance(tenant, Tenant):
        raise UsageError(
            f"`{name}` is an OEM account: `{session.command}` is for Qlik Cloud",
            hint="name a tenant of Qlik Cloud",
            code="not-for-oem",
        )
    return tenant


def is_oem_account(session: Session, name: str) -> bool:
    """Whether `name` is PARTNER/ACCOUNT of the tenants file, where it might be a path that does not exist as well."""
    from qlikmigrate.config.tenants import names_oem_account

    return "/" in name and not Path(name).exists() and names_oem_account(name, session.config, session.environ)


def find_oem_account(session: Session, name: str, *, row: Row | None = None) -> OemTenant:
    """The one OEM account of that name, for commands that know nothing else. `row`: as above.

    Raises:
        UsageError: it is a tenant of Qlik Cloud, or all accounts of a provider.
    """
    from qlikmigrate.config.tenants import OemTenant

    tenant = find_any_tenant(session, name, row=row)
    if not isinstance(tenant, OemTenant):
        raise UsageError(
            f"`{name}` is a tenant of Qlik Cloud: `{session.command}` is for OEM accounts",
            hint='name a tenant of `kind = "oem"`, as NAME/ACCOUNT',
            code="only-for-oem",
        )
    if not tenant.account:
        raise UsageError(
            f"`{name}` is a provider with all its accounts: `{session.command}` needs one of them",
            hint=f"write {name}/ACCOUNT, its externalid or guid",
        )
    return tenant


def find_target(session: Session, name: str, *, row: Row | None = None) -> Tenant | OemTenant:
    """What automations are brought into: a tenant of Qlik Cloud, or one OEM account. `row`: as above.

    Raises:
        UsageError: it is a provider with all its accounts.
    """
    from qlikmigrate.config.tenants import OemTenant

    tenant = find_any_tenant(session, name, row=row)
    return find_oem_account(session, name, row=row) if isinstance(tenant, OemTenant) else tenant


def require_write(target: Tenant | OemTenant, what: str) -> None:
    """Not enough `access` is told before anything is read.

    Raises:
        UsageError: it is less than `write`; names the line to add, and where.
    """
    from qlikmigrate.api.endpoint import Access

    require_access(target, Access.WRITE, what)


def require_access(tenant: Tenant | OemTenant, need: Access, what: str) -> None:
    """The same for any access that `what` needs.

    Raises:
        UsageError: it is less; names the line to add, and where.
    """
    from qlikmigrate.api.transport.guard import access_error

    endpoint = tenant.endpoint
    if endpoint.access.rank < need.rank:
        error = access_error(endpoint, endpoint.access, need, what)
        error.hint += f" of {tenant.source}"
        raise error


def selectors_of(include: tuple[str, ...], exclude: tuple[str, ...]) -> Selectors:
    """Selectors as given on the command line."""
    from qlikmigrate.cli.option import read_lines
    from qlikmigrate.model.selection import parse_selectors

    return parse_selectors(include, exclude, read_lines)


def file_stamp(session: Session) -> str:
    """The time in file names, UTC."""
    return f"{session.clock.now():%Y%m%dT%H%M%SZ}"


def file_word(name: str) -> str:
    """A tenant's name as a part of a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def check_place(path: str | None) -> None:
    """A file can be made at `path`: asked before the work, not after it.

    Raises:
        UsageError: it is a folder, or its folder is missing.
    """
    if path is None:
        return
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file")
    if not Path(path).parent.is_dir():
        raise UsageError(f"no such folder: {Path(path).parent}", hint="make it first")
