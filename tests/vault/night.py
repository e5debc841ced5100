"""A small tenant that changes from night to night, and what a vault must give back of each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, evolve, field

from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest, Note
from qlikmigrate.model.snapshot import SnapshotWriter
from qlikmigrate.vault import SnapshotInfo, Vault, VaultSnapshot

FIRST_NIGHT = datetime(2026, 3, 1, 2, tzinfo=UTC)
WORDS = ("reload", "sales", "ledger", "stock", "order", "invoice", "customer", "region", "quarter", "budget", "shift")

State = dict[tuple[Part, Kind, str], Document]


@define
class Town:
    """A tenant's automations, each a document of a few kilobytes, and connections. `night` counts the nights."""

    automations: int = 24
    seed: int = 7
    tenant: str = "tenant-1"
    night: int = 0
    values: dict[str, dict[str, Any]] = field(factory=dict)
    runs: int = 0

    def __attrs_post_init__(self) -> None:
        for number in range(self.automations):
            self.add(number)

    def _chance(self, *about: object) -> random.Random:
        return random.Random(f"{self.seed} {about}")

    def add(self, number: int) -> str:
        """One more automation; its id."""
        chance = self._chance("new", number)
        ident = f"{chance.getrandbits(32):08x}-aaaa-4bbb-8ccc-{number:012d}"
        blocks = [self._block(chance, index) for index in range(chance.randint(6, 20))]
        self.values[ident] = {
            "id": ident,
            "name": f"Automation {number}",
            "updatedAt": f"2026-01-01T00:00:{number % 60:02d}Z",
            "ownerId": f"owner-{number % 3}",
            "state": "available",
            "executionToken": f"token-{number}",
            "workspace": {"blocks": blocks, "variables": []},
        }
        return ident

    def _block(self, chance: random.Random, index: int) -> dict[str, Any]:
        return {
            "id": f"{chance.getrandbits(128):032X}",
            "name": f"block{index}",
            "type": "EndpointBlock",
            "comment": " ".join(chance.choices(WORDS, k=12)),
            "inputs": [{"id": f"{chance.getrandbits(64):016x}", "value": " ".join(chance.choices(WORDS, k=5))}],
        }

    def pass_night(self, *, edits: int = 2, runs: bool = True) -> None:
        """A day goes by: some automations are edited, all have run."""
        self.night += 1
        chance = self._chance("night", self.night)
        for ident in chance.sample(sorted(self.values), min(edits, len(self.values))):
            value = self.values[ident] = json.loads(json.dumps(self.values[ident]))
            chance.choice(value["workspace"]["blocks"])["comment"] = " ".join(chance.choices(WORDS, k=15))
            value["updatedAt"] = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        self.runs += runs

    @property
    def now(self) -> datetime:
        """When the backup of this night begins."""
        return FIRST_NIGHT + timedelta(days=self.night)

    def documents(self) -> Iterator[Document]:
        """All of it, as an exporter hands it over."""
        for ident, value in sorted(self.values.items()):
            ran = {"lastRunAt": f"2026-02-{self.runs + 1:02d}T00:00:00Z", "duration": self.runs} if self.runs else {}
            yield self._document(Kind.AUTOMATION, ident, Part.DETAIL, value | ran)
            row = {key: item for key, item in value.items() if key != "workspace"}
            yield self._document(Kind.AUTOMATION, ident, Part.ROW, row | ran)
        for number in range(3):
            link = {"id": f"c{number}", "name": f"Mail {number}", "params": [{"name": "key", "value": "hidden"}]}
            yield self._document(Kind.CONNECTION, f"c{number}", Part.ROW, link)
        yield self._document(Kind.SETTINGS, "", Part.DETAIL, {"enabled": True})

    def _document(self, kind: Kind, ident: str, part: Part, value: object) -> Document:
        raw, cuts = cut_document(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        return Document(kind=kind, id=ident, part=part, raw=raw, cuts=cuts, read_at=self.now)

    def state(self) -> State:
        """What a snapshot of this night must give back."""
        return {(one.part, one.kind, one.id): one for one in self.documents()}

    def head(self, *, complete: bool = True, unreadable: tuple[str, ...] = ()) -> Manifest:
        """The manifest of this night's backup."""
        many = len(self.values)
        return Manifest(
            tool_version="0.1.0",
            tenant=TenantFacts(id=self.tenant, name=f"Town {self.tenant}", host=f"{self.tenant}.eu.qlikcloud.test"),
            identity="me",
            complete=complete,
            counts={"automations": Counts(listed=many + len(unreadable), captured=many, unreadable=len(unreadable))},
            unreadable=tuple(Note(kind=Kind.AUTOMATION, id=one, name="withheld", reason="403") for one in unreadable),
        )

    def capture(self) -> Capture:
        """When it was taken."""
        return Capture(started_at=self.now, finished_at=self.now + timedelta(seconds=30), requests={"tier1": 9})

    def write(self, writer: SnapshotWriter, **head: Any) -> None:
        """Hand all of it to a writer."""
        for one in self.documents():
            writer.add(one)
        writer.finish(self.head(**head), self.capture())

    def back_up(self, vault: Vault, **head: Any) -> SnapshotInfo:
        """One snapshot more."""
        with vault.writer() as writer:
            self.write(writer, **head)
            assert writer.info is not None
            return writer.info


def nights(vault: Vault, count: int, town: Town | None = None, **change: Any) -> list[State]:
    """Back a town up night after night; what each snapshot must give back."""
    town = town or Town()
    states = []
    for _ in range(count):
        town.back_up(vault)
        states.append(town.state())
        town.pass_night(**change)
    return states


def state_of(snapshot: VaultSnapshot) -> State:
    """Everything a snapshot gives."""
    found: State = {}
    for kind in Kind:
        for ident in snapshot.ids(kind):
            found[Part.DETAIL, kind, ident] = snapshot.detail(kind, ident)
        for row in snapshot.rows(kind):
            found[Part.ROW, kind, row.id] = row
    return found


def check(vault: Vault, states: list[State]) -> None:
    """Every snapshot gives back what was put in, to the byte, cuts and times included."""
    infos = vault.snapshots()
    assert len(infos) == len(states)
    for info, state in zip(infos, states, strict=True):
        assert state_of(vault.snapshot(info)) == state


def missing(vault: Vault, info: SnapshotInfo, state: State) -> set[tuple[Part, Kind, str]]:
    """What a snapshot lacks; what it has must be right, but for run data, which a repair may lose."""
    found = state_of(vault.snapshot(info))
    for key, document in found.items():
        wanted = state[key]
        assert (document.raw, document.kind, document.id) == (wanted.raw, wanted.kind, wanted.id)
    return state.keys() - found.keys()


def bare(document: Document) -> Document:
    """Without times and run data."""
    return evolve(document, read_at=None, cuts=tuple(cut for cut in document.cuts if cut.text is None))
