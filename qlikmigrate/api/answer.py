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

    def json(self) -> Any:
        """The parsed value; None where there is no body. Parsed anew each time."""
        return parse(self.raw) if self.raw else None


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


def flaw(operation: Operation, response: Response) -> str:
    """What is wrong with a 2xx answer to `operation`, in a few words; empty if nothing."""
    body = response.body
    if operation.shape is Shape.TEXT:
        return "HTML instead of text" if _is_html(response) else ""
    if not body.strip():
        return "" if operation.shape is Shape.NOTHING else "an empty body"
    try:
        value = parse(body)
    except ValueError:
        return "HTML" if _is_html(response) else "a body that is no JSON"
    if operation.shape is Shape.PAGE and not (isinstance(value, dict) and isinstance(value.get("data"), list)):
        return "JSON without a list of rows"
    if operation.shape is Shape.OBJECT and not isinstance(value, dict):
        return "JSON that is no object"
    return ""


def _is_html(response: Response) -> bool:
    return "html" in response.headers.get("content-type", "") or response.body.lstrip()[:1] == b"<"


def answer_of(operation: Operation, response: Response) -> Answer:
    """The answer in `response`, which has no flaw; a wrapped single object unwrapped by its span.

    Source: Qlik's changelog 97 shows `{"data": {...}}` for one connection, the schema shows it bare.
    """
    raw = response.body
    if operation.shape is Shape.OBJECT and _MAYBE_WRAPPED.match(raw):
        value = parse(raw)
        if isinstance(value.get("data"), dict) and set(value) <= {"data", "links", "meta"}:
            text = raw.decode("utf-8")
            raw = next(text[one.start : one.end] for one in members(text) if one.key == "data").encode()
    return Answer(status=response.status, raw=raw, headers=response.headers)


def rows_of(raw: bytes) -> list[bytes]:
    """The elements of the page's `data`, each exactly as received."""
    text = raw.decode("utf-8")
    start = next(one.start for one in members(text) if one.key == "data")
    return [text[begin:end].encode() for begin, end in elements(text, start)]
