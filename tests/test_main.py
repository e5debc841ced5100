"""The front door: what is answered before the command line is loaded."""

from __future__ import annotations

import subprocess
import sys

from qlikmigrate import __version__

_ASK = """
import sys
sys.argv[1:] = ["--version"]
from qlikmigrate.__main__ import main
main()
print(sorted({"asyncio", "attr", "click", "httpx"} & sys.modules.keys()))
"""


def test_the_version_is_told_without_loading_the_command_line() -> None:
    """`--version` loads neither click nor asyncio, which would make it several times slower."""
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"qlikmigrate {__version__}", "[]"]


def test_the_version_is_told_alike_by_the_command_line() -> None:
    """The short way and click's own answer say the same, to the letter."""
    short = subprocess.run([sys.executable, "-m", "qlikmigrate", "--version"], capture_output=True, check=True)
    click = 'from qlikmigrate.cli.app import run; raise SystemExit(run(["--version"]))'
    long = subprocess.run([sys.executable, "-c", click], capture_output=True, check=True)
    assert short.stdout == long.stdout
