"""Laws of taking secrets and run data out of a received document."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.model.document import Cut, CutReason, Document, Part, cut_document, received
from qlikmigrate.model.kind import Kind

RUN = ("lastRun", "lastRunAt", "lastRunStatus", "lastRunÄ", "duration")
RUN_IN_SCHEDULE = ("nextRunAt", "lastStartedAt", "lastStartAt")
PLAIN = ("id", "name", "workspace", "lastRu", "Duration", "ü", "\U0001f600", 'quo"te', "back\\slash", "")

spaces = st.sampled_from(["", " ", "\n", "\r\n\t", "  "])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.text(max_size=8),
    st.sampled_from(["\ud83d", "ß", "\x00"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
    max_leaves=6,
)


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """`value` as JSON in some spelling: spaces anywhere, escapes or not. A list of pairs with a mark is an object."""
    gap = lambda: draw(spaces)  # noqa: E731
    if isinstance(value, Pairs):
        inside = ",".join(
            f"{gap()}{draw(spelled(key))}{gap()}:{gap()}{draw(spelled(item))}{gap()}" for key, item in value.pairs
        )
        return "{" + (inside or gap()) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{gap()}{draw(spelled(item))}{gap()}" for item in value) or gap()) + "]"
    if isinstance(value, dict):
        return draw(spelled(Pairs(tuple(value.items()))))
    if isinstance(value, str):
        lone = any("\ud800" <= char <= "\udfff" for char in value)
        text = json.dumps(value, ensure_ascii=lone or draw(st.booleans()))
        if value and value.isalpha() and value.isascii() and draw(st.booleans()):
            text = '"' + "".join(f"\\u{ord(char):04x}" for char in value) + '"'
        return text
    return json.dumps(value)


class Pairs:
    """An object as pairs: names may come twice, order counts."""

    def __init__(self, pairs: tuple[tuple[str, Any], ...]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"Pairs({self.pairs!r})"


def objects(names: tuple[str, ...], inner: st.SearchStrategy[Any] = values) -> st.SearchStrategy[Pairs]:
    """Objects of some of `names`, doubles included."""
    return st.lists(st.tuples(st.sampled_from(names), inner), max_size=7).map(tuple).map(Pairs)


schedules = st.one_of(values, st.lists(st.one_of(objects((*RUN_IN_SCHEDULE, "interval", "id")), scalars), max_size=3))


@st.composite
def automations(draw: st.DrawFn, *, secret: bool) -> tuple[Pairs, bytes]:
    """An automation's document and its bytes."""
    pairs = list(draw(objects((*RUN, *PLAIN))).pairs)
    for item in draw(st.lists(schedules, max_size=2)):
        pairs.insert(draw(st.integers(0, len(pairs))), ("schedules", item))
    if secret:
        for _ in range(draw(st.integers(1, 2))):
            token = draw(st.one_of(st.text(max_size=6), values))
            pairs.insert(draw(st.integers(0, len(pairs))), ("executionToken", token))
    made = Pairs(tuple(pairs))
    text = draw(spaces) + draw(spelled(made)) + draw(spaces)
    return made, text.encode("utf-8")


def kept(value: Pairs, gone: tuple[str, ...]) -> list[tuple[str, Any]]:
    """What should be left of an object, in order."""
    found: list[tuple[str, Any]] = []
    for key, item in value.pairs:
        if key in gone:
            continue
        if key == "schedules" and isinstance(item, list):
            item = [Pairs(tuple(kept(one, RUN_IN_SCHEDULE))) if isinstance(one, Pairs) else one for one in item]
        found.append((key, item))
    return found


def plain(value: Any) -> Any:
    """The value with objects as lists of pairs, comparable with what `read` gives."""
    if isinstance(value, Pairs):
        return ["{}", *([key, plain(item)] for key, item in value.pairs)]
    if isinstance(value, dict):
        return ["{}", *([key, plain(item)] for key, item in value.items())]
    if isinstance(value, list):
        return ["[]", *map(plain, value)]
    return value


def read(raw: bytes) -> Any:
    """JSON with doubles and order visible."""

    def tagged(value: Any) -> Any:
        if isinstance(value, Pairs):
            return ["{}", *([key, tagged(item)] for key, item in value.pairs)]
        return ["[]", *map(tagged, value)] if isinstance(value, list) else value

    return tagged(json.loads(raw.decode("utf-8"), object_pairs_hook=lambda pairs: Pairs(tuple(pairs))))


def document(kind: Kind, raw: bytes, cuts: tuple[Cut, ...]) -> Document:
    return Document(kind=kind, id="x", part=Part.DETAIL, raw=raw, cuts=cuts)


@given(automations(secret=False))
def test_received_gives_the_bytes_back(case: tuple[Pairs, bytes]) -> None:
    """Where no secret was cut, kept text and cuts are the received bytes again, whatever the spelling."""
    _, raw = case
    left, cuts = cut_document(Kind.AUTOMATION, raw)
    assert received(document(Kind.AUTOMATION, left, cuts)) == raw
    assert all(cut.reason is CutReason.RUN for cut in cuts)
    assert len(left) + sum(cut.length for cut in cuts) == len(raw)


