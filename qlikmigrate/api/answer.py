"""A successful answer as received: its bytes are never re-spelled, only a `{"data": {...}}` wrapper is taken off."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from attrs import field, frozen

from qlikmigrate.api.operation import Operation, Shape
from qlikmigrate.kernel.jsontext import elements, members
from qlikmigrate.kernel.message import Response

_MAYBE_WRAPPED = re.compile(rb'\s*\{\s*"(?:data|links|meta)"')


@frozen(kw_only=True)
class Answer:
    """`raw`: the object or page as received, UTF-8; empty where the operation answers nothing."""

    status: int
    raw: bytes = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    _value: Any = field(repr=False)

    def json(self) -> Any:
        """The parsed value, the same each time; None where there is no body."""
        return self._value


@frozen(kw_only=True)
class Sound(Response):
    """A success without a flaw. `value`: the body, parsed once for all who need it; None where there is none."""

    value: Any = field(repr=False)


def parse(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: `raw` is none.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # orjson refuses half of a surrogate pair, which a service that cuts texts short does write.
        try:
            return json.loads(raw.decode("utf-8"), parse_constant=_refuse)
        except RecursionError:
            raise ValueError("nested too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"no JSON: {constant}")


def examine(operation: Operation, response: Response) -> Sound | str:
    """A 2xx answer to `operation` with its value, or what is wrong with it in a few words."""
    body = response.body
    value: Any = None
    if operation.shape in (Shape.TEXT, Shape.ANY):
        if _is_html(response, text_expected=operation.shape is Shape.ANY):
            return "HTML instead of text" if operation.shape is Shape.TEXT else "HTML"
        if operation.shape is Shape.ANY:
            value = _whatever(body)
    elif body.strip():
        try:
            value = parse(body)
        except ValueError:
            return "HTML" if _is_html(response) else "a body that is no JSON"
        if flaw := _flaw(operation.shape, value):
            return flaw
    elif operation.shape is not Shape.NOTHING:
        return "an empty body"
    return Sound(status=response.status, headers=response.headers, body=body, value=value)


def _flaw(shape: Shape, value: Any) -> str:
    """What is wrong with the outline of a JSON body; empty where nothing is."""
    rows = value.get("data") if isinstance(value, dict) else value if shape is Shape.LIST else None
    match shape:
        case Shape.PAGE | Shape.LIST if not isinstance(rows, list):
            return "JSON without a list of rows"
        case Shape.OBJECT if not isinstance(value, dict):
            return "JSON that is no object"
        case _:
            return ""


def _whatever(body: bytes) -> Any:
    """The value of a body that may be JSON, text or nothing."""
    if not body.strip():
        return None
    try:
        return parse(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _is_html(response: Response, *, text_expected: bool = False) -> bool:
    """Whether it is a web page; where any text may come, angle brackets alone do not make it one."""
    if "html" in response.headers.get("content-type", ""):
        return True
    start = response.body.lstrip()[:15].lower()
    return start.startswith((b"<!doctype html", b"<html")) if text_expected else start[:1] == b"<"


def answer_of(operation: Operation, response: Response) -> Answer:
    """The answer in `response`, which has no flaw; a wrapped single object unwrapped by its span.

    Source: Qlik's changelog 97 shows `{"data": {...}}` for one connection, the schema shows it bare.
    """
    raw = response.body
    value: Any = response.value if isinstance(response, Sound) else parse(raw) if raw else None
    if operation.shape is Shape.OBJECT and _MAYBE_WRAPPED.match(raw):
        inner = value.get("data")
        if isinstance(inner, dict) and set(value) <= {"data", "links", "meta"}:
            value = inner
            text = raw.decode("utf-8")
            raw = next(text[one.start : one.end] for one in members(text) if one.key == "data").encode()
    return Answer(status=response.status, raw=raw, headers=response.headers, value=value)


def rows_of(raw: bytes) -> list[bytes]:
    """The elements of the page's `data`, or of the list that stands alone, each exactly as received."""
    text = raw.decode("utf-8")
    alone = text.lstrip()[:1] == "["
    start = 0 if alone else next(one.start for one in members(text) if one.key == "data")
    return [text[begin:end].encode() for begin, end in elements(text, start)]
