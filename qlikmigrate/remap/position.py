"""Where each string of a JSON text stands, and its path; the walk keeps no recursion, so depth does not matter."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from qlikmigrate.model.document import Path

_TOKEN = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")|([{}\[\],])|([^\s{}\[\],:"]++)', re.S)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.S)


class Site(NamedTuple):
    """One string, quotes included: `text[start:end]`. A key's path ends with the key itself."""

    path: Path
    is_key: bool
    start: int
    end: int


class Scalar(NamedTuple):
    """One number, boolean or null directly in the value that is walked: `text[start:end]`."""

    path: Path
    start: int
    end: int


def positions(text: str, start: int, end: int, prefix: Path = ()) -> Iterator[Site | Scalar]:
    """Every string (keys too) of the JSON value at `text[start:end]`, and its own scalars, in document order.

    The value is taken to be well formed; `prefix` is its path.
    """
    # Of the container at hand: its path, the index (arrays) or None, and the key or index that comes next.
    base: Path = ()
    index: int | None = None
    here: Path = prefix
    expects_key = False
    stack: list[tuple[Path, int | None, Path]] = []
    for match in _TOKEN.finditer(text, start, end):
        group = match.lastindex
        if group == 1:
            begin, stop = match.span()
            if expects_key:
                here = (*base, decoded(match.group()))
                expects_key = False
                yield Site(here, True, begin, stop)
            else:
                yield Site(here, False, begin, stop)
        elif group == 3:
            if len(here) == 1:
                yield Scalar(here, match.start(), match.end())
        else:
            mark = match.group()
            if mark == ",":
                if index is None:
                    expects_key = True
                else:
                    index += 1
                    here = (*base, index)
            elif mark == "{":
                stack.append((base, index, here))
                base, index, expects_key = here, None, True
            elif mark == "[":
                stack.append((base, index, here))
                base, index = here, 0
                here = (*base, 0)
                expects_key = False
            else:
                base, index, here = stack.pop()
                expects_key = False


def decoded(string: str) -> str:
    """The value of a JSON string as written, quotes included."""
    if "\\" not in string:
        return string[1:-1]
    value: str = json.loads(string, strict=False)
    return value


def encoded(value: str) -> str:
    """`value` as it stands between the quotes of a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


class Spelling:
    """How positions in a string's value meet positions in its spelling. Both count from the opening quote's end."""

    def __init__(self, string: str) -> None:
        self._values: list[int] = []
        self._raws: list[int] = []
        shift = 0
        for match in _ESCAPE.finditer(string, 1, len(string) - 1):
            shift += match.end() - match.start() - 1
            # Positions from the one after the escape on are shifted by this much.
            self._values.append(match.end() - 1 - shift)
            self._raws.append(shift)

    def raw(self, index: int) -> int:
        """The position in the spelling of position `index` of the value."""
        found = bisect_right(self._values, index)
        return index + (self._raws[found - 1] if found else 0)


def path_text(path: Path) -> str:
    """`path` as reports show it: `blocks[3].settings[0].value`."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            parts.append(f".{part}" if parts else part)
    return "".join(parts)
