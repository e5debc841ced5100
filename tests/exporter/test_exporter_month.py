"""Many nights of a tenant that lives: no night takes over what is no longer true."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nights import Night, Nights, nights
from stage import document, text_block

from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import Status

NIGHTS = 30


class Life:
    """People at work on a tenant. Notes every state that an automation is in while a backup runs."""

    def __init__(self, here: Nights, chance: random.Random, closed: str) -> None:
        self.here = here
        self.chance = chance
        self.closed = closed
        self.states: dict[str, list[Any]] = {}

    def look(self) -> None:
        """Note the state of everything."""
        for ident in self.here.ids:
            now = self.here.stored(ident)
            if now not in self.states.setdefault(ident, []):
                self.states[ident].append(now)

    def work(self) -> None:
        """One thing happens."""
        here, people = self.here, self.here.motion.stage.source.users
        one = self.chance.choice([ident for ident in here.ids if ident != self.closed])
        is_on = here.tenant.automations[one]["state"] == "available"
        word = f"{self.chance.getrandbits(32):x}"
        deeds: list[Callable[[], Any]] = [
            lambda: here.motion.create(f"new {word}"),
            lambda: here.motion.rename(one, word),
            lambda: here.tenant.replace_workspace(one, document("x", text_block(1, word))["workspace"]),
            lambda: here.tenant.run(one) if is_on else None,
            lambda: here.act(one, "change-owner", {"userId": people[self.chance.choice(["ben", "cleo"])]}),
            lambda: here.act(one, self.chance.choice(["enable", "disable"])),
            lambda: here.motion.delete(one),
        ]
        self.chance.choice(deeds)()
        self.look()

    def night(self, accepted: frozenset[str]) -> Night:
        """A backup while people work: before its lists, and between its documents."""
        self.states.clear()
        self.look()
        for number in (1, 2, 3):
            for _ in range(self.chance.randrange(3)):
                self.here.motion.at_list(number, self.work)
        for ident in self.chance.sample(self.here.ids, 5):
            self.here.motion.at_detail(ident, self.work)
        return self.here.backup(accept_unreadable=accepted)


@pytest.mark.parametrize("seed", range(3))
def test_a_month_of_nights(tmp_path: Path, seed: int) -> None:
    """Thirty nightly backups of a tenant at work, one automation never readable: each honest, none stale, all thrifty.

    Honest: whole, or incomplete by exactly that one. Not stale: each document is one that the tenant had in that very
    night. Thrifty: the month costs less than half of what backups cost that know of nothing.
    """
    chance = random.Random(seed)
    with nights(tmp_path, list_workspace=seed == 1, updates_on_state=seed != 2) as here:
        closed = here.seed(60)[7]
        here.tenant.faults.append(Fault(path=f"*/{closed}", effect=Status(code=403), times=None))
        here.tick_s = 0.02
        life = Life(here, chance, closed)
        read = captured = 0
        for number in range(NIGHTS):
            accepted = frozenset([closed] if number % 2 else [])
            before = set(here.ids)
            night = life.night(accepted)
            taken = night.taken
            assert [note.id for note in taken.manifest.unreadable] == [closed]
            assert not taken.manifest.missing
            assert taken.manifest.complete is bool(accepted)
            assert taken.ids(taken.carried) == {closed}
            details = taken.details()
            assert before & set(here.ids) <= details.keys() | {closed}
            for ident, one in details.items():
                assert parse(one.raw) in life.states[ident]
            assert all(taken.capture.started_at - one.read_at < timedelta(days=7) for one in taken.readings.values())
            if number:
                read += len(night.asked_of(details))
                captured += len(details)
            for _ in range(chance.randrange(6)):
                here.clock.advance(3600)
                life.work()
            here.clock.advance(chance.choice([6, 18, 24]) * 3600)
        assert read < captured / 2


STEP = st.tuples(
    st.sampled_from(["edit", "rename", "run", "delete", "create", "state", "owner", "token"]),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.5, 1.5, 3.0, 3600.0]),
)
NIGHT = st.tuples(st.lists(STEP, max_size=6), st.sampled_from([0.0, 1.0, 3600.0, 86_400.0, 3 * 86_400.0, 8 * 86_400.0]))


def apply(here: Nights, deed: str, index: int, word: str) -> None:
    """One change, of the automation at `index`."""
    ids = here.ids
    if deed == "create" or not ids:
        here.motion.create(word)
        return
    ident = ids[index % len(ids)]
    match deed:
        case "edit":
            here.tenant.replace_workspace(ident, document("x", text_block(1, word))["workspace"])
        case "rename":
            here.motion.rename(ident, word)
        case "run":
            if here.tenant.automations[ident]["state"] == "available":
                here.tenant.run(ident)
        case "delete":
            here.motion.delete(ident)
        case "state":
            state = here.tenant.automations[ident]["state"]
            here.act(ident, "enable" if state == "disabled" else "disable")
        case "owner":
            owner = here.tenant.automations[ident]["ownerId"]
            users = here.motion.stage.source.users
            here.act(ident, "change-owner", {"userId": users["ben" if owner == users["cleo"] else "cleo"]})
        case _:
            record = here.record(ident)
            record.token = f"{word:x<64}"
            record.touch()
            here.tenant._realm.changed()


@settings(max_examples=60, deadline=None)
@given(st.lists(NIGHT, min_size=1, max_size=5), st.booleans(), st.booleans(), st.booleans())
def test_each_night_equals_a_full_backup(plan: list[Any], filled: bool, bumped: bool, dates: bool) -> None:
    """Whatever happened between the nights, and however close to them: same content, same manifest as reading all."""
    with (
        tempfile.TemporaryDirectory() as folder,
        nights(Path(folder), list_workspace=filled, updates_on_state=bumped, dates=dates) as here,
    ):
        for number in range(8):
            here.motion.create(f"A{number}")
        here.backup()
        words = iter(range(1000))
        for steps, pause_s in plan:
            here.clock.advance(pause_s)
            for deed, index, gap_s in steps:
                apply(here, deed, index, f"word {next(words)}")
                here.clock.advance(gap_s)
            taken, full = here.backup().taken, here.full()
            assert taken.content() == full.content()
            assert taken.manifest == full.manifest
            for ident, one in taken.details().items():
                assert parse(one.raw) == here.stored(ident)
                assert taken.readings[Kind.AUTOMATION, ident].read_at <= here.clock.now()
