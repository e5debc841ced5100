"""One table of `kind = "oem"`, checked to the last key and turned into an endpoint, secrets read last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.api.endpoint import Access, is_header_word, origin_of
from qlikmigrate.api.oem.endpoint import API_URL, CONNECTORS_URL, KeyPair, OemEndpoint, OemLimits
from qlikmigrate.config.address import check_address
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


def read_oem(table: Table, context: TableContext, name: str) -> tuple[OemEndpoint, str, frozenset[str]]:
    """The endpoint that an OEM table describes, its `account`, and the ids that may be unreadable.

    `name`: what the command line calls it, `partner` or `partner/ACCOUNT`.

    Raises:
        UsageError: a key is unknown, of another type, missing or senseless; a secret is unset.
    """
    where = context.where
    url = table.take("url", str, API_URL).rstrip("/")
    loopback = check_address(url, f"`url` in {where}", path=True, example=API_URL)
    # A table that leads to this machine shall not ask the internet for connectors.
    public = table.take("connectors_url", str, f"{origin_of(url)}/integrations" if loopback else CONNECTORS_URL)
    check_address(public, f"`connectors_url` in {where}", path=True, key="connectors_url", example=CONNECTORS_URL)
    app_id = str(table.take("app_id", (str, int), ""))
    if not is_header_word(app_id):
        what = "has no `app_id`" if not app_id else "has an `app_id` with blanks or characters that none has"
        raise UsageError(f"{where} {what}", hint='write app_id = "12345"')
    source = source_of(table.take("api_key", (str, dict), ""), "api_key", context, loopback)
    account = table.take("account", str, "")
    # There is no call that enables and disables alone, so none that `state` could grant.
    access = choice(table, "access", "read", [Access.READ.value, Access.WRITE.value])
    accepted = ids_of(table)
    proxy, ca_file = proxy_of(table), ca_file_of(table, context.path.parent)
    limits = _limits(table.take("limits", dict, {}), f"[tenants.{context.name}.limits] of {context.path}")
    table.finish()
    endpoint = OemEndpoint(
        name=name,
        table=context.name,
        url=url,
        access=Access(access),
        credentials=KeyPair(app_id=app_id, api_key=read_secret(source, context)),
        proxy=proxy,
        ca_file=ca_file,
        limits=limits,
        connectors_url=public,
    )
    return endpoint, account, accepted


def _limits(values: Mapping[str, Any], where: str) -> OemLimits:
    table = Table(values, where)
    found = {
        "per_minute": table.take("per_minute", int, 300),
        "share": number(table, "share", 0.8),
        "concurrency": table.take("concurrency", int, 8),
        "timeout_seconds": number(table, "timeout_seconds", 60),
    }
    table.finish()
    bounded(table, found)
    return OemLimits(
        per_minute=int(found["per_minute"]),
        share=found["share"],
        concurrency=int(found["concurrency"]),
        timeout_s=found["timeout_seconds"],
    )
