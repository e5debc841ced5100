"""The table of operations against Qlik's OpenAPI documents, and the page that explains it against the table."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.operation import OPERATIONS, TOKEN, Family, Operation, Shape

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = ("automations", "automation-connections", "automation-connectors")
WRITTEN = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def shape(path: str) -> str:
    """A path with its ids without names."""
    return re.sub(r"{\w+}", "{}", path)


@cache
def document(folder: Path, name: str) -> dict[tuple[str, str], dict]:
    """(METHOD, path) → operation of one OpenAPI document, parameters of the path included."""
    content = json.loads((folder / "reference" / "openapi" / name).read_text())
    return {
        (method.upper(), shape(path)): {**one, "document": content}
        for path, methods in content["paths"].items()
        for method, one in methods.items()
        if method.upper() in WRITTEN
    }


def resolved(schema: dict, content: dict) -> dict:
    while "$ref" in schema:
        schema = content["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def places(operation: Operation) -> list[tuple[str, str]]:
    """(family, document) of each path that the operation has."""
    if operation.family is Family.PLATFORM:
        return [("v1", operation.spec)]
    found = [("workflows", operation.spec)]
    if operation.family is Family.BOTH:
        found.append(("v1", operation.spec.removeprefix("workflows-")))
    return found


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_what_qlik_documents(shared, name):
    """Method, path, tier, status, query names and body members agree, under both families where it has both."""
    operation = OPERATIONS[name]
    ids = dict.fromkeys(operation.id_names, "ID")
    for family, spec in places(operation):
        path = operation.path_under(family, ids).replace("ID", "{}")
        documented = document(shared, spec)[operation.method, path]
        assert documented["x-qlik-tier"]["tier"] == str(operation.tier)
        assert {status for status in documented["responses"] if status < "4"} == {str(operation.success[0])}
        known = {one.get("name") for one in documented.get("parameters", ()) if one.get("in") == "query"}
        assert set(operation.query) <= known
        body = documented.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        assert bool(body) == bool(operation.body)
        if body and operation is not TOKEN:
            assert set(operation.body) == set(resolved(body, documented["document"])["properties"])
        listed = documented["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if operation.shape is Shape.PAGE:
            assert "data" in resolved(listed, documented["document"])["properties"]
            limit = next(one for one in documented["parameters"] if one.get("name") == "limit")
            assert operation.page_size <= limit["schema"].get("maximum", 100)


def test_workflows_only_is_workflows_only(shared):
    """What the table gives to one family is not in the other's documents."""
    for operation in OPERATIONS.values():
        if operation.family is Family.WORKFLOWS:
            path = operation.path_under("v1", dict.fromkeys(operation.id_names, "ID")).replace("ID", "{}")
            assert (operation.method, path) not in document(shared, operation.spec.removeprefix("workflows-"))


@pytest.mark.parametrize("family", ["workflows", "v1"])
def test_no_operation_of_the_automation_documents_is_left_out(shared, family):
    """Every call that Qlik documents for automations, connections and connectors is in the table."""
    mine = {
        (one.method, shape(one.path_under(family, dict.fromkeys(one.id_names, "ID")).replace("ID", "{}")))
        for one in OPERATIONS.values()
    }
    prefix = "workflows-" if family == "workflows" else ""
    for name in DOCUMENTS:
        assert set(document(shared, f"{prefix}{name}.json")) <= mine


def test_reading_is_what_get_does_and_the_token_request():
    """No operation that changes a tenant is declared as reading; only enable and disable are state."""
    for name, operation in OPERATIONS.items():
        reads = operation.method == "GET" or operation is TOKEN
        assert (operation.access is Access.READ) is reads
        assert (operation.access is Access.STATE) is (name in ("automation.enable", "automation.disable"))


def table() -> dict[str, list[str]]:
    """Rows of `docs/calls.md` by operation."""
    lines = (ROOT / "docs" / "calls.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert len(cells) == len({row[0] for row in cells})
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_call_table_is_the_table():
    """The page lists exactly the operations, in order, each with its method, path, tier, status, access and rule."""
    rows = table()
    assert list(rows) == sorted(rows, key=list(OPERATIONS).index)
    assert set(rows) == set(OPERATIONS)
    for name, row in rows.items():
        one = OPERATIONS[name]
        method, path, *facts = row[:7]
        assert method == one.method
        assert path.strip("`").removeprefix("…") == one.path
        assert path.startswith("`…") is (one.family is not Family.PLATFORM)
        assert facts == [one.family, str(one.tier), str(one.success[0]), one.access, one.retry]


def test_the_call_table_names_tests_that_exist():
    """Each row's test is a function of this suite, and each call names its operation."""
    suite = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name, (*_, call, used, test) in table().items():
        assert f"def {test.strip('`')}(" in suite
        assert used
        assert f'"{name}"' in call or name == "token.create"
