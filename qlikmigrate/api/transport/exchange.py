"""The one interface that every layer of the stack has: a call goes in, an answer or an `ExchangeError` comes out."""

from __future__ import annotations

from typing import Protocol

from attrs import evolve, frozen

from qlikmigrate.api.operation import Operation
from qlikmigrate.kernel.message import Request, Response

MAX_BODY_BYTES = 256 * 1024 * 1024


@frozen(kw_only=True)
class Call:
    """A request and what it is for."""

    operation: Operation
    request: Request

    def with_header(self, name: str, value: str) -> Call:
        """The same call with one more header."""
        return evolve(self, request=evolve(self.request, headers={**self.request.headers, name: value}))


class Transport(Protocol):
    """Sends a call."""

    async def send(self, call: Call) -> Response:
        """The answer, whatever its status.

        Raises:
            ExchangeError: there is no whole answer.
        """


class Base(Transport, Protocol):
    """The innermost layer: what really sends."""

    async def aclose(self) -> None:
        """Let go of every connection."""


class ExchangeError(Exception):
    """No whole answer came. `reason` is a few words without secrets.

    `sent`: the request may have reached the server. `status`: of an answer that broke off after its head.
    `lasting`: trying again cannot help.
    """

    def __init__(
        self, reason: str, *, sent: bool, status: int | None = None, lasting: bool = False, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.status = status
        self.lasting = lasting
        self.hint = hint
