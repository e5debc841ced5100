"""`mapping`: proposes which object of the target takes the place of which object of the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening, read_text, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.remap.mapping import MappingRow


@command("mapping", "Propose which target object takes whose place")
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
@opening
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
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.archive import for_cloud, lasting_name, open_snapshot, split_account
    from qlikmigrate.cli.request import read_decisions, read_values
    from qlikmigrate.cli.telling import tell_problems
    from qlikmigrate.cli.tenant import check_place, find_tenant, selectors_of
    from qlikmigrate.importer.counterpart import PlanRequest
    from qlikmigrate.importer.plan import PlanOptions
    from qlikmigrate.importer.prepare import propose_mapping
    from qlikmigrate.kernel.file import write_atomic
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.remap.mapping import Decision, Mapping
    from qlikmigrate.remap.proposal import render
    from qlikmigrate.report.mapping import mapping_row

    target = find_tenant(session, tenant)
    check_place(out)
    check_place(unmatched)
    previous = read_text(out, "mapping file") if Path(out).exists() else None
    decisions, text = read_decisions(out if previous is not None else None, ids_path)
    with open_snapshot(session, archive_path) as found:
        archive = for_cloud(found, include=include)
        request = PlanRequest(
            archive=lasting_name(archive_path, archive),
            snapshot=archive,
            selectors=selectors_of(split_account(include)[1], exclude),
            decisions=decisions.handmade(),
            mapping_text=text,
            values=read_values(decisions, out, session.environ),
            options=PlanOptions(with_calls=with_calls, ledger=ledger or ""),
            match_items=match_items,
        )

        async def work() -> tuple[Mapping, set[tuple[Kind, str]]]:
            async with session.connect(target, Access.READ) as client:
                mapping, source, _ = await propose_mapping(client, request, sink=session.output)
                return mapping, source.needed()

        mapping, needed = session.run(work)
    rows = [row for row in mapping.rows if row.kind is not Kind.TENANT]
    used = {id(row) for row in rows if (row.kind, row.source.id.lower()) in needed}
    open_rows = [
        row
        for row in rows
        if id(row) in used
        and row.target_id is None
        and row.decision is Decision.MAP
        and row.kind is not Kind.AUTOMATION
    ]
    write_atomic(Path(out), render(mapping, previous).encode())
    if unmatched:
        write_atomic(Path(unmatched), _csv(open_rows))
    tell_problems(session, mapping.problems)
    everything = session.output.json or session.output.verbose
    told = [row for row in rows if everything or id(row) in used]
    session.output.rows((mapping_row(row, used=id(row) in used) for row in told), hint=f"they are in {out}")
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
