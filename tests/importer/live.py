"""Activation and cutover in process: two tenants, a restored run, and a watch that no pair is ever on at both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from rig import TIMEOUT_S, Rig
from stage import DAILY, EVERY_HOUR, PLATFORM_OPERATIONS, bound_block, call_block, document

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, Endpoint, Limits
from qlikmigrate.archive import open_archive
from qlikmigrate.importer.activation import ActivationInput, ActivationPlan, LiveResult, activate, plan_activation
from qlikmigrate.importer.cutover import (
    CutoverInput,
    CutoverPlan,
    UndoInput,
    cutover,
    plan_cutover,
    stopped_sources,
    touched,
    undo,
)
from qlikmigrate.importer.held import read_held
from qlikmigrate.importer.plan import Verb
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.running_job import Running
from qlikmigrate.importer.side import Standing, read_side
from qlikmigrate.importer.source_change import find_changes
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import Event
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.sandbox import CloudTenant, Switches

FILLED = {"Client Id": "id", "Client Secret": "made up", "Region": "eu"}
NAMES = ("caller", "hook", "hourly", "trigger")


@define
class Live:
    """A rig whose run has been applied. `both`: pairs that were seen on at both sides after some request."""

    rig: Rig
    both: list[str] = field(factory=list)
    events: list[Event] = field(factory=list)
    access: Access = Access.STATE
    on_request: Callable[[CloudTenant, Request], None] | None = None
    folder: str = "run"

    @property
    def run(self) -> Path:
        return self.rig.folder / self.folder

    def endpoint(self, tenant: CloudTenant, access: Access) -> Endpoint:
        def handle(request: Request) -> Reply:
            if self.on_request:
                self.on_request(tenant, request)
            reply = tenant.handle(request)
            self.look()
            return reply

        plain = self.rig.endpoint(tenant, access)
        return evolve(
            plain,
            handler=handle,
            impersonation=None,
            limits=Limits(timeout_s=TIMEOUT_S, tier2_per_minute=10_000, tier1_per_minute=100_000),
        )

    def look(self) -> None:
        """After every request at either side."""
        self.both += [name for name in NAMES if self.states(self.rig.source).get(name) == "available"
                      and self.states(self.rig.target).get(name) == "available"]  # fmt: skip

    @staticmethod
    def states(tenant: CloudTenant) -> dict[str, str]:
        """Name → state of what is held."""
        records = tenant._shelf.records.values()
        return {one.name: one.state for one in records if one.name in NAMES}

    @property
    def sides(self) -> tuple[set[str], set[str]]:
        """The names that are on at the source, and at the target."""
        return tuple(  # type: ignore[return-value]
            {name for name, state in self.states(tenant).items() if state == "available"}
            for tenant in (self.rig.source, self.rig.target)
        )

    def ident(self, tenant: CloudTenant, name: str) -> str:
        (found,) = (ident for ident, one in tenant.automations.items() if one["name"] == name)
        return found

    def turn(self, tenant: CloudTenant, name: str, state: str) -> None:
        """Somebody switches it in the editor."""
        one = tenant._shelf.records[self.ident(tenant, name)]
        one.state = state
        one.touch()

    def open(self, tenant: CloudTenant, access: Access) -> CloudClient:
        endpoint = self.endpoint(tenant, access)
        return CloudClient.open(endpoint, access=access, clock=self.rig.clock, sink=self.events.append)

    # The commands, without the command line

    def plan_activation(self, *, with_source: bool = True, **how: Any) -> ActivationPlan:
        async def work() -> ActivationPlan:
            view = RunView.open(self.run)
            with open_archive(self.rig.archive) as archive:
                async with self.open(self.rig.target, Access.READ) as client:
                    _, held = await read_held(view, archive, client, sink=self.events.append)
            if not with_source:
                return plan_activation(held, None, why_unchecked="nobody to ask", **how)
            async with self.open(self.rig.source, Access.READ) as client:
                side = await read_side(client, "source")
                standings = {
                    one.action.source_id: await side.standing(one.action.source_id, "")
                    for one in held
                    if side.listed(one.action.source_id) is Standing.UNKNOWN
                }
            return plan_activation(held, side, standings=standings, **how)

        return asyncio.run(work())

    def activate(self, **how: Any) -> LiveResult:
        plan = self.plan_activation(**how)
        assert not plan.errors, plan.errors

        async def work() -> LiveResult:
            async with (
                self.open(self.rig.target, self.access) as target,
                self.open(self.rig.source, Access.READ) as source,
            ):
                given = ActivationInput(
                    plan=plan,
                    target=await read_side(target, "target"),
                    source=await read_side(source, "source"),
                    folder=RunView.open(self.run).folder,
                )
                return await activate(given, clock=self.rig.clock, sink=self.events.append)

        return asyncio.run(work())

    def plan_cutover(self, **how: Any) -> CutoverPlan:
        async def work() -> CutoverPlan:
            view = RunView.open(self.run)
            selected = [one for one in view.plan.actions if one.verb is not Verb.SKIP]
            with open_archive(self.rig.archive) as archive:
                async with (
                    self.open(self.rig.target, Access.READ) as target,
                    self.open(self.rig.source, Access.READ) as client,
                ):
                    _, held = await read_held(view, archive, target, sink=self.events.append)
                    source = await read_side(client, "source")
                    changes = await find_changes(
                        archive,
                        source,
                        [one.source_id for one in selected],
                        stopped=stopped_sources(view),
                        sink=self.events.append,
                    )
            return plan_cutover(held, source, changes, selected=selected, **how)

        return asyncio.run(work())

    def cutover(self, *, running: Running = Running.WAIT, limit_s: float = 600.0, **how: Any) -> LiveResult:
        plan = self.plan_cutover(**how)

        async def work() -> LiveResult:
            async with (
                self.open(self.rig.source, self.access) as source,
                self.open(self.rig.target, self.access) as target,
            ):
                given = CutoverInput(
                    plan=plan,
                    target=await read_side(target, "target"),
                    source=await read_side(source, "source"),
                    folder=RunView.open(self.run).folder,
                    running=running,
                    limit_s=limit_s,
                )
                return await cutover(given, clock=self.rig.clock, sink=self.events.append)

        return asyncio.run(work())

    def undo(self, *, running: Running = Running.WAIT, limit_s: float = 600.0) -> LiveResult:
        async def work() -> LiveResult:
            view = RunView.open(self.run)
            async with (
                self.open(self.rig.source, self.access) as source,
                self.open(self.rig.target, self.access) as target,
            ):
                with open_archive(self.rig.archive) as archive:
                    there, held = await read_held(view, archive, target, sink=self.events.append)
                by_seq = {one.action.seq: one for one in held}
                given = UndoInput(
                    held=tuple(by_seq[one.seq] for one in touched(view)),
                    target=there,
                    source=await read_side(source, "source"),
                    folder=view.folder,
                    running=running,
                    limit_s=limit_s,
                )
                return await undo(given, clock=self.rig.clock, sink=self.events.append)

        return asyncio.run(work())


def codes(result: LiveResult | ActivationPlan | CutoverPlan) -> set[str]:
    """The codes of all problems."""
    return {one.code for one in result.problems}


def by_name(result: LiveResult) -> dict[str, str]:
    """Name → action, status and code of each outcome."""
    return {one.name: " ".join(filter(None, (one.action, one.status, one.code))) for one in result.outcomes}


def writes(tenant: CloudTenant, *, since: int = 0) -> list[str]:
    """The switching calls that a tenant saw: the action and the automation's name."""
    names = {ident: one["name"] for ident, one in tenant.automations.items()}
    return [
        f"{seen.path.rsplit('/', 1)[-1]} {names.get(seen.path.split('/')[4], '?')}" for seen in tenant.writes[since:]
    ]


