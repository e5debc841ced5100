"""One `[tenants.NAME]` table, checked to the last key and turned into an endpoint, secrets resolved last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits, OAuthClient
from qlikmigrate.config.address import check_address
from qlikmigrate.config.secret_source import HOW, SecretSource, parse_source
from qlikmigrate.config.table import Table
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

CLOUD_EXAMPLE = "https://TENANT.REGION.qlikcloud.com"
_OEM_EXAMPLE = "https://api.blendr.io/v1"
_MOST_CONNECTIONS = 32


@frozen(kw_only=True)
class TableContext:
    """What a table's reader knows of its file. `local`: the file is merely the one of the working folder."""

    name: str
    path: Path
    local: bool
    environ: Mapping[str, str]

    @property
    def where(self) -> str:
        """The table, as errors name it."""
        return f"[tenants.{self.name}] of {self.path}"


@frozen(kw_only=True)
class _Client:
    """An OAuth client whose secret has not been read yet."""

    client_id: str
    source: SecretSource
    subject: str

    def resolve(self, context: TableContext) -> OAuthClient:
        return OAuthClient(
            client_id=self.client_id, client_secret=_read(self.source, context), impersonate=self.subject or None
        )


def read_cloud(table: Table, context: TableContext) -> tuple[Endpoint, frozenset[str]]:
    """The endpoint that a Qlik Cloud table describes, and the ids that may be unreadable.

    Raises:
        UsageError: a key is unknown, of another type, missing or senseless; a secret is unset.
    """
    where = context.where
    url = table.take("url", str, "").rstrip("/")
    loopback = check_address(url, f"`url` in {where}", example=CLOUD_EXAMPLE)
    key = table.take("api_key", (str, dict), "")
    oauth = table.take("oauth", dict, {})
    if table.has("api_key") and table.has("oauth"):
        raise UsageError(f"{where} has both `api_key` and `oauth`", hint="keep one of them")
    if not table.has("api_key") and not table.has("oauth"):
        raise UsageError(f"{where} has no credentials", hint=f"add `api_key` or `oauth`; {HOW}")
    client = _client(oauth, "oauth", context, loopback, may_impersonate=True) if table.has("oauth") else None
    source = None if client else _source(key, "api_key", context, loopback)
    impersonation = table.take("impersonation", dict, {})
    second = (
        _client(impersonation, "impersonation", context, loopback, may_impersonate=False)
        if table.has("impersonation")
        else None
    )
    access = _choice(table, "access", "read", [one.value for one in Access])
    family = _choice(table, "api", "auto", ["auto", "workflows", "v1"])
    accepted = _ids(table)
    proxy, ca_file = _proxy(table), _ca_file(table, context.path.parent)
    limits = _limits(table.take("limits", dict, {}), f"[tenants.{context.name}.limits] of {context.path}")
    table.finish()
    credentials = client.resolve(context) if client else ApiKey(key=_read(source, context))
    endpoint = Endpoint(
        name=context.name,
        url=url,
        access=Access(access),
        credentials=credentials,
        impersonation=second.resolve(context) if second else None,
        family=family,  # type: ignore[arg-type]
        proxy=proxy,
        ca_file=ca_file,
        limits=limits,
    )
    return endpoint, accepted


def check_oem(table: Table, context: TableContext) -> None:
    """Check a table of Qlik Application Automation for OEM to the last key.

    Raises:
        UsageError: a key is unknown, of another type, missing or senseless.
    """
    where = context.where
    url = table.take("url", str, "").rstrip("/")
    loopback = check_address(url, f"`url` in {where}", path=True, example=_OEM_EXAMPLE)
    if not table.take("app_id", str, ""):
        raise UsageError(f"{where} has no `app_id`", hint='write app_id = "12345"')
    _source(table.take("api_key", (str, dict), ""), "api_key", context, loopback)
    table.take("account", str, "")
    _choice(table, "access", "read", [one.value for one in Access])
    _ids(table)
    _proxy(table)
    _ca_file(table, context.path.parent)
    limits = Table(table.take("limits", dict, {}), f"[tenants.{context.name}.limits] of {context.path}")
    if not _number(limits, "per_minute", 300) > 0:
        raise UsageError(f"`per_minute` in {limits.where} must be above 0", hint="leave it out for the default: 300")
    limits.finish()
    table.finish()


