"""Requests of the OEM API taken apart and held against what is documented; its refusals, which say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from qlikmigrate.kernel.message import Request, Response
from qlikmigrate.sandbox.wire import ApiError, Call, Route, answer, dumps, loads, parse

TIMES = frozenset(f"created_at[{word}]" for word in ("gt", "gte", "lt", "lte"))


class RefusalError(ApiError):
    """An answer other than success: `body` as documented, mostly `{}`. `why` is for tests alone."""

    def __init__(
        self, why: str, status: int = 400, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, f"HTTP-{status}", why, headers=headers)
        self.body = body

    def response(self, *, empty: bool) -> Response:
        """The answer; with `empty` one without anything to say has no body."""
        if self.body is None and empty and self.status == 400:
            made = Response(status=400, headers={"content-length": "0"})
        else:
            made = answer(dumps(self.body or {}), self.status)
        return Response(status=made.status, headers={**made.headers, **self.headers}, body=made.body)


@frozen
class Undocumented:
    """Something that arrived and that no page of the vendor knows. `what`: path, query, body, or credentials."""

    method: str
    path: str
    what: str
    name: str = ""


@define
class OemCall(Call):
    """A request on its way. `account` is set as soon as it is known; `delay_s` is how late the answer comes."""

    account: str = ""
    delay_s: float = 0.0

    def members(self) -> dict[str, Any]:
        """The body, an object.

        Raises:
            RefusalError: 400, it is none.
        """
        if not self.body:
            return {}
        try:
            value = loads(self.body)
        except ValueError:
            raise RefusalError("the body is no JSON") from None
        if not isinstance(value, dict):
            raise RefusalError("the body is no object")
        return value

    def boolean(self, name: str, given: Any = None) -> bool:
        """A boolean of the query, or `given` of the body."""
        value = self.query.get(name, given)
        if value in (None, False, "false", "0", 0):
            return False
        if value in (True, "true", "1", 1):
            return True
        raise RefusalError(f"{name} is no boolean")


@frozen
class OemRoute(Route):
    """One operation. `query` and `body`: the names it takes; `body` None takes any member; `()` takes no body."""

    query: frozenset[str] = field(default=frozenset())
    body: frozenset[str] | None = field(default=frozenset())
    takes_account: bool = False

    def surplus(self, call: OemCall) -> list[Undocumented]:
        """What of the call no page knows."""
        found = [Undocumented(call.method, call.path, "query", name) for name in call.query if name not in self.query]
        if not call.body or self.body is None:
            return found
        try:
            value = loads(call.body)
        except ValueError:
            value = None
        names = value if isinstance(value, dict) else [""] if value or not self.body else []
        return found + [Undocumented(call.method, call.path, "body", name) for name in names if name not in self.body]


def take(request: Request) -> OemCall:
    """The request taken apart."""
    plain = parse(request)
    return OemCall(plain.method, plain.path, plain.query, plain.headers, plain.body, plain.origin)


def text_of(value: Any, name: str) -> str:
    """A text that must not be empty.

    Raises:
        RefusalError: 400, it is none.
    """
    if not isinstance(value, str) or not value:
        raise RefusalError(f"{name} is no text")
    return value
