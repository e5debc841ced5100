"""A disk or service that fails midway: one clear line, its code, an unharmed vault, and a next run that works."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define
from killing import WORKS, Keys, Killer, Scene, in_memory, objects_of
from place import Place
from process import Night
from s3_server import S3Server
from stage import Ended, Stage

from qlikmigrate.kernel.error import FailedError
from qlikmigrate.vault.store import Entry, Store
from qlikmigrate.vault.verification import verify_vault

NOBODY = 65534


@define
class Full:
    """A store that takes nothing more from its write number `at` on; whatever is there can be read and deleted."""

    inner: Store
    at: int
    writes: int = 0

    @property
    def location(self) -> str:
        return self.inner.location

    def entries(self, folder: str) -> list[Entry]:
        return self.inner.entries(folder)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return self.inner.read(name, offset, size)

    def create(self, name: str, data: bytes) -> None:
        self.writes += 1
        if self.writes > self.at:
            raise FailedError("no space left", code="cannot-write")
        self.inner.create(name, data)

    def delete(self, name: str) -> None:
        self.inner.delete(name)

    @property
    def reads_at_once(self) -> int:
        return 1

    def is_immutable(self) -> bool:
        return False

    def sweep(self) -> None:
        self.inner.sweep()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """The same nights, in a plain vault and in an encrypted one."""
    return {
        name: Scene.built(keys, tmp_path_factory.mktemp(name))
        for name, keys in (("plain", Keys()), ("encrypted", Keys.made()))
    }


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("form", ["plain", "encrypted"])
def test_full_at_any_write(
    form: str,
    work: str,
    scenes: dict[str, Scene],
    make_place: Callable[[str], Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Work on a vault breaks off with the store's own error; nothing is lost, and with room again it ends well."""
    killer = Killer(WORKS[work](scenes[form]), lambda: make_place("memory"), tmp_path, monkeypatch)
    failures = 0
    for at in range(0, 60, 7):
        store = killer.fresh_store()
        code = ""
        try:
            killer.work.run(Full(store, at))
        except FailedError as error:
            code = error.code
        if not code:
            break
        assert code == "cannot-write"
        failures += 1
        copied = in_memory(objects_of(store))
        if copied.entries("")[:1]:
            assert killer.work.lost(killer.work.open(copied)) == 0
        killer.work.run(store)
        vault = killer.work.open(in_memory(objects_of(store)), hours=24 * 30)
        assert killer.work.lost(vault) == 0
        assert verify_vault(vault).ok
        killer.work.check(vault)
    assert failures >= 1


def refused(ended: Ended, exit_code: int, *codes: str) -> None:
    """It ended as it should, in one line."""
    assert (ended.code, ended.error["code"]) in [(exit_code, code) for code in codes], ended.error
    assert "\n" not in ended.error["message"]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of so many bytes at `folder`."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(stage: Stage, tmp_path: Path) -> None:
    """Backup and repack on a disk with little room: 1 and the path, and all is well when there is room again."""
    disk = tmp_path / "disk"
    if os.name != "posix":
        pytest.skip("no small disks")
    with small_disk(disk, "1m"):
        night = Night(stage, str(disk / "vault"), automations=10)
        night.begin()
        before = night.whole()
        ballast = disk / "ballast"
        failures = set()
        for free in (0, 8, 16, 24, 32, 48, 64):
            night.pass_day()
            ballast.write_bytes(b"")
            room = os.statvfs(disk)
            ballast.write_bytes(b"x" * max(room.f_bavail * room.f_frsize - free * 1024, 0))
            for verb in ("backup", "repack"):
                ended = stage.cli(*night.words(verb))
                if ended.code:
                    refused(ended, 1, "cannot-write", "no-access")
                    assert "No space left on device" in ended.error["message"]
                    failures.add(verb)
                assert before.items() <= night.whole().items()
                assert night.healthy()
        assert failures == {"backup", "repack"}
        ballast.unlink()
        for verb in ("backup", "repack", "prune"):
            assert stage.cli(*night.words(verb)).code == 0
        assert night.healthy()


