"""What a string of a workspace means by where it stands. Positions say what may be rewritten, ids never do.

Source of all positions: Qlik's published workspace schema and public workspaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from qlikmigrate.model.document import Path
from qlikmigrate.model.workspace import CALL_BLOCK


class Role(Enum):
    """What a string is."""

    INTERNAL = auto()  # ids of blocks, variables, edges, operations; fixed words
    CATALOGUE = auto()  # guids of endpoints, snippets, inputs, events
    CONNECTOR = auto()
    CONNECTION = auto()
    CALL = auto()
    CONNECTION_LABEL = auto()
    CALL_LABEL = auto()
    LABEL = auto()  # "name (id)"
    CODE = auto()
    PROSE = auto()
    NAME = auto()  # template expressions bind to it
    TEXT = auto()


_BLOCK = {
    "id": Role.INTERNAL,
    "type": Role.INTERNAL,
    "childId": Role.INTERNAL,
    "childTrueId": Role.INTERNAL,
    "childFalseId": Role.INTERNAL,
    "loopBlockId": Role.INTERNAL,
    "defaultChildId": Role.INTERNAL,
    "variableGuid": Role.INTERNAL,
    "endpoint_role": Role.INTERNAL,
    "logo": Role.INTERNAL,
    "endpoint_guid": Role.CATALOGUE,
    "snippet_guid": Role.CATALOGUE,
    "datasourcetype_guid": Role.CONNECTOR,
    "name": Role.NAME,
    "displayName": Role.NAME,
    "comment": Role.PROSE,
}
_VARIABLE = {"guid": Role.INTERNAL, "type": Role.INTERNAL, "name": Role.NAME}
_OPERATION = {"id": Role.INTERNAL, "key": Role.INTERNAL, "name": Role.INTERNAL}
_FORM = {"id": Role.INTERNAL, "type": Role.INTERNAL, "label": Role.NAME, "helpText": Role.PROSE}
_FIELD = {"id": Role.CATALOGUE, "type": Role.INTERNAL, "mode": Role.INTERNAL}
# Inputs that hold the id of another block. Source: the workspace schema's file and pointer blocks.
_FILE_BLOCKS = frozenset(
    f"{name}Block" for name in ("OpenFile", "CreateFile", "CopyFile", "ReadDataFromFile", "WriteLineToFile",
                                "CloseFile", "DeleteFile", "MoveFile", "CheckFileExists", "ListFiles")
)  # fmt: skip


def block_role(path: Path, fields: Mapping[Path, str]) -> Role:
    """The role of the string at `path`, counted from its block; `fields` has the block's short strings by path."""
    match path:
        case (str(key),):
            return _BLOCK.get(key, Role.TEXT)
        case ("statementChildrenIds", *_):
            return Role.INTERNAL
        case (("inputs" | "settings") as group, int(index), key):
            ident = fields.get((group, index, "id"), "")
            return _field_role(fields.get(("type",), ""), ident, str(key))
        case (("inputs" | "settings"), int(), "lookupValues", *_):
            return Role.LABEL
        case ("operations", int(), str(key)):
            return _OPERATION.get(key, Role.TEXT)
        case ("form", int(), str(key)):
            return _FORM.get(key, Role.TEXT)
        case _:
            return Role.TEXT


def variable_role(path: Path) -> Role:
    """The role of the string at `path`, counted from the list of variables."""
    match path:
        case (int(), str(key)):
            return _VARIABLE.get(key, Role.TEXT)
        case _:
            return Role.TEXT


def _field_role(block_type: str, ident: str, key: str) -> Role:
    if key == "displayValue":
        if ident == "datasource":
            return Role.CONNECTION_LABEL
        return Role.CALL_LABEL if block_type == CALL_BLOCK and ident == "guid" else Role.LABEL
    if key != "value":
        return _FIELD.get(key, Role.TEXT)
    match ident:
        case "datasource":
            return Role.CONNECTION
        case "guid" if block_type == CALL_BLOCK:
            return Role.CALL
        case "datasourcetype_guid":
            return Role.CONNECTOR
        case "webhook_event_guid":
            return Role.CATALOGUE
        case "label" if block_type == "GotoBlock":
            return Role.INTERNAL
        case "pointer_block_id":
            return Role.INTERNAL
        case "file" | "source" if block_type in _FILE_BLOCKS:
            return Role.INTERNAL
        case "code" if block_type.startswith("CustomCodeBlock"):
            return Role.CODE
        case "test_payload" | "webhook_documentation":
            return Role.PROSE
        case _:
            return Role.TEXT
