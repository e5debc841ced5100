"""Texts that look like secrets: what people typed into workspaces. Finds where, never says what.

A guess by shape: tokens with a known beginning, credentials in headers, private keys, values of fields named like one.
A formula is no secret: it only says where one comes from.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qlikmigrate.model.document import Path

# Needles are looked for in lower case before anything dearer is done; none may be a word of every document.
_NEEDLES = (
    b"eyj", b"bearer ", b"basic ", b"private key", b"akia", b"ghp_", b"github_pat_", b"xox", b"dapi", b"passw",
    b"passphrase", b"secret", b"apikey", b"api_key", b"api-key", b"api key", b"authorization", b"sig=", b"?token=",
    b"&token=", b"accesstoken", b"access_token", b"access-token", b"access token", b"execution_token",
    b"execution-token", b"execution token",
)  # fmt: skip

_SHAPES = re.compile(
    r"""
      \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}             # JSON web token, Qlik's API keys too
    | \bBearer\s+[\w.~+/-]{16,}=*
    | \bBasic\s+(?P<pair>[A-Za-z0-9+/]{8,}=*)
    | -----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----
    | \bAKIA[0-9A-Z]{16}\b
    | \b(?:ghp_|github_pat_)\w{20,}
    | \bxox[abprs]-[\w-]{10,}
    | \bdapi[0-9a-f]{32}\b
    | [?&](?:sig|token|access_token|api_?key|X-Execution-Token)=[\w.~%+/-]{16,}
    """,
    re.VERBOSE,
)
_NAMES = re.compile(
    r"passw(?:or)?d|passphrase|secret|api[-_ ]?key|access[-_ ]?token|execution[-_ ]token|authorization", re.IGNORECASE
)
_NAME_MEMBERS = ("key", "name", "id")


def may_hold_secrets(raw: bytes) -> bool:
    """Whether a closer look is worth it: False means that `secrets_in` finds nothing."""
    low = raw.lower()
    return any(needle in low for needle in _NEEDLES)


def secrets_in(value: Any) -> Iterator[Path]:
    """Where texts stand that look like secrets, by path from the top of `value`."""
    stack: list[tuple[Path, Any, str]] = [((), value, "")]
    while stack:
        path, here, name = stack.pop()
        if isinstance(here, str):
            if _has_shape(here) or (name and _is_literal(here) and _NAMES.search(name)):
                yield path
        elif isinstance(here, Mapping):
            named = next((text for key in _NAME_MEMBERS if isinstance(text := here.get(key), str)), "")
            # `value` belongs to the name beside it: {"key": "Authorization", "value": …}.
            stack += (((*path, key), item, named if key == "value" else "") for key, item in here.items())
        elif isinstance(here, list):
            stack += (((*path, index), item, "") for index, item in enumerate(here))


def _has_shape(text: str) -> bool:
    return any(not (pair := match["pair"]) or _is_pair(pair) for match in _SHAPES.finditer(text))


def _is_pair(encoded: str) -> bool:
    """Whether it is `user:password` in base64, and not a word that happens to follow `Basic`."""
    try:
        return b":" in base64.b64decode(encoded, validate=True)
    except ValueError:
        return False


def _is_literal(text: str) -> bool:
    return len(text) >= 6 and "{$" not in text and "{!" not in text
