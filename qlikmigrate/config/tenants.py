"""The tenants file: found, checked, and one tenant of it opened. Secrets are read only when needed."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from attrs import frozen

from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint
from qlikmigrate.api.oem.endpoint import OemEndpoint
from qlikmigrate.config.address import check_address
from qlikmigrate.config.oem_table import read_oem
from qlikmigrate.config.placeholder import filled_tenant
from qlikmigrate.config.qlik_context import PREFIX, read_context
from qlikmigrate.config.table import Table
from qlikmigrate.config.table_value import TableContext
from qlikmigrate.config.tenant_table import CLOUD_EXAMPLE, read_cloud
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.row import Row

FILE_NAME = "qlikmigrate.toml"
ENVIRONMENT_NAME = "QLIKMIGRATE_CONFIG"


@frozen(kw_only=True)
class Tenant:
    """One tenant of the file. `accept_unreadable`: ids whose unreadability makes no snapshot incomplete."""

    endpoint: Endpoint
    accept_unreadable: frozenset[str] = frozenset()
    source: str = ""


@frozen(kw_only=True)
class OemTenant:
    """A provider's accounts, or one of them. `account`: as named, a guid or an externalid; empty: all of them."""

    endpoint: OemEndpoint
    account: str = ""
    accept_unreadable: frozenset[str] = frozenset()
    source: str = ""


@frozen(kw_only=True)
class TenantsFile:
    """A read tenants file. `local`: it is the one in the working folder, which anybody might have put there."""

    path: Path
    local: bool
    tables: Mapping[str, Any]

    def names(self) -> list[str]:
        """The tenants it names, sorted."""
        return sorted(self.tables)


def locate(explicit: str | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The tenants file to use, and whether it is merely the one of the working folder.

    Raises:
        UsageError: there is none.
    """
    if explicit:
        return Path(explicit), False
    if environ.get(ENVIRONMENT_NAME):
        return Path(environ[ENVIRONMENT_NAME]), False
    here = Path(FILE_NAME)
    if here.exists():
        return here, True
    home = Path(platformdirs.user_config_dir("qlikmigrate")) / FILE_NAME
    if home.exists():
        return home, False
    raise UsageError(
        f"no tenants file: looked for ./{FILE_NAME} and {home}",
        hint=f"name one with --config or ${ENVIRONMENT_NAME}; `qlikmigrate sandbox` prints one to try",
    )


def load(explicit: str | None, environ: Mapping[str, str]) -> TenantsFile:
    """Read and check the file's outline.

    Raises:
        UsageError: missing, writable by others, no TOML, or without tenants.
    """
    path, local = locate(explicit, environ)
    try:
        state = path.stat()
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the tenants file {path}: {error.strerror}",
            hint=f"name one with --config or ${ENVIRONMENT_NAME}; `qlikmigrate sandbox` prints one to try",
        ) from None
    _check_ownership(path, state, local=local)
    try:
        content = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"the tenants file {path} is not UTF-8 text", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the tenants file {path} is no TOML: {error}", hint="see https://toml.io") from None
    table = Table(content, f"the tenants file {path}")
    tenants: Mapping[str, Any] = table.take("tenants", dict, {})
    table.finish()
    if not tenants:
        raise UsageError(f"the tenants file {path} names no tenant", hint="add a table [tenants.NAME]")
    return TenantsFile(path=path, local=local, tables=tenants)


def _check_ownership(path: Path, state: os.stat_result, *, local: bool) -> None:
    """Whoever may write the file decides where credentials go."""
    if os.name != "posix" or not stat.S_ISREG(state.st_mode):
        return
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"others can write the tenants file {path}", hint=f"chmod go-w {path}")
    if local and state.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"the tenants file {path} of the working folder belongs to somebody else",
            hint=f"look at it, then name it with --config {path}",
        )


def open_tenant(
    name: str, explicit: str | None, environ: Mapping[str, str], *, row: Row | None = None
) -> Tenant | OemTenant:
    """The tenant called `name` on the command line, secrets resolved; `partner/ACCOUNT` is one of an OEM table's.

    `row`: whose cells its table takes.

    Raises:
        UsageError: it is unknown or wrongly described, or a secret is unset.
    """
    if name.startswith(PREFIX):
        return _open_context(name, environ)
    file = load(explicit, environ)
    table_name, _, account = (name, "", "") if name in file.tables else name.partition("/")
    values = file.tables.get(table_name)
    if values is None or (table_name != name and not _is_oem(values)):
        near = difflib.get_close_matches(name, file.names(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "known: " + ", ".join(file.names())
        raise UsageError(f"unknown tenant in {file.path}: `{name}`", hint=hint)
    context = TableContext(name=table_name, path=file.path, local=file.local, environ=environ)
    if not isinstance(values, Mapping):
        raise UsageError(f"{context.where} must be a table", hint=f"write [tenants.{name}] on a line of its own")
    table = Table(filled_tenant(values, row, where=context.where), context.where)
    kind = table.take("kind", str, "cloud")
    if kind == "oem":
        if table_name != name and not account.strip():
            raise UsageError(f"`{name}` names no account", hint=f"write {table_name}/ACCOUNT, or {table_name} alone")
        reached, own, unreadable = read_oem(table, context, name)
        return OemTenant(endpoint=reached, account=account or own, accept_unreadable=unreadable, source=str(file.path))
    if kind != "cloud":
        raise UsageError(f"unknown `kind` in {context.where}: `{kind}`", hint='write "cloud" or "oem"')
    endpoint, accepted = read_cloud(table, context)
    return Tenant(endpoint=endpoint, accept_unreadable=accepted, source=str(file.path))


def names_oem_account(name: str, explicit: str | None, environ: Mapping[str, str]) -> bool:
    """Whether `name` begins with an OEM table's and a slash. Without a tenants file it does not."""
    try:
        tables = load(explicit, environ).tables
    except UsageError:
        return False
    partner, slash, account = name.partition("/")
    return bool(slash and account) and _is_oem(tables.get(partner))


def _is_oem(values: object) -> bool:
    return isinstance(values, Mapping) and values.get("kind") == "oem"


def _open_context(name: str, environ: Mapping[str, str]) -> Tenant:
    url, key, path = read_context(name.removeprefix(PREFIX), environ)
    url = (url if "://" in url else f"https://{url}").rstrip("/")
    what = f"the server of qlik-cli context `{name.removeprefix(PREFIX)}` in {path}"
    check_address(url, what, example=CLOUD_EXAMPLE)
    endpoint = Endpoint(name=name, url=url, access=Access.READ, credentials=ApiKey(key=key))
    return Tenant(endpoint=endpoint, source=str(path))


def tenant_by_host(
    hosts: Iterable[str], explicit: str | None, environ: Mapping[str, str], *, apart_from: str = ""
) -> str | None:
    """The name of the one Cloud tenant of the file whose url leads to one of `hosts`; None: there is none, or several.

    Nothing is asked of the network, and no secret is read. `apart_from`: a name that is not meant.

    Raises:
        UsageError: there is no tenants file, or it cannot be read.
    """
    wanted = {host.lower() for host in hosts if host}
    file = load(explicit, environ)
    found = [
        name
        for name, table in file.tables.items()
        if name != apart_from
        and isinstance(table, Mapping)
        and not _is_oem(table)
        and _host_of(table.get("url")) in wanted
    ]
    return found[0] if len(found) == 1 else None


def _host_of(url: Any) -> str | None:
    try:
        return (urlsplit(url).hostname or "").lower() or None if isinstance(url, str) else None
    except ValueError:
        return None
