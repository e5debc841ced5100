"""The commands that the README and the documentation show do what they are shown to do."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from page_script import PAGES, ROOT, Shell, blocks, commands

from qlikmigrate.cli.app import COMMANDS, app
from qlikmigrate.config.tenants import open_tenant
from qlikmigrate.sandbox import Sandbox

RUN = [page for page in PAGES if commands(page.read_text())]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder for one page."""
    made = Shell(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_command_of_a_page_works(page: Path, shell: Shell) -> None:
    """Each page's console blocks, typed one after the other, end with the code and say the words that it shows."""
    text = page.read_text()
    with Sandbox() as tenants:
        file = shell.folder / "qlikmigrate.toml"
        file.write_text(tenants.tenants_toml())
        file.chmod(0o600)
        for line in commands(text):
            shell.run(line)


def test_the_pages_show_every_command() -> None:
    """No command is without an example that is run."""
    typed = [line.command for page in RUN for line in commands(page.read_text())]
    shown = {word for command in typed for word in re.findall(r"^(?:qlikmigrate |scripts/)(\w+)", command)}
    assert set(COMMANDS) <= shown


def _unrun_commands() -> list[tuple[Path, str]]:
    found = []
    for page in PAGES:
        for tag in ("text", "sh", "bash", "shell", ""):
            for block in blocks(page.read_text(), tag):
                for line in block.replace("\\\n", " ").splitlines():
                    if line.startswith("qlikmigrate ") and "[OPTIONS]" not in line:
                        found.append((page, line))
    return found


@pytest.mark.parametrize(("page", "line"), _unrun_commands(), ids=lambda value: str(value)[-40:])
def test_commands_that_need_a_real_tenant_are_well_formed(page: Path, line: str) -> None:
    """What cannot be run here is at least taken by the command line: command, flags, arguments."""
    _, name, *words = shlex.split(line)
    command = app.get_command(click.Context(app), name)
    assert command is not None, f"{page.name}: no such command: {name}"
    command.make_context(name, words).close()


def test_no_command_hides_from_the_tests() -> None:
    """Lines with a prompt stand in console blocks only."""
    for page in PAGES:
        text = page.read_text()
        run = sum(block.count("\n$ ") + block.startswith("$ ") for block in blocks(text, "console"))
        assert text.count("\n$ ") == run, page.name


@pytest.mark.parametrize("page", ["README.md", "docs/tenants-file.md"])
def test_tenants_files_in_the_docs_are_taken(page: str, tmp_path: Path) -> None:
    """Every tenant of every example is accepted to the last key."""
    examples = [block for block in blocks((ROOT / page).read_text(), "toml") if "[tenants." in block]
    assert examples
    for block in examples:
        file = tmp_path / "tenants.toml"
        file.write_text(block)
        file.chmod(0o600)
        environ = dict.fromkeys(("QLIK_PROD_KEY", "DR_SECRET", "DR_WEB_SECRET", "OEM_KEY"), "key")
        for name in tomllib.loads(block)["tenants"]:
            assert open_tenant(name, str(file), environ).endpoint.url.startswith("https://")
