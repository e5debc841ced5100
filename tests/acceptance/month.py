"""A living tenant and its nightly backups through the command line, all on one clock that only the story moves.

`Books` says by rule 2 of the contract what a night must ask for, from what the server itself holds.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field, frozen
from motion import Motion
from stage import Ended, document, text_block

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.message import Request
from qlikmigrate.model.document import cut_document
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import CloudTenant
from qlikmigrate.sandbox.tenant import Seen

FIRST_NIGHT = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
RUN_FIELDS = ("lastRun", "lastRunAt", "lastRunStatus", "duration")
_DETAIL = re.compile(r"/api/workflows/(automations|automation-connections)/([0-9a-f-]{36})")


@define
class People:
    """Those who work on the tenant. Whatever they do takes a while."""

    motion: Motion
    clock: ManualClock
    chance: random.Random
    spared: set[str] = field(factory=set)
    _word: int = 0

    @property
    def tenant(self) -> CloudTenant:
        return self.motion.tenant

    def word(self) -> str:
        """One that nobody has used yet."""
        self._word += 1
        return f"word {self._word}"

    def someone(self) -> str:
        """An automation that is there and may be touched."""
        return self.chance.choice(sorted(self.tenant.automations.keys() - self.spared))

    def edit(self, ident: str) -> None:
        """A block of it is changed."""
        self.tenant.replace_workspace(ident, document("x", text_block(1, self.word()))["workspace"])

    def hand_over(self, ident: str) -> None:
        """It gets another owner."""
        users = self.motion.stage.source.users
        owner = self.tenant.automations[ident]["ownerId"]
        self.act(ident, "change-owner", {"userId": users["ben" if owner == users["cleo"] else "cleo"]})

    def switch(self, ident: str) -> None:
        """It is turned on or off."""
        state = self.tenant.automations[ident]["state"]
        self.act(ident, "enable" if state == "disabled" else "disable")

    def act(self, ident: str, action: str, body: Any = None) -> None:
        """An administrator's action."""
        key = self.tenant.api_key(self.motion.stage.source.users["ada"])
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
        url = f"{self.tenant.base_url}/api/v1/automations/{ident}/actions/{action}"
        reply = self.tenant.handle(Request(method="POST", url=url, headers=headers, body=raw))
        assert reply.response.status == 204, reply.response.body

    def day(self) -> Counter[str]:
        """A day's work: two or three deeds, and everything that is on has run."""
        deeds: dict[str, Callable[[], Any]] = {
            "edit": lambda: self.edit(self.someone()),
            "create": lambda: self.motion.create(self.word()),
            "delete": lambda: self.motion.delete(self.someone()),
            "rename": lambda: self.motion.rename(self.someone(), self.word()),
            "owner": lambda: self.hand_over(self.someone()),
            "state": lambda: self.switch(self.someone()),
        }
        done: Counter[str] = Counter()
        for deed in self.chance.sample(sorted(deeds), self.chance.choice([2, 3])):
            deeds[deed]()
            done[deed] += 1
            self.clock.advance(600)
        for one in list(self.tenant.automations.values()):
            if one["state"] == "available":
                self.tenant.run(one["id"])
        return done

    def state(self) -> dict[str, Any]:
        """Every automation as it is stored, secrets and run data apart."""
        records = self.tenant._shelf.records
        return {ident: json.loads(cut_document(Kind.AUTOMATION, one.detail())[0]) for ident, one in records.items()}


@frozen
class Held:
    """What a snapshot holds of an object: its list row then, and when the document was read."""

    row: Any
    read_at: datetime


