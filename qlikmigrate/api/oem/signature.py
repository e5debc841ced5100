"""Adds the key pair to a call, in two headers, and to nothing that leaves for another host."""

from __future__ import annotations

from attrs import frozen

from qlikmigrate.api.oem.endpoint import KeyPair
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.kernel.message import Response


@frozen
class Signature:
    """Source: "SaaS API overview": `X-App-Id` and `X-Api-Key`."""

    inner: Transport
    pair: KeyPair

    async def send(self, call: Call) -> Response:
        signed = call.with_header("x-app-id", self.pair.app_id).with_header("x-api-key", self.pair.api_key.reveal())
        return await self.inner.send(signed)
