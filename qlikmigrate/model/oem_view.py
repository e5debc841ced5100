"""An OEM account as a snapshot of a Qlik Cloud tenant, so that the importer for Qlik Cloud brings it there unchanged.

Nothing is guessed: what the API withholds and nobody handed in is empty here and told as a remark. The text of a
workspace is the one that was supplied, byte for byte.
Source: help.qlik.com, blendr, SaaS API; openapi/workflows-automations.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import evolve, frozen

from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.kernel.jsontext import members
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.model.oem import (
    AVAILABLE,
    DISABLED,
    Input,
    OemAutomation,
    OemHolding,
    Schedule,
    is_oem,
    read_holding,
    schedule_of,
)
from qlikmigrate.model.schedule import start_mode
from qlikmigrate.model.snapshot import Snapshot, parse

WORKSPACE_MISSING = "workspace-missing"
PERSISTED_INPUT = "persisted-input"

VIEW_KIND = "oem-account"
"""What `source_kind` calls an account that is seen this way: its documents are no longer OEM's, nor is it a tenant."""

_MODES = ("manual", "scheduled", "triggered", "webhook")
# Source: openapi/workflows-automations.json, `schedules`: an interval is a multiple of 60 seconds.
_STEP_S = 60


@frozen(kw_only=True)
class Lacking:
    """An automation that cannot be brought over, and why. `code` is a stable word."""

    ident: str
    code: str
    reason: str


