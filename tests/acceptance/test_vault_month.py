"""A month of nightly backups of a tenant at work, by the commands of a crontab: honest, thrifty, restorable, tidied."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from attrs import define, evolve, field
from month import FIRST_NIGHT, Books, Night, People, asked, asked_ids, kept_by_rules, listed
from motion import Motion
from stage import MAIL, Ended, Stage, set_clock, staged

from qlikmigrate.archive import KeyFile, Opener
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import received
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import BotConnections, Fault
from qlikmigrate.sandbox.fault import Status
from qlikmigrate.sandbox.tenant import Seen
from qlikmigrate.vault import Vault

# Nights and automations. The short form ends the night after the last thing that happens but once.
SHORT = (22, 18)
LONG = (31, 28)
CONNECTIONS = 4
RULES = ("--keep-daily", "4", "--keep-weekly", "3")
# What happens in which night, counted from 0. The first is a Sunday.
WITHHELD_FROM = 5
ACCEPTED_FROM = 7
DOWN, BROKEN, REFUSED, MISSED = 9, 12, 16, 18
REPACKED, DRILLED, CHOSEN, COPIED, TAKEN_IN = 20, 15, 10, 2, 11
BUSY = {3, 8, 14, 21, 23, 27}
DAY_S = 86_400
IDENTITY = pyrage.x25519.Identity.generate()


@define
class Story:
    """The vault, what is known of every night, and the figures."""

    stage: Stage
    people: People
    books: Books
    sealed: bool
    nights: list[Night] = field(factory=list)
    requests: Counter[str] = field(factory=Counter)
    sizes: list[int] = field(factory=list)

    @property
    def clock(self) -> ManualClock:
        return self.people.clock

    @property
    def path(self) -> Path:
        return self.stage.folder / "vault"

    @property
    def keys(self) -> tuple[str, ...]:
        """What a reader needs besides; the backup host has none of it."""
        return ("--identity", str(self.stage.folder / "key.txt")) if self.sealed else ()

    @property
    def writers(self) -> tuple[str, ...]:
        return ("--recipient", str(IDENTITY.to_public())) if self.sealed else ()

    def vault(self) -> Vault:
        """Read past the command line."""
        return Vault.open(
            self.path,
            opening=Opener([KeyFile(content=Secret(str(IDENTITY)), where="the test")]) if self.sealed else None,
            clock=self.clock,
        )

    def cli(self, *words: object) -> Ended:
        return self.stage.cli(*[str(word) for word in words])

    def size(self) -> int:
        """Bytes of all packs."""
        return sum(file.stat().st_size for file in (self.path / "packs").iterdir())

    def backup(self) -> tuple[Ended, list[Seen]]:
        """The nightly backup, and all that the server was asked for."""
        tenant = self.people.tenant
        self.people.motion.lists = 0
        first = len(tenant.seen)
        ended = self.cli("backup", "source", "--vault", self.path, "--init", *self.writers)
        seen = [one for one in tenant.seen[first:] if one.method == "GET"]
        self.people.motion._at_list.clear()
        return ended, seen

    def keep(self, number: int, ended: Ended, seen: list[Seen], lost: set[str]) -> None:
        """A snapshot was left: note what it must hold."""
        newest = json.loads(sorted((self.path / "snapshots").iterdir())[-1].read_bytes())
        assert ended.summary["archive"] == f"{self.path}@{newest['id']}"
        at = self.clock.now()
        night = Night(number, newest["id"], at, bool(newest["complete"]), self.people.state(), frozenset(lost), ended)
        self.nights.append(night)
        self.books.close(seen, lost)
        self.check(night)

    def check(self, night: Night) -> None:
        """A snapshot is what the tenant held in its night, to the member."""
        vault = self.vault()
        snapshot = vault.snapshot(vault.find(night.id, allow_incomplete=True))
        found = {
            ident: json.loads(snapshot.detail(Kind.AUTOMATION, ident).raw) for ident in snapshot.ids(Kind.AUTOMATION)
        }
        assert found == {ident: one for ident, one in night.state.items() if ident not in night.lost}
        rows = {row.id: json.loads(received(row)) for row in snapshot.rows(Kind.AUTOMATION)}
        assert {ident: row["name"] for ident, row in rows.items()} == {
            ident: one["name"] for ident, one in night.state.items()
        }
        assert snapshot.manifest.complete is night.complete

    def live(self) -> list[Night]:
        """The nights whose snapshots are listed, oldest first."""
        rows = self.cli("list", self.path).of("item")
        ids = [row["id"] for row in rows]
        return [one for one in self.nights if one.id in ids]

    def prune(self) -> None:
        """The weekly one: what the rules say stays, and nothing else."""
        before = self.live()
        wanted = kept_by_rules(before, daily=4, weekly=3)
        shown = self.cli("prune", self.path, *RULES, "--dry-run")
        decided = {row["id"]: row["keep"] for row in shown.of("item") if row["kind"] == "snapshot"}
        assert {ident for ident, stays in decided.items() if stays} == wanted
        assert {one.id for one in before} <= decided.keys()
        assert self.live() == before
        ended = self.cli("prune", self.path, *RULES, "--yes")
        assert ended.code == 0, ended.error
        assert {one.id for one in self.live()} == wanted
        self.sizes.append(self.size())


@contextmanager
def story(
    folder: Path, capture: Any, monkeypatch: pytest.MonkeyPatch, *, sealed: bool, automations: int
) -> Iterator[Story]:
    """The tenant before the first night."""
    clock = ManualClock(FIRST_NIGHT - timedelta(days=1))
    set_clock(monkeypatch, clock)
    monkeypatch.chdir(folder)
    with staged(folder, capture, clock=clock, bot_connections=BotConnections.READ) as stage:
        # Where the machine is busy no request may be sent twice: they are counted.
        limits = "timeout_seconds = 60, tier1_per_minute = 100000"
        text = stage.config.read_text().replace("timeout_seconds = 5", limits)
        stage.config.write_text(text)
        key = folder / "key.txt"
        key.write_text(str(IDENTITY))
        key.chmod(0o600)
        people = People(Motion(stage), clock, random.Random(20260301))
        for number in range(automations):
            people.motion.create(f"Automation {number}", "ben" if number % 2 else "cleo")
            clock.advance(60)
        for number in range(CONNECTIONS):
            stage.source.tenant.add_connection(MAIL, f"Mail {number}", stage.source.users["ada"])
        yield Story(stage, people, Books(people.tenant), sealed)


def accept(stage: Stage, idents: list[str]) -> None:
    """The administrator writes into the tenants file what nobody can read."""
    kept = [line for line in stage.config.read_text().splitlines() if not line.startswith("accept_unreadable")]
    at = kept.index("[tenants.source]") + 1
    stage.config.write_text("\n".join([*kept[:at], f"accept_unreadable = {json.dumps(idents)}", *kept[at:]]) + "\n")


def busy(people: People) -> dict[str, int]:
    """While the backup runs, before its second list: an edit, a new one, one is deleted."""
    edited, deleted = people.chance.sample(sorted(people.tenant.automations.keys() - people.spared), 2)

    def act() -> None:
        people.edit(edited)
        people.motion.create(people.word())
        people.motion.delete(deleted)

    people.motion.at_list(2, act)
    return {"edited": 1, "created": 1, "deleted": 1}


def troubles(here: Story, number: int, victim: str) -> tuple[list[Fault], int, str]:
    """What goes wrong in a night; the exit code that is honest then, and the error's code."""
    match number:
        case _ if number == DOWN:
            return [Fault(path="/api/workflows/automations", effect=Status(code=503), times=None)], 1, "server-error"
        case _ if number == BROKEN:
            return [Fault(path=f"*/{victim}", effect=Status(code=500), times=None)], 3, "incomplete"
        case _ if number == REFUSED:
            return [Fault(path="/api/workflows/automations", effect=Status(code=403), times=None)], 20, "not-authorized"
        case _ if WITHHELD_FROM <= number < ACCEPTED_FROM:
            return [], 3, "incomplete"
        case _:
            return [], 0, ""


@pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)], ids=["short", "long"])
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "encrypted"])
def test_a_month(
    sealed: bool,
    size: tuple[int, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Each night complete or honestly not; never a request more than rule 2 asks for; each snapshot is that night's
    tenant; pruning leaves what the rules say and last good versions; space comes back; what is left restores."""
    nights, automations = size
    with story(tmp_path, capsys, monkeypatch, sealed=sealed, automations=automations) as here:
        people, tenant, clock = here.people, here.people.tenant, here.clock
        closed, withheld, victim = sorted(tenant.automations)[3:6]
        people.spared = {closed, withheld, victim}
        tenant.faults.append(Fault(path=f"*/{closed}", effect=Status(code=403), times=None))
        accept(here.stage, [closed])
        done: Counter[str] = Counter()
        for number in range(nights):
            if number == WITHHELD_FROM:
                # As long as its row vouches for what is held, nobody notices.
                people.edit(withheld)
                tenant.faults.append(Fault(path=f"*/{withheld}", effect=Status(code=403), times=None))
            if number == ACCEPTED_FROM:
                accept(here.stage, [closed, withheld])
            if number == BROKEN:
                # Its row no longer vouches for it, so that it must be read.
                people.edit(victim)
            done += people.day()
            clock.advance((FIRST_NIGHT + timedelta(days=number) - clock.now()).total_seconds())
            if number == MISSED:
                continue
            a_night(here, number, closed, withheld, victim)
            a_morning(here, number)
        assert set(done) == {"edit", "create", "delete", "rename", "owner", "state"}
        assert here.requests["asked"] == here.requests["least"]
        record_property("requests", dict(here.requests))
        the_end(here, withheld)


def a_night(here: Story, number: int, closed: str, withheld: str, victim: str) -> None:
    """One backup, and whether it says what it is."""
    tenant, now = here.people.tenant, here.clock.now()
    faults, code, error = troubles(here, number, victim)
    meanwhile = busy(here.people) if number in BUSY else {}
    least = here.books.least(now, **meanwhile)
    tenant.faults.extend(faults)
    before = len(list((here.path / "snapshots").iterdir())) if here.nights else 0
    ended, seen = here.backup()
    for fault in faults:
        tenant.faults.remove(fault)
    assert (ended.code, ended.error.get("code", "")) == (code, error), ended.error
    if code in (1, 20):
        assert len(list((here.path / "snapshots").iterdir())) == before
        assert here.cli("list", here.path).code == 0
        return
    lost = {closed} | ({withheld} if number >= WITHHELD_FROM else set()) | ({victim} if number == BROKEN else set())
    assert ended.summary["complete"] is (code == 0)
    assert ended.automations == +Counter(
        listed=len(tenant.automations) + meanwhile.get("deleted", 0),
        captured=len(tenant.automations) - len(lost),
        unreadable=len(lost - {victim}),
        vanished=meanwhile.get("deleted", 0),
    )
    if code == 3:
        missed = victim if number == BROKEN else withheld
        problems = [one for one in ended.of("problem") if one["severity"] == "error"]
        assert [(one["code"], one["where"]) for one in problems] == [
            ("not-captured" if number == BROKEN else "unreadable", missed)
        ]
    here.keep(number, ended, seen, lost)
    if number == BROKEN:
        return  # What failed was asked for many times over.
    assert asked(seen) == least
    # Who we are and where (4), lists of connections, connectors, spaces, users and items, members of two spaces,
    # settings; the list of automations twice, thrice where somebody came or went meanwhile.
    assert listed(seen) == 14 + (1 if meanwhile else 0)
    if number:
        saved = len((tenant.automations.keys() | tenant.connections.keys()) - asked_ids(seen))
        here.requests += Counter(asked=len(seen), least=sum(least.values()) + listed(seen), saved=saved)
        assert ended.summary["requests"]["saved"] == saved


def a_morning(here: Story, number: int) -> None:
    """What else the crontab does: a part of a verification each day, a prune and a whole verification on Sundays."""
    here.clock.advance(2 * 3600)
    daily = here.cli("verify", here.path, "--days", "7")
    assert daily.code == 0, daily.error
    extras(here, number)
    if number % 7 == 0 and number:
        here.prune()
        assert here.cli("verify", here.path, *here.keys).code == 0
    if number == REPACKED:
        ended = here.cli("repack", here.path, *here.keys, *here.writers)
        assert ended.code == 0, ended.error
    if number == DRILLED:
        ended = here.cli("drill", f"{here.path}@latest", *here.keys, *here.writers)
        assert (ended.code, ended.summary["drill"]["result"]) == (0, "passed")
        drilled = [row["id"] for row in here.cli("list", here.path, *here.keys).of("item") if row["drill"]]
        assert drilled == [here.nights[-1].id]


def extras(here: Story, number: int) -> None:
    """What an administrator does now and then; no later backup builds on it, and no rule keeps it for long."""
    copy = here.stage.folder / "copy.qma"
    if number == CHOSEN:
        ended = here.cli("backup", "source", "--vault", here.path, "--include", "name=Automation 1*", *here.writers)
        assert (ended.code, ended.error) == (0, {})
    if number == COPIED:
        assert here.cli("backup", "source", "-o", copy).code == 0
    if number == TAKEN_IN:
        ended = here.cli("import", copy, here.path, *here.writers)
        assert ended.code == 0, ended.error
        then = next(one for one in here.nights if one.number == COPIED)
        ident = str(ended.summary["archive"]).rpartition("@")[2]
        here.nights.append(evolve(then, id=ident, taken_at=then.taken_at + timedelta(hours=2)))
        here.check(here.nights[-1])


def the_end(here: Story, withheld: str) -> None:
    """Two margins later nothing is left but what is listed, and each of that is whole and can be restored."""
    for number in range(3):
        if number == 0:
            # Of an encrypted vault a prune without the key gives back whole packs only: somebody who has it comes by.
            assert here.cli("repack", here.path, *here.keys, *here.writers).code == 0
        here.clock.advance(8 * DAY_S)
        here.prune()
    vault = here.vault()
    assert vault.shelf.packs.keys() == frozenset().union(*(one.packs for one in vault.snapshots()))
    assert not vault.catalog.gone
    assert not vault.catalog.marks
    assert here.size() < max(here.sizes)
    left = here.live()
    assert withheld in left[0].state
    assert any(withheld not in one.lost for one in left)
    assert here.cli("verify", here.path, *here.keys).code == 0
    anew = here.stage.folder / "anew"
    for night in left:
        here.check(night)
        flags = () if night.complete else ("--allow-incomplete",)
        ended = here.cli("drill", f"{here.path}@{night.id}", *flags, *here.keys, *here.writers)
        assert ended.code == 0, (night, ended.error)
        assert ended.summary["counts"]["automations"]["equal"] == len(night.state) - len(night.lost)
        ended = here.cli("import", f"{here.path}@{night.id}", anew, "--init", *flags, *here.keys, *here.writers)
        assert ended.code == 0, ended.error
    assert here.size() < 1.25 * sum(file.stat().st_size for file in (anew / "packs").iterdir())
    ended = here.cli("restore", f"{here.path}@latest", "target", *here.keys)
    assert ended.code == 0, ended.error
    assert len(here.stage.target.tenant.automations) == len(left[-1].state) - len(left[-1].lost)
