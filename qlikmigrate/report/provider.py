"""Accounts, templates and runs of an OEM provider as rows: what people need to write tables and mapping files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.model.oem import account_of, template_of
from qlikmigrate.model.oem_run import AutomationRun

Row = tuple[dict[str, Any], str]


def account_row(value: Mapping[str, Any]) -> Row:
    """An account."""
    one = account_of(value)
    row = {"kind": "account", "id": one.id, "externalid": one.external_id, "name": one.name}
    row["created_at"] = str(value.get("created_at") or "")
    return row, f"{one.id:36}  {one.external_id:20}  {one.name}"


def template_row(value: Mapping[str, Any]) -> Row:
    """A template, or a bundle of them."""
    one = template_of(value)
    row = {
        "kind": "template",
        "id": one.id,
        "name": one.name,
        "status": one.status,
        "bundle": one.is_bundle,
        "parts": [{"id": part.id, "name": part.name} for part in one.children],
    }
    parts = f"  bundle of {', '.join(part.name for part in one.children)}" if one.is_bundle else ""
    return row, f"{one.id:36}  {one.status:11}  {one.name}{parts}"


def run_row(run: AutomationRun, *, name: str, automation_id: str) -> Row:
    """A run of an automation."""
    row = {
        "kind": "run",
        "id": run.id,
        "automation": name,
        "automation_id": automation_id,
        "status": run.status,
        "context": run.context,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "stopped_at": run.stopped_at,
    }
    return row, f"run {run.id} of {name}: {run.status or 'status unknown'}"
