"""Places for vaults: a folder, memory, and buckets of a real S3 protocol server."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from place import Place
from s3_server import KEY, REGION, SECRET, S3Server, serving

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault.store import LocalStore, MemoryStore, Store, open_store

_NUMBER = itertools.count(1)


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    """The server that all tests of a process share."""
    with serving() as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A server without faults, and an environment that leads to it."""
    s3_process.calm()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL", s3_process.url),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_CHECKSUM_ALGORITHM"):
        monkeypatch.delenv(name, raising=False)
    return s3_process


@pytest.fixture
def make_bucket(s3: S3Server) -> Callable[[str], str]:
    """Makes a bucket: plain, versioned, suspended or locked; the location of a vault in it."""

    def make(kind: str = "plain") -> str:
        name = f"{kind}-{next(_NUMBER)}"
        s3.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=kind == "locked")
        if kind in ("versioned", "suspended"):
            s3.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if kind == "suspended":
            s3.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
        if kind == "locked":
            days = {"Mode": "COMPLIANCE", "Days": 30}
            rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": days}}
            s3.client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=rule)
        s3.calm()
        return f"s3://{name}/backups/tenants"

    return make


@pytest.fixture
def clock() -> ManualClock:
    """The time that all handles of a test share."""
    return ManualClock()


@pytest.fixture
def make_place(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Callable[[str], Place]:
    """Makes a place: local, memory, memory-immutable, or s3-KIND with a kind of bucket."""

    names = (f"vault{number or ''}" for number in itertools.count())

    def make(kind: str) -> Place:
        def another() -> Place:
            return make(kind)

        if kind == "local":
            folder = tmp_path / next(names)

            def put(name: str, data: bytes) -> None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)

            return Place(location=str(folder), open=lambda: LocalStore(folder, clock=clock), put=put, another=another)
        if kind.startswith("memory"):
            store = MemoryStore(immutable=kind == "memory-immutable")
            return Place(location="memory", open=lambda: store, put=store.create, another=another)
        location = request.getfixturevalue("make_bucket")(kind.removeprefix("s3-"))
        server = request.getfixturevalue("s3")
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return Place(
            location=location,
            open=lambda: open_store(location, clock=clock),
            put=lambda name, data: server.put(bucket, f"{prefix}/{name}", data),
            another=another,
        )

    return make


@pytest.fixture(params=["local", "memory", "s3-plain"])
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each kind of place in turn."""
    return make_place(request.param)


@pytest.fixture
def store(place: Place) -> Store:
    """An empty store of each kind in turn."""
    return place.open()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table of what was killed and what came of it, as docs/benchmarks.md quotes it."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "kills":
                work, place, counts = value
                rows.setdefault((work, place), Counter()).update(counts)
    if not rows:
        return
    terminalreporter.section("kills")
    terminalreporter.line("| work | vault | kills | snapshots lost | vaults not healthy after the next run |")
    terminalreporter.line("|---|---|---|---|---|")
    total = Counter[str]()
    for (work, place), counts in sorted(rows.items()):
        total.update(counts)
        terminalreporter.line(f"| {work} | {place} | {counts['kills']} | {counts['lost']} | {counts['ill']} |")
    terminalreporter.line(f"| together | | {total['kills']} | {total['lost']} | {total['ill']} |")
