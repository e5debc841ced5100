"""References by name: found where names stand, and loud where the name changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from remap_tenants import block, one, rows, source, workspace
from secret_list import code, nested, text, variable

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Mapping, MappingRow
from qlikmigrate.remap.name_reference import find_names, name_index

SALES = one(Kind.SPACE, "65f0c1a2b3c4d5e6f7a8b9c0", "DEV Sales", type="shared")
REST = one(Kind.CONNECTION, "1649cda2-0600-45ec-aa53-38111e82b13c", "REST orders")
APP = one(Kind.ITEM, "0beb6795-2072-4f0c-9043-3b2aff6123af", "Consumption Report", type="app")
FILE = one(Kind.ITEM, "1beb6795-2072-4f0c-9043-3b2aff6123af", "log.qvd", type="dataset")
SHORT = one(Kind.SPACE, "75f0c1a2b3c4d5e6f7a8b9c0", "QA", type="shared")
MINE = source(SALES, REST, APP, FILE, SHORT)


def found(document: Any, mapping: Mapping | None = None) -> list[tuple[str, str | None, str]]:
    raw = json.dumps(document, ensure_ascii=False).encode()
    return [
        (one.path, one.kind.value if one.kind else None, one.severity.value)
        for one in find_names(raw, name_index(MINE, mapping))
    ]


@pytest.mark.parametrize(
    ("holder", "path", "kind"),
    [
        (text("DEV Sales"), "inputs[0].value", "space"),
        (variable("vSpace", "DEV Sales"), "operations[0].value", "space"),
        (variable("vCall", 'name eq "Consumption Report"'), "operations[0].value", "item"),
        (text("LOAD * FROM [lib://DEV Sales:DataFiles/x.qvd]"), "inputs[0].value", "space"),
        (text("LIB CONNECT TO 'REST orders';"), "inputs[0].value", "connection"),
        (text("lib://REST orders/x"), "inputs[0].value", "connection"),
        (code("space = 'DEV Sales'"), "inputs[0].value", "space"),
        (nested(variable("x", "DEV Sales")), "inputs[0].value", "space"),
        (
            block("IfElseBlock", inputs=[{"id": "c", "value": {"conditions": [{"input2": "REST orders"}]}}]),
            "inputs[0].value.conditions[0].input2",
            "connection",
        ),
    ],
)  # fmt: skip
def test_names_are_found(holder: dict[str, Any], path: str, kind: str) -> None:
    """As a whole field, in quotes in a text, in code, in a nested workspace, and behind `lib://`."""
    assert found(workspace(holder)) == [(f"blocks[0].{path}", kind, "info")]


@pytest.mark.parametrize(
    "holder",
    [
        text("all of DEV Sales is here"),
        text("QA"),
        text("log.qvd"),
        code("# DEV Sales"),
        code("DEV Sales"),
        block(name="DEV Sales", displayName="DEV Sales", comment="DEV Sales"),
        block(settings=[{"id": "datasource", "value": REST.id, "displayValue": "REST orders"}]),
        block(inputs=[{"id": "DEV Sales", "type": "DEV Sales", "value": ""}]),
    ],
)
def test_words_are_no_names(holder: dict[str, Any]) -> None:
    """Names inside a sentence, names of blocks, labels that a rewrite refreshes, short names and files are left out."""
    assert found(workspace(holder)) == []


def test_renamed_object_is_a_warning() -> None:
    """Where the counterpart is called otherwise, the reference breaks; where it is not, it is good to know."""
    renamed = Mapping(
        rows=(MappingRow(kind=Kind.SPACE, source=SALES, target_id="t", target_name="Sales", rule="explicit"),)
    )
    assert found(workspace(text("DEV Sales")), renamed) == [("blocks[0].inputs[0].value", "space", "warning")]
    raw = json.dumps(workspace(text("DEV Sales"))).encode()
    (told,) = find_names(raw, name_index(MINE, renamed))
    assert told.severity is Severity.WARNING
    assert "`Sales`" in told.message
    same = rows([(SALES, "t")])
    assert found(workspace(text("DEV Sales")), same) == [("blocks[0].inputs[0].value", "space", "info")]


def test_escaped_spelling_is_read() -> None:
    """A name that the service spells with escapes is the same name."""
    inventory = source(one(Kind.SPACE, "65f0c1a2b3c4d5e6f7a8b9c0", "Försäljning"))
    raw = json.dumps(workspace(text("Försäljning")), ensure_ascii=True).encode()
    assert len(find_names(raw, name_index(inventory))) == 1
