"""Rights that only a request can show, tried by token requests alone: they change nothing in the tenant."""

from __future__ import annotations

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import UnauthorizedError
from qlikmigrate.importer.preflight import Probes


async def probe(client: CloudClient, owner: str | None) -> Probes:
    """What the tokens allow. `owner`: a user whom the `impersonation` client will have to act as; None: nobody."""
    if owner is None:
        return Probes(caller_scopes=client.scopes)
    try:
        user = await client.as_user(owner)
    except UnauthorizedError as error:
        return Probes(caller_scopes=client.scopes, refused=error.message)
    return Probes(caller_scopes=client.scopes, owner_scopes=user.scopes)
