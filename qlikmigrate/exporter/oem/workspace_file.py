"""Workspaces that people hand in, one file each: read and checked as a whole before anything is asked of an account.

A file is named after the guid of an automation, its name, or the guid of the template that it was installed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.snapshot import parse

_SUFFIX = ".json"
_BOM = b"\xef\xbb\xbf"


@frozen(kw_only=True)
class WorkspaceFile:
    """One file. `word`: its name without the suffix."""

    path: Path
    word: str
    raw: bytes = field(repr=False)


def read_workspaces(folder: Path) -> tuple[WorkspaceFile, ...]:
    """The workspaces in a folder, by name. Files that do not end in `.json` are passed over.

    Raises:
        UsageError: there is no such folder, no such file in it, or one that holds no workspace.
    """
    try:
        paths = sorted(one for one in folder.iterdir() if one.suffix == _SUFFIX and not one.name.startswith("."))
        files = tuple(WorkspaceFile(path=one, word=one.stem, raw=one.read_bytes().removeprefix(_BOM)) for one in paths)
    except OSError as error:
        raise UsageError(f"cannot read the workspaces in {folder}: {error.strerror}") from None
    if not files:
        raise UsageError(
            f"no workspace in {folder}", hint="files are called GUID.json, NAME.json or TEMPLATE_GUID.json"
        )
    for one in files:
        if flaw := _flaw(one.raw):
            raise UsageError(
                f"no workspace: {one.path} {flaw}",
                hint="a file that Qlik's editor exported, or an object with `blocks`, is one",
            )
    return files


def workspace_in(value: Any) -> Mapping[str, Any] | None:
    """The workspace that a file holds: itself, or a member of what the editor exported; None where there is none."""
    if not isinstance(value, Mapping):
        return None
    found = value.get("workspace", value)
    return found if isinstance(found, Mapping) and isinstance(found.get("blocks"), list) else None


def _flaw(raw: bytes) -> str:
    try:
        raw.decode("utf-8")
        value = parse(raw)
    except (ValueError, RecursionError):
        return "is no JSON in UTF-8"
    return "" if workspace_in(value) is not None else "holds no object with `blocks`"
