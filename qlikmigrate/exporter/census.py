"""Who is on record: every automation that belongs into one backup, and what became of it.

The books balance: listed = captured + unreadable + vanished + missing. Pure; the collector feeds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import define, field

from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Counts, Note


@define
class Census:
    """Lower-case id → the automation, and its fate. `accepted`: ids known to be unreadable.

    `unreadable` holds the status (403 or 404) of the refusal, `failed` what went wrong.
    """

    accepted: Collection[str] = ()
    listed: dict[str, Entity] = field(factory=dict)
    captured: set[str] = field(factory=set)
    unreadable: dict[str, int] = field(factory=dict)
    vanished: set[str] = field(factory=set)
    failed: dict[str, str] = field(factory=dict)

    def enter(self, automation: Entity) -> bool:
        """Note that it stands in a list; True when it is new, or was held to be gone."""
        key = automation.id.lower()
        new = key not in self.listed or key in self.vanished
        self.listed[key] = automation
        self.vanished.discard(key)
        return new

    def capture(self, ident: str) -> None:
        """Its document is in the snapshot."""
        key = ident.lower()
        self.captured.add(key)
        self.unreadable.pop(key, None)
        self.failed.pop(key, None)
        self.vanished.discard(key)

    def refuse(self, ident: str, status: int) -> None:
        """The tenant does not give its document. One that is captured stays so."""
        key = ident.lower()
        if key not in self.captured:
            self.failed.pop(key, None)
            self.unreadable[key] = status

    def fail(self, ident: str, reason: str) -> None:
        """Its document could not be had although nobody refused it. One that is captured stays so."""
        key = ident.lower()
        if key not in self.captured:
            self.unreadable.pop(key, None)
            self.failed[key] = reason

    def vanish(self, ident: str) -> None:
        """It is gone from the tenant."""
        key = ident.lower()
        self.vanished.add(key)
        self.captured.discard(key)
        self.unreadable.pop(key, None)
        self.failed.pop(key, None)

    def drop(self, idents: Iterable[str]) -> None:
        """Take automations that are not selected off the record."""
        for ident in idents:
            key = ident.lower()
            for place in (self.listed, self.unreadable, self.failed):
                place.pop(key, None)
            self.captured.discard(key)
            self.vanished.discard(key)

    def gone(self, present: Collection[str]) -> list[Entity]:
        """Those on record that the newest list (lower-case ids) no longer has, vanished ones apart."""
        return [one for key, one in self.listed.items() if key not in present and key not in self.vanished]

    def open(self) -> list[Entity]:
        """Those whose document failed and is worth another try, in id order."""
        return [self.listed[key] for key in sorted(self.failed) if key in self.listed]

    def missing(self) -> list[Note]:
        """The unexplained rest: any of these makes the snapshot incomplete."""
        settled = self.captured | self.unreadable.keys() | self.vanished
        rest = sorted(self.listed.keys() - settled)
        return [self._note(key, self.failed.get(key, "never read")) for key in rest]

    def unreadable_notes(self) -> list[Note]:
        """What is listed and cannot be read, by id."""
        return [
            self._note(key, f"the tenant answers {self.unreadable[key]}")
            for key in sorted(self.unreadable)
            if key in self.listed
        ]

    def vanished_notes(self) -> list[Note]:
        """What was listed and is gone, by id."""
        return [self._note(key, "deleted while the snapshot was taken") for key in sorted(self.vanished)]

    def lost(self) -> list[str]:
        """Ids of those that are listed and not captured, whatever the reason."""
        rest = sorted(self.listed.keys() - self.captured - self.vanished)
        return [self.listed[key].id for key in rest]

    def accepts(self, ident: str) -> bool:
        """Whether it is known to be unreadable."""
        return ident.lower() in {one.lower() for one in self.accepted}

    def complete(self) -> bool:
        """Whether every automation listed is captured, but for what is explained or accepted."""
        return not self.missing() and all(self.accepts(key) for key in self.unreadable)

    def counts(self) -> Counts:
        """The sums for the manifest and the summary."""
        return Counts(
            listed=len(self.listed),
            captured=len(self.captured),
            unreadable=len(self.unreadable),
            vanished=len(self.vanished),
            missing=len(self.missing()),
        )

    def _note(self, key: str, reason: str) -> Note:
        one = self.listed.get(key)
        return Note(kind=Kind.AUTOMATION, id=one.id if one else key, name=one.name if one else "", reason=reason)
