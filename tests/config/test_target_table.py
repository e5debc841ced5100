"""The table of a clone to many, and where its cells get to: strict reading, cells as data, nothing secret told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from qlikmigrate.config.connection_secrets import read_connection_secrets
from qlikmigrate.config.target_table import read_target_table
from qlikmigrate.config.tenants import open_tenant
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.row import Row, filled

ROW = Row(cells={"target": "t", "host": "acme.eu.qlikcloud.com", "code": "ACME", "empty": "", "odd": "{code}"},
          where="line 2 of t.csv")  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "names no target"),
        (b"target\n\n", "names no target"),
        (b"name\nx\n", "line 1 of {}: no column `target`"),
        (b"target,a,a\nx,1,2\n", "two columns are called `a`"),
        (b"target,\nx,1\n", "a column has no name"),
        (b"target,{a}\nx,1\n", "a brace in the name"),
        (b"target,a\nx\n", "line 2 of {} has 1 cells, the first line 2"),
        (b"target,a\n\nx,1,2\n", "line 3 of {} has 3 cells"),
        (b"target,a\n,1\n", "line 2 of {} names no target"),
        (b'target,a\nx,"1\n', "is no CSV"),
        (b'target,a\nx,"1"2\n', "is no CSV"),
        (b"target\n\xff\n", "is not UTF-8"),
        (b"target;a\nx;1\n", "no column `target`"),
    ],
)
def test_malformed_tables(tmp_path: Path, raw: bytes, said: str) -> None:
    """Each is told with its line."""
    path = tmp_path / "t.csv"
    path.write_bytes(raw)
    with pytest.raises(UsageError) as caught:
        read_target_table(path)
    assert said.format(path) in caught.value.message
    assert (caught.value.code, bool(caught.value.hint)) == ("table", True)


def test_a_missing_table(tmp_path: Path) -> None:
    """Told as it is."""
    with pytest.raises(UsageError, match="cannot read the table"):
        read_target_table(tmp_path / "none.csv")


def test_a_table_of_every_kind_of_cell(tmp_path: Path) -> None:
    """A byte order mark, quotes, commas, line ends of any system, blanks around; lines as an editor counts them."""
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffname , target\r\n"Ärger, GmbH", a \r\n\r\n"two\r\nlines",b\r\n'.encode())
    table = read_target_table(path)
    assert [dict(row.cells) for row in table.rows] == [
        {"name": "Ärger, GmbH", "target": "a"}, {"name": "two\r\nlines", "target": "b"},
    ]  # fmt: skip
    assert table.rows[0].where == f"line 2 of {path}"
    assert "GmbH" not in repr(table)


def test_cells_are_filled_in_once() -> None:
    """`{column}` is its cell, doubled braces are single ones, and a brace in a cell is no placeholder."""
    assert ROW.fill("https://{host}/{{x}}/{odd}{code}", what="x") == "https://acme.eu.qlikcloud.com/{x}/{code}ACME"
    assert filled(None, "{host} {", what="x") == "{host} {"


@given(some.dictionaries(some.text(some.characters(exclude_characters="{}"), min_size=1), some.text(min_size=1)))
def test_any_cell_comes_out_as_it_is(cells: dict[str, str]) -> None:
    """Whatever a cell holds is text."""
    row = Row(cells=cells)
    for column, cell in cells.items():
        assert row.fill("{" + column + "}", what="x") == cell


@given(some.text())
def test_doubled_braces_give_any_text_back(text: str) -> None:
    """Every text can be written."""
    assert ROW.fill(text.replace("{", "{{").replace("}", "}}"), what="x") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{nobody}", "no such column of the table: `nobody`"),
        ("{Code}", "no such column of the table: `Code`"),
        ("{}", "no such column"),
        ("{empty}", "needs column `empty`, which is empty in line 2 of t.csv"),
        ("{code", "a single brace"),
        ("code}", "a single brace"),
    ],
)
def test_what_cannot_be_filled(text: str, said: str) -> None:
    """Told with its place; of a secret text not even a name is shown."""
    with pytest.raises(UsageError) as caught:
        ROW.fill(text, what="`url`")
    assert said in caught.value.message
    assert caught.value.message.startswith("`url`")
    with pytest.raises(UsageError) as caught:
        ROW.fill("hunter2{nobody}", what="`Password`", secret=True)
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert "nobody" not in caught.value.message + caught.value.hint


def test_a_tenants_table_takes_cells(tmp_path: Path) -> None:
    """Address, client and where the secret is; a row's own table of another kind stays untouched."""
    path = tmp_path / "tenants.toml"
    path.write_text(
        '[tenants.t]\nurl = "https://{host}"\n'
        'oauth = { client_id = "{code}-id", client_secret = { env = "SECRET_{code}" } }\n'
        'impersonation = { client_id = "web", client_secret = { file = "{code}.txt" } }\n'
        '[tenants.plain]\nurl = "http://127.0.0.1:1"\napi_key = "a{code}"\n'
    )
    path.chmod(0o600)
    (tmp_path / "ACME.txt").write_text("web-secret\n")
    endpoint = open_tenant("t", str(path), {"SECRET_ACME": "m2m-secret"}, row=ROW).endpoint
    assert endpoint.url == "https://acme.eu.qlikcloud.com"
    assert endpoint.credentials.client_id == "ACME-id"  # type: ignore[union-attr]
    assert endpoint.credentials.client_secret.reveal() == "m2m-secret"  # type: ignore[union-attr]
    assert endpoint.impersonation is not None
    assert endpoint.impersonation.client_secret.reveal() == "web-secret"
    # A literal is the secret itself.
    assert open_tenant("plain", str(path), {}, row=ROW).endpoint.credentials.key.reveal() == "a{code}"  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="`SECRET_ACME` is not set"):
        open_tenant("t", str(path), {}, row=ROW)


def test_connection_secrets_take_cells(tmp_path: Path) -> None:
    """References and literals; without a row a brace is a brace."""
    path = tmp_path / "secrets.toml"
    path.write_text(
        '[connections.mail]\nHost = "smtp.{code}.example"\nUser = { env = "USER_{code}" }\nPassword = "p{{w}}"\n'
    )
    path.chmod(0o600)
    found = read_connection_secrets(path, {"USER_ACME": "u"}, row=ROW)["mail"]
    assert {key: one.reveal() for key, one in found.items()} == {
        "Host": "smtp.ACME.example", "User": "u", "Password": "p{w}",
    }  # fmt: skip
    plain = read_connection_secrets(path, {"USER_{code}": "u"})["mail"]
    assert (plain["Host"].reveal(), plain["Password"].reveal()) == ("smtp.{code}.example", "p{{w}}")
