"""The secrets file: values for the parameters of connections that a restore creates. They are held as secrets, used in
one request each, and written nowhere."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from qlikmigrate.config.placeholder import filled_reference
from qlikmigrate.config.secret_source import parse_source
from qlikmigrate.config.table import Table
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.row import Row, filled
from qlikmigrate.kernel.secret import Secret


def read_connection_secrets(
    path: Path, environ: Mapping[str, str], *, row: Row | None = None
) -> dict[str, dict[str, Secret]]:
    """Connection id or name → parameter name → value. Relative files are looked up beside the secrets file.

    `row`: whose cells references and literal values take.

    Raises:
        UsageError: it is missing, malformed, or open to others; a reference in it leads nowhere.
    """
    where = f"the secrets file {path}"
    try:
        mode = path.stat().st_mode
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        # The parser's own words may hold a piece of the file.
        raise UsageError(f"{where} is no TOML in UTF-8") from None
    table = Table(content, where)
    connections = table.take("connections", dict, {})
    table.finish()
    found = {
        key: _connection(values, f'[connections."{key}"] of {path}', environ, path.parent, row)
        for key, values in connections.items()
    }
    if os.name == "posix" and stat.S_ISREG(mode):
        literal = any(isinstance(value, str) for values in connections.values() for value in values.values())
        closed = stat.S_IRWXG | stat.S_IRWXO if literal else stat.S_IWGRP | stat.S_IWOTH
        if mode & closed:
            raise UsageError(f"others can {'read or write' if literal else 'write'} {where}", hint=f"chmod 600 {path}")
    return found


def _connection(
    values: Any, where: str, environ: Mapping[str, str], folder: Path, row: Row | None
) -> dict[str, Secret]:
    if not isinstance(values, Mapping):
        raise UsageError(f"{where} must be a table: parameter name = value")
    found: dict[str, Secret] = {}
    for name, value in values.items():
        what = f"`{name}` in {where}"
        if isinstance(value, str):
            value = filled(row, value, what=what, secret=True)
        source = parse_source(filled_reference(value, row, what=what), where=what, literal=True, command=True)
        if source.form == "command":
            raise UsageError(f"{source.where}: `command` is for the tenants file", hint="write env, file or keyring")
        found[name] = evolve(source, text=True).read(environ=environ, folder=folder)
    return found
