"""Spaces to be created, with their description, owner and members as the archive has them. Pure but for reading it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.importer.plan import Member, SpaceAction
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.mapping import Mapping as IdMapping

# Source: openapi/spaces.json: at most 256 characters, none of these.
_REFUSED = frozenset('"*?<>/|\\:')
_LONGEST_CHARS = 256


@frozen(kw_only=True)
class Assignment:
    """One row of a space's members in the archive. `type`: user, group or bot."""

    assignee_id: str
    type: str
    roles: tuple[str, ...]


@frozen(kw_only=True)
class SpaceRecord:
    """A space of the archive. The owner is no assignment of it. Source: openapi/spaces.json."""

    id: str
    name: str
    type: str
    description: str = ""
    owner_id: str = ""
    assignments: tuple[Assignment, ...] = ()


def read_spaces(snapshot: Snapshot) -> dict[str, SpaceRecord]:
    """The archive's spaces by lower-case id.

    Raises:
        CorruptError: it is damaged.
    """
    members: dict[str, list[Assignment]] = {}
    for document in snapshot.rows(Kind.ASSIGNMENT):
        value = parse(document.raw)
        if isinstance(value, Mapping) and value.get("assigneeId"):
            space_id = document.id.partition("/")[0].lower()
            members.setdefault(space_id, []).append(
                Assignment(
                    assignee_id=str(value["assigneeId"]),
                    type=str(value.get("type") or "user"),
                    roles=tuple(str(role) for role in value.get("roles") or ()),
                )
            )
    found: dict[str, SpaceRecord] = {}
    for document in snapshot.rows(Kind.SPACE):
        value = parse(document.raw)
        if isinstance(value, Mapping):
            key = str(value.get("id")).lower()
            found[key] = _record(value, tuple(members.get(key, ())))
    return found


def _record(value: Mapping[str, Any], assignments: tuple[Assignment, ...]) -> SpaceRecord:
    return SpaceRecord(
        id=str(value.get("id")),
        name=str(value.get("name") or ""),
        type=str(value.get("type") or "shared"),
        description=str(value.get("description") or ""),
        owner_id=str(value.get("ownerId") or ""),
        assignments=assignments,
    )


def plan_space(record: SpaceRecord, mapping: IdMapping, target: Target) -> tuple[SpaceAction, list[Problem]]:
    """What creating it takes, and who of its people cannot be brought along."""
    problems: list[Problem] = []
    where = f"space {record.id}"

    def note(code: str, severity: Severity, message: str, hint: str) -> None:
        problems.append(Problem(code=code, severity=severity, message=message, where=where, hint=hint))

    caller = target.caller
    owner = _user(record.owner_id, mapping)
    if owner is None or not (caller.may_transfer or owner == caller.user_id):
        note(
            "space-owner-left",
            Severity.TODO,
            f"space `{record.name}` stays with the identity that creates it",
            "give it to its owner by hand",
        )
        owner = None
    roles: dict[str, set[str]] = {}
    for one in record.assignments:
        if one.type == "group":
            listed = ", ".join(one.roles)
            note(
                "space-group-left",
                Severity.TODO,
                f"group {one.assignee_id} of the source had these roles in space `{record.name}`: {listed}",
                "groups are not matched: add the target's group by hand",
            )
            continue
        assignee = _user(one.assignee_id, mapping)
        if assignee is None:
            note(
                "space-member-missing",
                Severity.WARNING,
                f"member {one.assignee_id} of space `{record.name}` has no counterpart at the target",
                "map the user, or add the target's one by hand",
            )
        elif assignee != owner:
            roles.setdefault(assignee, set()).update(one.roles)
    action = SpaceAction(
        source_id=record.id,
        name=record.name,
        type=record.type,
        description=record.description,
        owner_id=owner if owner is not None and owner != caller.user_id else "",
        members=tuple(Member(assignee_id=one, roles=tuple(sorted(roles[one]))) for one in sorted(roles)),
    )
    return action, problems


def flaw_of(name: str) -> str:
    """Why the service refuses a space's name; empty where it does not."""
    if not name.strip():
        return "it is empty"
    if len(name) > _LONGEST_CHARS:
        return f"it is longer than {_LONGEST_CHARS} characters"
    found = sorted(_REFUSED.intersection(name))
    return f"it holds {' '.join(found)}" if found else ""


def _user(source_id: str, mapping: IdMapping) -> str | None:
    """The user's own counterpart; whoever stands in for lost owners is nobody's member."""
    row = mapping.row_of(Kind.USER, source_id)
    return row.target_id if row is not None and row.rule != "fallback" else None
