#!/usr/bin/env python3
"""Measure a restore's writing calls against the fewest that it takes, in process and on a manual clock.

The fewest are counted from the source's own automations by the table of docs/restore.md, without asking the planner.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, Endpoint, Limits, OAuthClient
from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.exporter.collector import ExportOptions, export
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.plan import PlanOptions
from qlikmigrate.importer.prepare import make_plan
from qlikmigrate.importer.restore import apply_plan
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.sandbox import CloudTenant
from qlikmigrate.sandbox.catalogue import MAIL
from qlikmigrate.sandbox.draft import Draft

NO_LIMIT = 10**9
DAILY = {
    "startAt": "2026-01-05 07:00:00",
    "timezone": "Europe/Stockholm",
    "recurrence": "RRULE:FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0",
}
# One of each, in turn: what it is, and the writes that it takes created as its owner, and created and given away.
# Given away, what refers to itself or closes a circle needs its full document anyway; so does what has bindings.
LEAST = {
    "manual": (1, 2),
    "off": (2, 3),
    "bound": (1, 3),
    "bound and off": (2, 4),
    "caller": (1, 2),
    "bound caller": (1, 3),
    "own id": (2, 3),
    "first of a circle": (2, 3),
    "second of a circle": (1, 2),
    "scheduled": (3, 4),
    "webhook": (3, 4),
    "triggered": (3, 4),
    "triggered and off": (3, 4),
    "bound and scheduled": (3, 4),
    "calling webhook": (3, 4),
}


@define
class Pair:
    """Two tenants with the same people, spaces and connections, and a folder for their migration."""

    folder: Path
    impersonate: bool
    clock: ManualClock = field(factory=ManualClock)
    people: dict[str, list[str]] = field(factory=dict)
    connections: dict[str, list[str]] = field(factory=dict)
    spaces: dict[str, list[str]] = field(factory=dict)
    kinds: Counter[str] = field(factory=Counter)
    source: CloudTenant = field(init=False)
    target: CloudTenant = field(init=False)
    clients: dict[str, tuple[tuple[str, str], tuple[str, str]]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.source, self.target = self._tenant("acme", 1), self._tenant("acme-dr", 2)

    def _tenant(self, name: str, seed: int) -> CloudTenant:
        tenant = CloudTenant(name, clock=self.clock, seed=seed)
        self.people[name] = [
            tenant.add_user(f"corp\\{first}", first.title(), f"{first}@example.com") for first in ("ada", "ben", "cleo")
        ]
        self.connections[name] = [tenant.add_connection(MAIL, "Post", one) for one in self.people[name]]
        self.spaces[name] = ["", *(tenant.add_space(one, owner=self.people[name][0]) for one in ("Sales", "Ops"))]
        for space in self.spaces[name][1:]:
            for one in self.people[name]:
                tenant.add_member(space, one, ("producer", "facilitator"))
        self.clients[name] = (tenant.oauth_client("m2m"), tenant.oauth_client("impersonation"))
        return tenant

    def fill(self, count: int) -> None:
        """`count` automations, of all kinds in turn, of all owners, in all spaces."""
        first = circle = ""
        kinds = list(LEAST)
        for number in range(count):
            kind, owner = kinds[number % len(kinds)], number // len(kinds) % 3
            draft = Draft(str(number)).shows(f"text {number}")
            if "bound" in kind:
                draft.mail(self.connections["acme"][owner], "a@example.com", "Hello")
            if "call" in kind:
                draft.calls(first, "called")
            if kind == "second of a circle":
                draft.calls(circle, "the first")
            for mode in ("scheduled", "webhook", "triggered"):
                if mode in kind:
                    draft.starts(mode)
            ident = self.source.add_automation(
                {
                    "name": f"{kind} {number:04}",
                    "workspace": draft.workspace(),
                    "schedules": [DAILY] if "scheduled" in kind else [],
                },
                self.people["acme"][owner],
                self.spaces["acme"][number % 3],
                state="disabled" if "off" in kind else "available",
            )
            if kind == "manual":
                first = ident
            if kind == "own id":
                self.source.replace_workspace(ident, Draft(str(number)).shows(f"I am {ident}").workspace())
            if kind == "first of a circle":
                circle = ident
            if kind == "second of a circle":
                self.source.replace_workspace(circle, Draft(f"{number}a").calls(ident, "the second").workspace())
            self.kinds[kind] += 1

    def least(self) -> int:
        """The fewest writing calls that bring all of it over."""
        if self.kinds["first of a circle"] != self.kinds["second of a circle"]:
            raise SystemExit("a number of automations that cuts no circle, please")
        return sum(LEAST[kind][0 if self.impersonate else 1] * number for kind, number in self.kinds.items())

    def _endpoint(self, tenant: CloudTenant, access: Access) -> Endpoint:
        bot, web = (OAuthClient(client_id=one[0], client_secret=Secret(one[1])) for one in self.clients[tenant.name])
        return Endpoint(
            name=tenant.name,
            url="http://127.0.0.1:1",
            access=access,
            credentials=bot,
            impersonation=web if self.impersonate else None,
            limits=Limits(tier1_per_minute=NO_LIMIT, tier2_per_minute=NO_LIMIT),
            handler=tenant.handle,
        )

    def migrate(self, run: str) -> Counter[str]:
        """Back up, plan and apply; the writing calls that the target saw, by method and operation."""
        return asyncio.run(self._migrate(run))

    async def _migrate(self, run: str) -> Counter[str]:
        path = self.folder / "bench.qma"
        given: dict[str, Any] = {"clock": self.clock, "sink": discard}
        reading = self._endpoint(self.source, Access.READ)
        async with CloudClient.open(reading, access=Access.READ, **given) as client:
            await export(client, ArchiveWriter(path, force=True), ExportOptions(), **given)
        options = PlanOptions(ledger=str(self.folder / "ledger.jsonl"))
        seen = len(self.target.writes)
        with open_archive(path) as archive:
            request = PlanRequest(archive=str(path), snapshot=archive, options=options)
            async with CloudClient.open(
                self._endpoint(self.target, Access.READ), access=Access.READ, **given
            ) as client:
                plan = await make_plan(client, request, **given)
            if plan.refused or len(self.target.writes) != seen:
                raise SystemExit(f"refused: {plan.errors}")
            async with CloudClient.open(
                self._endpoint(self.target, Access.WRITE), access=Access.WRITE, **given
            ) as client:
                result = await apply_plan(
                    client, archive, plan, RunFolder(self.folder / run), values={}, abort_on_error=False, **given
                )
        if result.failed or result.differing:
            raise SystemExit(f"{result.failed} failed, {result.differing} differ")
        return Counter(
            "PUT" if one.method == "PUT" else f"{one.method} {one.path.rpartition('/')[2]}"
            for one in self.target.writes[seen:]
        )


def measure(count: int, *, impersonate: bool) -> None:
    """Print the figures of one way to make owners own."""
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder), impersonate)
        pair.fill(count)
        least = pair.least()
        taken = pair.migrate("first")
        missing = count - len(pair.target.automations)
        print(f"{'impersonate' if impersonate else 'transfer'}: {count} automations of {len(pair.kinds)} kinds")
        print(f"  writing calls    {taken.total()}, least possible {least}; missing or double: {missing}")
        print("  of them          " + ", ".join(f"{number} {name}" for name, number in taken.most_common()))
        print(f"  ratio            {taken.total() / least:.3f} (aim: 1)")
        print(f"  nothing changed  {pair.migrate('second').total()} writing calls (aim: 0)")
        changed = next(ident for ident, one in pair.source.automations.items() if one["name"].startswith("webhook"))
        pair.source.replace_workspace(changed, Draft("new").starts("webhook").shows("new").workspace())
        again = pair.migrate("third")
        print(f"  one changed      {dict(again)} (aim: 1 PUT)")
        print(f"  seen at work     {len(pair.target.armed_while_enabled)} times enabled and armed (aim: 0)")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--automations", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a short form: 60 automations")
    given = parser.parse_args()
    for impersonate in (True, False):
        measure(60 if given.quick else given.automations, impersonate=impersonate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
