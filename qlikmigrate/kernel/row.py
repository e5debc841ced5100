"""One row of a table that people keep, and the one way its cells come into other texts: as `{column}`.

Outside of a row no text is looked at for braces. A message names columns and places, never a cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from qlikmigrate.kernel.error import UsageError

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = "write {{ and }} for braces that stand for themselves"


@frozen(kw_only=True)
class Row:
    """A row by the names of its columns. `where`: its place, for messages."""

    cells: Mapping[str, str] = field(repr=False)
    where: str = ""

    def fill(self, text: str, *, what: str, secret: bool = False) -> str:
        """`text` with each `{column}` replaced by its cell, and `{{`, `}}` by a brace. `what`: where the text stands.

        Cells are data: a brace in one is a brace. `secret`: nothing of the text may be shown, not even a name in it.

        Raises:
            UsageError: there is no such column, its cell is empty, or a brace stands alone.
        """

        def part(match: re.Match[str]) -> str:
            found = match[0]
            if found in ("{{", "}}"):
                return found[0]
            column = match[1]
            if column is None:
                raise UsageError(f"{what}: a single brace", hint=_BRACES, code="placeholder")
            if column not in self.cells:
                named = "" if secret else f": `{column}`"
                known = "columns: " + ", ".join(self.cells)
                raise UsageError(
                    f"{what}: no such column of the table{named}", hint=f"{known}; {_BRACES}", code="placeholder"
                )
            if not self.cells[column]:
                raise UsageError(
                    f"{what} needs column `{column}`, which is empty in {self.where}",
                    hint="fill the cell in, or take the row out",
                    code="placeholder",
                )
            return self.cells[column]

        return _PART.sub(part, text)


def filled(row: Row | None, text: str, *, what: str, secret: bool = False) -> str:
    """`text` with the cells of `row` in it; as it is where there is no row.

    Raises:
        UsageError: as `Row.fill`.
    """
    return text if row is None else row.fill(text, what=what, secret=secret)
