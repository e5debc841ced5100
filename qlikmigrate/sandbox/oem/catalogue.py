"""The connectors of an OEM platform. Those that Qlik Cloud has too have the same guid there, but for one.

Assumed: all guids and params but those of the Cloud catalogue; whether OEM and Cloud share guids is not known, so that
one of them differs and is found by its name.
"""

from __future__ import annotations

import uuid

from attrs import evolve

from qlikmigrate.sandbox.catalogue import AIRTABLE, API_KEY, GITHUB, MAIL
from qlikmigrate.sandbox.oem.record import OemConnector, OemParam

SALESFORCE = "0d8756a2-27c0-11ea-921c-022e6b5ea1e2"
OEM_AIRTABLE = "1f0c9d52-27c0-11ea-921c-022e6b5ea1e2"
PARTNER_CRM = "7d2b1f60-5a44-11eb-9d0a-1b7a86b3c0f4"
assert OEM_AIRTABLE != AIRTABLE

OAUTH = "oAuth2 3-legged"

OEM_CONNECTORS: tuple[OemConnector, ...] = (
    OemConnector(
        guid=MAIL,
        name="Mail",
        description="Sends mail over SMTP",
        params=(
            OemParam(name="Sender", example_value="noreply@example.com"),
            OemParam(name="Host", example_value="smtp.example.com"),
            OemParam(name="Port", example_value="587"),
            OemParam(name="Encryption", type="select", is_required=False, options=("none", "ssl", "tls")),
            OemParam(name="Username"),
            OemParam(name="Password", type="password"),
        ),
    ),
    OemConnector(guid=GITHUB, name="GitHub", description="Repositories and files", authentication_type=OAUTH),
    OemConnector(guid=OEM_AIRTABLE, name="Airtable", description="Bases and records", authentication_type=OAUTH),
    OemConnector(
        guid=API_KEY,
        name="API Key",
        description="Any API that takes a key in a header",
        params=(
            OemParam(name="Base URL", example_value="https://api.example.com"),
            OemParam(name="API Key", type="password"),
            OemParam(name="Header", is_required=False, example_value="X-Api-Key"),
        ),
    ),
    OemConnector(
        guid=PARTNER_CRM,
        name="Velo CRM",
        description="The partner's own connector",
        params=(
            OemParam(name="environment", type="select", example_value="production", options=("production", "test")),
            OemParam(name="api_key", type="password"),
        ),
    ),
    OemConnector(guid=SALESFORCE, name="Salesforce", description="Sales objects", authentication_type=OAUTH),
)


def of_provider(name: str) -> tuple[OemConnector, ...]:
    """The same connectors under guids of one provider's own."""
    space = uuid.uuid5(uuid.NAMESPACE_DNS, name)
    return tuple(evolve(one, guid=str(uuid.uuid5(space, one.name))) for one in OEM_CONNECTORS)
