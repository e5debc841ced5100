"""The connectors of every tenant: their guids are the same in all of them. A small part of the real catalogue.

Source: guids as they recur in public workspaces; openapi/workflows-automation-connectors.json for the shape.
Assumed: the four guids named as made up, and the parameters of connections, of which no public sample was found.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from attrs import frozen

QLIK_CLOUD_SERVICES = "61a87510-c7a3-11ea-95da-0fb0c241e75c"
PLATFORM_OPERATIONS = "c7e48240-e0f2-11ec-ada1-d5ef75014b77"
MAIL = "05407a80-ccfd-11eb-b098-7140f6ac27f4"
GITHUB = "0d87808f-27c0-11ea-921c-022e6b5ea1e2"
AIRTABLE = "0d87347d-27c0-11ea-921c-022e6b5ea1e2"
TALEND_CLOUD = "c0374370-c190-11ed-b1c6-ad8f32552428"
TALEND_DATA_INTEGRATION = "f60a3e10-8846-11ee-8cdc-5bfcb95b42e5"
API_KEY = "3730c770-7f52-11ed-a7dc-2f9bb7b5fbf1"

# Made up: no public workspace shows the real ones.
LIST_REPOSITORIES = "4f1d4c30-3a52-11ec-8b6f-9d1c7a3d0c11"
LIST_RECORDS = "9c2f7a10-2a3b-11ec-bf0e-53a0e2c1d733"
PUSH = "b2a0d0e0-41a1-11ec-9a34-0b1e4d0f5a22"
RUN_TASK = "c1a7d5f0-c190-11ed-8f15-6b8a1f6d9e44"

_NAMESPACE = uuid.UUID("6f1cf7a4-0f0e-4ab3-9f04-6d6c1b1f3c55")


@frozen(kw_only=True)
class Param:
    """A parameter of a connection, or an input of a block."""

    name: str
    field_type: str = "text"
    optional: bool = False
    example: str = ""
    id: str = ""


@frozen(kw_only=True)
class Block:
    """A block that a connector offers: an endpoint, or a snippet (`role` None)."""

    id: str
    name: str
    role: str | None = None
    inputs: tuple[Param, ...] = ()


@frozen(kw_only=True)
class Event:
    """A webhook event. `params`: its filters."""

    id: str
    name: str
    params: tuple[Param, ...] = ()


@frozen(kw_only=True)
class Connector:
    """A connector. `oauth`: connecting takes a person with a browser. `automatic`: the service registers webhooks."""

    id: str
    name: str
    description: str = ""
    params: tuple[Param, ...] = ()
    blocks: tuple[Block, ...] = ()
    snippets: tuple[Block, ...] = ()
    events: tuple[Event, ...] = ()
    oauth: bool = False
    billable: bool = False
    automatic: bool = True
    managed: bool = False


def _in(ident: str, name: str, *, optional: bool = False) -> Param:
    return Param(id=ident, name=name, optional=optional)


BUILT_IN: tuple[Connector, ...] = (
    Connector(
        id=QLIK_CLOUD_SERVICES,
        name="Qlik Cloud Services",
        description="Apps, spaces, users and reloads of this tenant",
        managed=True,
        blocks=(
            Block(id="8cc63340-107b-11ec-ab5d-f9b221ed2dc5", name="List Apps", role="list", inputs=(
                _in("8cd8db50-107b-11ec-8082-edc45dd151ef", "Sort", optional=True),
                _in("8ce4fad0-107b-11ec-a6ac-2bd407ad134b", "Space Id", optional=True),
            )),
            Block(id="272d9c70-6d31-11eb-870f-67624392ed86", name="Add Member To Space", role="create", inputs=(
                _in("3162f740-6d33-11eb-a089-71f7ccab24b9", "Space Id"),
                _in("27499b00-6d31-11eb-bbe5-5b3db3c974dc", "Assignee Id"),
                _in("2751b870-6d31-11eb-9d77-41c5fae28bc5", "Roles"),
                _in("275e2c50-6d31-11eb-8eeb-157347755492", "Type"),
            )),
            Block(id="590a1a20-6d2e-11eb-9714-df1bbaac055d", name="Search Spaces", role="search", inputs=(
                _in("592e21a0-6d2e-11eb-9985-3ff14fb3335f", "Type", optional=True),
                _in("59429c60-6d2e-11eb-b7b1-e7ca1f22830c", "Name"),
            )),
            Block(id="dbdc5470-c7a5-11ea-9135-b9442d1570d8", name="Get App", role="get"),
            Block(id="b0d2e830-f832-11ec-b448-6ba082700f84", name="Search Users", role="search"),
            Block(id="ffe6d930-6d33-11eb-ad8a-334e25c5e295", name="List Members From Space", role="list", inputs=(
                _in("358ee8a0-6d34-11eb-b1f3-91a0d7274b22", "Space Id"),
            )),
            Block(id="72d48530-bbb0-11f0-875a-b322bf237aeb", name="Raw API Request", role="create", inputs=(
                _in("73000fe0-bbb0-11f0-8a80-59ece3571bd9", "Path"),
                _in("7322a550-bbb0-11f0-9c8c-43f143a32456", "Method"),
                _in("734cbcc0-bbb0-11f0-b998-f73920377683", "Query Parameters", optional=True),
                _in("736fae60-bbb0-11f0-ad62-c98a0046f418", "Body", optional=True),
            )),
        ),
        snippets=(
            Block(id="b5dbb7a0-e715-11ea-b2bf-43bb35adee19", name="Do Reload", inputs=(
                _in("29603390-e716-11ea-9e37-05e08ee32111", "App Id"),
                _in("2ac9eef0-a677-11eb-aacc-8b755d0fe484", "Wait", optional=True),
            )),
            Block(id="d3a8d4f0-a8d2-11eb-a81d-ffabb68491fb", name="Get App Information"),
            Block(id="76a45090-00e1-11ec-ad85-b3b86b5b9a24", name="Publish App To Managed Space"),
        ),
        events=(
            Event(id="5be4c220-6156-11eb-a3df-fdbac6cc38a0", name="User Created"),
            Event(id="1b4b5dd0-889f-11eb-a114-59957f3a756f", name="App Data Updated", params=(
                Param(id="3aeb3660-5ddb-11ec-9122-1fe6c1dec4cc", name="App Id", optional=True),
            )),
            Event(id="365616d0-889f-11eb-a6c1-0fbe0dacf886", name="App Published", params=(
                Param(id="613e0f80-5ddb-11ec-ab88-0d44ac0c427c", name="Space Id", optional=True),
            )),
        ),
    ),
    Connector(
        id=PLATFORM_OPERATIONS,
        name="Qlik Platform Operations",
        description="Manages tenants from the outside",
        params=(
            Param(name="Client Id"),
            Param(name="Client Secret", field_type="password"),
            Param(name="Region", example="eu.qlikcloud.com"),
            Param(name="Default tenant", optional=True, example="acme.eu.qlikcloud.com"),
        ),
        blocks=(
            Block(id="8263bab0-fc5c-11ec-8f4a-433e011739ae", name="List Apps", role="list", inputs=(
                _in("e9b6c6e0-fc5c-11ec-a80b-6bcbe0fce3f9", "Tenant"),
            )),
            Block(id="7b5d4040-c463-11f0-9b81-e7987de54c81", name="Raw API Request", role="create", inputs=(
                _in("7b9385e0-c463-11f0-9f64-919f692becef", "Tenant"),
                _in("7bb5c320-c463-11f0-be15-db4bddfc1b4a", "Path"),
                _in("7bda6a30-c463-11f0-92f0-09d6e5393e45", "Method"),
                _in("7c06dcf0-c463-11f0-a106-2d3c6ebeac7a", "Query Parameters", optional=True),
                _in("7c28a2d0-c463-11f0-a866-73afb2fbaa30", "Body", optional=True),
            )),
            Block(id="ba493570-b76f-11ed-b6ab-6fd465c15105", name="List Roles", role="list"),
            Block(id="df9f1570-9caa-11ed-ac68-8ffd59764433", name="Get User", role="get"),
        ),
        snippets=(
            Block(id="1235c1c0-0b7f-11ee-8218-8b26bad2c475", name="Create Space If Not Existing", inputs=(
                _in("81071cf0-0b7f-11ee-805d-df260e5bbd58", "Tenant"),
                _in("8107d590-0b7f-11ee-99e9-1f2e6b5cddb8", "Name"),
            )),
            Block(id="13b60e00-b538-11ee-8db4-7f4aeae7104c", name="Add Role To User By Name"),
        ),
    ),
    Connector(
        id=MAIL,
        name="Mail",
        description="Sends mail over SMTP",
        params=(
            Param(name="Sender", example="noreply@example.com"),
            Param(name="Host", example="smtp.example.com"),
            Param(name="Port", example="587"),
            Param(name="Encryption", optional=True, example="tls"),
            Param(name="Username"),
            Param(name="Password", field_type="password"),
        ),
        blocks=(
            Block(id="84a79bf0-ccff-11eb-a508-7d415a725ea7", name="Send Mail", role="create", inputs=(
                _in("442845a0-cd00-11eb-9aa5-b966a68573b7", "To"),
                _in("5cbdb1d0-cd00-11eb-8afd-ddd4ecc002ac", "Subject"),
                _in("72cad1e0-cd00-11eb-aa1b-3f42c1d22e38", "Body"),
            )),
        ),
    ),
    Connector(
        id=GITHUB,
        name="GitHub",
        description="Repositories and files",
        oauth=True,
        blocks=(Block(id=LIST_REPOSITORIES, name="List Repositories", role="list"),),
        snippets=(Block(id="70a930c0-4074-11ec-9bb6-b36e27de5d04", name="Create Or Update File Content"),),
        events=(Event(id=PUSH, name="Push"),),
        automatic=False,
    ),
    Connector(
        id=AIRTABLE,
        name="Airtable",
        description="Bases and records",
        oauth=True,
        blocks=(Block(id=LIST_RECORDS, name="List Records", role="list"),),
    ),
    Connector(
        id=TALEND_CLOUD,
        name="Talend",
        description="Tasks and plans of Talend Cloud",
        billable=True,
        params=(Param(name="Region", example="eu"), Param(name="Access Token", field_type="password")),
        blocks=(Block(id=RUN_TASK, name="Run Task", role="create"),),
    ),
    Connector(
        id=TALEND_DATA_INTEGRATION,
        name="Qlik Talend Data Integration",
        description="Data tasks of this tenant",
        managed=True,
        blocks=(
            Block(id="0be997b0-887f-11ee-b001-fd990daaf59a", name="List Projects", role="list"),
            Block(id="10e86460-894b-11ee-9901-2b5fbccf1850", name="Start Data Task", role="create"),
        ),
    ),
    Connector(
        id=API_KEY,
        name="API Key",
        description="Any API that takes a key in a header",
        params=(
            Param(name="Base URL", example="https://api.example.com"),
            Param(name="API Key", field_type="password"),
            Param(name="Header", optional=True, example="X-Api-Key"),
        ),
        blocks=(Block(id="5f603eb0-8b2e-11ed-8563-71b29f846889", name="Raw API Request", role="get"),),
    ),
)  # fmt: skip


def own_id(*parts: str) -> str:
    """A guid for a part of the catalogue whose real one is not known: the same in all tenants."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def row(connector: Connector) -> dict[str, Any]:
    """A connector in the list."""
    return {
        "id": connector.id,
        "name": connector.name,
        "billable": connector.billable,
        "logoLarge": None,
        "logoSmall": None,
        "logoMedium": None,
        "description": connector.description,
        "hasWebhooks": bool(connector.events),
    }


