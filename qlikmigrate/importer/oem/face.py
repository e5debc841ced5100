"""Three versions of an OEM automation, compared by name and inputs: what we last wrote, source now, target now. Pure.

Values stand as hashes that are different for each automation and input, so that equal values do not show as equal.
State and schedule belong to the target and are not compared: the API may show neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from qlikmigrate.importer.comparison import Face, Judgement, Verdict
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.oem import OemAutomation

_INPUT = "input:"


def face_of(source_id: str, name: str, values: Mapping[str, Any]) -> Face:
    """The face of an automation with this name and these stored inputs."""
    fields = {"name": _hash(source_id, "name", name)}
    return Face(fields=fields | {f"{_INPUT}{key}": _hash(source_id, key, one) for key, one in values.items()})


def wanted_face(one: OemAutomation, names: Collection[str]) -> Face:
    """What a restore would write: the inputs `names` of those stored at the source."""
    stored = one.stored_inputs()
    return face_of(one.id, one.name, {name: stored[name] for name in names})


def found_face(source_id: str, target: OemAutomation, names: Collection[str]) -> Face:
    """The target's version, as far as it is compared."""
    values = {each.name: each.value for each in target.inputs if each.is_writable}
    return face_of(source_id, target.name, {name: values.get(name) for name in names})


def settable(one: OemAutomation, target: OemAutomation | None) -> tuple[str, ...]:
    """Names of the stored inputs that can be written back; where the target shows no inputs, all are tried."""
    stored = one.stored_inputs()
    if target is None or not target.inputs:
        return tuple(sorted(stored))
    writable = {each.name for each in target.inputs if each.is_writable}
    return tuple(sorted(name for name in stored if name in writable))


def judge(wanted: Face, target: Face, last: Face | None) -> Judgement:
    """Compare what would be written with what is there and what was last written (None: never)."""
    changed = tuple(name for name, value in wanted.fields.items() if target.fields.get(name) != value)
    if not changed:
        verdict = Verdict.ADOPT if last is None else Verdict.UNCHANGED
        return Judgement(verdict=verdict, reason="same content")
    if last is None:
        return Judgement(verdict=Verdict.CONFLICT, reason="matched, with other content", fields=changed)
    fresh = {name: value for name, value in wanted.fields.items() if name in changed}
    if all(last.fields.get(name) == value for name, value in fresh.items()):
        return Judgement(verdict=Verdict.UNCHANGED, reason="edited at the target, unchanged at the source")
    if all(target.fields.get(name) == last.fields[name] for name in changed if name in last.fields):
        return Judgement(verdict=Verdict.UPDATE, reason="changed at the source", fields=changed)
    return Judgement(verdict=Verdict.CONFLICT, reason="changed at both sides since our last write", fields=changed)


def changed_names(fields: Collection[str]) -> tuple[str, ...]:
    """The inputs among the fields of a judgement."""
    return tuple(name.removeprefix(_INPUT) for name in fields if name.startswith(_INPUT))


def _hash(source_id: str, name: str, value: Any) -> str:
    return hashlib.sha256(f"{source_id}\n{name}\n{canonical_hash(value)}".encode()).hexdigest()