def test_a_folder_that_may_not_be_written_to(stage: Stage, tmp_path: Path) -> None:
    """Every writer ends with 1, says where and what to look at; reading works; with the right again all is well."""
    night = Night(stage, str(tmp_path / "vault"), automations=4)
    night.begin(backups=2)
    before = night.whole()
    for words in (*([*night.words(verb), "--dry-run"] for verb in ("prune", "repack", "repair")), ["list", "vault"]):
        # Loaded now: the modules may lie where nobody else may look.
        assert stage.cli(*words).code == 0
    assert stage.cli("verify", night.location, "--level", "structure").code == 0
    # Whoever runs the tests may be one whom the system refuses nothing.
    root = os.geteuid() == 0
    folders = [tmp_path / "vault", *(one for one in (tmp_path / "vault").iterdir() if one.is_dir())]
    for path in (*tmp_path.parents[:3], tmp_path, *folders):
        path.chmod(0o755)
    for path in (tmp_path / "vault").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    for path in folders:
        path.chmod(0o555)
    if root:
        os.chown(stage.config, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        for verb in ("backup", "prune", "repack", "repair"):
            ended = stage.cli(*night.words(verb))
            refused(ended, 1, "no-access")
            assert str(tmp_path / "vault") in ended.error["message"]
        assert stage.cli("list", night.location).code == 0
        assert stage.cli("verify", night.location).code == 0
    finally:
        if root:
            os.seteuid(0)
            os.chown(stage.config, 0, 0)
        for path in folders:
            path.chmod(0o755)
    assert night.whole() == before
    assert stage.cli(*night.words("backup")).code == 0


SHORT = timedelta(seconds=0.5)
FAULTS = {
    "403 AccessDenied": (20, "store-refused"),
    "500 InternalError": (1, "store-failed"),
    "lost": (1, "store-unreachable"),
    "slow": (1, "store-unreachable"),
}


@pytest.fixture
def failing(
    stage: Stage, s3: S3Server, make_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Lets a service fail from its puts number `points` on, while `verbs` are at work."""

    def fail(fault: str, verbs: Sequence[str], points: Sequence[int]) -> None:
        store = "qlikmigrate.vault.store.object_store"
        monkeypatch.setattr(f"{store}._FIRST_PAUSE_S", 0.001)
        if fault == "slow":
            for name, value in (("_SMALL_TIMEOUT", SHORT), ("_TIMEOUT", SHORT), ("_TRIES", 1)):
                monkeypatch.setattr(f"{store}.{name}", value)
        night = Night(stage, make_place("s3-plain").location, automations=4)
        night.begin(backups=2)
        for verb in verbs:
            before = night.whole()
            for after in points:
                night.pass_day()
                s3.faults = [("PUT", "")] * after + [("PUT", fault)] * 400
                ended = stage.cli(*night.words(verb))
                s3.calm()
                # A prune may have nothing more to write.
                if ended.code or verb != "prune":
                    refused(ended, *FAULTS[fault])
                    assert "s3://" in ended.error["message"]
                assert before.items() <= night.whole().items()
            done = stage.cli(*night.words(verb))
            assert done.code == 0, done.error
            assert before.items() <= night.whole().items()
            assert night.healthy()

    return fail


@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_fails_in_the_middle(fault: str, failing: Callable[..., None]) -> None:
    """During a backup it refuses, fails, breaks off or hangs: one line, a code, nothing lost, and then all is well."""
    failing(fault, ["backup"], [3])


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_fails_at_each_put(fault: str, failing: Callable[..., None]) -> None:
    """The long form: each of the first puts, of a backup, a repack and a prune."""
    failing(fault, ["backup", "repack", "prune"], range(5))


def test_a_service_that_is_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, make_place: Callable[[str], Place]
) -> None:
    """Nobody answers: 1 and the place, for writers and readers."""
    monkeypatch.setattr("qlikmigrate.vault.store.object_store._FIRST_PAUSE_S", 0.001)
    night = Night(stage, make_place("s3-plain").location, automations=2)
    night.begin(backups=1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for words in (*map(night.words, ("backup", "prune", "repack", "repair")), ["list", night.location]):
        refused(stage.cli(*words), 1, "store-unreachable")


def test_a_home_that_takes_nothing(scenes: dict[str, Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a host keeps for the next backup is no part of this one: the snapshot is whole, and a warning tells."""
    told: list[str] = []
    scene = scenes["encrypted"]
    vault = scene.keys.open(in_memory(scene.objects))
    monkeypatch.setenv("XDG_STATE_HOME", str(scene.home))
    with vault.writer(sink=lambda event: told.append(str(event))) as writer:
        writer.begin(scene.town.head().tenant, "me")
        monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
        scene.town.write(writer)
    assert vault.snapshots()[-1].complete
    assert sum("may have to read and store everything again" in one for one in told) == 1
