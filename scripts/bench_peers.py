"""Other people's tools, each fed the same files in its natural manner: one object a tool, repositories on the disk.

Their calls are processes of their own, and that is how they are timed: with their start, as a scheduled backup has it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bench_history import Day

from qlikmigrate.archive import ArchiveWriter
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.manifest import Capture, Manifest

KEPT = {"daily": 7, "weekly": 4, "monthly": 12}


class Peer(Protocol):
    """A place for backups. `prune` leaves the originals alone: it works on a copy."""

    name: str

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        """Take one backup, its files in `folder`; seconds."""

    def settle(self) -> float | None:
        """What is done now and then to make it small; seconds, None where there is no such thing."""

    def size_bytes(self) -> int:
        """What it takes on the disk now."""

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        """A file of backup `number`, and seconds."""

    def prune(self) -> tuple[float, int, int] | None:
        """Keep 7 days, 4 weeks and 12 months: seconds, bytes after, backups left; None where there is no such thing."""


def size_of(folder: Path) -> int:
    """Bytes of all files under it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed(work: Callable[[], bytes]) -> tuple[bytes, float]:
    """What comes of it, and how long it takes."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _run(command: list[str], environment: Mapping[str, str], folder: Path | None = None) -> bytes:
    """Its output.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=folder, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()}")
    return done.stdout


def _copy(repository: Path, cache: Path) -> tuple[Path, Path]:
    """Another repository with a cache of its own, as full as this one's."""
    place = Path(tempfile.mkdtemp(dir=repository.parent))
    found = place / repository.name, place / cache.name
    for source, copy in zip((repository, cache), found, strict=True):
        shutil.copytree(source, copy)
    return found


class Restic:
    """restic as it comes: format 2, zstd by its own judgement, encrypted as always, password in a file."""

    name = "restic"

    def __init__(self, place: Path) -> None:
        self._repository = place / "restic"
        (place / "password").write_text("bench")
        self._cache = place / "restic-cache"
        self._environment = {"RESTIC_PASSWORD_FILE": str(place / "password")}
        self._restic("init")
        self._taken: list[str] = []

    def _restic(self, *words: str, folder: Path | None = None, copy: tuple[Path, Path] | None = None) -> bytes:
        repository, cache = copy or (self._repository, self._cache)
        places = ["-r", str(repository), "--cache-dir", str(cache)]
        return _run(["restic", "--quiet", *places, *words], self._environment, folder)

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        moment = f"{day.at:%Y-%m-%d %H:%M:%S}"
        words = ("backup", "--host", "bench", "--time", moment, "--tag", f"day{number}", ".")
        return seconds(lambda: self._restic(*words, folder=folder))

    def settle(self) -> float | None:
        return None

    def size_bytes(self) -> int:
        return size_of(self._repository)

    def _idents(self) -> list[str]:
        found = self._restic("snapshots", "--compact").decode().splitlines()
        return [line.split()[0] for line in found if len(line.split("day")) == 2]

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        # Looked up once: a person who asks for a file knows the id, too.
        self._taken = self._taken or self._idents()
        return timed(lambda: self._restic("dump", self._taken[number], f"/{name}"))

    def prune(self) -> tuple[float, int, int]:
        copy = _copy(self._repository, self._cache)
        words = [word for rule, count in KEPT.items() for word in (f"--keep-{rule}", str(count))]
        # Each backup has a tag of its own, which must not make groups of them.
        taken_s = seconds(lambda: self._restic("forget", "--group-by", "host,paths", *words, "--prune", copy=copy))
        return taken_s, size_of(copy[0]), len(list((copy[0] / "snapshots").iterdir()))


