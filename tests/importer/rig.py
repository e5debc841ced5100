"""A restore in process and on a manual clock: faults, crashes and waits cost no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from stage import PLATFORM_OPERATIONS, bound_block, call_block, document, text_block

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, Endpoint, Limits, OAuthClient
from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.exporter.collector import ExportOptions, export
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.plan import Plan, PlanOptions
from qlikmigrate.importer.prepare import make_plan
from qlikmigrate.importer.restore import apply_plan
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.message import Handler
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.sandbox import CloudTenant, Switches

TIMEOUT_S = 20.0
LIMITS = Limits(timeout_s=TIMEOUT_S, tier2_per_minute=10_000, tier1_per_minute=100_000)


@define
class Rig:
    """Two tenants and the files of their migration. `impersonate`: create as each owner, else transfer."""

    folder: Path
    clock: ManualClock
    source: CloudTenant
    target: CloudTenant
    ben_here: str
    ben_there: str
    impersonate: bool = True
    options: PlanOptions = field(factory=PlanOptions)
    handler: Handler | None = None
    secrets: dict[str, dict[str, Secret]] = field(factory=dict)
    family: str = "workflows"
    limits: Limits = field(factory=lambda: LIMITS)
    clients: dict[str, tuple[tuple[str, str], tuple[str, str]]] = field(factory=dict)

    @property
    def archive(self) -> Path:
        return self.folder / "a.qma"

    def endpoint(self, tenant: CloudTenant, access: Access) -> Endpoint:
        if tenant.name not in self.clients:
            self.clients[tenant.name] = (tenant.oauth_client("m2m"), tenant.oauth_client("impersonation"))
        bot, web = self.clients[tenant.name]
        return Endpoint(
            name=tenant.name,
            url="http://127.0.0.1:1",
            access=access,
            credentials=OAuthClient(client_id=bot[0], client_secret=Secret(bot[1])),
            impersonation=OAuthClient(client_id=web[0], client_secret=Secret(web[1])) if self.impersonate else None,
            family=self.family,  # type: ignore[arg-type]
            limits=self.limits,
            handler=self.handler if tenant is self.target and self.handler else tenant.handle,
        )

    def backup(self) -> None:
        async def work() -> None:
            endpoint = self.endpoint(self.source, Access.READ)
            async with CloudClient.open(endpoint, access=Access.READ, clock=self.clock, sink=discard) as client:
                writer = ArchiveWriter(self.archive, force=True)
                await export(client, writer, ExportOptions(), clock=self.clock, sink=discard)

        asyncio.run(work())

    def plan(self) -> Plan:
        async def work() -> Plan:
            endpoint = self.endpoint(self.target, Access.READ)
            options = evolve(self.options, ledger=str(self.folder / "ledger.jsonl"))
            with open_archive(self.archive) as archive:
                request = PlanRequest(
                    archive=str(self.archive), snapshot=archive, options=options, secrets=self.secrets
                )
                async with CloudClient.open(endpoint, access=Access.READ, clock=self.clock, sink=discard) as client:
                    return await make_plan(client, request, clock=self.clock, sink=discard)

        return asyncio.run(work())

    def apply(self, plan: Plan, run: str = "run", *, on_client: Callable[[CloudClient], None] | None = None) -> Result:
        async def work() -> Result:
            endpoint = self.endpoint(self.target, Access.WRITE)
            folder = RunFolder(self.folder / run)
            with open_archive(self.archive) as archive:
                async with CloudClient.open(endpoint, access=Access.WRITE, clock=self.clock, sink=discard) as client:
                    if on_client:
                        on_client(client)
                    return await apply_plan(
                        client,
                        archive,
                        folder.plan() if folder.started else plan,
                        folder,
                        values={},
                        secrets=self.secrets,
                        abort_on_error=False,
                        clock=self.clock,
                        sink=discard,
                    )

        return asyncio.run(work())

    def ground(self) -> dict[str, Any]:
        """What the target's automations stand on, by name: connections, spaces with people, settings."""
        tenant = self.target
        names = {ident: one["name"] for ident, one in tenant.spaces.items()}
        connections = sorted(
            (one.name, one.owner_id, names.get(one.space_id, ""), sorted(one.values.items()))
            for one in tenant._connections.records.values()
        )
        members = sorted(
            (names[one["spaceId"]], one["assigneeId"], tuple(sorted(one["roles"])))
            for one in tenant.assignments.values()
        )
        spaces = sorted((one["name"], one["ownerId"], one["description"]) for one in tenant.spaces.values())
        return {"connections": connections, "members": members, "spaces": spaces, "runs": tenant._shelf.max_runs}

    def state(self) -> dict[str, Any]:
        """The target's automations by name, ids and times left out: what two runs must agree on."""
        names = {ident: one["name"] for ident, one in self.target.automations.items()}
        found: dict[str, Any] = {}
        for one in self.target.automations.values():
            kept = ("name", "description", "state", "runMode", "spaceId", "ownerId", "maxConcurrentRuns")
            text = repr({key: one[key] for key in kept} | {"workspace": one["workspace"]})
            text += repr([{k: v for k, v in schedule.items() if k != "id"} for schedule in one["schedules"]])
            for ident, name in names.items():
                text = text.replace(ident, f"<{name}>")
            for ident, connection in self.target.connections.items():
                text = text.replace(ident, f"<connection {connection['name']}>")
            for ident, space in self.target.spaces.items():
                text = text.replace(ident, f"<space {space['name']}>")
            assert one["name"] not in found, f"double: {one['name']}"
            found[one["name"]] = text
        return found


def make_rig(folder: Path, *, impersonate: bool = True, **switches: Any) -> Rig:
    """A small company: each run mode, a call chain, a cycle, an own id, a binding, a disabled one."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = ManualClock()
    source = CloudTenant("acme", clock=clock, seed=1, switches=Switches(**switches))
    target = CloudTenant("acme-dr", clock=clock, seed=2, switches=Switches(**switches))
    people = [tenant.add_user("corp\\ben", "Ben Example", "ben@example.com") for tenant in (source, target)]
    here = source.add_connection(PLATFORM_OPERATIONS, "Operations", people[0])
    target.add_connection(PLATFORM_OPERATIONS, "Operations", people[1])
    source.add_automation(document("hook", bound_block(1, here), mode="webhook"), people[0])
    source.add_automation(document("trigger", mode="triggered"), people[0])
    source.add_automation(document("off"), people[0], state="disabled")
    leaf = source.add_automation(document("leaf", bound_block(1, here)), people[0])
    first = source.add_automation(document("first", call_block(1, leaf)), people[0])
    second = source.add_automation(document("second", call_block(1, first)), people[0])
    source.replace_workspace(first, document("first", call_block(1, second))["workspace"])
    source.replace_workspace(leaf, document("leaf", bound_block(1, here), text_block(2, leaf))["workspace"])
    rig = Rig(folder, clock, source, target, people[0], people[1], impersonate)
    rig.backup()
    return rig
