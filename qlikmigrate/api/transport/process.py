"""The base layer for a server in this process: no socket, the same outcomes as over one."""

from __future__ import annotations

import asyncio

from attrs import field, frozen

from qlikmigrate.api.transport.exchange import Call, ExchangeError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Handler, Response


@frozen
class ProcessTransport:
    """Calls the handler, at most `concurrency` at a time; its delays pass on the injected clock."""

    handler: Handler = field(repr=False)
    clock: Clock
    timeout_s: float
    turns: asyncio.Semaphore

    async def send(self, call: Call) -> Response:
        async with self.turns:
            # Gives way once, as a socket would, so that concurrent callers do interleave.
            await asyncio.sleep(0)
            reply = self.handler(call.request)
            if reply.delay_s:
                await self.clock.sleep(min(reply.delay_s, self.timeout_s))
            if reply.delay_s > self.timeout_s:
                raise ExchangeError(f"timed out after {self.timeout_s:g} s", sent=True)
            if reply.lost:
                raise ExchangeError("the connection was reset", sent=True)
            response = reply.response
            length = response.headers.get("content-length", "")
            if length.isdigit() and len(response.body) < int(length):
                raise ExchangeError("the body was cut off", sent=True, status=response.status)
            return response

    async def aclose(self) -> None:
        """Nothing to close."""