class Borg:
    """borg without encryption, its fastest, and with zstd instead of lz4, its smaller."""

    name = "borg"

    def __init__(self, place: Path) -> None:
        self._repository = place / "borg"
        self._base = place / "borg-base"
        self._environment = {
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }
        self._borg("init", "-e", "none", str(self._repository))

    def _borg(self, *words: str, folder: Path | None = None, base: Path | None = None) -> bytes:
        return _run(["borg", *words], self._environment | {"BORG_BASE_DIR": str(base or self._base)}, folder)

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        moment = f"{day.at:%Y-%m-%dT%H:%M:%S}"
        words = ("create", "-C", "zstd", "--timestamp", moment, f"{self._repository}::day{number:04d}", ".")
        return seconds(lambda: self._borg(*words, folder=folder))

    def settle(self) -> float | None:
        return None

    def size_bytes(self) -> int:
        return size_of(self._repository)

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        return timed(lambda: self._borg("extract", "--stdout", f"{self._repository}::day{number:04d}", name))

    def prune(self) -> tuple[float, int, int]:
        copy, base = _copy(self._repository, self._base)
        words = [word for rule, count in KEPT.items() for word in (f"--keep-{rule}", str(count))]

        def work() -> None:
            self._borg("prune", *words, str(copy), base=base)
            self._borg("compact", str(copy), base=base)

        taken_s = seconds(work)
        return taken_s, size_of(copy), len(self._borg("list", "--short", str(copy), base=base).split())


class Git:
    """One commit a backup, at the end `git gc --aggressive`; its own gc in between is off, for the times' sake."""

    name = "git"

    def __init__(self, place: Path) -> None:
        self._repository = place / "git"
        self._place = place
        self._commits: list[str] = []
        _run(["git", "init", "--quiet", "--bare", "--template=", str(self._repository)], {})

    def _git(self, *words: str, folder: Path, moment: datetime | None = None) -> bytes:
        environment = {"GIT_DIR": str(self._repository), "GIT_WORK_TREE": str(folder), "GIT_CONFIG_GLOBAL": os.devnull}
        if moment:
            environment |= {"GIT_AUTHOR_DATE": moment.isoformat(), "GIT_COMMITTER_DATE": moment.isoformat()}
        options = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
        return _run(["git", *options, *words], environment, folder)

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        def work() -> None:
            self._git("add", "--all", folder=folder)
            words = ("commit", "--quiet", "--allow-empty", "-m", f"{day.at:%Y-%m-%d}")
            self._git(*words, folder=folder, moment=day.at)

        taken_s = seconds(work)
        self._commits.append(self._git("rev-parse", "HEAD", folder=folder).decode().strip())
        return taken_s

    def settle(self) -> float | None:
        return seconds(lambda: self._git("gc", "--quiet", "--aggressive", "--prune=now", folder=self._place))

    def size_bytes(self) -> int:
        # Without the index: it stands for the files beside it, not for the history.
        return size_of(self._repository) - (self._repository / "index").stat().st_size

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        return timed(lambda: self._git("show", f"{self._commits[number]}:{name}", folder=self._place))

    def batch(self, wanted: list[tuple[int, str]]) -> float:
        """Seconds that one process takes to read them all."""
        names = "".join(f"{self._commits[number]}:{name}\n" for number, name in wanted)
        command = ["git", "--git-dir", str(self._repository), "cat-file", "--batch"]
        return seconds(lambda: subprocess.run(command, input=names.encode(), capture_output=True, check=True))

    def prune(self) -> None:
        return None


class Archives:
    """An archive a day, without a vault: every so many of them are written, and the sum is scaled."""

    name = "archives"

    def __init__(self, place: Path, every: int) -> None:
        self._place = place
        self._every = every
        self._sizes: list[int] = []
        self._times: list[float] = []
        self._count = 0

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        self._count += 1
        if number % self._every:
            return statistics.median(self._times)
        path = self._place / "day.qma"
        self._times.append(seconds(lambda: self._write(path, day)))
        self._sizes.append(path.stat().st_size)
        return self._times[-1]

    @staticmethod
    def _write(path: Path, day: Day) -> None:
        with ArchiveWriter(path, force=True) as writer:
            for one in day.documents.values():
                writer.add(one)
            writer.finish(manifest(), Capture(started_at=day.at, finished_at=day.at))

    def settle(self) -> float | None:
        return None

    def size_bytes(self) -> int:
        return round(sum(self._sizes) / len(self._sizes) * self._count)

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        raise NotImplementedError

    def prune(self) -> None:
        return None


def manifest() -> Manifest:
    """The head of a snapshot of a tenant."""
    return Manifest(tool_version="0", tenant=TenantFacts(id="bench", name="bench"))
