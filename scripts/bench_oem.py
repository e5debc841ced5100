#!/usr/bin/env python3
"""Measure backup, restore and clone of OEM accounts: calls against the fewest that it takes, windows, memory, the rate.

The provider is served over loopback HTTP from a process of its own, without a limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_backup import run_measured
from bench_oem_rate import PER_MINUTE, measure_beside, measure_rate, rate_s, spoken
from bench_partner import AUTOMATIONS_A_ROUND, KINDS
from bench_provider import by_purpose, least_backup, least_restore, least_writes, provider

ALLOW = ("--allow", "oem-starts-on-install")


def tell_calls(sent: Counter[str], least: Counter[str]) -> None:
    """How many against how few, and where they differ."""
    print(f"  calls            {sent.total():,}, least possible {least.total():,}")
    print("  least, of these  " + ", ".join(f"{many:,} {name}" for name, many in least.items()))
    more = {name: sent[name] - least[name] for name in sent | least if sent[name] != least[name]}
    print("  beyond that      " + (", ".join(f"{many:+,} {name}" for name, many in more.items()) or "none"))
    print(f"  ratio            {sent.total() / least.total():.3f} (aim: 1)")


def tell_windows(windows: list[float], said_s: float) -> None:
    """How long what was installed was on."""
    times = sorted(windows)
    print(
        f"  install windows  {len(times)}: median {statistics.median(times):.3f} s, "
        f"longest {times[-1]:.3f} s, reported {said_s:.3f} s (aim: at most 1)"
    )


def _done(words: list[str], folder: Path) -> tuple[dict[str, Any], int, float]:
    start = time.perf_counter()
    code, peak, lines = run_measured([*words, "--config", str(folder / "tenants.toml")])
    if code:
        raise SystemExit(f"{' '.join(words)} ended with {code}: {lines[-1]['error']}")
    return lines[-1], peak, time.perf_counter() - start


def _tell_cost(peak: int, taken_s: float) -> None:
    print(f"  peak memory      {peak / 1e6:.0f} MB; {taken_s:.1f} s without a limit")


def measure_one(rounds: int, connections: int, folder: Path) -> None:
    """Print what backup and restore of one account cost."""
    archive, supply = folder / "model.qma", ["--schedules", str(folder / "schedules.csv")]
    with provider(rounds, connections) as served:
        served.write_files(folder, 1)
        size = f"{rounds * AUTOMATIONS_A_ROUND} automations, {connections} connections"
        _, peak, taken_s = _done(["backup", "partner/model", "-o", str(archive), *supply], folder)
        print(f"backup of an account: {size}")
        tell_calls(by_purpose(served.news()["seen"]), least_backup(served.facts))
        _tell_cost(peak, taken_s)
        words = ["restore", str(archive), "partner/customer-01", "--create-account", "--run", str(folder / "run")]
        words += ["--connections", "create", "--secrets", str(folder / "secrets.toml"), *ALLOW]
        summary, peak, taken_s = _done(words, folder)
        news = served.news()
        print(f"restore into a new account: {size}")
        tell_calls(by_purpose(news["seen"]), least_restore(served.facts))
        if summary.get("forecast"):
            print(f"  forecast         {summary['forecast']['tier1']:,} calls")
        missing = rounds * AUTOMATIONS_A_ROUND - news["held"]["customer-01"]
        print(f"  missing or twice {missing}")
        tell_windows(news["windows"], summary["install_windows"]["longest_s"])
        _tell_cost(peak, taken_s)


def measure_many(rounds: int, connections: int, accounts: int, folder: Path) -> None:
    """Print what a clone of one account to many costs."""
    with provider(rounds, connections) as served:
        served.write_files(folder, accounts)
        words = ["clone", "partner/model", "--table", str(folder / "customers.csv"), "--run", str(folder / "runs")]
        words += ["--create-account", "--account-name", "{name}", "--connections", "create"]
        words += ["--secrets", str(folder / "secrets.toml"), *ALLOW]
        summary, peak, taken_s = _done(words, folder)
        news = served.news()
        size = rounds * AUTOMATIONS_A_ROUND
        print(f"clone to {accounts} new accounts: {size} automations and {connections} connections each")
        least = least_backup(served.facts)
        each = least_writes(served.facts)
        # Nobody says when one without a schedule of its own starts: what the clone is not told it cannot write.
        each["state, name, schedule"] -= sum(
            "schedule" in KINDS[one["kind"]].steps for one in served.facts["automations"]
        )
        for name, many in each.items():
            least[name] += accounts * many
        sent = by_purpose(news["seen"])
        tell_calls(sent, least)
        missing = sum(size - many for name, many in news["held"].items() if name != "model")
        print(f"  missing or twice {missing} in {len(news['held']) - 1} accounts")
        tell_windows(news["windows"], summary["install_windows"]["longest_s"])
        print(f"  at {PER_MINUTE} a minute  {spoken(rate_s(sent.total()))} by the rate; least calls "
              f"{spoken(rate_s(least.total()))}")  # fmt: skip
        _tell_cost(peak, taken_s)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures mean nothing")
    parser.add_argument("--only", choices=["one", "many", "rate", "beside"])
    given = parser.parse_args()
    quick = given.quick
    rounds, connections = (1, 3) if quick else (20, 20)
    measures: dict[str, Callable[[Path], None]] = {
        "one": lambda folder: measure_one(rounds, connections, folder),
        "many": lambda folder: measure_many(1, 3, 3 if quick else 50, folder),
        "rate": lambda folder: measure_rate(rounds, connections, folder),
        "beside": lambda folder: measure_beside(rounds, connections, 1 if quick else 3, folder),
    }
    for name, measure in measures.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="qlikmigrate-bench-") as place:
                os.environ["XDG_STATE_HOME"] = str(Path(place) / "state")
                measure(Path(place))
    return 0


if __name__ == "__main__":
    sys.exit(main())
