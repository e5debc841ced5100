"""Ctrl-C, a termination, a spent time budget: nothing half-done is seen, the lock is free, and the code says which."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from night import Town, check, nights
from stage import Stage, document, text_block

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault import Vault
from qlikmigrate.vault.lock import acquire
from qlikmigrate.vault.name import SNAPSHOTS
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.repair import repair
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import LocalStore, MemoryStore
from qlikmigrate.vault.verification import verify_vault

_PATIENCE_S = 60.0


class EnoughError(Exception):
    """The time is over."""


def stopping(at: int) -> Callable[[], None]:
    """A watch that stops the work when it is asked the `at`th time (from 0)."""
    asked = -1

    def watch() -> None:
        nonlocal asked
        asked += 1
        if asked == at:
            raise EnoughError

    return watch


def test_a_backup_stops_between_any_two_steps(clock: ManualClock) -> None:
    """Wherever it is stopped: no snapshot, a free lock, and the next backup is whole."""
    town = Town(automations=5)
    town.pass_night()
    at = 0
    while True:
        store = MemoryStore()
        vault = Vault.create(store, clock=clock)
        states = nights(vault, 1, Town(automations=5))
        try:
            with vault.writer(watch=stopping(at)) as writer:
                town.write(writer)
            break
        except EnoughError:
            acquire(store, clock=clock, wait_s=0).release()
            check(Vault.open(store, clock=clock), states)
            assert verify_vault(vault).ok
            town.back_up(Vault.open(store, clock=clock))
            check(Vault.open(store, clock=clock), [*states, town.state()])
        at += 1
    assert at > 8


def test_upkeep_stops_between_any_two_steps(clock: ManualClock) -> None:
    """Prune, repack and repair: what was there is whole, the lock is free, and another run comes to the same end."""
    stops = 0
    for kind in ("prune", "repack", "repair"):
        for at in range(0, 60, 3):
            store = MemoryStore()
            own = ManualClock(clock.now())
            vault = Vault.create(store, clock=own)
            states = nights(vault, 3, Town(automations=4))
            if kind == "repair":
                store.delete(store.entries(SNAPSHOTS)[0].name)
            if kind == "prune":
                with vault.lock() as lock:
                    prune(vault, lock, plan_prune(vault, Policy(last=1)))
                own.advance(MARGIN.total_seconds() + 60)
                states = states[-1:]

            def work(watch: Callable[[], None] = lambda: None, vault: Vault = vault, kind: str = kind) -> None:
                vault.refresh()
                with vault.lock(watch=watch, wait_s=0) as lock:
                    if kind == "prune":
                        prune(vault, lock, plan_prune(vault, Policy(last=1)))
                    elif kind == "repack":
                        repack(vault, lock)
                    else:
                        repair(vault, lock)

            try:
                work(stopping(at))
            except EnoughError:
                stops += 1
                if kind != "repair":
                    check(Vault.open(store, clock=own), states)
                work()
                check(Vault.open(store, clock=own), states)
                assert verify_vault(vault).ok
                continue
            break
    assert stops > 12


def fill(stage: Stage, many: int = 20) -> None:
    """So many automations."""
    for number in range(many):
        given = document(f"automation {number:03}", text_block(1, f"text {number} " * 20))
        stage.source.tenant.add_automation(given, stage.source.users["ben"])


def backup(stage: Stage, *more: str) -> subprocess.Popen[bytes]:
    """A backup into the vault, under way."""
    words = ["backup", "source", "--vault", "vault", "--json", "--config", str(stage.config), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "qlikmigrate", *words], cwd=stage.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def await_waiting(process: subprocess.Popen[bytes]) -> None:
    """Until it waits for the lock."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        if b"wait for" in line:
            return
    raise AssertionError("it did not wait")


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "interrupted"), (None, "time-budget-spent")]
)
def test_a_backup_that_waits_for_the_vault_can_be_stopped(
    stage: Stage, how: signal.Signals | None, code: str, tmp_path: Path
) -> None:
    """It has read the tenant and another writer holds the vault: it ends at once all the same, without a trace."""
    fill(stage, 3)
    assert stage.cli("backup", "source", "--vault", "vault", "--init").code == 0
    store = LocalStore(tmp_path / "vault")
    with acquire(store):
        process = backup(stage, *([] if how else ["--time-budget", "4s"]))
        if how is not None:
            await_waiting(process)
            process.send_signal(how)
        began = time.monotonic()
        out, err = process.communicate(timeout=_PATIENCE_S)
        assert time.monotonic() - began < 20
    assert json.loads(out.splitlines()[-1])["error"]["code"] == code
    assert (process.returncode, err) == (130 if how else 21, b"")
    assert len(store.entries(SNAPSHOTS)) == 1
    assert list((tmp_path / "vault").glob(".*")) == []
    acquire(store, wait_s=0).release()


def test_upkeep_that_waits_for_the_vault_can_be_stopped(stage: Stage, tmp_path: Path) -> None:
    """The same for prune, repack and repair: 130 by Ctrl-C, 21 by the budget."""
    fill(stage, 3)
    assert stage.cli("backup", "source", "--vault", "vault", "--init").code == 0
    with acquire(LocalStore(tmp_path / "vault")):
        for words in (["prune", "--keep-last", "1", "--yes"], ["repack"], ["repair"]):
            spent = stage.cli(words[0], "vault", *words[1:], "--time-budget", "1s")
            assert (spent.code, spent.error["code"]) == (21, "time-budget-spent")
        process = subprocess.Popen(
            [sys.executable, "-m", "qlikmigrate", "repack", "vault", "--json"], cwd=tmp_path, stdout=subprocess.PIPE
        )
        await_waiting(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_PATIENCE_S)
        assert process.returncode == 130
    assert stage.cli("repack", "vault").code == 0
