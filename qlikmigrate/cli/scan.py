"""`scan`: what a migration of an archive will meet, without a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening, selectors
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.importer.source import Source
    from qlikmigrate.model.selection import Selectors
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.remap.finding import Finding


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
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.model.selection import OEM_KEYS
    from qlikmigrate.remap.survey import Surveyor, connectors_of
    from qlikmigrate.report.scan import Met, connector_rows, count_rows, finding_row

    output = session.output
    found: list[Met] = []
    connectors = []
    chosen = selectors_of(include, exclude)
    with open_snapshot(session, archive_path) as archive:
        oem = is_oem(archive)
        if oem:
            chosen.check(OEM_KEYS, "an OEM account")
        source = read_source(archive, _of_accounts(archive, chosen) if oem else chosen, with_calls=with_calls)
        held = frozenset(ident.lower() for ident in archive.ids(Kind.AUTOMATION))
        surveyor = Surveyor(source.inventory, held, source.token_hashes)
        total = len(source.automations)
        for done, (ident, one) in enumerate(source.automations.items(), 1):
            for raw in _texts(archive, ident, oem=oem):
                found += [Met(ident, one.entity.name, finding) for finding in surveyor.findings(raw)]
                connectors += [(ident, use) for use in connectors_of(raw)]
            if oem:
                found += [Met(ident, one.entity.name, finding) for finding in _in_inputs(archive, ident, source)]
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


def _texts(archive: Snapshot, ident: str, *, oem: bool) -> Iterator[bytes]:
    """What may hold a workspace: of an OEM automation what was handed in, or an answer that has one."""
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import parse

    raw = archive.detail(Kind.AUTOMATION, ident).raw
    if not oem or parse(raw).get("workspace"):
        yield raw
    if oem and ident in archive.ids(Kind.WORKSPACE):
        yield archive.detail(Kind.WORKSPACE, ident).raw


def _in_inputs(archive: Snapshot, ident: str, source: Source) -> Iterator[Finding]:
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import parse
    from qlikmigrate.remap.input_value import input_findings

    return input_findings(parse(archive.detail(Kind.AUTOMATION, ident).raw), source.token_hashes)


def _of_accounts(archive: Snapshot, chosen: Selectors) -> Selectors:
    """`account` selectors, and `uses`, which OEM workspaces do not tell, as ids.

    Raises:
        UsageError: nothing is selected.
    """
    from attrs import evolve

    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.oem_selection import selected_ids
    from qlikmigrate.model.selection import Selector

    if not chosen.of("account", "uses"):
        return chosen
    ids = tuple(Selector(key="id", value=one) for one in sorted(selected_ids(archive, chosen)))
    if not ids:
        raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")
    return evolve(chosen, include=ids, exclude=())
