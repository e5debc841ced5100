"""The secrets file: where values come from, who may read it, and that no message shows one."""

from __future__ import annotations

from pathlib import Path

import pytest

from qlikmigrate.config.connection_secrets import read_connection_secrets
from qlikmigrate.kernel.error import UsageError


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secrets.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_values_come_from_text_environment_and_file(tmp_path: Path) -> None:
    """A literal keeps its blanks, a file loses its line end only, and none shows itself."""
    (tmp_path / "pass.txt").write_text(" a b \n", encoding="utf-8")
    path = written(
        tmp_path,
        '[connections."Post office"]\nHost = "smtp.example.com"\nUser = { env = "WHO" }\n'
        'Password = { file = "pass.txt" }\n',
    )
    found = read_connection_secrets(path, {"WHO": "post man"})["Post office"]
    assert {name: value.reveal() for name, value in found.items()} == {
        "Host": "smtp.example.com",
        "User": "post man",
        "Password": " a b ",
    }
    assert "smtp" not in repr(found)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ('[connections.a]\nx = "secret"\n', 0o644, "others can read or write"),
        ('[connections.a]\nx = { env = "WHO" }\n', 0o622, "others can write"),
        ('[connections.a]\nx = { env = "UNSET" }\n', 0o600, "`UNSET` is not set"),
        ('[connections.a]\nx = { command = ["echo", "secret"] }\n', 0o600, "is for the tenants file"),
        ("[connections.a]\nx = 5\n", 0o600, "no secret reference"),
        ('[connections]\na = "secret"\n', 0o600, "must be a table"),
        ('[conections.a]\nx = "secret"\n', 0o600, "conections"),
        ('x = "secret\n', 0o600, "no TOML"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """Each flaw is a usage error that names the place and never the value."""
    with pytest.raises(UsageError) as caught:
        read_connection_secrets(written(tmp_path, text, mode), {"WHO": "x"})
    told = caught.value.message + caught.value.hint
    assert said in told
    assert "secret\n" not in told
    assert '"secret"' not in told


def test_references_alone_may_be_read_by_others(tmp_path: Path) -> None:
    """A file without values is no secret."""
    path = written(tmp_path, '[connections.a]\nx = { env = "WHO" }\n', 0o644)
    assert read_connection_secrets(path, {"WHO": "x"})["a"]["x"].reveal() == "x"


def test_missing_file(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(UsageError, match="nowhere"):
        read_connection_secrets(tmp_path / "nowhere.toml", {})
