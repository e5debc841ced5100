"""Names of files in a plain export: readable, safe on every file system, and no two alike but for case.

A name follows from its object alone, unless two would be alike: so a new object does not rename the files of others.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

_LONGEST_CHARS = 60
_LONGEST_BYTES = 120
_PREFIX_CHARS = 8
_HASH_CHARS = 16
_SAFE_ID = re.compile(r"[0-9A-Za-z_-]+")
# They only say how the character before them is painted.
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def stems(objects: Iterable[tuple[str, str]], *, word: str) -> dict[str, str]:
    """Id → the name of its file without an ending, for objects (id, name) that share a folder.

    The readable name, `~`, and the first 8 characters of the id, with which other commands find the object as well.
    A dot never stands in it. `word`: what an object without a name is called.
    """
    names = dict(objects)
    short = {ident: _stem(ident, name, word) for ident, name in names.items()}
    uses = Counter(map(folded, short.values()))
    return {
        ident: stem if uses[folded(stem)] == 1 else f"{_readable(names[ident]) or word}~{_hash(ident)}"
        for ident, stem in short.items()
    }


def folded(path: str) -> str:
    """Equal for two paths that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _stem(ident: str, name: str, word: str) -> str:
    start = ident[:_PREFIX_CHARS]
    # Longer than any beginning of an id, so that no other object has it.
    end = start if _SAFE_ID.fullmatch(start) else _hash(ident)
    return f"{_readable(name) or word}~{end}"


def _hash(ident: str) -> str:
    return hashlib.sha256(ident.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]


def _readable(name: str) -> str:
    """The letters, digits and marks of any script; a hyphen stands for what lies between."""
    text = _SELECTORS.sub("", unicodedata.normalize("NFKC", name))
    kept = "".join(char if char == "_" or unicodedata.category(char)[0] in "LMN" else "-" for char in text)
    short = re.sub("-+", "-", kept).strip("-")[:_LONGEST_CHARS]
    return short.encode()[:_LONGEST_BYTES].decode(errors="ignore").strip("-")
