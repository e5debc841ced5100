"""A mapping as rows: what takes whose place, and by which rule."""

from __future__ import annotations

from qlikmigrate.remap.mapping import MappingRow
from qlikmigrate.report.archive import Row


def mapping_row(row: MappingRow, *, used: bool) -> Row:
    """One object of the source. `used`: the selection needs it."""
    value = {
        "kind": row.kind.value,
        "source_id": row.source.id,
        "source_name": row.source.name,
        "target_id": row.target_id,
        "target_name": row.target_name,
        "decision": row.decision.value,
        "rule": row.rule,
        "used": used,
    }
    there = (row.target_name or row.target_id) if row.target_id else "-"
    return value, f"{row.kind.value:10} {row.source.name or row.source.id} → {there}  [{row.rule}]"
