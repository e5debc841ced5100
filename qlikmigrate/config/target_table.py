"""The table of a clone to many: CSV, one target a row. Read strictly: what is odd about it is told with its line."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

from attrs import frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.row import Row

COLUMN = "target"
_HOW = f"the first line names the columns, `{COLUMN}` among them; commas between, quotes around what holds a comma"


@frozen(kw_only=True)
class TargetTable:
    """A read table. `digest`: the SHA-256 of the file, by which a clone that goes on knows it again."""

    path: Path
    digest: str
    rows: tuple[Row, ...]


def read_target_table(path: Path) -> TargetTable:
    """The table at `path`. Empty lines do not count; white space around cells neither.

    Raises:
        UsageError: it cannot be read, is no such table, or names no target somewhere.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the table {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _error(f"the table {path} is not UTF-8 text", hint="save it as CSV in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    columns: list[str] = []
    try:
        for cells in reader:
            line = f"line {reader.line_num} of {path}"
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if not columns:
                columns = _columns(stripped, line)
            elif len(stripped) != len(columns):
                raise _error(f"{line} has {len(stripped)} cells, the first line {len(columns)}", hint=_HOW)
            else:
                rows.append(_row(dict(zip(columns, stripped, strict=True)), line))
    except csv.Error as error:
        raise _error(f"line {reader.line_num} of {path} is no CSV: {error}", hint=_HOW) from None
    if not rows:
        raise _error(f"the table {path} names no target", hint=_HOW)
    return TargetTable(path=path, digest=hashlib.sha256(raw).hexdigest(), rows=tuple(rows))


def _columns(names: list[str], line: str) -> list[str]:
    for name in names:
        if not name:
            raise _error(f"{line}: a column has no name", hint=_HOW)
        if "{" in name or "}" in name:
            raise _error(f"{line}: a brace in the name of a column: `{name}`", hint=_HOW)
        if names.count(name) > 1:
            raise _error(f"{line}: two columns are called `{name}`", hint=_HOW)
    if COLUMN not in names:
        raise _error(f"{line}: no column `{COLUMN}`", hint=_HOW)
    return names


def _row(cells: dict[str, str], line: str) -> Row:
    if not cells[COLUMN]:
        raise _error(f"{line} names no target", hint=_HOW)
    return Row(cells=cells, where=line)


def _error(message: str, *, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="table")
