"""A scan as rows: what a migration will meet, counts first. No secret is ever among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.workspace import BlockUse
from qlikmigrate.remap.finding import Finding
from qlikmigrate.report.archive import Row

_SUBJECTS_AT_MOST = 12
# In the order in which people should read them, with what each group is called.
_TITLES: Mapping[str, str] = {
    "secret-in-workspace": "secrets",
    "secret-in-inputs": "secrets in stored inputs",
    "unknown-id": "ids that no list of the tenant knows",
    "id-in-code": "ids in source code",
    "id-in-name": "ids in names that expressions bind to",
    "ambiguous-id": "ids of several objects",
    "source-id-left": "ids that need a counterpart",
    "id-in-prose": "ids in text for people",
    "connection-unbound": "blocks without a connection",
    "call-unresolved": "calls of automations that the archive does not hold",
    "source-host-left": "hosts of this tenant",
    "host-in-prose": "hosts of this tenant in text for people",
    "foreign-host": "hosts of other tenants",
    "mail-address": "e-mail addresses",
    "value-missing": "values to be given",
    "name-reference": "references by name",
}


@frozen
class Met:
    """One finding, and the automation it is in."""

    automation_id: str
    automation: str
    finding: Finding


def finding_row(met: Met) -> dict[str, Any]:
    """One place."""
    one = met.finding
    return {
        "kind": "finding",
        "code": one.code,
        "severity": one.severity.value,
        "of": one.kind.value if one.kind else None,
        "source_id": one.source_id,
        "automation_id": met.automation_id,
        "automation": met.automation,
        "path": one.path,
        "block": one.block_name,
        "message": one.message,
        "hint": one.hint,
    }


def count_rows(found: Iterable[Met], *, every_place: bool) -> Iterator[Row]:
    """Findings by code and kind of object, then what they are about, then, where asked for, each place."""
    groups: dict[tuple[str, str], list[Met]] = {}
    for met in found:
        kind = met.finding.kind.value if met.finding.kind else ""
        groups.setdefault((met.finding.code, kind), []).append(met)
    order = list(_TITLES)
    for code, kind in sorted(groups, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key[1])):
        group = groups[code, kind]
        automations = len({met.automation_id for met in group})
        subjects: dict[str, list[Met]] = {}
        for met in group:
            subjects.setdefault(met.finding.message, []).append(met)
        title = _TITLES.get(code, code) + (f", {kind}" if kind and code not in ("connection-unbound",) else "")
        row = {
            "kind": "count", "code": code, "of": kind or None, "places": len(group), "subjects": len(subjects),
            "automations": automations,
        }  # fmt: skip
        yield row, f"{title}: {_number(len(group), 'place')} in {_number(automations, 'automation')} [{code}]"
        yield from _subjects(subjects, every_place=every_place)


def _subjects(subjects: Mapping[str, list[Met]], *, every_place: bool) -> Iterator[Row]:
    most = sorted(subjects.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = most if every_place else most[:_SUBJECTS_AT_MOST]
    for message, group in shown:
        yield {}, f"  {message}: {_number(len(group), 'place')}"
        for met in group if every_place else ():
            block = f" (block `{met.finding.block_name}`)" if met.finding.block_name else ""
            yield {}, f"    {met.automation}: {met.finding.path}{block}"
    if len(shown) < len(most):
        yield {}, f"  and {len(most) - len(shown)} more; --verbose lists them"


def connector_rows(uses: Iterable[tuple[str, BlockUse]], inventory: Inventory) -> Iterator[Row]:
    """The connectors that are used. `uses`: (automation's id, block)."""
    counted: Counter[str] = Counter()
    automations: dict[str, set[str]] = {}
    for automation_id, use in uses:
        counted[use.value.lower()] += 1
        automations.setdefault(use.value.lower(), set()).add(automation_id)
    for ident, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        known = inventory.get(Kind.CONNECTOR, ident)
        name = known.name if known else "unknown"
        row = {"kind": "connector", "id": ident, "name": name, "blocks": count, "automations": len(automations[ident])}
        yield row, f"  {name} ({ident}): {_number(count, 'block')} in {_number(len(automations[ident]), 'automation')}"


def _number(count: int, word: str) -> str:
    return f"{count} {word}" + ("s" if count != 1 else "")
