"""Known texts looked for in stored bytes, in every form in which they could have got there."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_MIN_CHARS = 6


def files_of(*folders: Path) -> dict[str, bytes]:
    """Every file below some folders, by path; a path is stored, too."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def forms(text: str) -> Iterator[bytes]:
    """A text as it is, escaped, in UTF-16, backwards, in hex, and in base64 at any offset; all in small letters."""
    raw = text.encode()
    yield raw.lower()
    yield text.encode("unicode_escape").lower()
    yield text.encode("utf-16-le").lower()
    yield raw[::-1].lower()
    yield raw.hex().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        # Without what the bytes before and behind it have a part in.
        inner = coded[(0, 2, 3)[shift] : -4]
        for one in {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}:
            yield one.lower()


def hay(files: dict[str, bytes]) -> bytes:
    """All that is stored, names included, and whatever of it opens as zstd or zlib without a key; in small letters."""
    parts = []
    for name, data in files.items():
        parts += [name.encode(), data, *opened(data)]
    return b"\n".join(parts).lower()


def opened(data: bytes) -> Iterator[bytes]:
    """What stands compressed at any place of some bytes."""
    for match in re.finditer(re.escape(_ZSTD_MAGIC), data):
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[match.start() :])
        except zstandard.ZstdError:
            continue
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b", data):
        try:
            yield zlib.decompressobj(wbits=47).decompress(data[match.start() :])
        except zlib.error:
            continue


def found_in(files: dict[str, bytes], texts: Iterable[str]) -> set[str]:
    """Which of some texts are in there, in any form."""
    stack = hay(files)
    return {text for text in texts if any(form in stack for form in forms(text))}


def worth(texts: Iterable[str]) -> list[str]:
    """Those long enough that they cannot stand there by chance, once each."""
    return sorted({text for text in texts if len(text) >= _MIN_CHARS})
