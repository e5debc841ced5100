"""Measure the second backup into a vault: requests against the least possible, bytes written, memory, time.

The tenant is served over loopback HTTP from a process of its own; one automation in a hundred is edited in between.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

from bench_backup import back_up, least_requests, tenant
from bench_ours import Key
from bench_peers import size_of

# What every backup reads anew: one document in so many, whatever changed.
_SHARE = 7
# No save may lie this close before the first reading, or that document is read again.
_SETTLING_S = 3


def measure(automations: int, size_bytes: int, folder: Path, *, recipient: str = "") -> None:
    """Print what a second backup of a tenant costs, with one automation in a hundred changed."""
    vault = folder / ("sealed" if recipient else "plain")
    into = ["--vault", str(vault)] + (["--recipient", recipient] if recipient else [])
    changed = max(1, automations // 100)
    with tenant(automations, size_bytes) as served:
        time.sleep(_SETTLING_S)
        start = time.perf_counter()
        _, first_peak = back_up(served, folder, [*into, "--init"])
        first_s, first_bytes = time.perf_counter() - start, size_of(vault)
        served.seen()
        served.edit(changed)
        time.sleep(_SETTLING_S)
        start = time.perf_counter()
        summary, peak = back_up(served, folder, into)
        taken_s, written = time.perf_counter() - start, size_of(vault) - first_bytes
        sent = len(served.seen())
        least = least_requests(served.facts)
    listed = least["automation details"]
    # What changed counts as part of the seventh that is read anyway.
    least["automation details"] = max(changed, ceil(listed / _SHARE))
    needed = sum(least.values())
    parts = ", ".join(f"{name} {count:,}" for name, count in least.items())
    print(
        f"incremental, {'sealed' if recipient else 'plain'} vault: {listed:,} automations of {size_bytes // 1000} kB, "
        f"{changed} changed"
    )
    print(f"  first backup     {first_bytes:,} bytes, {first_peak / 1e6:.0f} MB of memory, {first_s:.0f} s")
    print(f"  requests         {sent:,} arrived, {summary['requests'].get('saved', 0):,} saved by the summary")
    print(f"  least possible   {needed:,}: {parts}")
    print(f"  ratio            {sent / needed:.3f} (aim: 1.000)")
    print(f"  bytes written    {written:,}, {written / changed:,.0f} for each that changed")
    print(f"  peak memory      {peak / 1e6:.0f} MB, {peak / 200e6:.3f} of 200 MB (aim: at most 1)")
    print(f"  time             {taken_s:.0f} s, {taken_s / first_s:.2f} of the first")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures mean nothing")
    given = parser.parse_args()
    automations = 200 if given.quick else 10_000
    with tempfile.TemporaryDirectory(prefix="qlikmigrate-bench-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        measure(automations, 50_000, folder)
        measure(automations, 50_000, folder, recipient=Key.made().recipient)
    return 0


if __name__ == "__main__":
    sys.exit(main())
