"""A real process, a real server, a real kill -9 at random instants: the restore ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import DAILY, Stage, call_block, document

AUTOMATIONS = 300
SEED = 20261122
# A lost create is looked for again one request timeout later.
FAST = "[tenants.target.limits]\ntier1_per_minute = 100000\ntier2_per_minute = 100000\ntimeout_seconds = 2"


def fill(stage: Stage) -> None:
    """300 automations: a third can fire by itself, a third calls its neighbour, pairs of cycles among them."""
    tenant, owners = stage.source.tenant, [stage.source.users[first] for first in ("ben", "cleo")]
    last = ""
    for number in range(AUTOMATIONS):
        name, owner = f"automation {number:03}", owners[number % 2]
        if number % 3 == 0:
            given = document(name, mode="scheduled", schedules=[DAILY])
        elif number % 3 == 1:
            given = document(name, call_block(1, last))
        else:
            given = document(name)
        last = tenant.add_automation(given, owner)


def command(stage: Stage, run: str) -> list[str]:
    return [
        sys.executable, "-m", "qlikmigrate", "restore", str(stage.folder / "a.qma"), "target", "--no-progress",
        "--config", str(stage.config), "--run", str(stage.folder / run), "--resume",
        "--ledger", str(stage.folder / f"{run}.jsonl"),
    ]  # fmt: skip


def restore_killed(stage: Stage, run: str, instants: list[float]) -> int:
    """Restore, killed after each of `instants` seconds, then left alone; the final exit code."""
    words = command(stage, run)
    for instant in instants:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(instant)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def check(stage: Stage) -> None:
    """No double, none missing, everything whole, nothing ever enabled and armed."""
    made = [one for one in stage.target.tenant.automations.values() if one["name"].startswith("automation ")]
    names = [one["name"] for one in made]
    assert len(names) == len(set(names)) == AUTOMATIONS
    by_name = {one["name"]: one for one in made}
    for one in made:
        assert one["description"] == f"{one['name']}, described"
        assert one["state"] == ("disabled" if int(one["name"][-3:]) % 3 == 0 else "available")
        if int(one["name"][-3:]) % 3 == 1:
            callee = one["workspace"]["blocks"][1]["inputs"][0]["value"]
            assert callee == by_name[f"automation {int(one['name'][-3:]) - 1:03}"]["id"]
    assert not stage.target.tenant.armed_while_enabled


def kill_often(stage: Stage, kills: int) -> None:
    chance = random.Random(SEED)
    print(f"seed: {SEED}")
    fill(stage)
    stage.backup()
    stage.write_config(extra_target=FAST)
    instants = [chance.uniform(0.2, 2.5) for _ in range(kills)]
    assert restore_killed(stage, "run", instants) == 0
    check(stage)


def test_restore_survives_kills(make_stage: Callable[..., Stage]) -> None:
    """The short form: five kills in one restore of 300 automations."""
    kill_often(make_stage(), 5)


def test_restore_stops_on_its_budget_and_on_a_signal(make_stage: Callable[..., Stage]) -> None:
    """A spent time budget ends with 21, Ctrl-C with 130, both resumable to the undisturbed end."""
    stage = make_stage()
    fill(stage)
    stage.backup()
    stage.write_config(extra_target=FAST)
    words = command(stage, "run")
    for budget in ("1s", "2s", "4s"):
        spent = subprocess.run([*words, "--time-budget", budget], stderr=subprocess.DEVNULL, check=False)
        assert spent.returncode == 21
        if stage.target.tenant.automations:  # a busy machine may need longer than that to begin
            break
    assert 0 < len(stage.target.tenant.automations) < AUTOMATIONS
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    check(stage)


@pytest.mark.slow
def test_restore_survives_many_kills(make_stage: Callable[..., Stage], tmp_path: Path) -> None:
    """200 kills, in rounds of ten; each round restores into a fresh target."""
    chance = random.Random(SEED)
    counts = {"rounds": 0, "kills": 0, "doubles": 0, "missing": 0}
    for _ in range(20):
        stage = make_stage()
        fill(stage)
        stage.backup()
        stage.write_config(extra_target=FAST)
        run = f"run-{counts['rounds']}"
        assert restore_killed(stage, run, [chance.uniform(0.2, 2.5) for _ in range(10)]) == 0
        check(stage)
        counts["rounds"] += 1
        counts["kills"] += 10
    print(json.dumps(counts))
