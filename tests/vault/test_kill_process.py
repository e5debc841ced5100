"""Real processes, a real disk, a real kill -9 at random instants: no snapshot is lost, and the next run just works."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, field
from process import KEPT, Night, is_held
from stage import Stage

from qlikmigrate.vault.name import CONFIG, SNAPSHOTS
from qlikmigrate.vault.store import open_store

SEED = 20261126
# Some signals come too late: so many are sent at most for each kill.
_TRIES = 4
VERBS = ("backup", "prune", "repack", "repair")


@define
class Ripper:
    """Kills one verb again and again. A process that had ended by itself before the signal came is no kill."""

    night: Night
    folder: Path
    verb: str
    chance: random.Random
    counts: dict[str, int] = field(factory=lambda: {"kills": 0, "lost": 0, "ill": 0, "holding": 0})

    def usual_s(self) -> float:
        """How long the verb takes."""
        self.prepare()
        began = time.monotonic()
        process = self.night.start(*self.night.words(self.verb))
        process.communicate()
        assert process.returncode == 0
        return time.monotonic() - began

    def prepare(self) -> None:
        """Something to do for it."""
        night = self.night
        night.pass_day()
        if self.verb == "prune":
            done = night.stage.cli(*night.words("backup"))
            assert done.code == 0, done.error
            night.let_margin_pass()
        if self.verb == "repair":
            store = open_store(night.location)
            store.delete(self.chance.choice(store.entries(SNAPSHOTS)).name)
            if self.chance.random() < 0.5:
                store.delete(CONFIG)

    def kill(self, number: int, usual_s: float) -> None:
        """Start it, kill it, and look; then run it again, and look."""
        before = self.night.whole()
        self.prepare()
        if self.verb == "prune":
            before = dict([*self.night.whole().items()][-KEPT:])
        process = self.night.start(*self.night.words(self.verb))
        if number % 2:
            # While it holds the lock; else at any instant of its life.
            while not is_held(self.folder) and process.poll() is None:
                time.sleep(0.001)
            time.sleep(self.chance.uniform(0, 0.15))
        else:
            time.sleep(self.chance.uniform(0.2, 1) * usual_s)
        process.kill()
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        self.counts["kills"] += process.returncode == -signal.SIGKILL
        self.counts["holding"] += is_held(self.folder)
        if self.verb != "repair":
            self._look(before)
        began = time.monotonic()
        done = self.night.stage.cli(*self.night.words(self.verb))
        assert done.code == 0, done.error
        # The lock of the dead one holds nobody up.
        assert time.monotonic() - began < 45
        self._look(before)
        self.counts["ill"] += not self.night.healthy()
        assert not is_held(self.folder)

    def _look(self, before: dict[str, str]) -> None:
        now = self.night.whole()
        self.counts["lost"] += sum(now.get(one) != before[one] for one in before)


def rip(
    stage: Stage, verb: str, kills: int, record: Callable[[str, object], None], *, automations: int = 40
) -> dict[str, int]:
    """Kill a verb so often."""
    folder = stage.folder / "vault"
    night = Night(stage, str(folder), automations=automations)
    night.begin()
    ripper = Ripper(night, folder, verb, random.Random(f"{SEED} {verb}"))
    usual_s = ripper.usual_s()
    counts = ripper.counts
    for number in range(kills * _TRIES):
        if counts["kills"] < kills:
            ripper.kill(number, usual_s)
    record("kills", [f"{verb}, kill -9", "local plain", {key: counts[key] for key in ("kills", "lost", "ill")}])
    assert (counts["kills"], counts["lost"], counts["ill"]) == (kills, 0, 0)
    return counts


@pytest.mark.parametrize("verb", VERBS)
def test_a_few_kills(stage: Stage, verb: str, record_property: Callable[[str, object], None]) -> None:
    """The short form: two kills of each verb, one of them while it holds the lock."""
    rip(stage, verb, 2, record_property, automations=10)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_many_kills(stage: Stage, verb: str, record_property: Callable[[str, object], None]) -> None:
    """The long form: a hundred of each, and most of them strike while it is at work."""
    counts = rip(stage, verb, 100, record_property)
    assert counts["holding"] >= 10
