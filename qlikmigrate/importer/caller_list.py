"""Old id and address → new id and address of every automation of a run, for those who start them from outside.

Execution tokens are read only when asked for, and only for what is started by one; they are in no other value.
Source: Qlik's action button and help page on triggered automations: `actions/execute` under `/api/v1/automations`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.importer.plan import Action
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.target import list_rows
from qlikmigrate.importer.watch import Watch, check_tenant, reach
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.workspace import automations_called

_COLUMNS = (
    "name", "run_mode", "owner", "source_id", "source_url", "target_id", "target_url", "called_by",
)  # fmt: skip
# Run modes in which a caller from outside needs the address and the token.
_CALLED = ("triggered", "webhook")


@frozen(kw_only=True)
class CallerRow:
    """One automation with both its addresses. `called_by`: names of the target's automations that call the new one."""

    name: str
    run_mode: str
    owner: str
    source_id: str
    source_url: str
    target_id: str
    target_url: str
    called_by: tuple[str, ...] = ()
    token: Secret | None = field(default=None, repr=False)


@frozen(kw_only=True)
class CallerList:
    """The rows by name, and what could not be had."""

    rows: tuple[CallerRow, ...]
    problems: tuple[Problem, ...] = ()


def execute_url(origin: str, ident: str) -> str:
    """Where an automation is started with its execution token."""
    return f"{origin.rstrip('/')}/api/v1/automations/{ident}/actions/execute"


def widget_url(origin: str, ident: str) -> str:
    """The same in an OEM account. Source: help.qlik.com, blendr, "Calling a data blend via a webhook URL"."""
    return f"{origin.rstrip('/')}/v1/widgets/{ident}"


async def read_callers(client: CloudClient, view: RunView, *, tokens: bool, clock: Clock, sink: Sink) -> CallerList:
    """Read the target and list every automation of the run that has a counterpart. `tokens`: with execution tokens.

    Raises:
        UsageError: the tenant is not the run's.
        AuthError, FailedError: the tenant cannot be read.
    """
    await check_tenant(client, view.plan)
    watch = Watch(view=view, client=client, clock=clock)
    await watch.open()
    people = {str(row["id"]): row async for row in list_rows(client, "user.list")}
    documents = await _read(watch, sink)
    called_by: dict[str, set[str]] = {}
    for ident, value in documents.items():
        for use in automations_called(value):
            called_by.setdefault(use.value.lower(), set()).add(str(value.get("name") or ident))
    source = f"https://{view.plan.archive.host}" if view.plan.archive.host else ""
    address = execute_url if view.plan.archive.is_cloud else widget_url
    rows: list[CallerRow] = []
    problems: list[Problem] = []
    for action in view.plan.actions:
        target_id = view.target_of(action.seq)
        shown = documents.get(target_id or "") or watch.rows.get(target_id or "")
        if target_id is None or shown is None:
            continue
        mode = str(shown.get("runMode") or action.run_mode)
        token = _token(action, mode, documents.get(target_id), problems) if tokens else None
        rows.append(
            CallerRow(
                name=str(shown.get("name") or action.name),
                run_mode=mode,
                owner=_person(people.get(str(shown.get("ownerId") or ""), {})),
                source_id=action.source_id,
                source_url=address(source, action.source_id) if source else "",
                target_id=target_id,
                target_url=execute_url(client.endpoint.origin, target_id),
                called_by=tuple(sorted(called_by.get(target_id.lower(), ()))),
                token=token,
            )
        )
    return CallerList(rows=tuple(sorted(rows, key=lambda one: (one.name, one.source_id))), problems=tuple(problems))


async def _read(watch: Watch, sink: Sink) -> dict[str, Mapping[str, Any]]:
    """Every document of the target that this identity may read: any automation may call one of the run's."""
    documents: dict[str, Mapping[str, Any]] = {}
    done = 0

    async def read(ident: str) -> None:
        nonlocal done
        owner = str(watch.rows[ident].get("ownerId") or "")
        found = await reach(watch.client, ident, owner, listed=True)
        if found.value is not None:
            documents[ident] = found.value
        done += 1
        sink(Progress(phase="read", done=done, total=len(watch.rows)))

    await fan_out(watch.rows, read, width=watch.client.endpoint.limits.concurrency)
    return documents


def _token(action: Action, mode: str, document: Mapping[str, Any] | None, problems: list[Problem]) -> Secret | None:
    if mode not in _CALLED:
        return None
    token = document.get("executionToken") if document is not None else None
    if isinstance(token, str) and token:
        return Secret(token)
    problems.append(
        Problem(
            code="token-unreadable",
            severity=Severity.WARNING,
            message=f"the execution token of `{action.name}` cannot be read with this identity",
            where=f"automation {action.source_id}",
            hint="its owner finds it in the editor",
        )
    )
    return None


def _person(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or row.get("email") or row.get("subject") or "")


def callers_csv(rows: Iterable[CallerRow], *, tokens: bool) -> str:
    """The rows as CSV; with `tokens` the column `target_token`, which makes the text a secret."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(("target_token",) if tokens else ())])
    for row in rows:
        cells = [
            row.name, row.run_mode, row.owner, row.source_id, row.source_url, row.target_id, row.target_url,
            "; ".join(row.called_by),
        ]  # fmt: skip
        if tokens:
            cells.append(row.token.reveal() if row.token else "")
        writer.writerow(cells)
    return text.getvalue()
