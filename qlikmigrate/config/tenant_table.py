"""One `[tenants.NAME]` table, checked to the last key and turned into an endpoint, secrets resolved last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits, OAuthClient
from qlikmigrate.config.address import check_address
from qlikmigrate.config.secret_source import HOW, SecretSource
from qlikmigrate.config.table import Table
from qlikmigrate.config.table_value import (
    TableContext,
    bounded,
    ca_file_of,
    choice,
    ids_of,
    number,
    proxy_of,
    read_secret,
    source_of,
)
from qlikmigrate.kernel.error import UsageError

CLOUD_EXAMPLE = "https://TENANT.REGION.qlikcloud.com"


@frozen(kw_only=True)
class _Client:
    """An OAuth client whose secret has not been read yet."""

    client_id: str
    source: SecretSource
    subject: str

    def resolve(self, context: TableContext) -> OAuthClient:
        return OAuthClient(
            client_id=self.client_id, client_secret=read_secret(self.source, context), impersonate=self.subject or None
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
    source = None if client else source_of(key, "api_key", context, loopback)
    impersonation = table.take("impersonation", dict, {})
    second = (
        _client(impersonation, "impersonation", context, loopback, may_impersonate=False)
        if table.has("impersonation")
        else None
    )
    access = choice(table, "access", "read", [one.value for one in Access])
    family = choice(table, "api", "auto", ["auto", "workflows", "v1"])
    accepted = ids_of(table)
    proxy, ca_file = proxy_of(table), ca_file_of(table, context.path.parent)
    limits = _limits(table.take("limits", dict, {}), f"[tenants.{context.name}.limits] of {context.path}")
    table.finish()
    credentials = client.resolve(context) if client else ApiKey(key=read_secret(source, context))
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
        client_id=client_id, source=source_of(secret, f"{key}.client_secret", context, loopback), subject=subject
    )


def _limits(values: Mapping[str, Any], where: str) -> Limits:
    table = Table(values, where)
    found = {
        "tier1_per_minute": table.take("tier1_per_minute", int, 1000),
        "tier2_per_minute": table.take("tier2_per_minute", int, 100),
        "share": number(table, "share", 0.8),
        "concurrency": table.take("concurrency", int, 8),
        "timeout_seconds": number(table, "timeout_seconds", 60),
    }
    table.finish()
    bounded(table, found)
    return Limits(
        tier1_per_minute=int(found["tier1_per_minute"]),
        tier2_per_minute=int(found["tier2_per_minute"]),
        share=found["share"],
        concurrency=int(found["concurrency"]),
        timeout_s=found["timeout_seconds"],
    )
