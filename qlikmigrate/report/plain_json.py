"""Received JSON as text for reviews: members sorted, one to a line; what it says stays, numbers to the digit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_INDENT = "  "
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_WORDS = {None: "null", True: "true", False: "false"}


class Number(str):
    """A number as it was spelled: a round trip would turn 1.50 into 1.5."""

    __slots__ = ()


def read(raw: bytes) -> Any:
    """A document's value; its numbers as `Number`.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(raw, parse_int=Number, parse_float=Number, parse_constant=Number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def pretty(value: Any) -> bytes:
    """What `read` gave, over many lines, a line feed at the end.

    Raises:
        ValueError: it is nested too deep.
    """
    parts: list[str] = []
    try:
        _spread(value, "\n", parts)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return encoded("".join((*parts, "\n")))


def table(rows: Sequence[Any], *, indent: str = "") -> str:
    """An array with a line for each element, so that where one differs one line does."""
    if not rows:
        return "[]"
    return "[\n" + ",\n".join(f"{indent}{_INDENT}{line(row)}" for row in rows) + f"\n{indent}]"


def line(value: Any) -> str:
    """What `read` gave, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_ENCODER.encode(key)}: {line(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(line, value)) + "]"
    return _scalar(value)


def encoded(text: str) -> bytes:
    """JSON as bytes; half of a surrogate pair, which UTF-8 cannot hold, as an escape."""
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _spread(value: Any, newline: str, parts: list[str]) -> None:
    """`newline`: a line feed and the indent of the line on which the value ends."""
    inner = newline + _INDENT
    if isinstance(value, dict) and value:
        lead = "{"
        for key in sorted(value):
            parts += (lead, inner, _ENCODER.encode(key), ": ")
            _spread(value[key], inner, parts)
            lead = ","
        parts += (newline, "}")
    elif isinstance(value, list) and value:
        lead = "["
        for item in value:
            parts += (lead, inner)
            _spread(item, inner, parts)
            lead = ","
        parts += (newline, "]")
    else:
        parts.append(_scalar(value))


def _scalar(value: Any) -> str:
    if value.__class__ is Number:
        return str(value)
    if value is None or value.__class__ is bool:
        return _WORDS[value]
    return _ENCODER.encode(value)
