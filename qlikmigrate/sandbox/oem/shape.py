"""The objects as they are answered: exactly the members that the vendor's pages name, unless a switch says otherwise.

Source: the API reference, section 7.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account, Blend, Datasource, OemConnector, OemInput, Run, Template


def moment(at: datetime | None) -> str | None:
    """A time as accounts, blends, templates and runs have it."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def micro(at: datetime | None) -> str | None:
    """A time as datasources and the blends in them have it."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _more(realm: OemRealm, members: dict[str, Any]) -> dict[str, Any]:
    if realm.switches.extra_fields:
        members |= {"x_revision": 3, "x_flags": {"beta": False}, "x_labels": []}
    return members


def _short(realm: OemRealm) -> str:
    return "short description" if realm.switches.other_spellings else "short_description"


def _subs(realm: OemRealm) -> str:
    return "sub_automations" if realm.switches.other_spellings else "sub_blends"


def account(realm: OemRealm, one: Account) -> dict[str, Any]:
    """An account."""
    return _more(
        realm,
        {
            "guid": one.guid,
            "externalid": None if realm.switches.hides_externalid else one.externalid,
            "name": one.name,
            "created_at": moment(one.created_at),
        },
    )


def blend_row(realm: OemRealm, one: Blend) -> dict[str, Any]:
    """A blend in the list, with the children of a bundle."""
    made = _blend(realm, one)
    made["admin_sso_url"] = f"{made['admin_url']}?sso=1"
    if realm.switches.state_in_list:
        made["state"] = one.state
    if one.is_bundle:
        made[_subs(realm)] = [blend_row(realm, child) for child in one.children]
    return made


def blend(realm: OemRealm, one: Blend) -> dict[str, Any]:
    """A blend's own answer. Assumed: a bundle has no inputs but those of its children."""
    switches = realm.switches
    made = _blend(realm, one)
    if switches.state_in_get:
        made["state"] = one.state
    if switches.schedule_in_get:
        made |= {
            "schedule_start_at": one.schedule.start_at,
            "schedule_stop_at": one.schedule.stop_at,
            "schedule_interval": one.schedule.interval,
            "schedule_timezone": one.schedule.timezone,
        }
    if switches.workspace_member and one.workspace is not None:
        made[switches.workspace_member] = one.workspace
    if one.is_bundle:
        made[_subs(realm)] = [blend_row(realm, child) for child in one.children]
    made["inputs"] = _inputs(one.inputs, one.first_input, one.values, one.created_at, one.updated_at)
    return made


def nested_blend(realm: OemRealm, one: Blend) -> dict[str, Any]:
    """A blend in a datasource. Source: the examples of getting and deleting a datasource."""
    made = _blend(realm, one)
    for name in ("created_at", "updated_at", "last_run_at"):
        made[name] = micro(getattr(one, name))
    made["type"] = "widget"
    if realm.switches.state_in_nested:
        made["state"] = one.state
    return made


def _blend(realm: OemRealm, one: Blend) -> dict[str, Any]:
    return _more(
        realm,
        {
            "guid": one.guid,
            "name": one.name,
            _short(realm): one.short_description,
            "description": one.description,
            "icon": None,
            "icon2": None,
            "icon3": None,
            "status": one.status,
            "run_mode": one.run_mode,
            "has_setup": one.has_setup,
            "has_settings": one.has_settings,
            "setup_complete": one.setup_complete,
            "isbundle": one.is_bundle,
            "template_guid": one.template if realm.switches.names_template else None,
            "admin_url": f"https://{realm.hub}/widgets/{one.guid}",
            "created_at": moment(one.created_at),
            "updated_at": moment(one.updated_at),
            "last_run_at": moment(one.last_run_at),
        },
    )