@frozen(slots=False)
class OemView:
    """One account of `base`. `space`: name of the space where everything is to go; empty: the owner's personal one.

    The account's automations belong to one owner who stands for it, as OEM knows none. `digest` is that of `base`.
    """

    base: Snapshot
    holding: OemHolding
    space: str = ""

    # -- the head

    @property
    def manifest(self) -> Manifest:
        """That of `base`, with the account in place of the tenant."""
        account, manifest = self.holding.account, self.base.manifest
        # Id and name of the account: a ledger, a run and a mapping are between an account and a tenant.
        facts = TenantFacts(id=account.id, name=account.name or account.label, host=manifest.tenant.host)
        return evolve(manifest, source_kind=VIEW_KIND, tenant=facts)

    @property
    def capture(self) -> Capture:
        """When `base` was taken."""
        return self.base.capture

    @property
    def digest(self) -> str:
        """That of `base`: the same archive, whichever account of it is meant."""
        return self.base.digest

    @property
    def owner_id(self) -> str:
        """Who owns everything here. No text can hold this id by chance, as the account's own guid may."""
        return f"owner-of-{self.holding.account.id}"

    @property
    def space_id(self) -> str:
        """The id of `space`; empty where there is none."""
        return f"space-of-{self.holding.account.id}" if self.space else ""

    # -- documents

    def ids(self, kind: Kind) -> Sequence[str]:
        """Automations with a workspace, and connections."""
        if kind is Kind.AUTOMATION:
            return [ident for ident, one in self._automations.items() if not one.is_bundle and self._has(ident)]
        return sorted(self.holding.connections) if kind is Kind.CONNECTION else ()

    def detail(self, kind: Kind, ident: str) -> Document:
        """An automation or a connection as Qlik Cloud would give it.

        Raises:
            KeyError: there is none.
            CorruptError: what is stored is damaged.
        """
        if kind is Kind.CONNECTION:
            return _document(kind, ident, Part.DETAIL, self._connection(ident))
        if kind is not Kind.AUTOMATION or not self._has(ident):
            raise KeyError(ident)
        workspace = self._workspace(ident)
        head = _dumps(self._automation(ident))
        raw = f'{head[:-1]},"workspace":{workspace}}}'.encode()
        return Document(kind=kind, id=ident, part=Part.DETAIL, raw=raw)

    def rows(self, kind: Kind) -> Iterator[Document]:
        """List rows; of automations those without a workspace, too, so that calls to them are known."""
        match kind:
            case Kind.AUTOMATION:
                found = {ident: self._row(ident) for ident, one in self._automations.items() if not one.is_bundle}
            case Kind.CONNECTION:
                found = {ident: self._connection(ident) for ident in self.ids(kind)}
            case Kind.CONNECTOR:
                found = {ident: {"id": ident, "name": name} for ident, name in sorted(self._connectors.items())}
            case Kind.USER:
                name = self.holding.account.name or self.holding.account.label
                found = {self.owner_id: {"id": self.owner_id, "name": name, "status": "active"}}
            case Kind.SPACE if self.space:
                # Automations live in shared spaces. Source: Qlik's help on automations.
                space = {"type": "shared", "ownerId": self.owner_id}
                found = {self.space_id: {**space, "id": self.space_id, "name": self.space}}
            case _:
                found = {}
        for ident, value in found.items():
            yield _document(kind, ident, Part.ROW, value)

    # -- what people must know

    def lacking(self) -> Iterator[Lacking]:
        """The automations that have no workspace."""
        for ident, one in self._automations.items():
            if not one.is_bundle and not self._has(ident):
                yield Lacking(
                    ident=ident, code=WORKSPACE_MISSING, reason="the API gives no workspace, and none is here"
                )

    def remarks(self, ident: str) -> tuple[Problem, ...]:
        """What of an automation is not brought over as it was, or must be done by people."""
        one = self._automations[ident]
        if not self._has(ident):
            hint = (
                f"back up with --workspaces DIR that holds {ident}.json, or a file with its name or its template's id"
            )
            return (_remark(one, Severity.TODO, "has no workspace, so it is left out", hint, code=WORKSPACE_MISSING),)
        found = []
        if not self._state(ident):
            found.append(
                _remark(
                    one, Severity.TODO, "may be on or not, nobody says: it is created disabled",
                    "switch it on if it was on in the account, or name its state in --schedules of the backup",
                    code="state-unknown",
                )
            )  # fmt: skip
        found += self._schedule_remarks(ident, one)
        if names := [f"`{each.name}`" for each in self.inputs(ident)]:
            found.append(
                _remark(
                    one, Severity.TODO, f"has stored inputs: {', '.join(names)}",
                    "no call of Qlik Cloud takes them: open the automation and enter them", code=PERSISTED_INPUT,
                )
            )  # fmt: skip
        return tuple(found)

    def inputs(self, ident: str) -> list[Input]:
        """The inputs of an automation for which a value is stored."""
        return [one for one in self._automations[ident].inputs if one.value is not None]

    def _schedule_remarks(self, ident: str, one: OemAutomation) -> Iterator[Problem]:
        schedule = self._schedule(ident)
        every_s = schedule.interval_s
        if every_s is None:
            if self._mode(ident) == "scheduled":
                yield _remark(
                    one, Severity.TODO, "starts by a schedule that no call gives",
                    "enter it in the editor, or hand it in with --schedules of the backup", code="schedule-unknown",
                )  # fmt: skip
        elif every_s == 0:
            when = f"{schedule.start_at or 'a time unknown'} {schedule.timezone}".strip()
            yield _remark(
                one, Severity.TODO, f"was to start once, at {when}: not brought over",
                "an interval of Qlik Cloud repeats: start it by hand, or give it a schedule in the editor",
                code="schedule-once",
            )  # fmt: skip
        elif every_s > 0 and every_s % _STEP_S:
            yield _remark(
                one, Severity.WARNING,
                f"starts every {every_s} seconds; Qlik Cloud takes whole minutes: every {_rounded(every_s)} seconds",
                "", code="schedule-rounded",
            )  # fmt: skip

    # -- parts

    @cached_property
    def _automations(self) -> dict[str, OemAutomation]:
        return dict(sorted(self.holding.automations.items()))

    @cached_property
    def _connectors(self) -> dict[str, str]:
        """Id → name, of those that the account's connections are of."""
        found = {one.connector_id: one.connector_name for one in self.holding.connections.values() if one.connector_id}
        return found | {ident: one.name for ident, one in self.holding.connectors.items() if one.name}

    @cached_property
    def _shown(self) -> frozenset[str]:
        """Automations whose own document has a workspace. Assumed: it would be called so, as in Qlik Cloud."""
        found = set()
        for ident in self.holding.automations:
            raw = self.base.detail(Kind.AUTOMATION, ident).raw
            if b'"workspace"' in raw and isinstance(parse(raw).get("workspace"), Mapping):
                found.add(ident)
        return frozenset(found)

    def _has(self, ident: str) -> bool:
        return ident in self.holding.supplied or ident in self._shown

    def _workspace(self, ident: str) -> str:
        kind = Kind.WORKSPACE if ident in self.holding.supplied else Kind.AUTOMATION
        text = self.base.detail(kind, ident).raw.decode("utf-8-sig").strip()
        found = _workspace_in(text)
        if not found:
            raise CorruptError(f"what was handed in as the workspace of automation {ident} is none")
        return found

    def _row(self, ident: str) -> dict[str, Any]:
        one = self._automations[ident]
        return {
            "id": ident,
            "name": one.name,
            "description": one.description,
            "state": self._state(ident),
            "runMode": one.run_mode if one.run_mode in _MODES else "",
            "ownerId": self.owner_id,
            "spaceId": self.space_id,
            "createdAt": one.created_at,
        }

    def _automation(self, ident: str) -> dict[str, Any]:
        schedule = self._schedule(ident)
        return {
            **self._row(ident),
            "runMode": self._mode(ident),
            "schedules": [cloud_schedule(schedule)] if (schedule.interval_s or 0) > 0 else [],
        }

    def _mode(self, ident: str) -> str:
        """Its run mode; where the API does not say, what its start block says."""
        mode = self._automations[ident].run_mode
        return mode if mode in _MODES else start_mode(parse(self._workspace(ident).encode()))

    def _schedule(self, ident: str) -> Schedule:
        """What people handed in, else what the API shows."""
        handed = self.holding.schedules.get(ident, Schedule())
        return handed if handed.interval_s is not None else schedule_of(self._automations[ident].schedule)

    def _state(self, ident: str) -> str:
        """What people say, else the automation itself, else a connection that names it; empty where nobody does."""
        handed = self.holding.schedules.get(ident, Schedule()).state
        state = handed or self._automations[ident].state
        return state if state in (AVAILABLE, DISABLED) else ""

    def _connection(self, ident: str) -> dict[str, Any]:
        one = self.holding.connections[ident]
        return {
            "id": ident,
            "name": one.name,
            "ownerId": self.owner_id,
            "spaceId": "",
            "connectorId": one.connector_id,
            "isConnected": one.connected,
        }


