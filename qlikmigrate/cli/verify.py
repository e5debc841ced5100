"""`verify`: every byte of an archive or a vault checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.vault import Vault
    from qlikmigrate.vault.verification import VaultVerification


@command("verify", "Check every byte of an archive or a vault")
@click.argument("archive")
@click.option(
    "--level",
    type=click.Choice(["structure", "hash", "content"]),
    help="Of a vault: names only, every stored byte (needs no key), or every document. [content, without a key hash]",
)
@click.option("--days", type=click.IntRange(2, 366), metavar="N", help="Of a vault: today's part; N days cover it all.")
@opening
def verify_command(session: Session, archive: str, level: str | None, days: int | None) -> None:
    """Check every byte of ARCHIVE, an archive or a vault; damage names the objects it hits, and what is still whole.

    Of a vault it names the snapshots and automations that damage hits, and files what it found sound. Snapshots share
    what they hold: with `VAULT@WHEN` too the whole vault is checked.
    """
    from qlikmigrate.cli.vault import split_address

    address = split_address(archive)
    if address is not None:
        location, when = address
        _verify_vault(session, location, when if location != archive else "", level, days)
        return
    if level or days:
        raise click.UsageError("--level and --days are for vaults: of an archive every byte is checked")
    _verify_archive(session, archive)


def _verify_vault(session: Session, location: str, when: str, level: str | None, days: int | None) -> None:
    """Check the whole vault. `when`: the snapshot that was named, which must be there; empty: none was."""
    from qlikmigrate.cli.vault import open_vault
    from qlikmigrate.kernel.error import CorruptError
    from qlikmigrate.vault.check import try_to_file_check
    from qlikmigrate.vault.verification import Level, Share, verify_vault

    vault = open_vault(session, location)
    if when:
        vault.find(when, tenant=session.tenant, allow_incomplete=True)
    wanted = Level[level.upper()] if level else Level.CONTENT if vault.readable else Level.HASH
    now = session.clock.now()
    share = Share.of_day(now, days) if days else None
    found = verify_vault(vault, wanted, share=share, sink=session.sink)
    tell_damages(session, vault, found)
    if wanted >= Level.HASH and not try_to_file_check(vault, found, now):
        session.output.say(f"what was found sound could not be filed in {location}", level="warning")
    if not found.ok:
        raise CorruptError(
            f"{location} is damaged in {number(len(found.damages), 'place')}, which hit "
            f"{number(len(found.hit), 'snapshot')}",
            hint="`repair` saves all that is whole",
        )
    part = f"; today's part of {days}" if days else ""
    looked = {
        Level.STRUCTURE: "names and heads checked",
        Level.HASH: f"{found.stored_bytes:,} stored bytes checked",
        Level.CONTENT: f"{found.stored_bytes:,} stored bytes and {found.pieces} pieces checked",
    }[wanted]
    session.closing.append(
        f"whole: {number(found.snapshots, 'snapshot')}, {found.packs} of {number(found.packs_in_all, 'pack')}, "
        f"{looked}{part}"
    )


def tell_damages(session: Session, vault: Vault, found: VaultVerification) -> None:
    """Say what is damaged, and count it."""
    from qlikmigrate.kernel.clock import rfc3339
    from qlikmigrate.report.vault import damage_row

    names = {info.id: rfc3339(info.taken_at.replace(microsecond=0)) for info in vault.snapshots()}
    for damage in found.damages:
        row, text = damage_row(damage, names)
        session.output.item(row, text)
    session.report["counts"] = {
        "snapshots": {"listed": found.snapshots, "damaged": len(found.hit)},
        "packs": {"listed": found.packs_in_all, "checked": found.packs},
        "damages": {"found": len(found.damages)},
    }


def _verify_archive(session: Session, archive: str) -> None:
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
        places = number(len(found.damages), "place")
        raise CorruptError(
            f"{archive} is damaged in {places}{cut}; {len(found.whole)} documents are whole",
            hint="--verbose lists what is whole",
        )
    session.closing.append(
        f"whole: {len(found.whole)} documents, {found.size_bytes:,} bytes, every byte checked"
        + ("" if found.complete else "; the snapshot itself is INCOMPLETE")
    )
