"""The form in which two documents are the same automation, whatever the server did to their spelling.

Keys are sorted; empty list, empty object, empty text, null and an absent member are one thing; what the service
computes, or keeps for the editor only, is left out.
Source: Qlik's tutorial on deploying an automation, its exported file against the API's answer for the same automation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import orjson

_EDITOR_KEYS = frozenset({"logo", "endpoint_role"})
_NOTHING = object()


def canonical(value: Any, *, without: Collection[str] = ()) -> Any:
    """`value` in canonical form; None when nothing is left. `without`: members dropped at the top level."""
    reduced = _reduce({k: v for k, v in value.items() if k not in without} if without else value)
    return None if reduced is _NOTHING else reduced


def _reduce(value: Any) -> Any:
    if value is None or value == "":
        return _NOTHING
    if value.__class__ is str:
        return value
    if isinstance(value, dict):
        pairs = ((key, _reduce(value[key])) for key in sorted(value) if key not in _EDITOR_KEYS)
        kept = {key: item for key, item in pairs if item is not _NOTHING}
        return kept or _NOTHING
    if isinstance(value, list):
        if not value:
            return _NOTHING
        # The place in a list carries meaning, so an empty element stays as null.
        return [None if item is _NOTHING else item for item in map(_reduce, value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def canonical_hash(value: Any, *, without: Collection[str] = ()) -> str:
    """SHA-256 of the canonical form, hex. Two values with one hash are the same to the product."""
    return hashlib.sha256(_dump(canonical(value, without=without))).hexdigest()


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        import json

        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
