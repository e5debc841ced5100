"""Backup and restore of an OEM account in this process: beside a script that somebody would write, and at the rate.

How long the limit of the service makes them last is measured on a manual clock, where nothing else takes time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from bench_backup import CONCURRENCY, NO_LIMIT
from bench_partner import AUTOMATIONS_A_ROUND, KINDS, made_up
from bench_provider import PAGE_ROWS, Provider, least_backup, least_restore, provider, write_supply

from qlikmigrate.api.endpoint import Access
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.api.oem.endpoint import KeyPair, OemEndpoint, OemLimits
from qlikmigrate.api.oem.limiter import least_s
from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.config.connection_secrets import read_connection_secrets
from qlikmigrate.exporter.oem.collector import export_oem
from qlikmigrate.exporter.oem.export_option import OemExportOptions
from qlikmigrate.exporter.oem.schedule_file import read_schedules
from qlikmigrate.exporter.oem.supply import Supply
from qlikmigrate.importer.counterpart import PlanRequest
from qlikmigrate.importer.oem.prepare import make_oem_plan
from qlikmigrate.importer.oem.restore import apply_oem_plan
from qlikmigrate.importer.plan import Plan, PlanOptions
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.clock import Clock, ManualClock, SystemClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret

PER_MINUTE = 300


async def _fetch(served: Provider, targets: list[str]) -> None:
    """Get each target and keep nothing, as many at a time as the exporter."""
    source = iter(targets)

    async def worker() -> None:
        for target in source:
            (await client.get(target)).raise_for_status()

    async with httpx.AsyncClient(headers=served.headers, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


class Script:
    """What somebody would write in an afternoon: one call after the other, nothing read that is not needed.

    It remembers nothing and checks nothing: killed, or with one answer lost, it leaves something on or makes it twice.
    """

    def __init__(self, served: Provider, client: httpx.Client) -> None:
        self._facts = served.facts
        self._client = client

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, self._facts["url"] + path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def restore(self, name: str) -> None:
        """Make the model account anew under another name."""
        account = self._call("POST", "/accounts", {"name": name, "externalid": name, "send_invite": False})["guid"]
        place = f"/accounts/{account}"
        connections = {}
        for called, one in self._facts["connections"].items():
            body = {"name": called, "connector_guid": one["connector"], "params": one["params"]}
            connections[called] = self._call("POST", f"{place}/datasources", body)["guid"]
        known: set[str] = set()
        for one in self._facts["automations"]:
            kind = KINDS[one["kind"]]
            used = [connections[called] for called in one["connections"]]
            body = {"account": account, "inputs": kind.at_install, "datasources": used}
            self._call("POST", f"/templates/{one['template']}/install", body)
            rows = self._rows(f"{place}/blends")
            (made,) = (row for row in rows if row["guid"] not in known)
            for guid in (made["guid"], *(part["guid"] for part in made.get("sub_blends") or ())):
                self._call("PUT", f"{place}/blends/{guid}", {"state": "disabled"})
            known.add(made["guid"])
            if kind.inputs:
                self._call("POST", f"{place}/blends/{made['guid']}/set-persisted-inputs", kind.inputs)
            self._call("PUT", f"{place}/blends/{made['guid']}", {"name": one["name"], "state": "disabled"})
            if kind.schedule:
                body = {**kind.schedule, "state": "disabled", "schedule_stop_at": None}
                self._call("PUT", f"{place}/blends/{made['guid']}", body)
            if "on" in kind.steps:
                self._call("PUT", f"{place}/blends/{made['guid']}", {"state": "available"})

    def _rows(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        number = 1
        while True:
            page = self._call("GET", f"{path}?page={number}")["data"]
            rows += page
            if len(page) < PAGE_ROWS:
                return rows
            number += 1


def measure_beside(rounds: int, connections: int, times: int, folder: Path) -> None:
    """Print times of backup and restore against those of a bare loop and a script, rounds alternating."""
    with provider(rounds, connections) as served:
        write_supply(served.facts, folder)
        endpoint = _endpoint(served.facts, NO_LIMIT)
        work = Work(endpoint, folder, SystemClock())
        targets: list[str] = []
        pairs: dict[str, list[tuple[float, float]]] = {"backup": [], "restore": []}
        calls: dict[str, tuple[int, int]] = {}
        longest: list[tuple[float, float]] = []
        asyncio.run(work.back_up())
        origin = served.facts["url"].removesuffix("/v1")
        targets = [
            f"{origin}{path}?page={page}" if page != "1" else origin + path for _, path, page in served.news()["seen"]
        ]
        for number in range(times):
            bare = _timed(lambda: asyncio.run(_fetch(served, targets)))
            pairs["backup"].append((bare, _timed(lambda: asyncio.run(work.back_up()))))
            served.news()
            with httpx.Client(headers=served.headers, timeout=60, trust_env=False) as client:
                script_s = _timed(partial(Script(served, client).restore, f"by-hand-{number}"))
            theirs = served.news()
            ours_s = _timed(partial(asyncio.run, work.restore(f"ours-{number}")))
            ours = served.news()
            pairs["restore"].append((script_s, ours_s))
            calls["restore"] = len(theirs["seen"]), len(ours["seen"])
            longest.append((max(theirs["windows"]), max(ours["windows"])))
    calls["backup"] = len(targets), len(targets)
    print(f"beside a script: {rounds * AUTOMATIONS_A_ROUND} automations, {times} rounds alternating, no limit")
    for name, found in pairs.items():
        theirs_s, ours_s = (statistics.median(one) for one in zip(*found, strict=True))
        ratio = statistics.median(theirs / mine for theirs, mine in found)
        print(f"  {name:<16} {theirs_s:.2f} s and {calls[name][0]:,} calls by a script, {ours_s:.2f} s and "
              f"{calls[name][1]:,} calls by us: speed {ratio:.2f}")  # fmt: skip
    theirs_s, ours_s = (max(one) for one in zip(*longest, strict=True))
    print(f"  longest window   {theirs_s:.3f} s by the script, {ours_s:.3f} s by us, of all rounds")


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# At the rate of the service


def _endpoint(facts: Mapping[str, Any], per_minute: int, handler: Any = None) -> OemEndpoint:
    app_id, key = facts["key_pair"]
    return OemEndpoint(
        name="partner/model",
        url=facts["url"],
        access=Access.WRITE,
        credentials=KeyPair(app_id=app_id, api_key=Secret(key)),
        limits=OemLimits(per_minute=per_minute, concurrency=CONCURRENCY),
        handler=handler,
    )


class Work:
    """Backup and restore in this process, by the clock that is given."""

    def __init__(self, endpoint: OemEndpoint, folder: Path, clock: Clock) -> None:
        self._endpoint = endpoint
        self._folder = folder
        self._archive = folder / "work.qma"
        self._given: dict[str, Any] = {"clock": clock, "sink": discard}

    def _open(self, access: Access) -> OemClient:
        return OemClient.open(self._endpoint, access=access, **self._given)

    async def back_up(self) -> None:
        """The model account into an archive."""
        supply = Supply(schedules=read_schedules(self._folder / "schedules.csv"))
        options = OemExportOptions(account="model", supply=supply)
        async with self._open(Access.READ) as client:
            manifest = await export_oem(client, ArchiveWriter(self._archive, force=True), options, **self._given)
        if not manifest.complete:
            raise SystemExit("the backup is not complete")

    async def restore(self, account: str) -> tuple[Plan, Result]:
        """The archive into a new account."""
        secrets = read_connection_secrets(self._folder / "secrets.toml", {})
        options = PlanOptions(
            connections="create",
            create_account=True,
            allow=("oem-starts-on-install",),
            ledger=str(self._folder / f"{account}.jsonl"),
        )
        with open_archive(self._archive) as snapshot:
            request = PlanRequest(archive=str(self._archive), snapshot=snapshot, options=options, secrets=secrets)
            async with self._open(Access.READ) as client:
                plan = await make_oem_plan(client, request, account, **self._given)
            if plan.refused:
                raise SystemExit(f"refused: {plan.errors}")
            async with self._open(Access.WRITE) as client:
                result = await apply_oem_plan(
                    client, snapshot, plan, RunFolder(self._folder / account), secrets=secrets,
                    abort_on_error=False, **self._given,
                )  # fmt: skip
        if result.failed or result.differing:
            raise SystemExit(f"{result.failed} failed, {result.differing} differ")
        return plan, result


def measure_rate(rounds: int, connections: int, folder: Path) -> None:
    """Print how long the limit of the service makes backup and restore last, with nothing else taking time."""
    clock = ManualClock()
    service, facts = made_up(rounds, connections, clock=clock, per_minute=PER_MINUTE)
    facts["url"] = service.base_url
    write_supply(facts, folder)
    work = Work(_endpoint(facts, PER_MINUTE, service.handle), folder, clock)
    size = rounds * AUTOMATIONS_A_ROUND
    print(f"at {PER_MINUTE} calls a minute, of which the default share is used: {size} automations")
    for name, least in (("backup", least_backup(facts)), ("restore", least_restore(facts))):
        begun_s, calls = clock.monotonic(), len(service.seen)
        told = ""
        if name == "backup":
            asyncio.run(work.back_up())
        else:
            plan, result = asyncio.run(work.restore("customer-01"))
            assert plan.forecast is not None
            told = f"; forecast {spoken(plan.forecast.seconds)} and {plan.forecast.tier1:,} calls after the plan"
            told += f"; longest window {max(result.windows.values()):.3f} s of waiting"
        taken_s, calls = clock.monotonic() - begun_s, len(service.seen) - calls
        print(f"  {name:<16} {spoken(taken_s)} for {calls:,} calls{told}")
        print(f"  {'least calls':<16} {spoken(rate_s(least.total()))} for {least.total():,}")
        # So that the next one begins with a whole minute.
        clock.advance(120)
    print(f"  refused with 429 {service.calls_over_limit} (aim: 0)")


def rate_s(calls: int) -> float:
    """How long so many calls take at the limit, one after another."""
    return least_s(OemLimits(per_minute=PER_MINUTE), calls)


def spoken(seconds: float) -> str:
    """In minutes."""
    return f"{seconds / 60:.1f} min"
