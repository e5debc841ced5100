"""Applies a saved plan to an OEM account: open windows are closed, both sides are read again, and the work is done."""

from __future__ import annotations

from pathlib import Path

from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.connection_plan import Values
from qlikmigrate.importer.journal import Journal, read_state
from qlikmigrate.importer.ledger import LedgerWriter, default_ledger
from qlikmigrate.importer.oem.account_writer import ACCOUNT_KEY, settle_account
from qlikmigrate.importer.oem.apply import OemApplyInput, apply_oem
from qlikmigrate.importer.oem.installer import Installer
from qlikmigrate.importer.oem.target import OemTarget, read_target
from qlikmigrate.importer.oem.window import WindowOpenError
from qlikmigrate.importer.plan import Plan
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.run_folder import RunFolder, run_name
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import StaleError, UsageError
from qlikmigrate.kernel.event import Sink
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import read_holding
from qlikmigrate.model.snapshot import Snapshot

_NAMED_AT_MOST = 5


def lock_name(plan: Plan) -> str:
    """What `target_lock` is taken on: the same before and after the account is made."""
    assert plan.account is not None
    word = plan.account.external_id or plan.account.id
    return f"oem-{plan.target.host}-{plan.target.caller_id}-{word}"


def account_of_run(view: RunView) -> str:
    """The guid of the account that a run worked in; empty where it never came to that."""
    account = view.plan.account
    made = view.state.objects.get(ACCOUNT_KEY)
    return (account.id if account else "") or (made.target_id if made else "") or ""


def ledger_path(plan: Plan, account: str) -> Path:
    """Where the ledger of the two accounts is, also of one that did not exist when the plan was made."""
    return Path(plan.options.ledger) if plan.options.ledger else default_ledger(plan.archive.tenant_id, account)


async def check_oem_plan(client: OemClient, snapshot: Snapshot, plan: Plan, *, sink: Sink) -> OemTarget:
    """The account as it is now, which must be as the plan saw it. Sends GETs only.

    Raises:
        StaleError: archive or account are not what the plan was made from.
    """
    _check_archive(snapshot, plan)
    assert plan.account is not None
    target = await read_target(client, plan.account.id or plan.account.external_id, sink=sink)
    check_fresh(plan, target)
    return target


def _check_archive(snapshot: Snapshot, plan: Plan) -> None:
    if snapshot.digest != plan.archive.digest:
        raise StaleError(f"the archive {plan.archive.path} changed since the plan was made", hint="make the plan again")


def check_fresh(plan: Plan, target: OemTarget) -> None:
    """Raises: StaleError when the account does not look as it did; names what moved."""
    assert plan.account is not None
    moved = [f"account `{plan.account.name}` is gone"] if plan.account.id and target.account is None else []
    for kind, before in plan.target.fingerprint.items():
        now = target.fingerprint.get(kind, {})
        if kind != Kind.TEMPLATE.value:
            moved += [f"{kind} {ident} is new" for ident in sorted(now.keys() - before.keys())]
        moved += [f"{kind} {ident} is gone" for ident in sorted(before.keys() - now.keys())]
        moved += [f"{kind} {ident} changed" for ident, one in sorted(before.items()) if now.get(ident, one) != one]
    if moved:
        more = f" and {len(moved) - _NAMED_AT_MOST} more" if len(moved) > _NAMED_AT_MOST else ""
        listed = ", ".join(moved[:_NAMED_AT_MOST])
        raise StaleError(f"the account changed since the plan was made: {listed}{more}", hint="make the plan again")


def windows_open(folder: RunFolder) -> bool:
    """Whether the run may have left something on. Reads the journal only."""
    return any(one.window_is_open for one in read_state(folder.journal_path).objects.values())


async def close_windows(client: OemClient, folder: RunFolder, *, clock: Clock) -> int:
    """What a run that was cut short may have left on is switched off; how many there were. For `--resume` to do first.

    Raises:
        WindowOpenError: one could not be found or switched off.
        CorruptError: plan or journal are damaged.
    """
    view = RunView.open(folder.path)
    account = account_of_run(view)
    opened = [one for one in view.plan.actions
              if (done := view.state.objects.get(str(one.seq))) is not None and done.window_is_open]  # fmt: skip
    if not opened or not account:
        return 0
    journal = Journal(folder.journal_path, run_id=folder.path.name, clock=clock)
    try:
        installer = Installer(client, account, journal, view.plan.actions, clock)
        failure: WindowOpenError | None = None
        for action in opened:
            try:
                await installer.close(action)
            except WindowOpenError as error:
                # The others are closed all the same.
                failure = failure or error
        if failure is not None:
            raise failure
    finally:
        journal.close()
    return len(opened)


async def apply_oem_plan(
    client: OemClient,
    snapshot: Snapshot,
    plan: Plan,
    folder: RunFolder,
    *,
    secrets: Values | None = None,
    abort_on_error: bool,
    clock: Clock,
    sink: Sink,
) -> Result:
    """Apply `plan` in `folder`, or go on with it. The target's lock must be held.

    Raises:
        StaleError: archive or account are not what the plan was made from; nothing was written.
        UsageError: the run was rolled back.
        AuthError, FailedError: resumable.
    """
    begun = folder.started
    if begun:
        await close_windows(client, folder, clock=clock)
        _check_archive(snapshot, plan)
    else:
        await check_oem_plan(client, snapshot, plan, sink=sink)
        folder.begin(plan)
    journal = Journal(folder.journal_path, run_id=folder.path.name, clock=clock)
    try:
        if journal.state.undone:
            raise UsageError(f"the run in {folder.path} was rolled back", hint="begin a new one with --run")
        if begun and not journal.state.objects:
            await check_oem_plan(client, snapshot, plan, sink=sink)
        journal.act_as(plan.target.caller_id)
        assert plan.account is not None
        account = await settle_account(client, plan.account, journal, clock)
        path = ledger_path(plan, account)
        ledger = LedgerWriter(path, source_tenant=plan.archive.tenant_id, target_tenant=account)
        with ledger:
            given = OemApplyInput(
                plan=plan,
                client=client,
                account=account,
                holding=read_holding(snapshot, plan.account.source_id),
                ledger=ledger,
                run_name=run_name(folder, plan),
                secrets=secrets or {},
                abort_on_error=abort_on_error,
            )
            return await apply_oem(given, journal, clock=clock, sink=sink)
    finally:
        journal.close()
