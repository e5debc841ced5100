"""Tokens in texts, and how positions in a string's value meet its spelling."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.remap.position import Site, Spelling, decoded, path_text, positions
from qlikmigrate.remap.reference import HostIndex, IdIndex, addresses, folded, runs, values

HEX, B64, ODD = "507f1f77bcf86cd799439011", "ausu7o-_ytovoiivskmrqp1crhskuojo", "auth0|a08d6ce4b2e1c1f0a7"
INDEX = IdIndex(frozenset({HEX, B64, ODD}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEX, [HEX]),
        (f"{HEX.upper()}/{B64}", [HEX, B64]),
        (f"x_{HEX}_{B64}_y", [HEX, B64]),
        (f"x{HEX}", []),
        (f"-{HEX}", []),
        (f"{HEX}0", []),
        (f"sub={ODD};", [ODD]),
        (f"sub={ODD}0;", []),
        (f"\\n{HEX}\\t", [HEX]),
        (f"\\u00e9{HEX}", [HEX]),
        (f"%2F{HEX}%2F", [HEX]),
        (f"n{HEX}", []),
        ("\\u0035" + HEX[1:], [HEX]),
        ("\\\\u0035" + HEX[1:-1] + "\\\\u0031", [HEX]),
    ],
)
def test_ids(text: str, expected: list[str]) -> None:
    """Bounded ids are found without regard to case, behind escapes too, and glued ones are not."""
    found = list(INDEX.find(text))
    assert [token.key for token in found] == expected
    if "u003" not in text:
        assert set(expected) <= {one for ones in INDEX.candidates(runs(folded(text.encode()))).values() for one in ones}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://BI.acme.example/x", ["bi.acme.example"]),
        ("xbi.acme.example bi.acme.example.org", []),
        ("a.eu.qlikcloud.com, cdn.qlikcloud.com", ["a.eu.qlikcloud.com"]),
        ("%2F%2Fbi.acme.example%2F", ["bi.acme.example"]),
        ("\\nbi.acme.example\\n", ["bi.acme.example"]),
    ],
)
def test_hosts(text: str, expected: list[str]) -> None:
    """Whole host names only; the shared CDN is nobody's."""
    index = HostIndex(frozenset({"bi.acme.example"}))
    assert [token.key for token in index.find(text)] == expected
    assert bool(expected) <= bool(list(index.places(text.lower().encode())))


def test_addresses_and_values() -> None:
    """Addresses are told whole; values need both pairs of signs."""
    assert [token.key for token in addresses("to: Ann.B+x@a.example;c@d x@@y @e.example")] == ["Ann.B+x@a.example"]
    assert [token.key for token in values("@@A@@ @@B.c-d@@ a@@b@@@ @@ @@1@@")] == ["A", "B.c-d", "b"]


@given(st.text(), st.booleans())
def test_spelling(text: str, is_ascii: bool) -> None:
    """Each position of a value is found in its spelling, surrogate pairs and short escapes included."""
    string = json.dumps(text, ensure_ascii=is_ascii)
    spelling = Spelling(string)
    for index in range(len(text) + 1):
        at = 1 + spelling.raw(index)
        assert decoded(string[:at] + '"') == text[:index]


def test_positions_of_every_string() -> None:
    """The walk gives path and place of each string, keys too."""
    text = ' {"a" : [ "x", {"b":"y"}, 1, "z\\"" ], "c":{}, "d":[], "a":null} '
    found = [(path_text(one.path), text[one.start : one.end]) for one in positions(text, 0, len(text))]
    assert found == [
        ("a", '"a"'), ("a[0]", '"x"'), ("a[1].b", '"b"'), ("a[1].b", '"y"'), ("a[3]", '"z\\""'),
        ("c", '"c"'), ("d", '"d"'), ("a", '"a"'), ("a", "null"),
    ]  # fmt: skip
    assert [one.is_key for one in positions('{"k":"v"}', 0, 9) if isinstance(one, Site)] == [True, False]
