"""Old address → new address of a run's automations in an OEM account. Tokens are shown by no call, so none are here."""

from __future__ import annotations

from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.caller_list import CallerList, CallerRow
from qlikmigrate.importer.oem.runbook import trigger_url
from qlikmigrate.importer.oem.watch import open_watch
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.event import Sink


async def read_oem_callers(client: OemClient, view: RunView, *, sink: Sink) -> CallerList:
    """List every automation of the run that is there. Sends GETs only.

    Raises:
        UsageError: the account is not there.
        AuthError, FailedError: it cannot be read.
    """
    watch = await open_watch(client, view, sink=sink)
    source = f"https://{view.plan.archive.host}/v1" if view.plan.archive.host else ""
    rows = []
    for action in view.plan.actions:
        seen, target_id = watch.seen.get(action.seq), view.target_of(action.seq)
        if seen is None or seen.automation is None or target_id is None:
            continue
        rows.append(
            CallerRow(
                name=seen.automation.name or action.name,
                run_mode=seen.automation.run_mode or action.run_mode,
                owner="",
                source_id=action.source_id,
                source_url=trigger_url(source, action.source_id) if source else "",
                target_id=target_id,
                target_url=trigger_url(client.endpoint.url, target_id),
            )
        )
    return CallerList(rows=tuple(sorted(rows, key=lambda one: (one.name, one.source_id))))
