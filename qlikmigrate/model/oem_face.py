"""What two snapshots of an OEM automation or connection are compared by. Pure.

What one side does not know (a state, a schedule, a workspace that nobody handed in) is no difference. Run data, whether
a connection is connected, addresses and times are none either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.model.difference import Edit, compare
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemAutomation, OemConnection, OemHolding, Schedule, automation_of, schedule_of
from qlikmigrate.model.snapshot import Snapshot, parse

_MAY_BE_UNKNOWN = ("state", "run_mode", "setup_complete", "schedule", "workspace")


def compare_faces(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Edit, ...]:
    """The edits that lead from one face to another."""
    unknown = {key for key in _MAY_BE_UNKNOWN if not old.get(key) or not new.get(key)}
    here, there = ({key: value for key, value in one.items() if key not in unknown} for one in (old, new))
    return compare(here, there)


def face_in(snapshot: Snapshot, ident: str) -> dict[str, Any]:
    """The face of an automation of a snapshot, by itself: without what others say of it.

    Raises:
        CorruptError: what is stored is damaged.
    """
    value = parse(snapshot.detail(Kind.AUTOMATION, ident).raw)
    schedule = None
    if ident in snapshot.ids(Kind.SCHEDULE):
        schedule = schedule_of(parse(snapshot.detail(Kind.SCHEDULE, ident).raw))
    return _face(automation_of(value), schedule, workspace_in(snapshot, ident))


def automation_face(snapshot: Snapshot, holding: OemHolding, ident: str) -> dict[str, Any]:
    """The same with the names of its template, its children and the connections that it is hard-linked to."""
    one = holding.automations[ident]
    template = holding.templates.get(one.template_id)
    children = (holding.automations.get(child) for child in one.children)
    return {
        **_face(one, holding.schedules.get(ident), workspace_in(snapshot, ident)),
        "template": (template.name if template else "") or one.template_id,
        "children": {child.name: True for child in children if child},
        "connections": {used.name: True for used in holding.connections_of(ident)},
    }


def connection_face(one: OemConnection) -> dict[str, Any]:
    """What a connection is compared by. Whom it serves is told by each automation."""
    return {"name": one.name, "connector": one.connector_name or one.connector_id}


def workspace_in(snapshot: Snapshot, ident: str) -> Mapping[str, Any] | None:
    """The workspace that was handed in for an automation, or that the API gave; None: there is none."""
    kind = Kind.WORKSPACE if ident in snapshot.ids(Kind.WORKSPACE) else Kind.AUTOMATION
    value = parse(snapshot.detail(kind, ident).raw)
    found = value.get("workspace", value if kind is Kind.WORKSPACE else None)
    return found if isinstance(found, Mapping) else None


def _face(one: OemAutomation, schedule: Schedule | None, workspace: Mapping[str, Any] | None) -> dict[str, Any]:
    told = schedule.body() if schedule else {}
    return {
        "name": one.name,
        "description": one.description,
        "state": one.state or (schedule.state if schedule else ""),
        "run_mode": one.run_mode,
        "setup_complete": one.setup_complete,
        "template": one.template_id,
        "schedule": dict(one.schedule) or told,
        # As a block's inputs are written: by its name a value that is a secret is known.
        "inputs": [{"name": each.name, "label": each.prompt, "value": each.value} for each in one.inputs],
        "workspace": workspace,
    }