@define
class Books:
    """What is held by the newest snapshot, and hence what the next backup must ask for."""

    tenant: CloudTenant
    held: dict[str, dict[str, Held]] = field(factory=lambda: {"automations": {}, "automation-connections": {}})

    def rows(self, kind: str) -> dict[str, Any]:
        """Id → list row without run data, as the service would show it now."""
        if kind == "automations":
            records = self.tenant._shelf.records
            values = {ident: json.loads(one.row(with_workspace=False)) for ident, one in records.items()}
        else:
            values = {ident: dict(one) for ident, one in self.tenant.connections.items()}
        return {ident: {key: one[key] for key in one if key not in RUN_FIELDS} for ident, one in values.items()}

    def least(self, now: datetime, *, edited: int = 0, created: int = 0, deleted: int = 0) -> dict[str, int]:
        """How many documents a backup has to ask for, by kind.

        The others are what happens between its two lists: another row is read once more, who is gone is asked for.
        """
        found = {}
        for kind, held in self.held.items():
            rows = self.rows(kind)
            known = held.keys() & rows.keys()
            vouched = {ident for ident in known if self._vouches(held[ident], rows[ident], now)}
            share = -(-len(known) // 7)
            found[kind] = len(rows) - len(vouched) + max(0, share - len(known - vouched))
        found["automations"] += edited + created + deleted
        return found

    @staticmethod
    def _vouches(held: Held, row: Mapping[str, Any], now: datetime) -> bool:
        saved = datetime.fromisoformat(row["updatedAt"])
        return (
            held.row == row
            and saved + timedelta(seconds=2) <= held.read_at
            and timedelta() <= now - held.read_at < timedelta(days=7)
        )

    def close(self, seen: list[Seen], lost: set[str]) -> None:
        """A snapshot is in the vault. `lost`: ids that it does not hold."""
        for kind, held in self.held.items():
            rows = self.rows(kind)
            read = {ident: at for name, ident, at in map(_detail, seen) if name == kind}
            for ident in list(held):
                if ident not in rows or ident in lost:
                    del held[ident]
            for ident in read.keys() & rows.keys() - lost:
                held[ident] = Held(rows[ident], read[ident])


def _detail(one: Seen) -> tuple[str, str, datetime]:
    match = _DETAIL.fullmatch(one.path)
    return (match[1], match[2], one.at) if match else ("", "", one.at)


def asked(seen: list[Seen]) -> dict[str, int]:
    """How many documents a backup asked for, by kind."""
    found = Counter(name for name, _, _ in map(_detail, seen) if name)
    return {kind: found[kind] for kind in ("automations", "automation-connections")}


def asked_ids(seen: list[Seen]) -> set[str]:
    """Whose documents those were."""
    return {ident for name, ident, _ in map(_detail, seen) if name}


def listed(seen: list[Seen]) -> int:
    """How many requests were no documents'."""
    return len(seen) - sum(asked(seen).values())


@frozen
class Night:
    """A backup that left a snapshot. `state`: what the tenant held; `lost`: what could not be had."""

    number: int
    id: str
    taken_at: datetime
    complete: bool
    state: dict[str, Any] = field(repr=False)
    lost: frozenset[str] = frozenset()
    ended: Ended | None = field(default=None, repr=False)


def kept_by_rules(nights: list[Night], *, daily: int, weekly: int) -> set[str]:
    """Which snapshots stay: said once more, as simply as the documentation says it."""
    nights = sorted(nights, key=lambda one: one.taken_at)
    good = [one for one in reversed(nights) if one.complete]
    stay: dict[str, Night] = {good[0].id: good[0]}
    for many, period in ((daily, "%Y-%m-%d"), (weekly, "%G-%V")):
        newest: dict[str, Night] = {}
        for one in good:
            newest.setdefault(f"{one.taken_at:{period}}", one)
        stay |= {one.id: one for one in list(newest.values())[:many]}
    stay |= {one.id: one for one in nights if not one.complete and one.taken_at > good[0].taken_at}
    last_good = set()
    for one in list(stay.values()):
        for ident in one.lost:
            before = [other for other in nights if other.taken_at < one.taken_at and ident in other.state]
            holding = [other.id for other in before if ident not in other.lost]
            last_good |= set(holding[-1:])
    return stay.keys() | last_good
