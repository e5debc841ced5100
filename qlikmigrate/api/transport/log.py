"""Counts and tells every request that is sent. Only method, path and status are told, never query, header or body."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen

from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.operation import TOKEN
from qlikmigrate.api.transport.exchange import Call, ExchangeError, Transport
from qlikmigrate.kernel import event
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Response


@frozen
class Log:
    """`announced`: operations whose deprecation has been told; one set a run."""

    inner: Transport
    counts: RequestCounts
    clock: Clock
    sink: event.Sink
    announced: set[str]

    async def send(self, call: Call) -> Response:
        self._count(call)
        started = self.clock.monotonic()
        line = f"{call.request.method} {urlsplit(call.request.url).path}"
        try:
            response = await self.inner.send(call)
        except ExchangeError as error:
            self.sink(event.Log(message=f"{line}: {error.reason}", level="debug"))
            raise
        spent_s = self.clock.monotonic() - started
        self.sink(event.Log(message=f"{line}: {response.status} in {spent_s:.3f} s", level="debug"))
        if "deprecation" in response.headers or "sunset" in response.headers:
            self._announce(call, response)
        return response

    def _count(self, call: Call) -> None:
        if call.operation is TOKEN:
            self.counts.token += 1
        elif call.operation.tier == 1:
            self.counts.tier1 += 1
        else:
            self.counts.tier2 += 1

    def _announce(self, call: Call, response: Response) -> None:
        """Source: Qlik's changelog 266: `Deprecation: @EPOCH`, `Sunset: HTTP-DATE`."""
        if call.operation.name in self.announced:
            return
        self.announced.add(call.operation.name)
        since, until = (response.headers.get(name, "")[:64] for name in ("deprecation", "sunset"))
        told = "; ".join(part for part in (since and f"deprecated: {since}", until and f"sunset: {until}") if part)
        path = urlsplit(call.request.url).path
        self.sink(event.Log(message=f"Qlik will remove `{call.operation.name}` ({path}): {told}", level="warning"))
