"""The manifest of a backup of OEM accounts: what is complete, and plainly what this API does not give."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from qlikmigrate import __version__
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.exporter.census import Census
from qlikmigrate.exporter.head import listed_ids, tell_losses
from qlikmigrate.exporter.oem.account_list import AccountList
from qlikmigrate.exporter.oem.findings import Findings
from qlikmigrate.exporter.oem.surroundings import OemSurroundings
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.manifest import Counts, Manifest
from qlikmigrate.model.oem import SOURCE_KIND
from qlikmigrate.model.selection import Selectors
from qlikmigrate.remap.secret import CODE as SECRET_TEXT


def tenant_of(client: OemClient, accounts: AccountList) -> TenantFacts:
    """Whose snapshot it is: the account's, or the provider's where it is of all accounts."""
    endpoint = client.endpoint
    host = urlsplit(endpoint.url).netloc
    if accounts.of_all:
        return TenantFacts(id=f"oem:{endpoint.credentials.app_id}", host=host)
    (account,) = accounts.found.values()
    return TenantFacts(id=account.id, name=account.name or account.label, host=host)


def manifest_of(
    record: Record[OemClient],
    census: Census,
    accounts: AccountList,
    surroundings: OemSurroundings,
    findings: Findings,
    selectors: Selectors,
    *,
    input_values: bool,
) -> Manifest:
    """The manifest, its problems told."""
    tell_losses(record, census, "the list shows it, and its own answer is not to be had: ask Qlik's support")
    held = len(list(surroundings.connections))
    _tell_gaps(record, findings, held, input_values=input_values)
    _tell_secrets(record, findings)
    nameless = any(one.code == "row-without-id" for one in record.problems)
    counts: Mapping[str, Counts] = {
        "automations": census.counts(),
        "accounts": Counts(
            listed=len(accounts.found) + accounts.vanished,
            captured=len(accounts.present),
            unreadable=len(accounts.refused),
            vanished=accounts.vanished,
        ),
        **surroundings.counts(),
    }
    return Manifest(
        tool_version=__version__,
        source_kind=SOURCE_KIND,
        tenant=tenant_of(record.client, accounts),
        identity=record.client.endpoint.credentials.app_id,
        api=SOURCE_KIND,
        complete=census.complete() and accounts.complete() and not nameless,
        restorable=findings.restorable(input_values=input_values),
        selection=selectors.record(with_calls=False) if selectors else None,
        counts=counts,
        unreadable=tuple(census.unreadable_notes()),
        vanished=tuple(census.vanished_notes()),
        missing=tuple(census.missing()),
        problems=tuple(sorted(record.problems, key=lambda one: (one.code, one.where, one.message))),
    )


def _tell_gaps(record: Record[OemClient], findings: Findings, connections: int, *, input_values: bool) -> None:
    """Say once what the snapshot lacks because the API has no call for it. Source: no page shows any of these."""
    single = len(findings.single())
    bare, unscheduled = findings.without_workspace(), findings.without_schedule()
    if bare:
        record.note(
            "oem-workspace-unavailable",
            Severity.INFO,
            f"the API gives no workspaces: those of {len(bare)} of {single} automations are not in the snapshot",
            hint="--workspaces DIR takes files that were exported by hand",
        )
    if unscheduled:
        record.note(
            "oem-schedule-unavailable",
            Severity.INFO,
            f"the API does not show schedules: those of {len(unscheduled)} of {single} automations are not known",
            hint="--schedules FILE takes what you know of them",
        )
    if connections:
        record.note(
            "oem-credentials-unavailable",
            Severity.INFO,
            f"the API does not show credentials: those of {connections} connections are not in the snapshot",
            hint="a restore asks for them with --secrets, or a person agrees in a browser",
        )
    if not input_values:
        record.note("input-values-cut", Severity.INFO, "stored values of inputs were left out, as was asked for")


def _tell_secrets(record: Record[OemClient], findings: Findings) -> None:
    hint = "keep or encrypt the archive for those who may read them"
    if findings.secret_inputs:
        record.note(
            "secret-in-inputs",
            Severity.WARNING,
            f"values that look like secrets are stored in the inputs of {len(findings.secret_inputs)} automations",
            where=listed_ids(findings.secret_inputs),
            hint=f"--without-input-values leaves all values out; or {hint}",
        )
    if findings.secret_workspaces:
        record.note(
            SECRET_TEXT,
            Severity.WARNING,
            f"texts that look like secrets stand in the workspaces of {len(findings.secret_workspaces)} automations",
            where=listed_ids(findings.secret_workspaces),
            hint=f"`qlikmigrate scan` says where; {hint}",
        )
