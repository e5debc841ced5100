"""Every call that the OEM API documents, declared once, and nothing else: what is not here cannot be sent.

Source: the pages of help.qlik.com that `spec` names, `en-US/blendr/Content/saas-api-1/`. They list 200, 204 and 400 as
the only statuses. Account segments take a guid or an externalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.operation import Family, Operation, Retry, Shape

# Source: "SaaS API overview": `meta.per_page` of the example; no parameter for it is documented.
PAGE_ROWS = 100


def _operation(
    name: str,
    method: str,
    path: str,
    spec: str,
    shape: Shape,
    *,
    success: int = 200,
    retry: Retry = Retry.SAFE,
    query: str = "",
    body: str = "",
    open_body: bool = False,
    secret_body: bool = False,
) -> Operation:
    return Operation(
        name=name,
        method=method,
        path=path,
        family=Family.PLATFORM,
        tier=1,
        access=Access.READ if method == "GET" else Access.WRITE,
        retry=retry,
        shape=shape,
        success=(success,),
        spec=spec,
        query=tuple(query.split()),
        page_size=PAGE_ROWS if "page" in query.split() else 0,
        body=tuple(body.split()),
        open_body=open_body,
        secret_body=secret_body,
    )


_ACCOUNT, _BLENDS, _DATASOURCES = "/accounts/{account}", "/accounts/{account}/blends", "/accounts/{account}/datasources"
_BLEND, _DATASOURCE = f"{_BLENDS}/{{blend}}", f"{_DATASOURCES}/{{datasource}}"
_LIST, _OBJECT, _NOTHING, _ANY, _ONCE = Shape.LIST, Shape.OBJECT, Shape.NOTHING, Shape.ANY, Retry.ONCE
# Source: "Update integration": what may be written, all of it optional.
_BLEND_BODY = "name state schedule_start_at schedule_stop_at schedule_interval schedule_timezone"


def _accounts() -> tuple[Operation, ...]:
    return (
        _operation("account.list", "GET", "/accounts", "list-accounts", _LIST, query="page"),
        # Source: the vendor's article "API for SaaS partners"; it has no page of its own.
        _operation("account.get", "GET", _ACCOUNT, "api-for-saas-partners", _OBJECT),
        _operation("account.create", "POST", "/accounts", "create-account", _OBJECT, retry=_ONCE,
                   body="name externalid user datasource send_invite", secret_body=True),
        _operation("account.update", "PUT", _ACCOUNT, "update-account", _OBJECT,
                   body="name externalid user datasource", secret_body=True),
        _operation("account.expire", "PUT", f"{_ACCOUNT}/expire", "expire-account", _NOTHING),
    )  # fmt: skip


def _blends() -> tuple[Operation, ...]:
    return (
        _operation("blend.list", "GET", _BLENDS, "list-integrations-blends-from-account", _LIST, query="page"),
        _operation("blend.get", "GET", _BLEND, "get-integration-blend-in-account", _OBJECT),
        _operation("blend.update", "PUT", _BLEND, "update-integration", _NOTHING, body=_BLEND_BODY),
        _operation("blend.update-from-template", "PUT", f"{_BLENDS}/{{template}}/{{blend}}",
                   "update-integration-from-template", _NOTHING),
        _operation("blend.set-inputs", "POST", f"{_BLEND}/set-persisted-inputs",
                   "set-persisted-inputs-of-integration-blend", _NOTHING,
                   success=204, open_body=True, secret_body=True),
        _operation("blend.run", "POST", f"{_BLEND}/run", "ex", _ANY,
                   retry=_ONCE, query="async", body="async inputs", secret_body=True),
        _operation("run.list", "GET", f"{_BLEND}/runs", "list-runs-of-an-integration-blend-in-an-account", _LIST,
                   query="finishedOnly created_at[gt] created_at[gte] created_at[lt] created_at[lte] page"),
        _operation("run.get", "GET", f"{_BLEND}/runs/{{run}}", "get-run-of-an-integration-in-an-account", _OBJECT),
        # Of an automation without runs, and of a bundle, no data comes.
        _operation("run.last", "GET", f"{_BLEND}/lastrun", "get-last-run-of-an-integration-blend-in-account", _NOTHING),
    )  # fmt: skip


def _templates() -> tuple[Operation, ...]:
    return (
        _operation("template.list", "GET", "/templates", "list-templates", _LIST, query="page"),
        _operation("template.get", "GET", "/templates/{template}", "get-template", _OBJECT),
        _operation("template.install", "POST", "/templates/{template}/install", "install-template", _NOTHING,
                   retry=_ONCE, query="template_prevent_duplicates", body="account inputs datasources",
                   secret_body=True),
    )  # fmt: skip


def _connections() -> tuple[Operation, ...]:
    return (
        _operation("datasource.list", "GET", _DATASOURCES, "list-datasources-from-account", _LIST, query="page"),
        _operation("datasource.create", "POST", _DATASOURCES, "create-datasource-in-account", _OBJECT,
                   retry=_ONCE, body="name connector_guid redirect_url params", secret_body=True),
        _operation("datasource.get", "GET", _DATASOURCE, "get-datasource-in-account", _OBJECT),
        _operation("datasource.update", "PUT", _DATASOURCE, "update-datasource-in-account", _OBJECT,
                   body="name params", secret_body=True),
        _operation("datasource.delete", "DELETE", _DATASOURCE, "delete-datasource-in-account", _NOTHING, success=204),
        _operation("connector.get", "GET", "/connectors/{connector}", "get-connector", _OBJECT),
        # On a host of its own: `connectors_url`. It is not paged.
        _operation("connector.public-list", "GET", "/integrations", "list-all-connectors", _LIST),
    )  # fmt: skip


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (*_accounts(), *_blends(), *_templates(), *_connections())}
)

PUBLIC_LIST = OPERATIONS["connector.public-list"]
RUN = OPERATIONS["blend.run"]
