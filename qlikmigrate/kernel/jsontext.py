"""JSON as text: where its parts stand, so that a document is changed without being re-spelled.

A JSON round trip turns `1.50` into `1.5`; everything here keeps the bytes that are not meant to change.
Positions are indices into the `str`; `text[start:end]` is the part as written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from attrs import frozen

_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"[ \t\n\r]*")


@frozen
class Edit:
    """Replace `text[start:end]` by `new`."""

    start: int
    end: int
    new: str


@frozen
class Member:
    """One member of an object: `text[key_start:end]` is `"key": value`."""

    key: str
    key_start: int
    start: int
    end: int


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    assert match is not None
    return match.end()


def _value_end(text: str, index: int) -> int:
    try:
        return _DECODER.raw_decode(text, index)[1]
    except RecursionError:
        raise ValueError(f"nested too deep at position {index}") from None


def members(text: str, start: int = 0) -> Iterator[Member]:
    """The members of the object whose text begins at or after `start`.

    Raises:
        ValueError: there is no well-formed object there.
    """
    index = _skip(text, start)
    if text[index : index + 1] != "{":
        raise ValueError(f"no JSON object at position {index}")
    index = _skip(text, index + 1)
    if text[index : index + 1] == "}":
        return
    while True:
        if text[index : index + 1] != '"':
            raise ValueError(f"no member name at position {index}")
        key, after_key = _DECODER.raw_decode(text, index)
        colon = _skip(text, after_key)
        if text[colon : colon + 1] != ":":
            raise ValueError(f"no colon at position {colon}")
        value = _skip(text, colon + 1)
        end = _value_end(text, value)
        yield Member(key, index, value, end)
        index = _skip(text, end)
        if text[index : index + 1] == "}":
            return
        if text[index : index + 1] != ",":
            raise ValueError(f"no comma at position {index}")
        index = _skip(text, index + 1)


def elements(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """The `(start, end)` of each element of the array whose text begins at or after `start`.

    Raises:
        ValueError: there is no well-formed array there.
    """
    index = _skip(text, start)
    if text[index : index + 1] != "[":
        raise ValueError(f"no JSON array at position {index}")
    index = _skip(text, index + 1)
    if text[index : index + 1] == "]":
        return
    while True:
        end = _value_end(text, index)
        yield index, end
        index = _skip(text, end)
        if text[index : index + 1] == "]":
            return
        if text[index : index + 1] != ",":
            raise ValueError(f"no comma at position {index}")
        index = _skip(text, index + 1)


def splice(text: str, edits: Iterable[Edit]) -> str:
    """`text` with all `edits` made at once. They must not overlap; order does not matter."""
    parts: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < done:
            raise ValueError(f"edits overlap at position {edit.start}")
        parts += (text[done : edit.start], edit.new)
        done = edit.end
    parts.append(text[done:])
    return "".join(parts)
