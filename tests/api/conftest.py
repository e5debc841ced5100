"""A client opened on a tenant that is data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wire_script import CLIENT_SECRET, KEY, Script, Told

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, ApiKey, Endpoint, Limits, OAuthClient
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint
from qlikmigrate.kernel.secret import Secret


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def opened(script: Script, told: Told) -> Callable[..., CloudClient]:
    """Opens a client on `script`; keywords go to the endpoint, `access` to both."""

    def open_it(*, access: Access = Access.WRITE, **changes: Any) -> CloudClient:
        facts: dict[str, Any] = {
            "name": "acme",
            "url": "https://acme.eu.qlikcloud.com",
            "access": access,
            "credentials": ApiKey(key=Secret(KEY)),
            "family": "workflows",
            "limits": Limits(),
            "handler": script,
        }
        endpoint = Endpoint(**{**facts, **changes})
        return CloudClient.open(endpoint, access=access, clock=script.clock, sink=told)

    return open_it


@pytest.fixture
def reached(script: Script, told: Told) -> Callable[..., OemClient]:
    """Opens a client of the OEM API on `script`; keywords go to the endpoint, `access` to both."""

    def open_it(*, access: Access = Access.WRITE, **changes: Any) -> OemClient:
        facts: dict[str, Any] = {
            "name": "partner/acme",
            "access": access,
            "credentials": KeyPair(app_id="12345", api_key=Secret(KEY)),
            "handler": script,
        }
        endpoint = OemEndpoint(**{**facts, **changes})
        return OemClient.open(endpoint, access=access, clock=script.clock, sink=told)

    return open_it


@pytest.fixture
def oauth() -> OAuthClient:
    return OAuthClient(client_id="client-1", client_secret=Secret(CLIENT_SECRET))
