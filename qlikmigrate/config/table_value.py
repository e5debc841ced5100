"""Values that the tables of every kind of tenant have, each checked by its own rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from qlikmigrate.config.secret_source import SecretSource, parse_source
from qlikmigrate.config.table import Table
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

_MOST_CONNECTIONS = 32


@frozen(kw_only=True)
class TableContext:
    """What a table's reader knows of its file. `local`: the file is merely the one of the working folder."""

    name: str
    path: Path
    local: bool
    environ: Mapping[str, str]

    @property
    def where(self) -> str:
        """The table, as errors name it."""
        return f"[tenants.{self.name}] of {self.path}"


def source_of(value: Any, key: str, context: TableContext, loopback: bool) -> SecretSource:
    """Where the secret under `key` comes from; `loopback`: it may stand there itself.

    Raises:
        UsageError: it is missing, or of no form that is allowed here.
    """
    return parse_source(value, where=f"`{key}` in {context.where}", literal=loopback, command=not context.local)


def read_secret(source: SecretSource | None, context: TableContext) -> Secret:
    """The secret itself: the last thing that a reader of tables does.

    Raises:
        UsageError: it is unset, empty, or cannot be had.
    """
    assert source is not None
    return source.read(environ=context.environ, folder=context.path.parent)


def choice(table: Table, key: str, default: str, allowed: list[str]) -> str:
    """One of a few words.

    Raises:
        UsageError: it is another.
    """
    value = table.take(key, str, default)
    if value not in allowed:
        raise UsageError(f"`{key}` in {table.where} is `{value}`", hint="write one of: " + ", ".join(allowed))
    return value


def ids_of(table: Table) -> frozenset[str]:
    """The ids under `accept_unreadable`.

    Raises:
        UsageError: it is no list of texts.
    """
    values: list[Any] = table.take("accept_unreadable", list, [])
    if not all(isinstance(one, str) for one in values):
        raise UsageError(f"`accept_unreadable` in {table.where} must be a list of ids", hint='write ["ID", "ID"]')
    return frozenset(values)


def proxy_of(table: Table) -> str | None:
    """The address under `proxy`.

    Raises:
        UsageError: it is none.
    """
    value = table.take("proxy", str, "")
    try:
        sound = not value or bool(urlsplit(value).hostname and urlsplit(value).scheme in ("http", "https"))
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"`proxy` in {table.where} is no web address", hint='write proxy = "http://HOST:PORT"')
    return value or None


def ca_file_of(table: Table, folder: Path) -> Path | None:
    """The file under `ca_file`, a relative one in `folder`.

    Raises:
        UsageError: there is none.
    """
    value = table.take("ca_file", str, "")
    if not value:
        return None
    path = folder / Path(value).expanduser()
    if not path.is_file():
        raise UsageError(
            f"`ca_file` in {table.where}: no such file: {path}",
            hint="a relative path starts at the tenants file's folder",
        )
    return path


def number(table: Table, key: str, default: float) -> float:
    """A number, whole or not.

    Raises:
        UsageError: it is none, or without bounds.
    """
    value = float(table.take(key, (int, float), default))
    if not math.isfinite(value):
        raise UsageError(f"`{key}` in {table.where} is no number: {value}", hint="leave it out for the default")
    return value


def bounded(table: Table, values: Mapping[str, float]) -> None:
    """Refuse limits that nobody can keep.

    Raises:
        UsageError: one is not above 0, or above the most that makes sense.
    """
    for key, value in values.items():
        most = {"share": 1, "concurrency": _MOST_CONNECTIONS}.get(key, math.inf)
        if not 0 < value <= most:
            bounds = "above 0" + (f" and at most {most}" if most != math.inf else "")
            raise UsageError(f"`{key}` in {table.where} must be {bounds}: {value}", hint="leave it out for the default")
