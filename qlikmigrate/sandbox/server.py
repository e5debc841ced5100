"""A handler behind a loopback socket: HTTP/1.1, kept-alive connections, one thread. It adds nothing to the answers."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from types import TracebackType

import h11

from qlikmigrate.kernel.message import Handler, Reply, Request

_CHUNK = 1 << 20


class Server:
    """Serves `handler` on 127.0.0.1 from a thread of its own while it is entered, or between `start` and `stop`.

    `port` 0 takes a free one. A reply's delay, loss and cut-off body happen on the wire as they would in the world.
    """

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._handler = handler
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"sandbox-{self.port}", daemon=True)
        self._ready = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._links: set[_Link] = set()

    def start(self) -> Server:
        """Accept connections from now on."""
        self._thread.start()
        self._ready.wait()
        return self

    def stop(self) -> None:
        """Close all connections and end the thread. A second call does nothing."""
        if self._thread.is_alive() and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._socket.close()
        if not self._loop.is_closed() and not self._loop.is_running():
            self._loop.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = await self._loop.create_server(
            lambda: _Link(self._handler, self.url, self._links), sock=self._socket, backlog=256
        )
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for link in tuple(self._links):
            link.abort()
        # One turn, so that aborted transports let go of their sockets.
        await asyncio.sleep(0)


class _Link(asyncio.Protocol):
    """One connection. Requests on it are answered one after another."""

    def __init__(self, handler: Handler, base_url: str, links: set[_Link]) -> None:
        self._handler = handler
        self._base_url = base_url
        self._links = links
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._waiting: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._links.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        return False

    def _advance(self) -> None:
        while self._waiting is None and self._transport is not None and not self._transport.is_closing():
            try:
                event = self._wire.next_event()
            except h11.RemoteProtocolError:
                self._transport.close()
                return
            if isinstance(event, h11.Request):
                self._request = event
                self._body.clear()
                if self._wire.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._transport.write(self._wire.send(go_on) or b"")
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._handle()
            else:
                if event is h11.PAUSED and self._wire.our_state is h11.DONE:
                    self._wire.start_next_cycle()
                    continue
                if isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                return

    def _handle(self) -> None:
        assert self._request is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers}
        target = self._request.target.decode("latin-1")
        request = Request(
            method=self._request.method.decode("latin-1"),
            url=target if "://" in target else self._base_url + target,
            headers=headers,
            body=b"".join(self._body),
        )
        reply = self._handler(request)
        if reply.delay_s > 0:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(reply.delay_s, self._send_late, reply)
        else:
            self._send(reply)

    def _send_late(self, reply: Reply) -> None:
        self._waiting = None
        self._send(reply)
        self._advance()

    def _send(self, reply: Reply) -> None:
        transport = self._transport
        assert transport is not None
        if reply.lost:
            # Without lingering the close is a reset; otherwise it would be an orderly end.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
            return
        response = reply.response
        headers = [(name, value) for name, value in response.headers.items()]
        if "content-length" not in response.headers and response.status not in (204, 304):
            headers.append(("content-length", str(len(response.body))))
        head = self._wire.send(h11.Response(status_code=response.status, headers=headers, reason=b"")) or b""
        announced = response.headers.get("content-length")
        if announced is not None and int(announced) > len(response.body):
            transport.write(head + response.body)
            transport.close()
            return
        # A HEAD request and 204 have no body; h11 would refuse one.
        is_head = self._request is not None and self._request.method == b"HEAD"
        body = b"" if is_head or response.status in (204, 304) else response.body
        data = self._wire.send(h11.Data(data=body)) if body else b""
        end = self._wire.send(h11.EndOfMessage()) or b""
        transport.write(b"".join((head, data or b"", end)))
        if self._wire.our_state is h11.MUST_CLOSE:
            transport.close()
        elif self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE:
            self._wire.start_next_cycle()