def _inputs(
    inputs: tuple[OemInput, ...], first: int, values: dict[str, Any], created_at: datetime, updated_at: datetime
) -> list[dict[str, Any]]:
    return [
        {
            "id": first + order,
            "block_id": one.block_id,
            "label": one.label,
            "prompt": one.prompt or one.field_name,
            "field_name": one.field_name,
            "persisted_value": values.get(one.field_name),
            "is_required": one.is_required,
            "is_top_input": one.is_top_input,
            "is_persisted": one.is_persisted,
            "order": order,
            "created_at": moment(created_at),
            "updated_at": moment(updated_at),
        }
        for order, one in enumerate(inputs, 1)
    ]


def template_row(realm: OemRealm, one: Template) -> dict[str, Any]:
    """A template in the list, with the parts of a bundle."""
    made = {
        "guid": one.guid,
        "name": one.name,
        "icon": None,
        "icon2": None,
        "icon3": None,
        "description": one.description,
        _short(realm): one.short_description,
        "status": one.status,
        "has_setup": one.has_setup,
        "has_settings": one.has_settings,
        "isbundle": one.is_bundle,
        "groups": [{"group_name": name, "group_id": order} for order, name in enumerate(one.groups, 1)],
        "activation_url": f"https://{realm.hub}/templates/{one.guid}/install",
    }
    if one.is_bundle:
        made[_subs(realm)] = [template_row(realm, child) for child in one.children]
    return _more(realm, made)


def template(realm: OemRealm, one: Template) -> dict[str, Any]:
    """A template's own answer: fewer members than its row. Source: the example of getting a template."""
    defaults = {given.field_name: given.default for given in one.inputs}
    made: dict[str, Any] = {
        "guid": one.guid,
        "externalid": one.externalid,
        "name": one.name,
        "inputs": _inputs(one.inputs, one.first_input, defaults, one.created_at, one.created_at),
        "created_at": moment(one.created_at),
    }
    member = realm.switches.workspace_member
    if member and one.workspace is not None:
        made[member] = one.workspace
    return _more(realm, made)


def datasource_row(realm: OemRealm, one: Datasource, *, is_used: bool) -> dict[str, Any]:
    """A datasource in the list: never its params."""
    return _more(
        realm,
        {
            "guid": one.guid,
            "name": one.name,
            "connector": {"guid": one.connector.guid, "name": one.connector.name},
            "is_used": is_used,
            "is_connected": one.is_connected,
            "created_at": micro(one.created_at),
            "updated_at": micro(one.updated_at),
        },
    )


def datasource(realm: OemRealm, one: Datasource, linked: list[Blend]) -> dict[str, Any]:
    """A datasource with the blends that are bound to it."""
    name = "automations" if realm.switches.other_spellings else "blends"
    return datasource_row(realm, one, is_used=bool(linked)) | {name: [nested_blend(realm, blend) for blend in linked]}


def connector(realm: OemRealm, one: OemConnector) -> dict[str, Any]:
    """A connector with its params."""
    params = []
    for order, param in enumerate(one.params):
        made = {
            "guid": f"{one.guid[:-4]}{order:04x}",
            "name": param.name,
            "type": param.type,
            "example_value": param.example_value,
            "is_required": param.is_required,
        }
        params.append(made | ({"options": list(param.options)} if param.type == "select" else {}))
    return connector_row(realm, one) | {"authentication_type": one.authentication_type, "params": params}


def connector_row(realm: OemRealm, one: OemConnector) -> dict[str, Any]:
    """A connector in the public list. Assumed: the members that a connector's own answer begins with."""
    return _more(realm, {"guid": one.guid, "name": one.name, "description": one.description})


def run(realm: OemRealm, one: Run) -> dict[str, Any]:
    """A run: no inputs, outputs or errors, which were announced only."""
    return _more(
        realm,
        {
            "guid": one.guid,
            "status": one.status,
            "context": one.context,
            "schedule_starttime": moment(one.scheduled_for),
            "starttime": moment(one.started_at),
            "stoptime": moment(one.stopped_at),
            "created_at": moment(one.created_at),
            "updated_at": moment(one.stopped_at or one.started_at or one.created_at),
        },
    )
