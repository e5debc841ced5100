"""Measure how long the command line takes to start, against the interpreter alone; rounds alternating, medians."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "qlikmigrate")


def seconds(command: list[str]) -> float:
    """From start to end of one process."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    given = parser.parse_args()
    commands = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        "--version": [COMMAND, "--version"],
        "--help": [COMMAND, "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(given.rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare_s = statistics.median(times["bare interpreter"])
    print(f"start: {given.rounds} rounds alternating, medians")
    for name, taken in times.items():
        print(f"  {name:<16} {statistics.median(taken) * 1000:.1f} ms")
    print(
        f"  ratio            {statistics.median(times['--version']) / bare_s:.2f} (--version / bare; aim: at most 2.5)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
