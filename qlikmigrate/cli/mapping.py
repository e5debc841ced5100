"""`mapping`: proposes which object of the target takes the place of which object of the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, read_text, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.remap.mapping import MappingRow


@command("mapping")
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("tenant")
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="FILE",
    help="The mapping file; your own lines and comments in it stay.",
)
@click.option("--ids", "ids_path", metavar="CSV", help="Other tools' id list: kind,source_id,target_id.")
@click.option("--unmatched", metavar="CSV", help="Write what has no counterpart to CSV.")
@click.option("--match-items", is_flag=True, help="Match apps and other items by type, name and space.")
@click.option("--ledger", metavar="FILE", help="The ledger of this pair of tenants.")
@selectors
def mapping_command(
    session: Session,
    archive_path: str,
    tenant: str,
    out: str,
    ids_path: str | None,
    unmatched: str | None,
    match_items: bool,
    ledger: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Match ARCHIVE against TENANT and write the result, with the rule behind each match, to FILE."""
    from qlikmigrate.cli.request import read_decisions, read_values
    from qlikmigrate.cli.tenant import connect, find_tenant, open_complete, selectors_of
    from qlikmigrate.importer.plan import PlanOptions
    from qlikmigrate.importer.prepare import PlanRequest, propose_mapping
    from qlikmigrate.kernel.file import write_atomic
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.remap.mapping import Decision, Mapping
    from qlikmigrate.remap.proposal import render

    target = find_tenant(session, tenant)
    previous = read_text(out, "mapping file") if Path(out).exists() else None
    decisions, text = read_decisions(out if previous is not None else None, ids_path)
    with open_complete(archive_path, allow_incomplete=True) as archive:
        request = PlanRequest(
            archive=Path(archive_path),
            snapshot=archive,
            selectors=selectors_of(include, exclude),
            decisions=decisions.handmade(),
            mapping_text=text,
            values=read_values(decisions, out, session.environ),
            options=PlanOptions(with_calls=with_calls, ledger=ledger or ""),
            match_items=match_items,
        )

        async def work() -> tuple[Mapping, set[tuple[Kind, str]]]:
            async with connect(session, target) as client:
                mapping, source, _ = await propose_mapping(client, request, sink=session.output)
                session.report["requests"] = client.counts.as_json()
                return mapping, source.needed()

        mapping, needed = session.run(work)
    for problem in mapping.problems:
        session.output(problem)
    rows = [row for row in mapping.rows if row.kind is not Kind.TENANT]
    open_rows = []
    for row in rows:
        used = (row.kind, row.source.id.lower()) in needed
        if row.target_id is None and row.decision is Decision.MAP and row.kind is not Kind.AUTOMATION and used:
            open_rows.append(row)
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
        if used or session.output.json or session.output.verbose:
            arrow = f"{row.target_name or row.target_id}" if row.target_id else "-"
            session.output.item(
                value, f"{row.kind.value:10} {row.source.name or row.source.id} → {arrow}  [{row.rule}]"
            )
    write_atomic(Path(out), render(mapping, previous).encode())
    if unmatched:
        write_atomic(Path(unmatched), _csv(open_rows))
    mapped = sum(1 for row in rows if row.target_id)
    counts = {"rows": {"mapped": mapped, "open": len(open_rows)}}
    session.report.update(archive=archive_path, mapping=out, counts=counts)
    session.closing.append(f"{out}: {mapped} mapped, {len(open_rows)} used and still open")


def _csv(rows: Iterable[MappingRow]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "source_id", "source_name", "target_id"])
    for row in rows:
        writer.writerow([row.kind.value, row.source.id, row.source.name, ""])
    return text.getvalue().encode()
