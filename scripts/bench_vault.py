#!/usr/bin/env python3
"""Measure vaults against restic, borg, git and daily archives: size, one backup, one historic read, prune.

All of them get the same documents in one run, day by day and one after the other, so that a slow moment of the machine
hits all. Theirs are processes with their start, ours runs in this one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from bench_history import Day, file_of, files, made_up_history, real_history
from bench_ours import Key, Ours
from bench_peers import Archives, Borg, Git, Peer, Restic

from qlikmigrate.model.document import Part, received
from qlikmigrate.model.kind import Kind

_LAST_DAYS = 20
# The best of so many readings of one document counts: what else the machine does only ever adds.
_TRIES = 3
_CORPUS = Path("../shared/corpus")


@frozen(kw_only=True)
class Result:
    """What came out of one tool. Times in seconds; `settled`: after git gc or repack, where there is such a thing."""

    size_bytes: int
    settled_s: float | None
    settled_bytes: int
    backup_s: float
    read_s: Sequence[float]
    pruned: tuple[float, int, int] | None


@frozen(kw_only=True)
class Wanted:
    """A document to read: of which backup, in which file, and what it is."""

    number: int
    name: str
    content: bytes


def write_files(folder: Path, day: Day, first: bool) -> None:
    """Bring the folder from the backup before to this one; what did not change is not touched."""
    for name, content in files(day.documents, day.documents if first else day.changed).items():
        path = folder / name
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


def sample(days: Sequence[Day], count: int) -> list[Wanted]:
    """Automations of any day, at random."""
    chance = random.Random(1)
    found = []
    for _ in range(count):
        number = chance.randrange(len(days))
        ident = chance.choice(days[number].automations())
        content = received(days[number].documents[Kind.AUTOMATION, ident, Part.DETAIL])
        found.append(Wanted(number=number, name=file_of(Kind.AUTOMATION, ident), content=content))
    return found


def measure(days: Sequence[Day], peers: Sequence[Peer], place: Path, reads: int) -> dict[str, Result]:
    """Feed all of them, day by day, then read and prune."""
    folder = place / "files"
    folder.mkdir()
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number, day in enumerate(days):
        write_files(folder, day, first=not number)
        for peer in peers:
            times[peer.name].append(peer.back_up(number, day, folder))
    shutil.rmtree(folder)
    results = {}
    wanted = sample(days, reads)
    for peer in peers:
        size = peer.size_bytes()
        pruned = peer.prune()
        settled_s = peer.settle()
        results[peer.name] = Result(
            size_bytes=size,
            settled_s=settled_s,
            settled_bytes=peer.size_bytes(),
            backup_s=statistics.median(times[peer.name][-_LAST_DAYS:]),
            read_s=[] if isinstance(peer, Archives) else _read(peer, wanted),
            pruned=pruned,
        )
    return results


def _read(peer: Peer, wanted: Iterable[Wanted]) -> list[float]:
    taken = []
    for one in wanted:
        times = []
        for _ in range(_TRIES):
            content, taken_s = peer.read(one.number, one.name)
            times.append(taken_s)
            if content != one.content:
                raise SystemExit(f"{peer.name} gave another document back: {one.name} of backup {one.number}")
        taken.append(min(times))
    return taken


def _ms(times: Sequence[float]) -> float:
    return statistics.median(times) * 1000


def _load() -> str:
    return f"load {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else "load unknown"


def show(results: Mapping[str, Result]) -> None:
    """The table."""
    print(f"  {'':14}{'bytes':>13}{'settled':>13}{'in s':>7}{'backup ms':>11}{'read ms':>9}{'max':>7}", end="")
    print(f"{'prune s':>9}{'bytes after':>13}{'left':>6}")
    for name, one in results.items():
        settled = f"{one.settled_bytes:>13,}{one.settled_s:>7.1f}" if one.settled_s is not None else f"{'':20}"
        reads = f"{_ms(one.read_s):>9.2f}{max(one.read_s) * 1000:>7.1f}" if one.read_s else f"{'':16}"
        pruned = f"{one.pruned[0]:>9.1f}{one.pruned[1]:>13,}{one.pruned[2]:>6}" if one.pruned else ""
        print(f"  {name:14}{one.size_bytes:>13,}{settled}{one.backup_s * 1000:>11.0f}{reads}{pruned}")


def show_ratios(results: Mapping[str, Result]) -> None:
    """Our sizes against theirs, as they are and when settled."""
    for name, mine in results.items():
        if name not in ("vault", "vault, sealed"):
            continue
        for other, aim in (("git", "1"), ("restic", "0.1"), ("borg", "0.1")):
            theirs = results[other].settled_bytes
            print(
                f"  {name} / {other:<8} {mine.size_bytes / theirs:.3f}, repacked {mine.settled_bytes / theirs:.3f} "
                f"(aim: at most {aim})"
            )


def run(title: str, days: Sequence[Day], reads: int, every: int, place: Path) -> None:
    """One history, all tools."""
    last, changes = days[-1], sum(len(day.changed) for day in days[1:])
    print(
        f"{title}: {len(days)} backups, {len(last.automations())} automations and {last.size_bytes / 1e6:.1f} MB "
        f"in the last, {changes:,} documents and rows changed in all"
    )
    begun = os.times()
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        git = Git(folder)
        ours = [Ours(folder), Ours(folder, Key.made())]
        peers: list[Peer] = [Restic(folder), Borg(folder), git, Archives(folder, every), *ours]
        results = measure(days, peers, folder, reads)
        show(results)
        wanted = sample(days, reads)
        batch_s = git.batch([(one.number, one.name) for one in wanted]) / len(wanted)
        show_ratios(results)
        print(f"  read             {_ms(results['vault'].read_s):.2f} ms a document (aim: at most 5)")
        for one in ours:
            print(
                f"  before a read    {one.name}: {_ms(one.vault_s):.1f} ms to open the vault, "
                f"{_ms(one.snapshot_s):.1f} ms to open the snapshot"
            )
        print(f"  git cat-file     {batch_s * 1000:.2f} ms a document, one process for {len(wanted)} of them")
    ended = os.times()
    own_s = sum(ended[:4]) - sum(begun[:4])
    took_s = ended.elapsed - begun.elapsed
    print(f"  the whole        {took_s:.0f} s, in which it had a processor for {own_s:.0f}; {_load()}")
    print()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures mean nothing")
    parser.add_argument("--only", choices=["real", "year", "runs"])
    given = parser.parse_args()
    quick = given.quick
    reads = 2 if quick else 20
    with tempfile.TemporaryDirectory(prefix="qlikmigrate-bench-") as name:
        place = Path(name)
        if given.only in (None, "real"):
            if _CORPUS.is_dir():
                days = list(real_history(_CORPUS))
                run("real edits", days[:3] if quick else days, reads, 1, place)
            else:
                print(f"no {_CORPUS} beside the checkout: no real edits")
        for word, title, full, runs in (
            ("year", "made-up year", 365, False),
            ("runs", "made-up month in which everything runs daily", 31, True),
        ):
            if given.only in (None, word):
                history = made_up_history(
                    automations=60 if quick else 300, days=3 if quick else full, changed=3, runs=runs, seed=1
                )
                run(title, list(history), reads, 3 if quick else 30, place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