@given(st.one_of(automations(secret=False), automations(secret=True)))
def test_kept_text_is_the_document_without_the_cut_members(case: tuple[Pairs, bytes]) -> None:
    """What is kept is JSON with every other member, in order, doubles included."""
    value, raw = case
    left, cuts = cut_document(Kind.AUTOMATION, raw)
    assert read(left) == plain(Pairs(tuple(kept(value, (*RUN, "executionToken")))))
    again, more = cut_document(Kind.AUTOMATION, left)
    assert (again, more) == (left, ())
    assert [cut.offset for cut in cuts] == sorted(cut.offset for cut in cuts)


@given(automations(secret=True))
def test_secrets_leave_a_length_and_a_hash(case: tuple[Pairs, bytes]) -> None:
    """Of a token stays the SHA-256 of its text and the place; nothing of it in the cut."""
    value, raw = case
    _, cuts = cut_document(Kind.AUTOMATION, raw)
    tokens = [item for key, item in value.pairs if key == "executionToken"]
    found = [cut for cut in cuts if cut.reason is CutReason.SECRET]
    assert [cut.path for cut in found] == [("executionToken",)] * len(tokens)
    assert all(cut.text is None for cut in found)
    expected = [
        hashlib.sha256(one.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(one, str) else None
        for one in tokens
    ]
    assert [cut.sha256 for cut in found] == expected


@given(
    st.lists(objects(("name", "value", "id", "documentation")), max_size=3),
    st.booleans(),
    st.data(),
)
def test_connection_values_are_gone(params: list[Pairs], redirect: bool, data: st.DataObject) -> None:
    """No `value` of a parameter and no `redirect` is left; all else is."""
    value = Pairs((("id", "c"), ("params", params), *((("redirect", "https://x/?code=1"),) if redirect else ())))
    left, cuts = cut_document(Kind.CONNECTION, data.draw(spelled(value)).encode("utf-8"))
    clean = [Pairs(tuple(pair for pair in one.pairs if pair[0] != "value")) for one in params]
    assert read(left) == plain(Pairs((("id", "c"), ("params", clean))))
    assert all(cut.text is None and cut.sha256 is None for cut in cuts)
    gone = sum(key == "value" for one in params for key, _ in one.pairs) + redirect
    assert len(cuts) == gone


@pytest.mark.parametrize("params", ['{"apiKey":"s3cr3t"}', '["s3cr3t"]', '"s3cr3t"', '[{"value":1},["s3cr3t"]]'])
def test_parameters_in_another_form_go_as_a_whole(params: str) -> None:
    """Where parameters are not the list of objects they should be, nothing of them is kept."""
    left, cuts = cut_document(Kind.CONNECTION, f'{{"id":"c","params":{params},"name":"n"}}'.encode())
    assert json.loads(left) == {"id": "c", "name": "n"}
    assert [cut.path for cut in cuts] == [("params",)]


@pytest.mark.parametrize("params", ["null", "[]", '[{"name":"host"}]'])
def test_parameters_without_values_stay(params: str) -> None:
    """Nothing to hide, nothing cut: the very same bytes."""
    raw = f'{{"id":"c","params":{params}}}'.encode()
    assert cut_document(Kind.CONNECTION, raw) == (raw, ())


def test_only_the_top_level_token_is_cut() -> None:
    """A member of that name inside a workspace is the customer's text and stays."""
    raw = b'{"workspace":{"executionToken":"typed","lastRunAt":"typed"},"executionToken":"t"}'
    left, _ = cut_document(Kind.AUTOMATION, raw)
    assert left == b'{"workspace":{"executionToken":"typed","lastRunAt":"typed"}}'


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a"}', b'{"a":1', b'{"a":1,}', b'"x"', b"\xff{}", b'{"a" 1}'])
def test_what_is_no_object_is_a_value_error(raw: bytes) -> None:
    """One kind of error for all that cannot be taken apart."""
    with pytest.raises(ValueError, match=r"."):
        cut_document(Kind.AUTOMATION, raw)


@pytest.mark.parametrize("depth", [5_000, 500_000])
def test_deep_nesting_is_a_value_error(depth: int) -> None:
    """Never the interpreter's own complaint."""
    raw = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ValueError, match="deep"):
        cut_document(Kind.AUTOMATION, raw)


@pytest.mark.parametrize("kind", [Kind.SPACE, Kind.USER, Kind.CONNECTOR, Kind.ITEM, Kind.SETTINGS])
def test_kinds_without_secrets_pass_untouched(kind: Kind) -> None:
    """The same bytes, even if they are no object."""
    raw = b' {"executionToken": 1} '
    assert cut_document(kind, raw) == (raw, ())
