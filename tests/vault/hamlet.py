"""What lies in the golden vaults. Never changed: vaults that were made from it long ago must still give it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from attrs import frozen

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest, Note
from qlikmigrate.vault import SnapshotInfo, Vault
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy

HAMLET, FARM = "tenant-hamlet", "tenant-farm"
BEGIN = datetime(2026, 3, 1, 2, tzinfo=UTC)
AUTOMATIONS = 22
# From this night on one automation can be listed and not read.
WITHHELD, WITHHELD_FROM = 5, 3
LAST_NIGHT = 12
EVIDENCE = b'{"format":"qlikmigrate-drill","format_version":"1.0","verdict":"passed"}\n'

State = dict[tuple[Part, Kind, str], Document]


class StoppedError(Exception):
    """The writer is gone before its snapshot has a head."""


@frozen
class Night:
    """What a backup finds in the night of that number."""

    number: int
    automations: int = AUTOMATIONS

    @property
    def at(self) -> datetime:
        """When it begins."""
        return BEGIN + timedelta(days=self.number)

    @property
    def withheld(self) -> str:
        """The id of what cannot be read; empty where all can."""
        return f"a{WITHHELD:03d}" if self.number >= WITHHELD_FROM else ""

    @property
    def complete(self) -> bool:
        """In the last night nobody had accepted that something could not be read."""
        return self.number != LAST_NIGHT

    def documents(self) -> list[Document]:
        """All of it."""
        found = []
        for index in range(self.automations):
            ident = f"a{index:03d}"
            # One automation a night is edited, in one block.
            edits = (self.number + index) // AUTOMATIONS
            blocks = [
                {"id": _hex(index, number, 8), "type": "EndpointBlock", "comment": "as it was made"}
                for number in range(4)
            ]
            blocks[edits % 4]["comment"] = f"edited {edits} times"
            row = {"id": ident, "name": f"Åutomation {index}", "edits": edits, "lastRunAt": f"night {self.number}"}
            if ident != self.withheld:
                value = row | {"executionToken": f"token-{index}", "workspace": {"blocks": blocks}}
                found.append(self._document(Kind.AUTOMATION, ident, Part.DETAIL, value))
            found.append(self._document(Kind.AUTOMATION, ident, Part.ROW, row))
        link = {"id": "c1", "name": "Mail", "params": [{"name": "key", "value": "hidden"}]}
        found.append(self._document(Kind.CONNECTION, "c1", Part.ROW, link))
        found.append(self._document(Kind.SETTINGS, "", Part.DETAIL, {"enabled": True}))
        return found

    def _document(self, kind: Kind, ident: str, part: Part, value: object) -> Document:
        raw, cuts = cut_document(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        return Document(kind=kind, id=ident, part=part, raw=raw, cuts=cuts, read_at=self.at)

    def state(self) -> State:
        """What a snapshot of this night gives back."""
        return {(one.part, one.kind, one.id): one for one in self.documents()}

    def head(self, tenant: str = HAMLET) -> Manifest:
        """Its manifest."""
        note = Note(kind=Kind.AUTOMATION, id=self.withheld, name="withheld", reason="403")
        captured = self.automations - bool(self.withheld)
        return Manifest(
            tool_version="0.1.0",
            tenant=TenantFacts(id=tenant, name=f"The {tenant}", host=f"{tenant}.eu.qlikcloud.test"),
            identity="me",
            complete=self.complete,
            counts={
                "automations": Counts(
                    listed=self.automations, captured=captured, unreadable=self.automations - captured
                )
            },
            unreadable=(note,) if self.withheld else (),
        )

    def capture(self) -> Capture:
        """When it was taken."""
        return Capture(started_at=self.at, finished_at=self.at + timedelta(seconds=30), requests={"tier1": 9})

    def back_up(self, vault: Vault, tenant: str = HAMLET) -> SnapshotInfo:
        """Take the snapshot."""
        with vault.writer() as writer:
            for one in self.documents():
                writer.add(one)
            writer.finish(self.head(tenant), self.capture())
            assert writer.info is not None
            return writer.info


def _hex(*about: int) -> str:
    return hashlib.sha256(repr(about).encode()).hexdigest()[: 2 * about[-1]]


KEPT = (2, 3, 4, LAST_NIGHT)
"""The nights of the hamlet that a golden vault still has; of night 2 there is evidence of a drill."""


def tell(vault: Vault, clock: ManualClock, stop: Callable[[bool], None]) -> None:
    """Let everything happen that a golden vault is to show. `stop`: whether to die at the next head of a snapshot."""

    def wait_until(night: int) -> None:
        clock.advance((BEGIN + timedelta(days=night, hours=10) - clock.now()).total_seconds())

    def tidy(**rules: int) -> None:
        plan = plan_prune(vault, Policy(**rules), tenant=vault.tag(HAMLET))
        with vault.lock() as lock:
            prune(vault, lock, plan)

    infos = []
    for number in range(5):
        wait_until(number)
        infos.append(Night(number).back_up(vault))
    with vault.lock() as lock:
        repack(vault, lock)
    wait_until(5 + MARGIN.days)
    vault.refresh()
    # Deletes what the repack has left behind.
    tidy(last=9)
    vault.file_drill(infos[2].id, EVIDENCE, clock.now())
    Night(0, automations=3).back_up(vault, FARM)
    Night(LAST_NIGHT).back_up(vault)
    stop(True)
    try:
        Night(LAST_NIGHT + 1).back_up(vault)
    except StoppedError:
        stop(False)
    # Removes the first two nights; what the writer that died has left behind gets a mark.
    tidy(last=3)
