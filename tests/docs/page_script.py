"""The commands of a page of documentation, and the folder in which they are run.

Blocks tagged `console` are run, in order, page by page. A line that begins with `$ ` is a command; `  # exit N` at its
end is the code it must end with, else 0. The lines below a command are parts of its output: digits do not count, and
`…` stands for what is left out. A page finds `qlikmigrate.toml` with two embedded tenants in its folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"  # exit (\d+)$")
_SCRIPT = re.compile(r"scripts/\w+")
_SANDBOX = re.compile(r"qlikmigrate sandbox\b.* > (\S+)$")
_TIMEOUT_S = 120


@frozen
class Line:
    """One command, the code it must end with, and what must be in its output, in order."""

    command: str
    exit_code: int
    output: tuple[str, ...]


def blocks(text: str, tag: str) -> list[str]:
    """The fenced blocks of a page that carry a tag."""
    return [body for found, body in _FENCE.findall(text) if found == tag]


def commands(text: str) -> list[Line]:
    """All commands of a page, in order."""
    return [line for block in blocks(text, "console") for line in _lines(block)]


def _lines(block: str) -> Iterator[Line]:
    # A script's output may itself show commands, so a block that begins with a script is that one command.
    command, output = "", []
    for line in block.splitlines():
        if line.startswith("$ ") and not _SCRIPT.match(command):
            if command:
                yield _line(command, output)
            command, output = line[2:], []
        elif command:
            output.append(line)
        else:
            raise AssertionError(f"a console block begins with output: {line}")
    yield _line(command, output)


def _line(command: str, output: list[str]) -> Line:
    match = _EXIT.search(command)
    return Line(command[: match.start()] if match else command, int(match[1]) if match else 0, tuple(output))


class Shell:
    """Runs a page's commands in one folder, with a home of its own and `qlikmigrate` on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "page"
        self.folder.mkdir()
        tools = folder / "tools"
        tools.mkdir()
        for name, words in (("qlikmigrate", "-m qlikmigrate"), ("python", "")):
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            tool.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if key in ("LANG", "LC_ALL", "TMPDIR")}
        self._environ = kept | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            **{name: str(folder / name) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")},
        }
        self._served: list[subprocess.Popen[str]] = []

    def run(self, line: Line) -> None:
        """Run one command and compare; `sandbox` goes on serving until `close`."""
        serve = _SANDBOX.match(line.command)
        if serve:
            self._serve(line.command.split(" --port")[0].split(" > ")[0], serve[1])
            return
        command, where = line.command, self.folder
        if _SCRIPT.match(command):
            command, where = self._script(command), self.folder if command == "scripts/demo" else ROOT
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=where,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = done.stdout + done.stderr
        assert done.returncode == line.exit_code, f"`{line.command}` ended with {done.returncode}:\n{said}"
        _compare(line, said)

    def _serve(self, command: str, file: str) -> None:
        with (self.folder / file).open("w") as out:
            process = subprocess.Popen(
                command.split(), cwd=self.folder, env=self._environ, stdout=out, stderr=subprocess.PIPE, text=True
            )
        self._served.append(process)
        assert process.stderr is not None
        # It says so once the tenants file is written and connections are accepted.
        assert "serving" in process.stderr.readline()

    def _script(self, command: str) -> str:
        """What a script runs in the environment that it makes first; the tests are only collected, not run again."""
        path = ROOT / command
        assert os.access(path, os.X_OK), f"{command} is not executable"
        ran = path.read_text().splitlines()[-1].removeprefix("exec ").removesuffix(' "$@"')
        return f"{ran} --collect-only -q tests/docs" if "pytest" in ran else ran

    def close(self) -> None:
        """End what is still serving."""
        for process in self._served:
            process.terminate()
            process.communicate(timeout=_TIMEOUT_S)
            assert process.returncode == 0, "the sandbox did not end in peace"


def _masked(text: str) -> str:
    return re.sub(r"[\d,]*\d", "#", text)


def _compare(line: Line, said: str) -> None:
    """Each line of output that the page shows stands in what was said, after the one before it."""
    text, place = _masked(said), 0
    for shown in line.output:
        for piece in _masked(shown).split("…"):
            if piece.strip():
                found = text.find(piece.strip(), place)
                # stderr comes after stdout here, while a reader's terminal mixes them.
                assert found >= 0, f"`{line.command}` does not say (any more, or in this order): {shown}\n{said}"
                place = found + len(piece.strip())
