"""Finds the secrets that people typed into a document, by path and kind. No finding holds a value.

A quick look for words and beginnings that go with secrets comes first, so that most documents cost next to nothing;
then only blocks with such a place in them are read. A secret whose name is spelled with JSON escapes is missed.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.document import Path
from qlikmigrate.remap import reference
from qlikmigrate.remap.finding import Finding
from qlikmigrate.remap.position import path_text
from qlikmigrate.remap.record import Region
from qlikmigrate.remap.region import regions
from qlikmigrate.remap.secret_rule import MASK, TOKEN_SIZES, WORDS, Secret, mask, secrets_of

__all__ = ["CODE", "MASK", "find_secrets", "has_secrets", "mask", "with_secrets"]

CODE = "secret-in-workspace"
# Findings that say what stands in a text and is nobody's.
_TELLING = ("unknown-id", "mail-address")
_HINT = "put it into a connection or let the automation fetch it, and renew it: who can read the archive can read it"
# What of a word stands in one run of letters, digits, hyphens and underscores.
_STARTS = tuple((word, re.findall(r"[a-z0-9_-]+", word)[0].encode()) for word in WORDS if word != "q~")
_ANY_START = re.compile(b"|".join(sorted({re.escape(start) for _, start in _STARTS})))
_RUN_WORDS = frozenset(word for word, start in _STARTS if word.encode() == start)
_TOKEN_BYTES = bytes(
    byte if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_-") else 32 for byte in range(256)
)
_SHAPED_RUN = re.compile(rb"(?:ac|sk)[0-9a-z]{32}|[\w-]{35}|[0-9a-z]{32}-us[0-9]{1,2}")
_SHAPES = re.compile(rb"\b(?:AC|SK)[a-z0-9]{32}\b|\b\d{8,10}:[\w-]{35}|[0-9a-z]{32}-us[0-9]{1,2}")
_IN_URL = re.compile(rb"://[^\s/:@\"'<>{}?#]*:[^\s/@\"'<>{}]{3,}@")
_NAME_MEMBERS = ("key", "name", "id", "label", "displayName")
# No key of the format itself is that long.
_LONG_KEY = 20
_VALUE_MEMBERS = frozenset({"value", "values", "object", "default", "defaultValue"})


def find_secrets(raw: bytes, known_token_hashes: Collection[str] = ()) -> tuple[Finding, ...]:
    """The secrets in an automation's document, or in a bare workspace, in document order; one for each in a string.

    `known_token_hashes`: SHA-256, in hex, of execution tokens, which are found wherever they stand.

    Raises:
        ValueError: `raw` is no JSON object in UTF-8.
    """
    return tuple(finding for finding, _ in _found(raw, known_token_hashes))


def has_secrets(raw: bytes) -> bool:
    """Whether there is any: what a backup asks, at a fraction of the cost.

    Raises:
        ValueError: `raw` is no JSON object in UTF-8.
    """
    return next(_found(raw, ()), None) is not None


def with_secrets(
    findings: Collection[Finding], raw: bytes, known_token_hashes: Collection[str] = ()
) -> tuple[Finding, ...]:
    """`findings` of the document `raw`, then those of `find_secrets`, without any that would tell a part of a secret.

    A part of one may look like an unknown id or an e-mail address: `https://user:password@host`. The secret's own
    finding stands in for it.
    """
    secrets: list[Finding] = []
    values: dict[str, list[str]] = {}
    for finding, value in _found(raw, known_token_hashes):
        secrets.append(finding)
        values.setdefault(finding.path, []).append(value)
    kept = [one for one in findings if one.code not in _TELLING or not _tells(one.source_id, values.get(one.path, ()))]
    return (*kept, *secrets)


def _tells(said: str, values: Collection[str]) -> bool:
    # What comes before the @ may be the end of a password.
    local = said.partition("@")[0]
    return any(said in value or ("@" in said and value.endswith(local)) for value in values)


def _found(raw: bytes, known_hashes: Collection[str]) -> Iterator[tuple[Finding, str]]:
    """Each finding, and the value it must not tell."""
    words, at = _places(raw, known_hashes)
    if not at:
        return
    text = raw.decode("utf-8")
    if len(text) != len(raw):
        at = _in_characters(raw, at)
    for region in regions(text):
        if not _holds(at, region):
            continue
        value = _value(text, region)
        name = value.get("name") if region.block_index is not None and isinstance(value, dict) else ""
        block_name = name if isinstance(name, str) else ""
        for path, here, secret in _walk(value, block_name, known_hashes, words):
            whole = path_text(tuple(mask(part) if isinstance(part, str) else part for part in (*region.prefix, *path)))
            yield _finding(whole, mask(block_name), secret), here[secret.start : secret.end]


def _finding(path: str, block_name: str, secret: Secret) -> Finding:
    return Finding(
        code=CODE, severity=Severity.WARNING, path=path, block_name=block_name, message=f"looks like: {secret.kind}",
        hint=_HINT,
    )  # fmt: skip


def _places(raw: bytes, known_hashes: Collection[str] = ()) -> tuple[list[str], list[int]]:
    """The words of secrets that the document holds, and where they and what looks like one of itself stand."""
    runs = reference.runs(reference.folded(raw))
    # Guids hold no word, and are most of what a document does not share with others.
    shaped = [run for run in runs if len(run) >= 34]
    words = {word for run in runs if len(run) < 34 for word in _words_in(run)}
    words.update(word for run in shaped if len(run) != 36 or run[8] != 45 for word in _words_in(run))
    low = raw.lower() if words else b""
    if words:
        words -= {word for word in words if word not in _RUN_WORDS and word.encode() not in low}
    if b"Q~" in raw:
        words.add("q~")
        low = raw.lower()
    at = {place for word in words for place in reference.occurrences(low, word.encode())}
    if b"@" in raw:
        at.update(match.start() for match in _IN_URL.finditer(raw))
    if any(len(run) < 39 and _SHAPED_RUN.fullmatch(run) for run in shaped):
        at.update(match.start() for match in _SHAPES.finditer(raw))
    if known_hashes:
        at.update(_known_places(raw, known_hashes))
    return [word for word in WORDS if word in words], sorted(at)


def _known_places(raw: bytes, known_hashes: Collection[str]) -> Iterator[int]:
    for run in set(raw.translate(_TOKEN_BYTES).split()):
        if len(run) >= TOKEN_SIZES[0] and (len(run) != 36 or run[8] != 45):
            # An escape before the token seems to be its first letter.
            for token in (run, run[1:]) if run[0] in b"bfnrt" else (run,):
                if len(token) <= TOKEN_SIZES[1] and hashlib.sha256(token).hexdigest() in known_hashes:
                    yield from reference.occurrences(raw, token)


@lru_cache(maxsize=50_000)
def _words_in(run: bytes) -> tuple[str, ...]:
    """The words that a run goes with; automations of one tenant share most of their runs."""
    if not _ANY_START.search(run):
        return ()
    return tuple(word for word, start in _STARTS if start in run)


def _in_characters(raw: bytes, at: list[int]) -> list[int]:
    found = []
    done, place = 0, 0
    for one in at:
        place += len(raw[done:one].decode("utf-8", "ignore"))
        done = one
        found.append(place)
    return found


def _holds(at: list[int], region: Region) -> bool:
    place = bisect_left(at, region.start)
    return place < len(at) and at[place] < region.end


def _value(text: str, region: Region) -> Any:
    part = text[region.start : region.end]
    try:
        return json.loads(part, strict=False)
    except RecursionError:
        # Nested deeper than a parser goes: taken as one text, escapes and all.
        return part


def _walk(
    top: Any, block_name: str, known_hashes: Collection[str], words: Collection[str]
) -> Iterator[tuple[Path, str, Secret]]:
    """Every secret of a value, with the string that holds it, in document order."""
    stack: list[tuple[Path, Any, str]] = [((), top, "")]
    while stack:
        path, here, name = stack.pop()
        if isinstance(here, str):
            for secret in secrets_of(here, name, known_hashes, words):
                yield path, here, secret
        elif isinstance(here, Mapping):
            named = next((text for key in _NAME_MEMBERS if isinstance(text := here.get(key), str) and text), "")
            # What a variable is set to is called like the variable, which is the block's name.
            if len(path) == 2 and path[0] == "operations":
                named = block_name
            for key, item in reversed(list(here.items())):
                if isinstance(item, str | dict | list) and item:
                    stack.append(((*path, key), item, named if key in _VALUE_MEMBERS else key))
                for secret in secrets_of(key, "", known_hashes, words) if len(key) > _LONG_KEY else ():
                    yield (*path, key), key, secret
        elif isinstance(here, list):
            stack += [((*path, index), item, "") for index, item in reversed(list(enumerate(here)))]
