"""A restore into an OEM account, in process and on a manual clock: faults, crashes and waits cost no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from attrs import define, evolve, field

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint, OemLimits
from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.exporter.oem.collector import OemExportOptions, export_oem
from qlikmigrate.exporter.oem.schedule_file import read_schedules
from qlikmigrate.exporter.oem.supply import Supply
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.oem.prepare import make_oem_plan
from qlikmigrate.importer.oem.restore import apply_oem_plan
from qlikmigrate.importer.plan import Plan, PlanOptions
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.message import Handler
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.selection import Selectors
from qlikmigrate.remap.mapping_file import MappingFile, parse
from qlikmigrate.sandbox.oem import OemService, OemSwitches, Partner, seed_model

TIMEOUT_S = 20.0
LIMITS = OemLimits(per_minute=30_000, timeout_s=TIMEOUT_S)
SECRETS = {
    "Velo CRM": {"environment": "production", "api_key": "planted-velo-key"},
    "Company mail": {"Sender": "a@b.example", "Host": "smtp", "Port": "587", "Username": "bi",
                     "Password": "planted-smtp-password"},
    "Dealer mail": {"Sender": "a@b.example", "Host": "smtp", "Port": "587", "Username": "dealers",
                    "Password": "planted-dealer-password"},
    "Warehouse": {"Base URL": "https://wms.example", "API Key": "planted-warehouse-key"},
}  # fmt: skip
ALLOW = ("oem-starts-on-install",)


@define
class OemRig:
    """Source and target provider, which may be one, and the files of a restore of the model account into `account`."""

    folder: Path
    clock: ManualClock
    source: OemService
    target: OemService
    partner: Partner
    account: str = "new-customer"
    options: PlanOptions = field(factory=lambda: PlanOptions(connections="create", create_account=True, allow=ALLOW))
    mapping: str = ""
    secrets: dict[str, dict[str, str]] = field(factory=lambda: dict(SECRETS))
    handler: Handler | None = None
    limits: OemLimits = LIMITS
    schedules: list[dict[str, Any]] = field(factory=list)
    selectors: Selectors = field(factory=Selectors)

    @property
    def archive(self) -> Path:
        return self.folder / "a.qma"

    def endpoint(self, service: OemService, access: Access) -> OemEndpoint:
        app_id, key = service.key_pair()
        return OemEndpoint(
            name=f"{service.name}/{self.account}",
            url=service.base_url,
            access=access,
            credentials=KeyPair(app_id=app_id, api_key=Secret(key)),
            limits=self.limits,
            handler=self.handler if service is self.target and self.handler else service.handle,
        )

    def open(self, service: OemService, access: Access) -> OemClient:
        return OemClient.open(self.endpoint(service, access), access=access, clock=self.clock, sink=discard)

    def backup(self) -> None:
        """The model account of the source, as an archive."""
        calm, self.source.switches = self.source.switches, OemSwitches()

        handed_in = self.folder / "schedules.json"
        handed_in.write_bytes(orjson.dumps(self.schedules))
        supply = Supply(schedules=read_schedules(handed_in) if self.schedules else ())
        options = OemExportOptions(account=self.partner.model, supply=supply)

        async def work() -> None:
            async with self.open(self.source, Access.READ) as client:
                writer = ArchiveWriter(self.archive, force=True)
                await export_oem(client, writer, options, clock=self.clock, sink=discard)

        asyncio.run(work())
        self.source.switches = calm

    def plan(self) -> Plan:
        async def work() -> Plan:
            with open_archive(self.archive) as archive:
                request = PlanRequest(
                    archive=str(self.archive),
                    snapshot=archive,
                    options=self.options,
                    secrets=self.values(),
                    decisions=parse(self.mapping) if self.mapping else MappingFile(),
                    mapping_text=self.mapping,
                    selectors=self.selectors,
                )
                async with self.open(self.target, Access.READ) as client:
                    return await make_oem_plan(client, request, self.account, clock=self.clock, sink=discard)

        return asyncio.run(work())

    def values(self) -> dict[str, dict[str, Secret]]:
        return {name: {key: Secret(one) for key, one in values.items()} for name, values in self.secrets.items()}

    def apply(self, plan: Plan, run: str = "run", *, abort: bool = False) -> Result:
        async def work() -> Result:
            folder = RunFolder(self.folder / run)
            with open_archive(self.archive) as archive:
                async with self.open(self.target, Access.WRITE) as client:
                    return await apply_oem_plan(
                        client,
                        archive,
                        folder.plan() if folder.started else plan,
                        folder,
                        secrets=self.values(),
                        abort_on_error=abort,
                        clock=self.clock,
                        sink=discard,
                    )

        return asyncio.run(work())

    def consent(self) -> None:
        """People connect what waits for them."""
        for one in self.target.account(self.account).datasources.values():
            if one.link:
                self.target.consent(one.link)

    def restore(self, run: str = "run", tries: int = 6) -> Result:
        """Plan and apply, with consents given, until nothing failed."""
        plan = self.plan()
        result = self.apply(plan, run)
        for _ in range(tries):
            if not result.failed:
                return result
            self.consent()
            result = self.apply(plan, run)
        raise AssertionError([one for one in result.outcomes if one.status == "failed"])

    def state(self, account: str = "") -> dict[str, Any]:
        """What an account holds, ids and times left out: what two restores must agree on."""
        held = self.target.account(account or self.account)
        links = {guid: one.name for guid, one in held.datasources.items()}
        return {
            "blends": sorted(
                (
                    one.name, self.target.templates[one.template].name if one.template else "", one.state,
                    sorted((key, str(value)) for key, value in one.values.items()),
                    str(one.schedule) if one.is_scheduled else "",
                    sorted(links[guid] for guid in one.links), one.is_bundle,
                    one.parent.name if one.parent else "",
                )
                for one in held.blends.values()
            ),
            "connections": sorted(
                (one.name, one.connector.name, sorted(one.params.items())) for one in held.datasources.values()
            ),
        }  # fmt: skip

    def on(self) -> list[str]:
        """Names of what is enabled at the target, bundles apart."""
        blends = self.target.account(self.account).blends.values()
        return sorted(one.name for one in blends if one.state == "available" and not one.is_bundle)


def schedules_of(service: OemService, account: str) -> list[dict[str, Any]]:
    """What people would hand in: schedule and state of every automation."""
    return [
        {
            "automation": guid,
            "schedule_start_at": one.schedule.start_at,
            "schedule_stop_at": one.schedule.stop_at,
            "schedule_interval": one.schedule.interval,
            "schedule_timezone": one.schedule.timezone,
            "state": one.state,
        }
        for guid, one in service.accounts[account].blends.items()
        if not one.is_bundle
    ]


def make_rig(folder: Path, *, known: bool = True, **switches: Any) -> OemRig:
    """A partner's model account, to be brought into a new account. `known`: schedules and states were handed in."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = ManualClock()
    service = OemService("partner", clock=clock, seed=1)
    partner = seed_model(service)
    rig = OemRig(folder, clock, service, service, partner)
    rig.options = evolve(rig.options, ledger=str(folder / "ledger.jsonl"))
    if known:
        rig.schedules = schedules_of(service, partner.model)
    rig.backup()
    service.switches = OemSwitches(**switches)
    return rig


def on_request(service: OemService, hear: Callable[[Any], None]) -> Handler:
    """A handler that tells of each request before it is answered."""

    def handle(request: Any) -> Any:
        hear(request)
        return service.handle(request)

    return handle
