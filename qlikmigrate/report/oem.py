"""Snapshots of OEM accounts as rows: an object for machines and a line for people. Secrets in inputs are masked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.jsontext import members
from qlikmigrate.model.document import received
from qlikmigrate.model.history import token_hashes
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemAutomation, OemHolding
from qlikmigrate.model.oem_selection import holdings
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.input_value import shown_text, shown_value
from qlikmigrate.remap.secret import mask
from qlikmigrate.report.archive import Row


def oem_automation_rows(snapshot: Snapshot) -> Iterator[Row]:
    """The captured automations by account, then by name; children after their bundles."""
    held = holdings(snapshot)
    for holding in sorted(held, key=lambda one: (one.account.label.casefold(), one.account.id)):
        for one in _in_order(holding):
            child = one.id not in holding.top
            template = _template(holding, one)
            state = _state(holding, one)
            row = {
                "kind": "automation",
                "id": one.id,
                "name": one.name,
                "state": state,
                "run_mode": one.run_mode,
                "template": template,
                "template_id": one.template_id,
                "bundle": one.is_bundle,
                "account": holding.account.label,
                "account_id": holding.account.id,
                "workspace": one.id in holding.supplied,
                "schedule": one.id in holding.schedules,
            }
            where = f"{holding.account.label} / " if len(held) > 1 else ""
            lead = "  " if child else ""
            text = f"{one.id}  {one.run_mode or '-':9} {state or '-':9} {where}{lead}{one.name}"
            yield row, text + f"  ({template or 'built by hand'})"


def describe_oem_automation(snapshot: Snapshot, wanted: Entity) -> Iterator[Row]:
    """One automation: what it is, what is stored in it, and the connections that it is hard-linked to."""
    holding = next(one for one in holdings(snapshot) if wanted.id in one.automations)
    one = holding.automations[wanted.id]
    schedule = holding.schedules.get(one.id)
    told = (schedule.body() if schedule else {}) or dict(one.schedule)
    facts: list[tuple[str, Any]] = [
        ("id", one.id),
        ("name", one.name),
        ("account", f"{holding.account.label} ({holding.account.id})"),
        ("template", f"{_template(holding, one)} ({one.template_id})" if one.template_id else "none: built by hand"),
        ("run_mode", one.run_mode or "unknown"),
        ("state", _state(holding, one) or "unknown"),
        ("schedule", json.dumps(told, ensure_ascii=False) if told else "unknown"),
        ("workspace", "in the archive" if _has_workspace(snapshot, one.id) else "not in the archive"),
    ]
    if one.is_bundle:
        names = [holding.automations[ident].name for ident in one.children if ident in holding.automations]
        facts.append(("children", ", ".join(names)))
    for key, fact in facts:
        yield {"kind": "automation", "field": key, "value": fact}, f"{key:14} {fact}"
    hashes = token_hashes(snapshot)
    for each in one.inputs:
        if each.value is None:
            continue
        row = {
            "kind": "input", "name": each.name, "prompt": each.prompt, "value": shown_value(each, hashes),
            "writable": each.is_writable, "required": each.is_required,
        }  # fmt: skip
        kept = "" if each.is_writable else " (cannot be written)"
        yield row, f"{'input':14} {each.name}: {shown_text(each, hashes)}{kept}"
    for use in holding.connections_of(one.id):
        row = {"kind": "connection", "id": use.id, "name": use.name, "connector": use.connector_name}
        yield row, f"{'uses':14} {use.name} ({use.id}), {use.connector_name}"


def oem_workspace(snapshot: Snapshot, ident: str) -> bytes:
    """The workspace of an automation that was handed in, or that the API gave, as Qlik's editor takes it.

    An export of the editor has it as a member, beside a name; the editor uploads that member.

    Raises:
        UsageError: there is none.
    """
    if ident in snapshot.ids(Kind.WORKSPACE):
        raw = snapshot.detail(Kind.WORKSPACE, ident).raw
        return _member(raw, "workspace") or raw
    found = _member(received(snapshot.detail(Kind.AUTOMATION, ident)), "workspace")
    if found is None:
        raise UsageError(
            f"no workspace of automation {ident} is in the archive",
            hint="the OEM API gives none: `backup --workspaces DIR` takes files saved by hand",
        )
    return found


def _member(raw: bytes, name: str) -> bytes | None:
    text = raw.decode("utf-8")
    span = next((one for one in members(text) if one.key == name and text[one.start] in "{["), None)
    return text[span.start : span.end].encode() if span else None


def _has_workspace(snapshot: Snapshot, ident: str) -> bool:
    if ident in snapshot.ids(Kind.WORKSPACE):
        return True
    value = parse(snapshot.detail(Kind.AUTOMATION, ident).raw)
    return isinstance(value, Mapping) and bool(value.get("workspace"))


def _in_order(holding: OemHolding) -> Iterator[OemAutomation]:
    ones = holding.automations
    for ident in sorted(holding.top, key=lambda ident: (ones[ident].name.casefold(), ident)):
        yield ones[ident]
        yield from (ones[child] for child in ones[ident].children if child in ones)


def _template(holding: OemHolding, one: OemAutomation) -> str:
    found = holding.templates.get(one.template_id)
    return mask(found.name) if found and found.name else one.template_id


def _state(holding: OemHolding, one: OemAutomation) -> str:
    """As the API says, or else as people do."""
    schedule = holding.schedules.get(one.id)
    return one.state or (schedule.state if schedule else "")
