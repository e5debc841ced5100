"""The tenants file: found, checked to the last key, and turned into endpoints. Secrets are read only when needed."""

from __future__ import annotations

import difflib
import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from attrs import frozen

from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits, OAuthClient
from qlikmigrate.config.qlik_context import PREFIX, read_context
from qlikmigrate.config.secret_source import resolve
from qlikmigrate.config.table import Table
from qlikmigrate.kernel.error import UsageError

FILE_NAME = "qlikmigrate.toml"
ENVIRONMENT_NAME = "QLIKMIGRATE_CONFIG"


@frozen(kw_only=True)
class Tenant:
    """One tenant of the file. `accept_unreadable`: ids whose unreadability makes no snapshot incomplete."""

    endpoint: Endpoint
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
        mode = path.stat().st_mode
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the tenants file {path}: {error.strerror}") from None
    if os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"others can write the tenants file {path}", hint=f"chmod go-w {path}")
    try:
        content = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"the tenants file {path} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the tenants file {path} is no TOML: {error}") from None
    table = Table(content, f"the tenants file {path}")
    tenants = table.take("tenants", dict, {})
    table.finish()
    if not tenants:
        raise UsageError(f"the tenants file {path} names no tenant", hint="add a table [tenants.NAME]")
    return TenantsFile(path=path, local=local, tables=tenants)


def open_tenant(name: str, explicit: str | None, environ: Mapping[str, str]) -> Tenant:
    """The tenant called `name` on the command line, secrets resolved.

    Raises:
        UsageError: it is unknown or wrongly described, or a secret is unset.
    """
    if name.startswith(PREFIX):
        url, key = read_context(name.removeprefix(PREFIX), environ)
        url = url if "://" in url else f"https://{url}"
        _check_url(url, f"the server of qlik-cli context `{name.removeprefix(PREFIX)}`")
        endpoint = Endpoint(name=name, url=url.rstrip("/"), access=Access.READ, credentials=ApiKey(key=key))
        return Tenant(endpoint=endpoint, source="qlik-cli")
    file = load(explicit, environ)
    if name not in file.tables:
        near = difflib.get_close_matches(name, file.names(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "known: " + ", ".join(file.names())
        raise UsageError(f"unknown tenant in {file.path}: `{name}`", hint=hint)
    return _read_tenant(file, name, environ)


def _read_tenant(file: TenantsFile, name: str, environ: Mapping[str, str]) -> Tenant:
    where = f"[tenants.{name}] of {file.path}"
    if not isinstance(file.tables[name], Mapping):
        raise UsageError(f"{where} must be a table")
    table = Table(file.tables[name], where)
    kind = table.take("kind", str, "cloud")
    if kind == "oem":
        raise UsageError(f"{where}: OEM accounts are not served by this version")
    if kind != "cloud":
        raise UsageError(f"unknown `kind` in {where}: `{kind}`", hint='write "cloud" or "oem"')
    url = table.take("url", str, "").rstrip("/")
    loopback = _check_url(url, f"`url` in {where}")

    def secret(value: Any, what: str) -> Any:
        return resolve(
            value,
            where=f"{what} in {where}",
            environ=environ,
            folder=file.path.parent,
            literal=loopback,
            command=not file.local,
        )

    def client(value: Mapping[str, Any], what: str, *, may_impersonate: bool) -> OAuthClient:
        inner = Table(value, f"`{what}` in {where}")
        client_id = inner.take("client_id", str, "")
        client_secret = inner.take("client_secret", (str, dict), "")
        subject = inner.take("impersonate", str, "") if may_impersonate else ""
        inner.finish()
        if not client_id:
            raise UsageError(f"`{what}` in {where} needs `client_id`")
        return OAuthClient(
            client_id=client_id,
            client_secret=secret(client_secret, f"`{what}.client_secret`"),
            impersonate=subject or None,
        )

    api_key = table.take("api_key", (str, dict), "")
    oauth = table.take("oauth", dict, {})
    if bool(api_key) == bool(oauth):
        raise UsageError(f"{where} needs either `api_key` or `oauth`")
    credentials = client(oauth, "oauth", may_impersonate=True) if oauth else ApiKey(key=secret(api_key, "`api_key`"))
    impersonation = table.take("impersonation", dict, {})
    access = _choice(table, "access", "read", [one.value for one in Access])
    family = _choice(table, "api", "auto", ["auto", "workflows", "v1"])
    accepted: list[Any] = table.take("accept_unreadable", list, [])
    if not all(isinstance(one, str) for one in accepted):
        raise UsageError(f"`accept_unreadable` in {where} must be a list of ids")
    proxy = table.take("proxy", str, "")
    ca_file = table.take("ca_file", str, "")
    limits = _limits(table.take("limits", dict, {}), f"[tenants.{name}.limits] of {file.path}")
    table.finish()
    if ca_file and not (file.path.parent / ca_file).is_file():
        raise UsageError(f"`ca_file` in {where}: no such file: {ca_file}")
    endpoint = Endpoint(
        name=name,
        url=url,
        access=Access(access),
        credentials=credentials,
        impersonation=client(impersonation, "impersonation", may_impersonate=False) if impersonation else None,
        family=family,  # type: ignore[arg-type]
        proxy=proxy or None,
        ca_file=file.path.parent / ca_file if ca_file else None,
        limits=limits,
    )
    return Tenant(endpoint=endpoint, accept_unreadable=frozenset(accepted), source=str(file.path))


def _choice(table: Table, key: str, default: str, allowed: list[str]) -> str:
    value = table.take(key, str, default)
    if value not in allowed:
        raise UsageError(f"`{key}` in {table.where} is `{value}`", hint="write one of: " + ", ".join(allowed))
    return value


def _limits(values: Mapping[str, Any], where: str) -> Limits:
    table = Table(values, where)
    limits = Limits(
        tier1_per_minute=table.take("tier1_per_minute", int, 1000),
        tier2_per_minute=table.take("tier2_per_minute", int, 100),
        share=table.take("share", (int, float), 0.8),
        concurrency=table.take("concurrency", int, 8),
        timeout_s=table.take("timeout_seconds", (int, float), 60),
    )
    table.finish()
    if min(limits.tier1_per_minute, limits.tier2_per_minute, limits.timeout_s) <= 0:
        raise UsageError(f"limits in {where} must be above zero")
    if not 0 < limits.share <= 1:
        raise UsageError(f"`share` in {where} must be above 0 and at most 1")
    if not 1 <= limits.concurrency <= 32:
        raise UsageError(f"`concurrency` in {where} must be 1 to 32")
    return limits


def _check_url(url: str, what: str) -> bool:
    """Whether `url` is a loopback address; refuses what is no usable tenant address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("https", "http"):
        raise UsageError(f"{what} is no web address: `{url}`", hint='write "https://TENANT.REGION.qlikcloud.com"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"{what} holds more than an address", hint="no user, key or query belongs into it")
    loopback = _is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise UsageError(f"{what} is not encrypted: `{url}`", hint="write https://")
    if parts.path.strip("/"):
        raise UsageError(f"{what} has a path: `{parts.path}`", hint=f"write {parts.scheme}://{parts.netloc}")
    return loopback


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
