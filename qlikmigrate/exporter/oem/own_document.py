"""Documents of a snapshot of OEM accounts that no call gave: what people handed in, who holds what."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import evolve

from qlikmigrate.exporter.oem.findings import Findings
from qlikmigrate.exporter.oem.supply import Supply, assign
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import Account
from qlikmigrate.remap.secret import has_secrets


def add_supply(record: Record[Any], supply: Supply, findings: Findings, names: Mapping[str, str]) -> None:
    """Keep what was handed in beside the automations that it is meant for. `names`: id → name, as the lists have it.

    Raises:
        UsageError: a file is larger than a snapshot takes.
    """
    ones = [evolve(one, name=names[one.id]) for one in findings.blends.values()]
    supplied = assign(supply, sorted(ones, key=lambda one: one.id))
    for ident, file in sorted(supplied.workspaces.items()):
        if flaw := record.add_detail(Kind.WORKSPACE, ident, file.raw):
            raise UsageError(f"{file.path}: {flaw}")
        findings.with_workspace.add(ident)
        if has_secrets(file.raw):
            findings.secret_workspaces.add(ident)
    for ident, entry in sorted(supplied.schedules.items()):
        record.add_detail(Kind.SCHEDULE, ident, entry.document())
        if "schedule_interval" in entry.value:
            findings.with_schedule.add(ident)
    for problem in supplied.problems:
        record.note(problem.code, problem.severity, problem.message, where=problem.where, hint=problem.hint)


def add_memberships(
    record: Record[Any],
    accounts: Iterable[Account],
    home: Mapping[str, Account],
    connections: Mapping[str, Collection[str]],
) -> None:
    """Say which account holds what: a snapshot's objects lie side by side, whosever they are.

    `home`: id of an automation → its account; `connections`: an account's guid → ids.
    """
    for account in accounts:
        held = sorted(ident for ident, owner in home.items() if owner.id == account.id)
        value = {"automations": held, "connections": sorted(connections.get(account.id, ()))}
        record.add_detail(Kind.MEMBERSHIP, account.id, json.dumps(value, separators=(",", ":")).encode())
