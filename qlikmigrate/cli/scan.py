"""`scan`: what a migration of an archive will meet, without a target."""

from __future__ import annotations

from collections import Counter

import click

from qlikmigrate.cli.option import command, opening, selectors
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number


@command("scan", "Say what a migration will meet, without a target")
@click.argument("archive_path", metavar="ARCHIVE")
@selectors
@opening
def scan_command(
    session: Session, archive_path: str, include: tuple[str, ...], exclude: tuple[str, ...], with_calls: bool
) -> None:
    """List the ids, secrets, hosts, addresses and names in ARCHIVE's workspaces that a migration will meet.

    Needs no target. Counts come first; --verbose tells each place. Secrets are told by kind, never by value.
    """
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.tenant import selectors_of
    from qlikmigrate.importer.source import read_source
    from qlikmigrate.kernel.event import Progress
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.remap.survey import Surveyor, connectors_of
    from qlikmigrate.report.scan import Met, connector_rows, count_rows, finding_row

    output = session.output
    found: list[Met] = []
    connectors = []
    with open_snapshot(session, archive_path) as archive:
        source = read_source(archive, selectors_of(include, exclude), with_calls=with_calls)
        held = frozenset(ident.lower() for ident in archive.ids(Kind.AUTOMATION))
        surveyor = Surveyor(source.inventory, held, source.token_hashes)
        total = len(source.automations)
        for done, (ident, one) in enumerate(source.automations.items(), 1):
            raw = archive.detail(Kind.AUTOMATION, ident).raw
            found += [Met(ident, one.entity.name, finding) for finding in surveyor.findings(raw)]
            connectors += [(ident, use) for use in connectors_of(raw)]
            output(Progress(phase="scan", done=done, total=total, subject=one.entity.name))
        complete, restorable = archive.manifest.complete, archive.manifest.restorable.value
    if output.json:
        for met in found:
            output.item(finding_row(met))
    for row, text in count_rows(found, every_place=output.verbose):
        if row or not output.json:
            output.item(row, text)
    rows = list(connector_rows(connectors, source.inventory))
    if rows and not output.json:
        output.item({}, f"connectors used: {len(rows)}")
    for row, text in rows:
        output.item(row, text)
    codes = Counter(met.finding.code for met in found)
    session.report.update(
        complete=complete,
        restorable=restorable,
        archive=archive_path,
        counts={"automations": {"scanned": total}, "findings": dict(sorted(codes.items()))},
    )
    session.closing.append(f"{number(total, 'automation')} scanned, {number(len(found), 'finding')}")
