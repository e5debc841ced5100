"""`repair`, `repack`: a damaged vault made true again; a vault written anew."""

from __future__ import annotations

import click

from qlikmigrate.cli.option import command, opening, recipients
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number


@command("repair", "Bring a damaged vault back to a state in which all it says is true")
@click.argument("vault")
@click.option("--dry-run", is_flag=True, help="Say what is damaged; change nothing.")
@recipients
@opening
def repair_command(session: Session, vault: str, dry_run: bool, recipients: tuple[str, ...]) -> None:
    """Save all that is whole in VAULT: heads are made again from packs, pieces of damaged packs are written anew.

    What is lost is named, and its snapshots are incomplete from then on. Ends with 3 where something is lost.
    """
    from qlikmigrate.cli.vault import give_keys, open_vault, sealer_of, told_as_vault
    from qlikmigrate.cli.verify import tell_damages
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.vault.repair import open_for_repair, repair
    from qlikmigrate.vault.store import open_store
    from qlikmigrate.vault.verification import Level, verify_vault

    if dry_run:
        opened = open_vault(session, vault)
        found = verify_vault(opened, Level.CONTENT if opened.readable else Level.HASH, sink=session.output)
        tell_damages(session, opened, found)
        session.closing.append(f"{number(len(found.damages), 'damage')}; nothing was changed")
        return
    with told_as_vault(vault):
        sealer = sealer_of(session, recipients)
        opened, written = open_for_repair(open_store(vault), sealing=sealer, clock=session.clock)
    give_keys(session, opened)
    session.report["vault"] = vault
    with opened.lock(sink=session.output, watch=session.watch) as lock:
        done = repair(opened, lock, sink=session.output)
    names = {info.id: info for info in opened.snapshots()}
    for snapshot_id, notes in done.lost.items():
        for note in notes:
            row = {
                "kind": note.kind.value,
                "id": note.id,
                "name": note.name,
                "snapshot": snapshot_id,
                "status": "lost",
                "message": note.reason,
            }
            session.output.item(row, f"lost: {note.kind.value} {note.id} in {snapshot_id[:8]}: {note.reason}")
    lost = sum(map(len, done.lost.values()))
    session.report["counts"] = {
        "snapshots": {"listed": len(names), "renewed": len(done.snapshots), "heads": len(done.heads)},
        "pieces": {"saved": done.saved, "lost": lost},
    }
    if not (done.changed or written):
        session.closing.append("nothing to repair")
        return
    words = [
        "its description was written again" if written else "",
        f"{len(done.heads)} heads made again" if done.heads else "",
        f"{len(done.packs)} damaged packs set aside" if done.packs else "",
        f"{done.saved} pieces saved" if done.saved else "",
        f"{number(len(done.strangers), 'pack')} of no snapshot taken away" if done.strangers else "",
        f"{len(done.records)} damaged records of drills, checks or moves taken away" if done.records else "",
    ]
    session.closing.append("repaired: " + ", ".join(word for word in words if word))
    if lost:
        raise PartialError(
            f"{lost} objects in {len(done.lost)} snapshots are lost",
            hint="a backup reads what the tenant still has",
            code="lost-by-damage",
        )


@command("repack", "Write the snapshots of a vault anew, as small as they can be")
@click.argument("vault")
@click.option("--dry-run", is_flag=True, help="Say what there is; change nothing.")
@recipients
@opening
def repack_command(session: Session, vault: str, dry_run: bool, recipients: tuple[str, ...]) -> None:
    """Write all snapshots of VAULT anew: each version as what differs from the one before, in few packs.

    The old packs stay until a prune deletes them a margin later. An encrypted vault needs --identity and --recipient.
    """
    from qlikmigrate.cli.vault import open_vault
    from qlikmigrate.report.archive import kibibytes
    from qlikmigrate.vault.repack import check_repackable, repack

    opened = open_vault(session, vault, recipients, writes=True)
    check_repackable(opened)
    if dry_run:
        size = sum(size for _, size in opened.shelf.packs.values())
        many, packs = number(len(opened.snapshots()), "snapshot"), number(len(opened.shelf.packs), "pack")
        session.closing.append(f"{many} in {packs} ({kibibytes(size)}) would be written anew")
        return
    with opened.lock(sink=session.output, watch=session.watch) as lock:
        done = repack(opened, lock, sink=session.output)
    session.report["counts"] = {
        "snapshots": {"written": done.snapshots},
        "pieces": {"written": done.pieces},
        "bytes": {"before": done.before_bytes, "after": done.after_bytes},
    }
    session.closing.append(
        f"{number(done.snapshots, 'snapshot')} written anew: {kibibytes(done.before_bytes)} before, "
        f"{kibibytes(done.after_bytes)} after; a prune deletes the old packs later"
    )
