"""The program as a process: signals, pipes, streams that fail, other languages, and the two that stay or tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stage import Stage, document

from qlikmigrate.sandbox import Delay, Fault

PROGRAM = [sys.executable, "-m", "qlikmigrate"]
_PATIENCE_S = 120


def call(*words: str | Path, cwd: Path, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*PROGRAM, *map(str, words)], cwd=cwd, capture_output=True, timeout=_PATIENCE_S, check=False, **more
    )


@contextmanager
def running(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program while it runs."""
    with subprocess.Popen(
        [*PROGRAM, *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(ready: Callable[[], bool]) -> None:
    """Until it is so, for a bounded time."""
    until = time.monotonic() + _PATIENCE_S
    while not ready():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_no_file(stage: Stage, number: signal.Signals) -> None:
    """130, a summary, nothing beside what was there before."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.source.tenant.faults.append(Fault(effect=Delay(4), path="/api/v1/spaces", times=None))
    words = ("backup", "source", "-o", "a.qma", "--json", "--config", stage.config)
    with running(*words, cwd=stage.folder) as process:
        wait_for(lambda: any("/automations" in seen.path for seen in stage.source.tenant.seen))
        process.send_signal(number)
        out, err = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130
    summary = json.loads(out.splitlines()[-1])
    assert (summary["type"], summary["error"]["code"]) == ("summary", "interrupted")
    assert err == b""
    assert [path.name for path in stage.folder.iterdir()] == ["tenants.toml"]


def test_an_interrupted_restore_goes_on(stage: Stage) -> None:
    """130 with the run named and a hint; --resume ends it and doubles nothing."""
    for name in ("one", "two", "three"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    stage.backup()
    slow = Fault(effect=Delay(4), method="POST", path="*/automations", nth=2, times=None)
    stage.target.tenant.faults.append(slow)
    words = ("restore", "a.qma", "target", "--run", "run", "--config", stage.config)
    with running(*words, cwd=stage.folder) as process:
        wait_for(lambda: len(stage.target.tenant.automations) >= 1)
        wait_for(lambda: (stage.folder / "run" / "journal.jsonl").read_text().count('"intent"') >= 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130
    assert err.decode().splitlines()[-2:] == [
        "error: interrupted", "  hint: --run run --resume goes on where it stopped"
    ]  # fmt: skip
    stage.target.tenant.faults.clear()
    resumed = stage.cli("restore", "a.qma", "target", "--run", "run", "--resume")
    assert resumed.code == 0, resumed.error
    assert sorted(stage.target.by_name()) == ["one", "three", "two"]


def test_a_reader_that_goes_away(stage: Stage) -> None:
    """`| head -1`: one line, no traceback, no complaint."""
    for number in range(30):
        stage.source.tenant.add_automation(document(f"{number:03} {'x' * 3000}"), stage.source.users["ben"])
    stage.backup()
    for flags in ([], ["--json"]):
        with running("list", "a.qma", *flags, cwd=stage.folder) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().count(b"000 x") == 1
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(_PATIENCE_S) == 0


def test_a_full_disk_behind_stdout(stage: Stage) -> None:
    """Data that could not be written is no success."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    for words in (["cat", "a.qma", "one"], ["list", "a.qma"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*PROGRAM, *words], cwd=stage.folder, stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 1
        assert done.stderr.decode() == "error: cannot write to standard output: No space left on device\n"


def test_other_alphabets(stage: Stage) -> None:
    """Where the terminal knows ASCII only, names are spelled out and JSON is UTF-8 all the same."""
    stage.source.tenant.add_automation(document("Ärenden 価格"), stage.source.users["ben"])
    stage.backup()
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    people = call("list", "a.qma", cwd=stage.folder, env=environ)
    assert (people.returncode, people.stderr) == (0, b"")
    assert b"\\xc4renden \\u4fa1\\u683c" in people.stdout
    machines = call("list", "a.qma", "--json", cwd=stage.folder, env=environ)
    assert json.loads(machines.stdout.splitlines()[0])["name"] == "Ärenden 価格"


def test_sandbox(tmp_path: Path) -> None:
    """Its tenants file works as printed, partners included; a taken port is 2; Ctrl-C ends it with 0."""
    tenants = tmp_path / "t.toml"
    words = [*PROGRAM, "sandbox", "--oem"]
    with tenants.open("wb") as file, subprocess.Popen(words, cwd=tmp_path, stdout=file) as process:
        try:
            wait_for(lambda: "[tenants.partner-b]" in tenants.read_text())
            tenants.chmod(0o644)
            done = call("clone", "source", "target", "--config", tenants, "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stdout[-1000:]
            done = call("backup", "partner", "-o", "p.qma", "--config", tenants, "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stdout[-1000:]
            port = tenants.read_text().partition("127.0.0.1:")[2].partition('"')[0]
            taken = call("sandbox", "--port", port, "--json", cwd=tmp_path)
            assert taken.returncode == 2
            assert "--port" in json.loads(taken.stdout)["error"]["hint"]
            process.send_signal(signal.SIGINT)
            assert process.wait(_PATIENCE_S) == 0
        finally:
            process.kill()


def test_demo(tmp_path: Path) -> None:
    """The whole story ends with 0, tells its steps, and leaves the files it names."""
    done = call("demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-1000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["type"] == "summary"
    told = "\n".join(line["message"] for line in lines[:-1])
    for command in ("backup", "verify", "plan", "apply", "restore", "drill"):
        assert f"$ qlikmigrate {command} " in told
    assert "Nothing that starts by itself was enabled" in told
    (place,) = (tmp_path / "qlikmigrate-demo").iterdir()
    for name in ("source.qma", "plan.json", "run/report.md", "run/runbook.md", "run/ids.csv", "vault/vault.json"):
        assert (place / name).stat().st_size > 0
