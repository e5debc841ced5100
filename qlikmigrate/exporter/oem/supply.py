"""What people hand in, brought to the automations that it is meant for. Pure.

A guid goes before a name, a name before a template; a name that several bear is no one's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from attrs import frozen

from qlikmigrate.exporter.oem.schedule_file import ScheduleEntry
from qlikmigrate.exporter.oem.workspace_file import WorkspaceFile
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.oem import OemAutomation

T = TypeVar("T")

_AMBIGUOUS = {
    "workspace": ("workspace-ambiguous", Severity.WARNING),
    "schedule": ("schedule-ambiguous", Severity.WARNING),
}
_UNUSED = {
    "workspace": ("workspace-unused", Severity.WARNING),
    "schedule": ("schedule-unused", Severity.WARNING),
}


@frozen(kw_only=True)
class Supply:
    """All that was handed in."""

    workspaces: tuple[WorkspaceFile, ...] = ()
    schedules: tuple[ScheduleEntry, ...] = ()


@frozen(kw_only=True)
class Supplied:
    """By id of the automation; and what found no use."""

    workspaces: Mapping[str, WorkspaceFile]
    schedules: Mapping[str, ScheduleEntry]
    problems: tuple[Problem, ...] = ()


def assign(supply: Supply, automations: Collection[OemAutomation]) -> Supplied:
    """Bring everything to where it belongs. A bundle has no workspace of its own: its children have."""
    problems: list[Problem] = []
    files = {one.word: one for one in supply.workspaces}
    entries = {one.word: one for one in supply.schedules}
    blends = [one for one in automations if not one.is_bundle]
    workspaces = _assign(files, blends, templates=True)
    schedules = _assign(entries, automations, templates=False)
    for word, file in files.items():
        if file not in workspaces.values():
            problems.append(_unused("workspace", word, file.path.name, blends))
    for word, entry in entries.items():
        if entry not in schedules.values():
            problems.append(_unused("schedule", word, word, automations))
    return Supplied(workspaces=workspaces, schedules=schedules, problems=tuple(problems))


def _assign(by_word: Mapping[str, T], automations: Collection[OemAutomation], *, templates: bool) -> dict[str, T]:
    by_guid = {word.lower(): one for word, one in by_word.items()}
    shared = _shared_names(automations)
    found: dict[str, T] = {}
    for one in automations:
        chosen = by_guid.get(one.id.lower())
        if chosen is None and one.name not in shared:
            chosen = by_word.get(one.name)
        if chosen is None and templates and one.template_id:
            chosen = by_guid.get(one.template_id.lower())
        if chosen is not None:
            found[one.id] = chosen
    return found


def _shared_names(automations: Iterable[OemAutomation]) -> set[str]:
    counted = Counter(one.name for one in automations)
    return {name for name, count in counted.items() if count > 1}


def _unused(what: str, word: str, where: str, automations: Iterable[OemAutomation]) -> Problem:
    """A warning for what was handed in and is used for nothing."""
    bearers = sorted(one.id for one in automations if one.name == word)
    if len(bearers) > 1:
        code, severity = _AMBIGUOUS[what]
        message = f"a {what} is meant for `{word}`, and {len(bearers)} automations are called so"
        hint = "name it after the guid of one of them: " + ", ".join(bearers[:5])
        return Problem(code=code, severity=severity, message=message, where=where, hint=hint)
    code, severity = _UNUSED[what]
    message = f"a {what} was handed in for no automation of the snapshot"
    return Problem(code=code, severity=severity, message=message, where=where)
