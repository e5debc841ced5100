"""The table of OEM operations against what the vendor documents, and the page that explains it against the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.oem.operation import OPERATIONS, PUBLIC_LIST
from qlikmigrate.api.operation import Family
from qlikmigrate.cli.app import COMMANDS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "oem-calls.md"
# Which members of a body a page lists, where it lists any. Datasources: the create; their update has fewer.
BODIES = {
    "account.create": "name externalid user datasource send_invite",
    "account.update": "name externalid user datasource",
    "template.install": "account inputs datasources",
    "datasource.create": "name connector_guid redirect_url params",
    "datasource.update": "name params",
    "blend.run": "async inputs",
}


def unnamed(path: str) -> str:
    """A path with its ids without names."""
    return re.sub(r"{[^}]+}", "{}", path)


@pytest.fixture(scope="module")
def reference() -> str:
    """The digest of the vendor's pages."""
    file = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "reference" / "oem-api.md"
    if not file.is_file():
        pytest.skip("no ../shared beside the checkout")
    return file.read_text()


def test_the_table_is_what_is_documented(reference: str) -> None:
    """Every documented call is in the table, and no other; a DELETE that one edition of one page has is left out."""
    section = reference.split("## 6. Endpoint table")[1].split("\n## 7.")[0]
    rows = re.findall(r"^\| (GET|POST|PUT|DELETE) `([^`]+)` .*$", section, re.MULTILINE)
    documented = {(method, unnamed(path.removeprefix("https://admin.blendr.io"))) for method, path in rows}
    assert ("DELETE", "/accounts/{}") in documented
    # The authenticated list of connectors is referred to, and has no page.
    documented -= {("DELETE", "/accounts/{}"), ("GET", "/connectors")}
    assert {(one.method, unnamed(one.path)) for one in OPERATIONS.values()} == documented


def test_bodies_are_what_is_documented(reference: str) -> None:
    """The members that may be sent are those that the pages list."""
    table = reference.split("### 6.3 Body of PUT")[1].split("\nNot accepted")[0]
    fields = tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert OPERATIONS["blend.update"].body == fields
    for name, members in BODIES.items():
        assert OPERATIONS[name].body == tuple(members.split())
        assert all(f"`{one}`" in reference for one in OPERATIONS[name].body)
    empty = {name for name, one in OPERATIONS.items() if not one.body and one.method in ("POST", "PUT")}
    assert empty == {"account.expire", "blend.update-from-template", "blend.set-inputs"}
    assert [name for name, one in OPERATIONS.items() if one.open_body] == ["blend.set-inputs"]


def test_what_holds_for_all() -> None:
    """One tier, one kind of path, GETs for reading and nothing else for it."""
    for one in OPERATIONS.values():
        assert (one.family, one.tier) == (Family.PLATFORM, 1)
        assert (one.access is Access.READ) is (one.method == "GET")
        assert one.access is not Access.STATE


def table() -> dict[str, list[str]]:
    """Rows of the page by operation."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) == len({row[0] for row in cells})
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_is_the_table() -> None:
    """It lists exactly the operations, each with method, path, status, access and rule, and a call that names it."""
    rows = table()
    assert set(rows) == set(OPERATIONS)
    for name, (method, path, *facts, call, used, _) in rows.items():
        one = OPERATIONS[name]
        host = "https://admin.blendr.io" if one is PUBLIC_LIST else ""
        assert (method, path.strip("`")) == (one.method, host + one.path)
        assert facts == [str(one.success[0]), one.access, one.retry]
        assert call.startswith(f'`client.{"rows" if one.shape == "list" else "call"}("{name}"')
        assert set(re.findall(r"(\w+)=…", call)) - {"body"} == set(one.id_names)
        assert ("body=…" in call) is bool(one.body or one.open_body)
        assert used


def test_the_page_names_commands_and_tests_that_exist() -> None:
    """Each row's test is a function of this suite; what a row says is used by a command names one."""
    suite = "".join(path.read_text() for path in Path(__file__).parent.glob("test_oem_*.py"))
    for *_, used, test in table().values():
        assert f"def {test.strip('`')}(" in suite
        named = {words.split()[0] for words in re.findall(r"`([^`]+)`", used)}
        assert named <= {*COMMANDS, "oem"}
        assert named or used.startswith("Python callers")
    assert "def test_every_call_against_every_fault(" in suite