def _source(value: Any, key: str, context: TableContext, loopback: bool) -> SecretSource:
    return parse_source(value, where=f"`{key}` in {context.where}", literal=loopback, command=not context.local)


def _read(source: SecretSource | None, context: TableContext) -> Secret:
    assert source is not None
    return source.read(environ=context.environ, folder=context.path.parent)


def _client(
    values: Mapping[str, Any], key: str, context: TableContext, loopback: bool, *, may_impersonate: bool
) -> _Client:
    inner = Table(values, f"`{key}` in {context.where}")
    client_id = inner.take("client_id", str, "")
    secret = inner.take("client_secret", (str, dict), "")
    subject = inner.take("impersonate", str, "") if may_impersonate else ""
    inner.finish()
    if not client_id:
        raise UsageError(f"{inner.where} has no `client_id`", hint=f'{key} = {{ client_id = "…", client_secret = … }}')
    return _Client(
        client_id=client_id, source=_source(secret, f"{key}.client_secret", context, loopback), subject=subject
    )


def _choice(table: Table, key: str, default: str, allowed: list[str]) -> str:
    value = table.take(key, str, default)
    if value not in allowed:
        raise UsageError(f"`{key}` in {table.where} is `{value}`", hint="write one of: " + ", ".join(allowed))
    return value


def _ids(table: Table) -> frozenset[str]:
    values: list[Any] = table.take("accept_unreadable", list, [])
    if not all(isinstance(one, str) for one in values):
        raise UsageError(f"`accept_unreadable` in {table.where} must be a list of ids", hint='write ["ID", "ID"]')
    return frozenset(values)


def _proxy(table: Table) -> str | None:
    value = table.take("proxy", str, "")
    try:
        sound = not value or bool(urlsplit(value).hostname and urlsplit(value).scheme in ("http", "https"))
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"`proxy` in {table.where} is no web address", hint='write proxy = "http://HOST:PORT"')
    return value or None


def _ca_file(table: Table, folder: Path) -> Path | None:
    value = table.take("ca_file", str, "")
    if not value:
        return None
    path = folder / Path(value).expanduser()
    if not path.is_file():
        raise UsageError(
            f"`ca_file` in {table.where}: no such file: {path}",
            hint="a relative path starts at the tenants file's folder",
        )
    return path


def _limits(values: Mapping[str, Any], where: str) -> Limits:
    table = Table(values, where)
    found = {
        "tier1_per_minute": table.take("tier1_per_minute", int, 1000),
        "tier2_per_minute": table.take("tier2_per_minute", int, 100),
        "share": _number(table, "share", 0.8),
        "concurrency": table.take("concurrency", int, 8),
        "timeout_seconds": _number(table, "timeout_seconds", 60),
    }
    table.finish()
    for key, value in found.items():
        most = {"share": 1, "concurrency": _MOST_CONNECTIONS}.get(key, math.inf)
        if not 0 < value <= most:
            bounds = "above 0" + (f" and at most {most}" if most != math.inf else "")
            raise UsageError(f"`{key}` in {where} must be {bounds}: {value}", hint="leave it out for the default")
    return Limits(
        tier1_per_minute=int(found["tier1_per_minute"]),
        tier2_per_minute=int(found["tier2_per_minute"]),
        share=found["share"],
        concurrency=int(found["concurrency"]),
        timeout_s=found["timeout_seconds"],
    )


def _number(table: Table, key: str, default: float) -> float:
    value = float(table.take(key, (int, float), default))
    if not math.isfinite(value):
        raise UsageError(f"`{key}` in {table.where} is no number: {value}", hint="leave it out for the default")
    return value
