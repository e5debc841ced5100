"""The parts of a document that are looked at one by one, found without reading any value twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from qlikmigrate.model.document import Path
from qlikmigrate.remap.record import Region

_DECODER = json.JSONDecoder(strict=False)
# What `raw_decode` calls, without its two calls a value.
_SCAN: Callable[[str, int], tuple[object, int]] = _DECODER.scan_once  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\n\r]*")
# Outside the workspace only these are written to the target; the rest is the importer's or the server's.
OUTER = ("description", "name")


class _Cursor:
    """Reads a JSON text from left to right; the caller goes into a value or skips it."""

    def __init__(self, text: str, index: int) -> None:
        self.text = text
        self.index = index

    def peek(self) -> str:
        self.index = _SPACE.match(self.text, self.index).end()  # type: ignore[union-attr]
        return self.text[self.index : self.index + 1]

    def take(self, mark: str) -> None:
        if self.peek() != mark:
            raise ValueError(f"no `{mark}` at position {self.index}")
        self.index += 1

    def skip(self) -> tuple[int, int]:
        """Pass over a value; its span."""
        self.peek()
        start = self.index
        try:
            self.index = _DECODER.raw_decode(self.text, start)[1]
        except RecursionError:
            self.index = _end_of_deep(self.text, start)
        return start, self.index

    def each(self, opening: str, closing: str) -> Iterator[None]:
        """One turn for each member or element; the caller reads it."""
        self.take(opening)
        if self.peek() == closing:
            self.index += 1
            return
        while True:
            yield
            if self.peek() == closing:
                self.index += 1
                return
            self.take(",")

    def members(self) -> Iterator[str]:
        """The keys of an object; the caller reads each value."""
        for _ in self.each("{", "}"):
            if self.peek() != '"':
                raise ValueError(f"no member name at position {self.index}")
            key, self.index = _DECODER.raw_decode(self.text, self.index)
            self.take(":")
            yield key


def regions(text: str) -> list[Region]:
    """The blocks and other parts of an automation's document or of a bare workspace, in document order.

    Raises:
        ValueError: the text is no JSON object.
    """
    found: list[Region] = []
    bare: list[Region] = []
    cursor = _Cursor(text, 1 if text.startswith("\ufeff") else 0)
    has_workspace = False
    for key in cursor.members():
        if key == "workspace" and cursor.peek() == "{":
            has_workspace = True
            for inner in cursor.members():
                _part(cursor, ("workspace", inner), found)
        elif key in OUTER:
            start, end = cursor.skip()
            found.append(Region((key,), start, end))
        else:
            has_workspace |= key == "workspace"
            _part(cursor, (key,), bare)
    if cursor.peek():
        raise ValueError(f"something follows the document at position {cursor.index}")
    return found if has_workspace else sorted([*bare, *found], key=lambda region: region.start)


def _part(cursor: _Cursor, path: Path, found: list[Region]) -> None:
    if path[-1] != "blocks" or cursor.peek() != "[":
        start, end = cursor.skip()
        found.append(Region(path, start, end))
        return
    # Written out, because this loop meets every byte of every document.
    text, scan, space = cursor.text, _SCAN, _SPACE.match
    cursor.take("[")
    mark = cursor.peek()
    at, index = cursor.index, 0
    while mark != "]":
        try:
            end = scan(text, at)[1]
        except RecursionError:
            end = _end_of_deep(text, at)
        except StopIteration:
            raise ValueError(f"no value at position {at}") from None
        found.append(Region((*path, index), at, end, index if text[at] == "{" else None))
        index += 1
        after: int = space(text, end).end()  # type: ignore[union-attr]
        mark = text[after : after + 1]
        if mark == ",":
            at = space(text, after + 1).end()  # type: ignore[union-attr]
        elif mark == "]":
            at = after
        else:
            raise ValueError(f"no comma at position {after}")
    cursor.index = at + 1


def _end_of_deep(text: str, start: int) -> int:
    """The end of a value that is nested deeper than the decoder goes."""
    depth = 0
    for match in re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.S).finditer(text, start):
        mark = match.group()
        depth += (mark in "{[") - (mark in "}]") if len(mark) == 1 else 0
        if depth == 0:
            return match.end()
    raise ValueError(f"nothing closes what opens at position {start}")