def detail(connector: Connector) -> dict[str, Any]:
    """A connector's own answer."""
    made = row(connector)
    for name in ("logoLarge", "logoSmall", "logoMedium"):
        del made[name]
    return made | {
        "params": [_field(connector, one, setting=True) for one in connector.params],
        "blocks": [_block(connector, one) for one in connector.blocks],
        "snippets": [_snippet(connector, one) for one in connector.snippets],
        "connectDocumentation": None,
    }


def webhooks(connector: Connector) -> dict[str, Any]:
    """A connector's webhook configuration."""
    return {
        "id": connector.id,
        "automatic": connector.automatic,
        "events": [
            {
                "id": event.id,
                "name": event.name,
                "role": "create",
                "params": [
                    {"id": one.id, "name": one.name, "type": "lookup", "options": [], "required": not one.optional}
                    for one in event.params
                ],
                "description": None,
                "exampleOutput": {"eventType": event.name},
            }
            for event in connector.events
        ],
    }


def _field(connector: Connector, param: Param, *, setting: bool) -> dict[str, Any]:
    return {
        "id": param.id or own_id(connector.id, param.name),
        "name": param.name,
        "options": [],
        "setting": setting,
        "optional": param.optional,
        "fieldType": param.field_type,
        "description": None,
        "exampleValue": param.example or None,
    }


def _block(connector: Connector, block: Block) -> dict[str, Any]:
    return {
        "id": block.id,
        "name": block.name,
        "role": block.role or "get",
        "inputs": [_field(connector, one, setting=False) for one in block.inputs],
        "objectType": None,
        "description": None,
        "exampleOutput": {},
    }


def _snippet(connector: Connector, block: Block) -> Mapping[str, Any]:
    inputs = []
    for one in block.inputs:
        made = _field(connector, one, setting=False)
        del made["setting"], made["exampleValue"]
        inputs.append(made)
    return _block(connector, block) | {"role": None, "inputs": inputs}