def make_live(folder: Path, *, names: Iterable[str] = NAMES, **switches: Any) -> Live:
    """Each armed mode, a caller of a held one, a manual one and one that is off; restored and held."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = ManualClock(datetime.fromisoformat("2026-11-01T12:00:00+00:00"))
    source = CloudTenant("acme", clock=clock, seed=1, switches=Switches(**switches))
    target = CloudTenant("acme-dr", clock=clock, seed=2, switches=Switches(**switches))
    people = [tenant.add_user("corp\\ben", "Ben Example", "ben@example.com") for tenant in (source, target)]
    here = source.add_connection(PLATFORM_OPERATIONS, "Operations", people[0])
    target.add_connection(PLATFORM_OPERATIONS, "Operations", people[1], params=FILLED)
    wanted = set(names)
    trigger = source.add_automation(document("trigger", mode="triggered"), people[0])
    if "hook" in wanted:
        source.add_automation(document("hook", bound_block(1, here), mode="webhook"), people[0])
    if "hourly" in wanted:
        source.add_automation(document("hourly", mode="scheduled", schedules=[EVERY_HOUR]), people[0])
    if "caller" in wanted:
        called = document("caller", call_block(1, trigger), mode="scheduled", schedules=[DAILY])
        source.add_automation(called, people[0])
    source.add_automation(document("by hand"), people[0])
    source.add_automation(document("off", mode="webhook"), people[0], state="disabled")
    rig = Rig(folder, clock, source, target, people[0], people[1], impersonate=True)
    rig.backup()
    clock.advance(60)
    result = rig.apply(rig.plan())
    assert result.failed == 0
    assert result.differing == 0
    for tenant in (source, target):
        tenant.seen.clear()
    return Live(rig)
