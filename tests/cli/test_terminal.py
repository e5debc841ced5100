"""On a terminal: bars while it takes long, none left behind, none where every step is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from stage import Stage, document

from qlikmigrate.sandbox import Delay, Fault

pty = pytest.importorskip("pty", reason="no terminals here")
termios = pytest.importorskip("termios", reason="no terminals here")


NAMES = ("one", "two", "three", "four", "five")


def on_terminal(stage: Stage, *words: str) -> str:
    """What a terminal shows of a command."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "qlikmigrate", *words, "--config", str(stage.config)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=stage.folder) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        os.close(ours)
        assert process.wait(30) == 0, shown
    return shown.decode()


def test_bars(stage: Stage) -> None:
    """Slow phases have a bar that is taken away; `--no-progress`, `--quiet` and `--verbose` have none."""
    for name in NAMES:
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    for name in NAMES:
        slow = Fault(effect=Delay(0.2), path=f"*/automations/{stage.source.one(name)['id']}", times=None)
        stage.source.tenant.faults.append(slow)
    stage.config.write_text(stage.config.read_text().replace("timeout_seconds = 5", "concurrency = 1"))
    shown = on_terminal(stage, "backup", "source", "-o", "a.qma")
    assert "read automations:" in shown
    assert "/5 [" in shown
    last = shown.rstrip("\r\n").rpartition("\n")[2].rpartition("\r")[2]
    assert last.startswith("complete: 5 of 5 automations")
    stage.source.tenant.faults.clear()
    for flag in ("--no-progress", "--quiet", "--verbose"):
        assert "%|" not in on_terminal(stage, "backup", "source", "-o", "a.qma", "--force", flag)
