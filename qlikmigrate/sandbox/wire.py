"""Requests taken apart, answers put together: the HTTP side of the tenant without any of its rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
from attrs import define, field, frozen

from qlikmigrate.kernel.message import Request, Response
from qlikmigrate.sandbox.identity import ANONYMOUS, Identity

JSON = "application/json"
_LONG_NUMBER = re.compile(rb"\d{19}")


class ApiError(Exception):
    """An answer other than success. `headers` are added to it."""

    def __init__(
        self, status: int, code: str, title: str, detail: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = headers or {}


def bad_request(detail: str) -> ApiError:
    """400 for what is wrong with the request."""
    return ApiError(400, "HTTP-400", "Bad request", detail)


def not_found(detail: str = "") -> ApiError:
    """404."""
    return ApiError(404, "HTTP-404", "Not found", detail)


def forbidden(detail: str = "") -> ApiError:
    """403."""
    return ApiError(403, "HTTP-403", "Forbidden", detail)


def loads(raw: bytes) -> Any:
    """JSON as a value; integers beyond 64 bits stay exact."""
    if _LONG_NUMBER.search(raw):
        return json.loads(raw)
    return orjson.loads(raw)


def dumps(value: Any) -> bytes:
    """A value as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@define
class Call:
    """A request on its way through the tenant. `origin`: scheme and host as the client wrote them."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str
    identity: Identity = ANONYMOUS
    operation: str = ""
    _value: Any = field(default=None, init=False)

    def json(self) -> Any:
        """The body.

        Raises:
            ApiError: 400, it is no JSON.
        """
        try:
            return loads(self.body)
        except ValueError:
            raise bad_request("The body is not valid JSON") from None

    def fields(self, *allowed: str) -> dict[str, Any]:
        """The body, an object; with `allowed`, only those members (the service drops what it does not take)."""
        value = self.json() if self.body else {}
        if not isinstance(value, dict):
            raise bad_request("The body must be an object")
        return {name: value[name] for name in allowed if name in value} if allowed else value

    def flag(self, name: str, default: bool) -> bool:
        """A boolean of the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if text.lower() not in ("true", "false", "1", "0"):
            raise bad_request(f"{name} must be true or false")
        return text.lower() in ("true", "1")


@frozen
class Route:
    """One operation: `template` has `{}` for an id. `tier` 0 counts for no limit; `public` needs no identity."""

    method: str
    template: str
    run: Callable[..., Response]
    tier: int = 1
    public: bool = False


class Router:
    """Finds the route of a path; literal segments win over ids."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}

    def add(self, route: Route) -> None:
        """Take a route in."""
        node = self._tree
        for segment in route.template.split("/")[1:]:
            node = node.setdefault(segment, {})
        node.setdefault("", {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, list[str]]:
        """The route and the ids in the path.

        Raises:
            ApiError: 404, or 405 where the path has other methods.
        """
        node = self._tree
        ids: list[str] = []
        for segment in path.split("/")[1:]:
            if segment and segment in node:
                node = node[segment]
            elif segment and "{}" in node:
                ids.append(unquote(segment))
                node = node["{}"]
            else:
                raise not_found("No such resource")
        methods = node.get("")
        if not methods:
            raise not_found("No such resource")
        route = methods.get(method)
        if route is None:
            raise ApiError(405, "HTTP-405", "Method not allowed", headers={"allow": ", ".join(sorted(methods))})
        return route, ids


def parse(request: Request) -> Call:
    """The request taken apart. Header names are expected in lower case."""
    parts = urlsplit(request.url)
    host = request.headers.get("host") or parts.netloc
    return Call(
        method=request.method.upper(),
        path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)) if parts.query else {},
        headers=request.headers,
        body=request.body,
        origin=f"{parts.scheme or 'https'}://{host}",
    )


def answer(body: bytes, status: int = 200, *, content_type: str = JSON) -> Response:
    """A response with a body."""
    return Response(status=status, headers={"content-type": content_type, "content-length": str(len(body))}, body=body)


def reply_json(value: Any, status: int = 200) -> Response:
    """A response with a value as JSON."""
    return answer(dumps(value), status)


def no_content() -> Response:
    """204."""
    return Response(status=204)


def redirect(status: int, location: str) -> Response:
    """301 or 302, without a body."""
    return Response(status=status, headers={"location": location, "content-length": "0"})


def error_response(error: ApiError, trace_id: str) -> Response:
    """The body of every refusal. Source: openapi/workflows-automations.json, ErrorResponse."""
    one = {"code": error.code, "title": error.title}
    if error.detail:
        one["detail"] = error.detail
    made = reply_json({"errors": [one], "traceId": trace_id}, error.status)
    return Response(status=made.status, headers={**made.headers, **error.headers}, body=made.body)
