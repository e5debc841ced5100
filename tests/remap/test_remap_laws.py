"""Laws of rewriting, on generated workspaces with ids at random positions and inside random text."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from remap_tenants import one, rows, source, target

from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Mapping
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

_HEX = "0123456789abcdef"
_B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _ids(shape: int, seed: int) -> str:
    """One of many ids: uuid, 24 hex digits or 32 characters of base64url."""
    digits = f"{(seed * 0x9E3779B97F4A7C15 + shape) % (1 << 128):032x}"
    if shape == 0:
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if shape == 1:
        return digits[:24]
    return "".join(_B64[int(digits[i % 32] + digits[(i + 7) % 32], 16) % 64] for i in range(31)) + "x"


HERE = [_ids(n % 3, n) for n in range(1, 13)]
THERE = [_ids(n % 3, n + 1000) for n in range(1, 13)]
LOST = [_ids(n % 3, n + 2000) for n in range(1, 7)]
KINDS = [(Kind.SPACE, Kind.ITEM, Kind.USER, Kind.AUTOMATION)[n % 4] for n in range(12)]

MINE = [one(kind, ident, f"n{ident[:3]}") for kind, ident in zip(KINDS, HERE, strict=True)]
THEIRS = [one(kind, ident, f"m{ident[:3]}") for kind, ident in zip(KINDS, THERE, strict=True)]
GONE = [one(kind, ident) for kind, ident in zip(KINDS, LOST, strict=False)]

FORTH = Rewriting(
    source=source(*MINE, *GONE), target=target(*THEIRS), mapping=rows(zip(MINE, THERE, strict=True))
)  # fmt: skip
BACK = Rewriting(source=target(*THEIRS), target=source(*MINE, *GONE), mapping=rows(zip(THEIRS, HERE, strict=True)))

_noise = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
_glue = st.sampled_from(
    [" ", '"', "'", "/", "{$.x}", "\n", "\\", "\\n", "\\u00e9", "å", "😀", "_", ".", ":", "%2F", "|", "("]
)


def _texts(ids: list[str]) -> st.SearchStrategy[str]:
    word = st.one_of(_noise, _glue, st.sampled_from(ids))
    return st.lists(word, max_size=7).map("".join) | st.sampled_from(ids)


def _jsons(ids: list[str]) -> st.SearchStrategy[Any]:
    texts = _texts(ids)
    leaves = texts | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
    )


def _blocks(ids: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    value = st.one_of(_jsons(ids), _jsons(ids).map(json.dumps), _jsons(ids).map(json.dumps).map(json.dumps))
    field = st.fixed_dictionaries({"id": st.sampled_from(["input", "code", "test_payload"]), "value": value})
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(["B1", "B2"]),
            "type": st.sampled_from(["EndpointBlock", "CustomCodeBlock3"]),
            "name": _noise,
        },
        optional={
            "inputs": st.lists(field, max_size=3),
            "operations": st.lists(
                st.fixed_dictionaries({"id": st.just("set"), "value": value, "object": value}), max_size=2
            ),
            "comment": _texts(ids),
            "unknown": value,
        },
    )


def _documents(ids: list[str]) -> st.SearchStrategy[bytes]:
    workspace = st.fixed_dictionaries({"blocks": st.lists(_blocks(ids), max_size=3), "variables": st.just([])})
    envelope = workspace | workspace.map(lambda one: {"id": "x", "workspace": one, "description": "d"})
    spelled = st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 1}, {"separators": (",", ":")}])
    return st.tuples(envelope, spelled).map(lambda pair: json.dumps(pair[0], **pair[1]).encode())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_documents(HERE + LOST))
def test_identity_gives_the_same_bytes(raw: bytes) -> None:
    """Where every id is its own counterpart, the very same bytes come back."""
    same = Rewriting(source=source(*MINE, *GONE), target=source(*MINE, *GONE), mapping=Mapping())
    assert rewrite(raw, same).raw is raw


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_documents(HERE + LOST))
def test_idempotent_and_invertible(raw: bytes) -> None:
    """A second rewrite changes nothing; the inverse mapping restores every byte."""
    moved = rewrite(raw, FORTH).raw
    assert rewrite(moved, FORTH).raw == moved
    restored = rewrite(moved, BACK).raw
    assert json.loads(restored) == json.loads(raw)
    if b"\\u00" not in raw:
        assert restored == raw


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_documents(HERE[:4]))
def test_swap_is_simultaneous(raw: bytes) -> None:
    """Two objects that change places are swapped, and swapped back by the same mapping."""
    pairs = list(zip(MINE[:4], [HERE[1], HERE[0], HERE[3], HERE[2]], strict=True))
    swap = Rewriting(source=source(*MINE[:4]), target=source(*MINE[:4]), mapping=rows(pairs))
    assert json.loads(rewrite(rewrite(raw, swap).raw, swap).raw) == json.loads(raw)


def _strings(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        inner = [pair for key, one in value.items() for pair in _strings(one, f"{path}.{key}".lstrip("."))]
        return inner + [(f"{path}.{key}".lstrip("."), key) for key in value]
    if isinstance(value, list):
        return [pair for index, one in enumerate(value) for pair in _strings(one, f"{path}[{index}]")]
    return []


def _moved(path: str) -> str:
    """A path whose keys may be ids, in the target's words: a finding's path is the source document's."""
    for old, new in zip(HERE, THERE, strict=True):
        path = path.replace(old, new)
    return path


@settings(max_examples=250, deadline=None, derandomize=True)
@given(_documents(HERE + LOST))
def test_no_source_id_is_left_unlisted(raw: bytes) -> None:
    """After a rewrite each id of the source that stands alone in a string is named by a finding with its path."""
    result = rewrite(raw, FORTH)
    listed = {(_moved(finding.path), finding.source_id.lower()) for finding in result.findings}
    for path, text in _strings(json.loads(result.raw), ""):
        for ident in HERE + LOST:
            if re.search(rf"(?<![0-9A-Za-z-]){re.escape(ident)}(?![0-9A-Za-z-])", text, re.IGNORECASE):
                assert (_moved(path), ident.lower()) in listed, (path, ident)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_documents(HERE + LOST))
def test_only_ids_change(raw: bytes) -> None:
    """Every change is told, and undoing the told changes in the text gives the document back."""
    result = rewrite(raw, FORTH)
    assert bool(result.changes) == (result.raw is not raw)
    known: dict[str, Entity] = {entity.id: entity for entity in MINE}
    for change in result.changes:
        assert change.new == THERE[HERE.index(next(one for one in known if one.lower() == change.old.lower()))]
