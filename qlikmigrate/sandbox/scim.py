"""Filters in SCIM's language (RFC 7644): `name eq "x" and (ownerId eq "y" or ownerId eq "z")`; case does not matter."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from qlikmigrate.sandbox.wire import bad_request

Test = Callable[[Callable[[str], Any]], bool]

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<paren>[()])|(?P<word>[^\s()"]+))')
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda have, want: have == want,
    "ne": lambda have, want: have != want,
    "co": lambda have, want: want in have,
    "sw": lambda have, want: have.startswith(want),
    "ew": lambda have, want: have.endswith(want),
}


def compile_filter(text: str, allowed: Collection[str]) -> Test:
    """A test for objects, given as a function from attribute name to value (a list: any of them).

    Raises:
        ApiError: 400, not a filter, or an attribute that is not `allowed`.
    """
    parser = _Parser(text, {name.lower(): name for name in allowed})
    test = parser.either()
    if parser.tokens:
        raise bad_request(f"Invalid filter near: {parser.tokens[0]}")
    return test


class _Parser:
    def __init__(self, text: str, allowed: dict[str, str]) -> None:
        self.tokens: list[str] = []
        self._allowed = allowed
        index = 0
        text = text.rstrip()
        while index < len(text):
            match = _TOKEN.match(text, index)
            if match is None:
                raise bad_request("Invalid filter")
            self.tokens.append(match.group(match.lastgroup or 0))
            index = match.end()

    def either(self) -> Test:
        tests = [self._both()]
        while self._take_word("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda get: any(test(get) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take_word("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda get: all(test(get) for test in tests)

    def _one(self) -> Test:
        if self._take_word("("):
            inner = self.either()
            if not self._take_word(")"):
                raise bad_request("Invalid filter: missing )")
            return inner
        if self._take_word("not"):
            negated = self._one()
            return lambda get: not negated(get)
        if len(self.tokens) < 3:
            raise bad_request("Invalid filter: incomplete")
        attribute, operator, value = self.tokens[:3]
        del self.tokens[:3]
        name = self._allowed.get(attribute.lower())
        if name is None:
            raise bad_request(f"Invalid filter: attribute {attribute} is not supported")
        compare = _OPERATORS.get(operator.lower())
        if compare is None:
            raise bad_request(f"Invalid filter: operator {operator} is not supported")
        want = (re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value).lower()

        def test(get: Callable[[str], Any]) -> bool:
            have = get(name)
            values = have if isinstance(have, list) else [have]
            return any(compare(_text(one), want) for one in values)

        return test

    def _take_word(self, word: str) -> bool:
        if self.tokens and self.tokens[0].lower() == word:
            del self.tokens[0]
            return True
        return False


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).lower()