def view_account(snapshot: Snapshot, account: str = "", *, space: str = "") -> OemView:
    """An account of an OEM snapshot as a tenant of Qlik Cloud.

    `account`: its guid or external id, needed where there are several. `space`: as in `OemView`.

    Raises:
        UsageError: which account is meant cannot be told.
        CorruptError: what is stored is damaged.
    """
    holding = read_holding(snapshot, account)
    return OemView(snapshot, holding, space)


def as_cloud(snapshot: Snapshot, account: str = "", *, space: str = "") -> Snapshot:
    """`snapshot` as the importer for Qlik Cloud reads it: one of Qlik Cloud is that already.

    Raises:
        UsageError, CorruptError: as `view_account` does.
    """
    return view_account(snapshot, account, space=space) if is_oem(snapshot) else snapshot


def cloud_schedule(schedule: Schedule) -> dict[str, Any]:
    """A schedule that repeats, in Qlik Cloud's form: naive times in a named zone, as in OEM's, and whole minutes."""
    return {
        "startAt": schedule.start_at or None,
        "stopAt": schedule.stop_at or None,
        "interval": _rounded(schedule.interval_s or 0),
        "timezone": schedule.timezone or None,
    }


def _rounded(every_s: int) -> int:
    """Up, never down: nothing is to start more often than it did."""
    return -(-every_s // _STEP_S) * _STEP_S


def _workspace_in(text: str) -> str:
    """The workspace of an editor's file, which is one, or of an automation's document, which has one."""
    try:
        found = {one.key: text[one.start : one.end] for one in members(text)}
    except ValueError:
        return ""
    if found.get("workspace", "").startswith("{"):
        return found["workspace"]
    return text if found.get("blocks", "").startswith("[") else ""


def _remark(one: OemAutomation, severity: Severity, message: str, hint: str, *, code: str) -> Problem:
    return Problem(
        code=code, severity=severity, message=f"`{one.name}` {message}", where=f"automation {one.id}", hint=hint
    )


def _document(kind: Kind, ident: str, part: Part, value: Mapping[str, Any]) -> Document:
    return Document(kind=kind, id=ident, part=part, raw=_dumps(value).encode())


def _dumps(value: Any) -> str:
    # Half of a surrogate pair, which a service that cuts texts short does write, has no other spelling.
    return json.dumps(value, separators=(",", ":"))
