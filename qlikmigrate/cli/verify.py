"""`verify`: every byte of an archive checked."""

from __future__ import annotations

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session


@command("verify", "Check every byte of an archive")
@click.argument("archive")
@opening
def verify_command(session: Session, archive: str) -> None:
    """Check every byte of ARCHIVE; damage names the objects it hits, and what is still whole."""
    from qlikmigrate.archive import verify
    from qlikmigrate.cli.archive import opener_for
    from qlikmigrate.kernel.error import CorruptError

    found = verify(archive, opener_for(session, archive))
    for one in found.damages:
        row = {
            "kind": one.kind.value if one.kind else None,
            "id": one.id,
            "name": one.name,
            "member": one.member,
            "status": "damaged",
            "message": one.message,
        }
        what = f"{one.kind.value} {one.id}" + (f" `{one.name}`" if one.name else "") if one.kind else one.member
        session.output.item(row, f"damaged: {what}: {one.message}")
    counts = {"documents": {"whole": len(found.whole), "damaged": len(found.damages)}}
    session.report.update(archive=archive, complete=found.complete, counts=counts)
    if not found.ok:
        for whole in found.whole:
            row = {"kind": whole.kind.value, "id": whole.id, "part": whole.part.value, "status": "whole"}
            if session.output.json or session.output.verbose:
                session.output.item(row, f"whole: {whole.kind.value} {whole.id} ({whole.part.value})")
        cut = ", the file ends too early" if found.truncated else ""
        raise CorruptError(
            f"{archive} is damaged in {len(found.damages)} places{cut}; {len(found.whole)} documents are whole",
            hint="--verbose lists what is whole",
        )
    session.closing.append(
        f"whole: {len(found.whole)} documents, {found.size_bytes:,} bytes, every byte checked"
        + ("" if found.complete else "; the snapshot itself is INCOMPLETE")
    )
