"""Three versions of one automation, compared: what we last wrote, the source now, the target now. Pure.

A connection that people bound where we had to leave a gap is no edit and is never taken away again; state, owner,
space and `maxConcurrentRuns` belong to the target and are not compared, nor are labels that repeat another's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.model.canonical import canonical, canonical_hash
from qlikmigrate.model.schedule_form import schedule_meaning

# Stands before the source id of a connection that is still to be created.
NEW = "new:"
FIELDS = ("name", "description", "schedules", "workspace")


@frozen(kw_only=True)
class Face:
    """An automation as far as a restore writes it: one hash a field, and block id → bound connection id."""

    fields: Mapping[str, str]
    bindings: Mapping[str, str] = field(factory=dict)

    @property
    def core(self) -> str:
        """One hash for all fields; bindings apart."""
        joined = "\n".join(f"{name} {self.fields.get(name, '')}" for name in FIELDS)
        return hashlib.sha256(joined.encode()).hexdigest()

    def as_json(self) -> dict[str, dict[str, str]]:
        """The form in which journals and ledgers keep it."""
        return {"fields": dict(self.fields), "bindings": dict(self.bindings)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Face:
        """The face that `as_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(fields=dict(value["fields"]), bindings=dict(value["bindings"]))


def face_of(document: Mapping[str, Any]) -> Face:
    """The face of an automation's document, from a tenant or about to be written."""
    workspace = canonical(document.get("workspace") or {})
    bindings: dict[str, str] = {}
    for index, block in enumerate((workspace or {}).get("blocks") or ()):
        if not isinstance(block, dict):
            continue
        for group in ("settings", "inputs"):
            for entry in block.get(group) or ():
                if not isinstance(entry, dict):
                    continue
                # A label repeats the name of what the value refers to: it changes with that, and is nobody's edit.
                entry.pop("displayValue", None)
                if group == "settings" and entry.get("id") == "datasource":
                    value = entry.pop("value", None)
                    if isinstance(value, str):
                        bindings[str(block.get("id") or index)] = value
    return Face(
        fields={
            "name": canonical_hash(document.get("name")),
            "description": canonical_hash(document.get("description")),
            "schedules": canonical_hash(schedule_meaning(document.get("schedules"))),
            "workspace": canonical_hash(workspace),
        },
        bindings=bindings,
    )


class Verdict(StrEnum):
    """What a restore does with an automation that already has a counterpart."""

    UNCHANGED = "unchanged"
    ADOPT = "adopt"
    UPDATE = "update"
    CONFLICT = "conflict"


@frozen(kw_only=True)
class Judgement:
    """The verdict, why, and which fields an update would change. `kept`: blocks that people of the target bound."""

    verdict: Verdict
    reason: str = ""
    fields: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def judge(wanted: Face, target: Face, last: Face | None) -> Judgement:
    """Compare `wanted` (rewritten source), `target` (now) and `last` (what we last wrote, None: never)."""
    # Where our last write left a gap, what people bound is their choice, also when there is a counterpart by now.
    kept = tuple(sorted(_choices(wanted, target, last)))
    wanted = evolve(wanted, bindings={block: one for block, one in wanted.bindings.items() if block not in kept})
    changed = tuple(name for name in FIELDS if wanted.fields.get(name) != target.fields.get(name))
    rebound = _differs(wanted.bindings, target.bindings)
    fields = (*changed, *(("bindings",) if rebound else ()))
    if last is None:
        if not fields:
            return Judgement(verdict=Verdict.ADOPT, reason="same content")
        if fields == ("name",):
            return Judgement(verdict=Verdict.CONFLICT, reason="same content under another name", fields=fields)
        return Judgement(verdict=Verdict.CONFLICT, reason="matched by name, with other content", fields=fields)
    if not fields:
        return Judgement(verdict=Verdict.UNCHANGED, reason="same content")
    if wanted.core == last.core and not _differs(wanted.bindings, last.bindings):
        return Judgement(verdict=Verdict.UNCHANGED, reason="edited at the target, unchanged at the source")
    if target.core == last.core and not _differs(last.bindings, target.bindings):
        return Judgement(verdict=Verdict.UPDATE, reason="changed at the source", fields=fields, kept=kept)
    return Judgement(
        verdict=Verdict.CONFLICT, reason="changed at both sides since our last write", fields=fields, kept=kept
    )


def judge_unseen(wanted: Face, last: Face | None) -> Judgement:
    """The verdict where the target's version cannot be read: nothing is done blindly, and nothing need be done where
    the source did not change."""
    if last is not None and wanted.core == last.core and not _differs(wanted.bindings, last.bindings):
        return Judgement(verdict=Verdict.UNCHANGED, reason="unchanged at the source; the target's cannot be read")
    return Judgement(verdict=Verdict.CONFLICT, reason="the target's version cannot be read")


def _choices(wanted: Face, target: Face, last: Face | None) -> set[str]:
    """Blocks that the target's people bound: we left a gap there, or never wrote it and have nothing to bind yet."""
    if last is not None:
        return set(target.bindings.keys() - last.bindings.keys())
    return {block for block in target.bindings if wanted.bindings.get(block, "").startswith(NEW)}


def _differs(bindings: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether `other` lacks or changes one of `bindings`; what it has in addition does not count."""
    return any(other.get(block) != connection for block, connection in bindings.items())
