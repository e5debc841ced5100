"""JSON as text: where its parts stand, so that a document is changed without being re-spelled.

A JSON round trip turns `1.50` into `1.5`; everything here keeps the bytes that are not meant to change.
Positions are indices into the `str`; `text[start:end]` is the part as written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import orjson
from attrs import frozen

_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"[ \t\n\r]*")
# A member as machines write it: a name without escapes, and a value that is no object, no array and no escaped text.
_PLAIN = re.compile(
    r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*'
    r'("[^"\\\x00-\x1f]*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?=[,} \t\n\r])'
)
# An object or array with something in it.
_OPENED = re.compile(r"[\[{][^\]}]")
_REST = "unexpected content after document"
_LONG_CHARS = 4096
# A whole document's long members are looked for at its top only, and no longer after so many that were no sixteenth of
# the rest: all that is copied for it is then less than some twenty documents, however the document is built.
_SHORT_PART = 16
_SHORT_TRIES = 4


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


def _long_value_end(text: str, index: int) -> int:
    """The end of the object or array at `index`, found four times as fast as by `_value_end`; 0 where it is not.

    What follows the value makes orjson refuse the whole, before it makes any of it, and say where the rest begins. Any
    other complaint is left to the slower way, which is the one that decides what is well-formed.
    """
    try:
        orjson.loads(text[index:])
    except orjson.JSONDecodeError as error:
        if error.msg != _REST:
            return 0
        end = index + error.pos
    else:
        end = len(text)
    while text[end - 1] in " \t\n\r":
        end -= 1
    return end


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
    tries = _SHORT_TRIES if start == 0 else 0
    while True:
        plain = _PLAIN.match(text, index)
        if plain is not None:
            end = plain.end()
            yield Member(plain[1], index, plain.start(2), end)
        else:
            if text[index : index + 1] != '"':
                raise ValueError(f"no member name at position {index}")
            key, after_key = _DECODER.raw_decode(text, index)
            colon = _skip(text, after_key)
            if text[colon : colon + 1] != ":":
                raise ValueError(f"no colon at position {colon}")
            value = _skip(text, colon + 1)
            end = 0
            if tries and len(text) - value > _LONG_CHARS and _OPENED.match(text, value):
                end = _long_value_end(text, value)
                tries -= end - value < (len(text) - value) // _SHORT_PART
            end = end or _value_end(text, value)
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
