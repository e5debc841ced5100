"""A real process, a real server, a real kill -9 at random instants of a restore into OEM accounts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oem_stage import SECRETS, OemStage, oem_staged

from qlikmigrate.sandbox.oem import OemSwitches

SEED = 20261126
MORE = 24


@pytest.fixture
def stage(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OemStage]:
    """A model account of forty automations, more than half of them scheduled."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with oem_staged(tmp_path, capsys, OemSwitches(per_minute=None)) as made:
        service, partner = made.service, made.partner
        for number in range(MORE):
            name = ("Stock feed", "Status board", "Daily digest")[number % 3]
            sources = [partner.connections[one] for one in ("Warehouse", "Company mail")]
            service.add_blend(partner.model, f"{name} {number}", template=partner.templates[name], datasources=sources)
        (tmp_path / "secrets.toml").write_text(SECRETS)
        (tmp_path / "secrets.toml").chmod(0o600)
        made.backup()
        yield made


def command(stage: OemStage, account: str) -> list[str]:
    return [
        sys.executable, "-m", "qlikmigrate", "restore", str(stage.folder / "a.qma"), f"partner/{account}",
        "--config", str(stage.config), "--run", str(stage.folder / account), "--resume", "--no-progress",
        "--create-account", "--connections", "create", "--secrets", str(stage.folder / "secrets.toml"),
        "--exclude", "uses=Dealer base", "--exclude", "uses=velo-repos", "--allow", "oem-starts-on-install",
    ]  # fmt: skip


def writes(stage: OemStage) -> int:
    return sum(one.method != "GET" for one in list(stage.service.seen))


def kill_once(stage: OemStage, words: list[str], delay_s: float) -> bool:
    """Start, wait for the first write and then for `delay_s`, and kill; whether it was still running."""
    before = writes(stage)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and writes(stage) == before:
        time.sleep(0.002)
    time.sleep(delay_s)
    alive = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if alive else None
    process.wait()
    return alive


def end(stage: OemStage, account: str) -> dict[str, Any]:
    """Let it end, and check: no double, none missing, nothing on, every window measured and none shorter than seen."""
    words = command(stage, account)
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    model, made = stage.service.account("model"), stage.service.account(account)
    dealers = {stage.partner.connections[name] for name in ("Dealer base", "velo-repos")}
    wanted = sorted(
        one.name for one in model.blends.values() if one.template and not dealers & one.links
    )  # fmt: skip
    assert sorted(one.name for one in made.blends.values()) == wanted
    on = {one.name for one in made.blends.values() if one.state == "available" and not one.is_bundle}
    assert on == set(), on
    report = json.loads((stage.folder / account / "report.json").read_text())["install_windows"]
    seen = [one for one in stage.service.windows if one.account == made.guid]
    assert len(seen) == len(list(made.tops()))
    for one in seen:
        assert one.seconds is not None
        assert report["seconds"][one.blend] >= one.seconds
    return dict(report)


def kill_often(stage: OemStage, kills: int, each: int) -> dict[str, Any]:
    chance = random.Random(SEED)
    print(f"seed: {SEED}")
    done, rounds, longest = 0, 0, 0.0
    while done < kills:
        rounds += 1
        account = f"customer-{rounds}"
        words = command(stage, account)
        for _ in range(each):
            if not kill_once(stage, words, chance.uniform(0.0, 0.5)):
                break
            done += 1
        longest = max(longest, end(stage, account)["longest_s"])
    assert not stage.service.undocumented
    figures = {"kills": done, "rounds": rounds, "longest_window_s": longest}
    print(json.dumps(figures))
    return figures


def test_restore_survives_kills(stage: OemStage) -> None:
    """The short form: three kills in one account."""
    kill_often(stage, 3, 3)


@pytest.mark.slow
def test_restore_survives_many_kills(stage: OemStage) -> None:
    """A hundred kills, ten in an account at most."""
    kill_often(stage, 100, 10)


def test_ctrl_c_closes_the_window_first(stage: OemStage) -> None:
    """Interrupted again and again, each time 130: whatever was installed by then is off when the process is gone."""
    chance = random.Random(SEED)
    words = command(stage, "customer")
    for _ in range(2):
        before = writes(stage)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and writes(stage) == before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGINT)
        assert process.wait() in (130, 0)
        assert all(one.end is not None for one in stage.service.windows)
    end(stage, "customer")
