"""`prune`: which snapshots of a vault stay, and why; the others go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening, recipients
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.vault import Vault
    from qlikmigrate.vault.prune import PrunePlan
    from qlikmigrate.vault.retention import Policy

_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


@command("prune", "Keep the snapshots of a vault that the rules name, and let the others go")
@click.argument("vault")
@click.option("--keep-last", type=int, default=0, metavar="N", help="Keep the last N.")
@click.option("--keep-hourly", type=int, default=0, metavar="N", help="Keep the last of each of the last N hours.")
@click.option("--keep-daily", type=int, default=0, metavar="N", help="Keep the last of each of the last N days.")
@click.option("--keep-weekly", type=int, default=0, metavar="N", help="Keep the last of each of the last N weeks.")
@click.option("--keep-monthly", type=int, default=0, metavar="N", help="Keep the last of each of the last N months.")
@click.option("--keep-yearly", type=int, default=0, metavar="N", help="Keep the last of each of the last N years.")
@click.option("--keep-within", metavar="PERIOD", help="Keep all of the time before the newest: 30d, 1y6m, 2d12h.")
@click.option("--zone", default="UTC", show_default=True, metavar="ZONE", help="Whose days and weeks are meant.")
@click.option(
    "--margin", default="7d", show_default=True, metavar="PERIOD", help="How long what is removed can be had back."
)
@click.option("--undelete", metavar="ID", help="Take a removed snapshot back instead.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and why.")
@recipients
@opening
def prune_command(
    session: Session,
    vault: str,
    keep_within: str | None,
    zone: str,
    margin: str,
    undelete: str | None,
    dry_run: bool,
    recipients: tuple[str, ...],
    **keeps: int,
) -> None:
    """Keep the snapshots of VAULT that the keep rules name, and let the others go.

    What goes is marked first; its space comes back with a prune a margin later. An incomplete, partial or unverified
    snapshot never stands in for a whole one. Asks before it starts.
    """
    from qlikmigrate.cli.confirm import confirm
    from qlikmigrate.cli.vault import open_vault
    from qlikmigrate.kernel.clock import to_the_second
    from qlikmigrate.report.retention import decision_counts
    from qlikmigrate.vault.prune import plan_prune, prune
    from qlikmigrate.vault.repack import refuse_immutable
    from qlikmigrate.vault.retention import Period

    if undelete is not None:
        _undelete(session, open_vault(session, vault, recipients, writes=True), undelete, dry_run=dry_run)
        return
    policy = _policy(keep_within, zone, keeps)
    rest = _length(Period.parse(margin))
    opened = open_vault(session, vault, recipients, writes=True)
    refuse_immutable(opened)
    plan = plan_prune(opened, policy, tenant=session.tenant, margin=rest, sink=session.sink)
    counts = decision_counts(plan.decisions)
    _tell(session, opened, policy, plan)
    session.report["counts"] = {"snapshots": counts}
    if dry_run:
        listed = number(counts["listed"], "snapshot")
        session.closing.append(f"would remove {counts['removed']} of {listed}; nothing was changed")
        return
    confirm(session, f"Remove {counts['removed']} of {number(counts['listed'], 'snapshot')}?")
    with opened.lock(sink=session.output, watch=session.watch) as lock:
        done = prune(opened, lock, plan, margin=rest, sink=session.output)
    counts = decision_counts(done.plan.decisions)
    session.report["counts"] = {"snapshots": counts}
    kept = f"{counts['kept']} {'stays' if counts['kept'] == 1 else 'stay'}"
    session.closing.append(f"removed {counts['removed']} of {number(counts['listed'], 'snapshot')}, {kept}")
    if done.plan.removed:
        until = to_the_second(session.clock.now() + rest)
        session.closing.append(f"`prune {vault} --undelete ID` takes one back, at least until {until}")
    if done.repacked is not None:
        session.closing.append(
            f"written anew: {done.repacked.pieces} pieces of {number(done.repacked.snapshots, 'snapshot')}"
        )


def _policy(within: str | None, zone: str, keeps: dict[str, int]) -> Policy:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.vault.retention import Period, Policy

    try:
        where = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"no such time zone: `{zone}`", hint="write it like Europe/Stockholm") from None
    numbers = {name: keeps[f"keep_{name}"] for name in _RULES}
    return Policy(**numbers, within=Period.parse(within) if within else None, zone=where)


def _length(period: object) -> timedelta:
    from datetime import UTC, datetime

    from qlikmigrate.vault.retention import Period

    assert isinstance(period, Period)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return now - period.before(now, UTC)


def _tell(session: Session, vault: Vault, policy: Policy, plan: PrunePlan) -> None:
    from qlikmigrate.report.retention import decision_rows, policy_row
    from qlikmigrate.report.vault import space_row

    names = {info.tenant: info.tenant_label for info in vault.snapshots()}
    for row, text in (policy_row(policy), *decision_rows(plan.decisions, tenants=names), space_row(plan)):
        session.output.item(row, text)


def _undelete(session: Session, vault: Vault, wanted: str, *, dry_run: bool) -> None:
    from qlikmigrate.report.vault import snapshot_row
    from qlikmigrate.vault.prune import undelete

    if dry_run:
        for info in vault.catalog.gone:
            if info.id.startswith(wanted):
                row, text = snapshot_row(info)
                session.output.item(row, text)
        return
    with vault.lock(sink=session.output, watch=session.watch) as lock:
        found = undelete(vault, lock, wanted)
    row, text = snapshot_row(found)
    session.output.item(row, text)
    session.closing.append(f"snapshot {found.id} is back")
