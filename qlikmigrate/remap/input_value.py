"""What customers typed into inputs of OEM automations: whether it looks like a secret, and how it may be shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.oem import Input, automation_of
from qlikmigrate.remap.finding import Finding
from qlikmigrate.remap.secret_rule import mask

CODE = "secret-in-inputs"


def looks_secret(one: Input, token_hashes: Collection[str] = ()) -> bool:
    """Whether its stored value, or a part of it, is one."""
    return any(masked != text for text, masked in _texts(one.value, _labels(one), token_hashes))


def input_findings(value: Mapping[str, Any], token_hashes: Collection[str] = ()) -> Iterator[Finding]:
    """The inputs of an OEM automation's document whose stored values look like secrets."""
    for index, one in enumerate(automation_of(value).inputs):
        if looks_secret(one, token_hashes):
            yield Finding(
                code=CODE,
                severity=Severity.WARNING,
                path=f"inputs[{index}].persisted_value",
                message=f"stored in the input `{one.name}`",
                hint="who can read the archive can read it: put it into a connection, and renew it",
            )


def shown_value(one: Input, token_hashes: Collection[str] = ()) -> Any:
    """Its stored value with secrets masked."""
    return _masked(one.value, _labels(one), token_hashes)


def shown_text(one: Input, token_hashes: Collection[str] = ()) -> str:
    """The same as text for people."""
    value = shown_value(one, token_hashes)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _labels(one: Input) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("", one.name, one.prompt)))


def _masked(value: Any, labels: tuple[str, ...], hashes: Collection[str]) -> Any:
    if isinstance(value, str):
        for label in labels:
            value = mask(value, label, hashes)
        return value
    if isinstance(value, Mapping):
        return {mask(key): _masked(item, (*labels, key), hashes) for key, item in value.items()}
    return [_masked(item, labels, hashes) for item in value] if isinstance(value, list) else value


def _texts(value: Any, labels: tuple[str, ...], hashes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Every text in a value, and what may be shown of it."""
    if isinstance(value, str):
        yield value, _masked(value, labels, hashes)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key, mask(key)
            yield from _texts(item, (*labels, key), hashes)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, labels, hashes)
