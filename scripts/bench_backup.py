"""Measure a backup: requests sent against the least possible, speed against a bare loop, and peak memory.

The tenant is served over loopback HTTP from a process of its own. Rates are lifted, so that only the code is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import httpx

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import Access, Endpoint, Limits, OAuthClient
from qlikmigrate.archive import ArchiveWriter
from qlikmigrate.exporter.collector import ExportOptions, export
from qlikmigrate.kernel.clock import SystemClock
from qlikmigrate.kernel.event import discard
from qlikmigrate.kernel.secret import Secret

HERE = Path(__file__).parent
CONCURRENCY = 8
NO_LIMIT = 10**9
# Rows on one page at most. Source: openapi/workflows-automations.json and its siblings, users.json, items.json.
LARGEST_PAGE = {"automations": 200, "connections": 200, "connectors": 200, "users": 100, "spaces": 100, "items": 100}

# A process that is started inherits its parent's peak memory; this one is small enough not to be seen.
_PEAK = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, peak * (1 if sys.platform == "darwin" else 1024), done.stdout.decode()]))
"""


class Tenant:
    """The served tenant: `facts` as `bench_tenant.py` prints them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.facts: dict[str, Any] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._read()

    def seen(self) -> list[tuple[str, str]]:
        """Method and target of every request since the last time."""
        return [(method, target) for method, target in self._ask("")]

    def edit(self, count: int) -> list[str]:
        """Let somebody edit as many automations; their ids."""
        return list(self._ask(str(count)))

    def endpoint(self) -> Endpoint:
        """How the exporter is told of it."""
        return Endpoint(
            name="bench",
            url=self.facts["url"],
            credentials=OAuthClient(
                client_id=self.facts["client_id"], client_secret=Secret(self.facts["client_secret"])
            ),
            limits=Limits(tier1_per_minute=NO_LIMIT, tier2_per_minute=NO_LIMIT, share=1.0, concurrency=CONCURRENCY),
        )

    def tenants_file(self) -> str:
        """How the command line is told of it."""
        facts = self.facts
        return (
            f'[tenants.bench]\nurl = "{facts["url"]}"\n'
            f'oauth = {{ client_id = "{facts["client_id"]}", client_secret = "{facts["client_secret"]}" }}\n'
            f"limits = {{ tier1_per_minute = {NO_LIMIT}, tier2_per_minute = {NO_LIMIT}, share = 1.0 }}\n"
        )


@contextmanager
def tenant(automations: int, size_bytes: int, *options: str) -> Iterator[Tenant]:
    """A tenant with that many automations, in a process of its own."""
    command = [sys.executable, str(HERE / "bench_tenant.py"), str(automations), str(size_bytes), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Tenant(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def run_measured(words: Sequence[str]) -> tuple[int, int, list[dict[str, Any]]]:
    """Run a command as a user would: how it ended, its peak memory in bytes, and what it printed."""
    command = [sys.executable, "-m", "qlikmigrate", *words, "--json", "--no-progress"]
    measured = subprocess.run([sys.executable, "-c", _PEAK, *command], stdout=subprocess.PIPE, check=True)
    code, peak, text = json.loads(measured.stdout)
    return code, peak, [json.loads(line) for line in text.splitlines()]


def back_up(served: Tenant, folder: Path, into: Sequence[str] = ()) -> tuple[dict[str, Any], int]:
    """Run the command as a user would; its summary line, and its peak memory in bytes.

    `into`: the words that say where to; an archive without.
    """
    config = folder / "tenants.toml"
    config.write_text(served.tenants_file())
    config.chmod(0o600)
    into = into or ("-o", str(folder / "bench.qma"), "--force")
    code, peak, lines = run_measured(["backup", "bench", *into, "--config", str(config)])
    summary = lines[-1]
    if code != 0 or not summary["complete"]:
        raise SystemExit(f"the backup ended with {code}: {summary['error']}")
    return summary, peak


def least_requests(facts: dict[str, Any]) -> dict[str, int]:
    """The fewest requests that a complete snapshot of the tenant takes, by what they are for."""
    pages = {kind: max(1, ceil(rows / LARGEST_PAGE[kind])) for kind, rows in facts["rows"].items()}
    lists = pages.pop("automations")
    assignments = sum(max(1, ceil(members / 100)) for members in facts["members"])
    return {
        "automation lists": lists,
        "automation details": facts["rows"]["automations"],
        # Token; `/users/me` and `/tenants/me`, each with the redirect that the service answers; settings.
        "inventory": 1 + 2 + 2 + 1 + sum(pages.values()) + facts["rows"]["connections"] + assignments,
        "second listing": lists,
    }


def measure_requests(automations: int, folder: Path) -> None:
    """Print the requests that one backup sends."""
    with tenant(automations, 5_000) as served:
        summary, _ = back_up(served, folder)
        sent = len(served.seen())
        least = least_requests(served.facts)
    told = sum(summary["requests"][tier] for tier in ("tier1", "tier2", "token"))
    needed = sum(least.values())
    parts = ", ".join(f"{name} {count:,}" for name, count in least.items())
    print(f"requests: {automations:,} automations, {sent:,} arrived, {told:,} counted by the summary")
    print(f"  least possible   {needed:,}: {parts}")
    print(f"  ratio            {sent / needed:.3f} (aim: 1.000)")
    print(
        f"  no 2nd listing   {sent / (needed - least['second listing']):.3f} (it is what makes complete mean complete)"
    )


async def _export(served: Tenant, path: Path) -> int:
    client = CloudClient.open(served.endpoint(), access=Access.READ, clock=SystemClock(), sink=discard)
    async with client:
        with ArchiveWriter(path, force=True) as writer:
            manifest = await export(client, writer, ExportOptions(), clock=SystemClock(), sink=discard)
    assert manifest.complete
    return manifest.counts["automations"].captured


async def _fetch(base: str, targets: list[str], authorization: str) -> int:
    """Get each target and keep nothing."""
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    source = iter(targets)
    size = 0

    async def worker() -> None:
        nonlocal size
        for target in source:
            answer = await client.get(base + target)
            size += len(answer.content)

    headers = {"authorization": authorization}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return size


def _authorization(facts: dict[str, Any]) -> str:
    body = {
        "client_id": facts["client_id"],
        "client_secret": facts["client_secret"],
        "grant_type": "client_credentials",
    }
    answer = httpx.post(facts["url"] + "/oauth/token", json=body, trust_env=False)
    return f"Bearer {answer.json()['access_token']}"


def measure_speed(automations: int, size_bytes: int, delay_ms: int, rounds: int, folder: Path) -> None:
    """Print the exporter's speed and the bare loop's, rounds alternating, answers taking `delay_ms` at the server."""
    path = folder / "speed.qma"
    with tenant(automations, size_bytes, "--stored", "--delay-ms", str(delay_ms)) as served:
        authorization = _authorization(served.facts)
        asyncio.run(_export(served, path))
        seen = Counter(served.seen())
        targets = [target for (method, target), count in seen.items() if method == "GET" for _ in range(count)]
        pairs, busy = [], []
        for _ in range(rounds):
            start, cpu = time.perf_counter(), time.process_time()
            asyncio.run(_fetch(served.facts["url"], targets, authorization))
            bare_s, bare_cpu_s = time.perf_counter() - start, time.process_time() - cpu
            start, cpu = time.perf_counter(), time.process_time()
            captured = asyncio.run(_export(served, path))
            export_s, export_cpu_s = time.perf_counter() - start, time.process_time() - cpu
            pairs.append((bare_s, export_s))
            busy.append((bare_cpu_s / bare_s, export_cpu_s / export_s))
    bare_s = statistics.median(bare for bare, _ in pairs)
    export_s = statistics.median(mine for _, mine in pairs)
    ratio = statistics.median(bare / mine for bare, mine in pairs)
    shares = [statistics.median(share) for share in zip(*busy, strict=True)]
    print(
        f"speed: {captured:,} automations of {size_bytes // 1000} kB, answers take {delay_ms} ms, "
        f"{CONCURRENCY} at a time, {len(targets):,} requests, {rounds} rounds alternating"
    )
    print(f"  bare httpx loop  {captured / bare_s:,.0f} automations/s, processor {shares[0]:.0%}")
    print(f"  exporter         {captured / export_s:,.0f} automations/s into an archive, processor {shares[1]:.0%}")
    print(f"  ratio            {ratio:.3f} (exporter / bare loop; aim: at least 0.8)")


def measure_memory(few: int, many: int, size_bytes: int, folder: Path) -> None:
    """Print the peak memory of two backups that differ in the number of automations only."""
    peaks = []
    print(f"memory: automations of {size_bytes // 1000} kB")
    for count in (few, many):
        with tenant(count, size_bytes) as served:
            start = time.perf_counter()
            _, peak = back_up(served, folder)
        peaks.append(peak)
        print(f"  {count:>6,}           {peak / 1e6:.0f} MB at most, {time.perf_counter() - start:.0f} s")
    print(f"  peak ratio       {peaks[1] / 200e6:.3f} (of 200 MB; aim: at most 1)")
    print(f"  growth           {peaks[1] / peaks[0]:.3f} (for {many // few} times the automations; aim: flat, 1)")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures mean nothing")
    parser.add_argument("--only", choices=["requests", "speed", "memory"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qlikmigrate-bench-") as name:
        folder = Path(name)
        if given.only in (None, "requests"):
            measure_requests(100 if given.quick else 1_000, folder)
        if given.only in (None, "speed"):
            for delay_ms in (0, 30):
                measure_speed(100 if given.quick else 1_000, 50_000, delay_ms, 1 if given.quick else 5, folder)
        if given.only in (None, "memory"):
            measure_memory(100 if given.quick else 2_000, 400 if given.quick else 10_000, 50_000, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
