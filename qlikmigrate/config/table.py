"""Reading one table of a TOML file strictly: every key is taken by somebody, or it is an error that names it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from qlikmigrate.kernel.error import UsageError

T = TypeVar("T")


class Table:
    """A TOML table whose keys are taken one by one; `finish` refuses what nobody took."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = dict(values)
        self._given = frozenset(self._values)
        self._known: list[str] = []
        self.where = where

    def take(self, key: str, kind: type[T] | tuple[type[T], ...], default: T) -> T:
        """The value of `key`, or `default`.

        Raises:
            UsageError: it is of another type.
        """
        self._known.append(key)
        if key not in self._values:
            return default
        value = self._values.pop(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(_WORDS.get(one, one.__name__) for one in kinds)
            raise UsageError(f"`{key}` in {self.where} must be {wanted}", hint=_EXAMPLES[kinds[0]].format(key=key))
        return value

    def has(self, key: str) -> bool:
        """Whether the table has `key`, taken or not."""
        return key in self._given

    def finish(self) -> None:
        """Refuse keys that nobody took."""
        for key in self._values:
            near = difflib.get_close_matches(key, self._known, n=1)
            raise UsageError(
                f"unknown key in {self.where}: `{key}`",
                hint=f"did you mean `{near[0]}`?" if near else "known keys: " + ", ".join(sorted(self._known)),
            )


_EXAMPLES: dict[type, str] = {
    str: 'write {key} = "…"', int: "write {key} = 8", float: "write {key} = 0.8", dict: "write {key} = {{ … }}",
    list: 'write {key} = ["…"]', bool: "write {key} = true",
}  # fmt: skip
_WORDS: dict[type, str] = {
    str: "text", int: "a whole number", float: "a number", dict: "a table", list: "a list", bool: "true or false",
}  # fmt: skip
