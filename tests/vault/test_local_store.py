"""A vault's folder: rights, left-overs, a full disk, file systems without links, and kill -9."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import FailedError, UsageError
from qlikmigrate.vault.store import (
    ImmutableError,
    LocalStore,
    ObjectExistsError,
    ObjectMissingError,
    open_store,
)

SEED = 20261126
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store is; it does not exist yet."""
    return tmp_path / "backups" / "vault"


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_only_the_owner_may_look(folder: Path) -> None:
    """Files 0600 and folders 0700, those on the way included, whatever the umask."""
    before = os.umask(0)
    try:
        LocalStore(folder).create("packs/a", b"x")
    finally:
        os.umask(before)
    assert (folder / "packs" / "a").stat().st_mode & 0o777 == 0o600
    for made in (folder.parent, folder, folder / "packs"):
        assert made.stat().st_mode & 0o777 == 0o700
    assert left_over(folder) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell what is open")
def test_an_object_is_on_the_disk_before_it_has_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are synced before the link, each new folder in its parent, and the name before `create` returns."""
    steps: list[str] = []
    sync, link = os.fsync, os.link

    def note_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(f"sync {'bytes' if '.tmp-' in path.name else path.relative_to(folder.parent.parent)}")
        sync(descriptor)

    def note_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "link", note_link)
    LocalStore(folder).create("packs/a", b"x")
    assert steps == [
        "sync .", "sync backups", "sync backups/vault", "sync bytes", "link", "sync backups/vault/packs"
    ]  # fmt: skip


def test_looking_makes_no_folder(folder: Path) -> None:
    """A vault that is only asked for does not come into being."""
    store = open_store(str(folder))
    assert store.entries("snapshots") == []
    store.delete("packs/a")
    store.sweep()
    with pytest.raises(ObjectMissingError):
        store.read("vault.json")
    assert not folder.parent.exists()


def test_home_is_understood_and_a_file_is_no_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder; a location that is a file is the user's mistake."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/vault").location == str(tmp_path / "vault")
    (tmp_path / "a.qma").write_bytes(b"x")
    for location in (str(tmp_path / "a.qma"), "", "ftp://host/vault", "\0"):
        with pytest.raises(UsageError):
            open_store(location)


def test_left_overs_are_swept_after_a_day(folder: Path, clock: ManualClock) -> None:
    """Young ones may still be written; old ones go, and no object with them."""
    store = LocalStore(folder, clock=clock)
    store.create("packs/a", b"x")
    store.create("vault.json", b"x")
    for number, name in enumerate((".tmp-old", "packs/.tmp-old", "packs/.tmp-young", "packs/.other", "packs/a")):
        path = folder / name
        path.write_bytes(b"x")
        age_s = 3600 if "young" in name else 86_500 + number
        os.utime(path, (clock.now().timestamp() - age_s,) * 2)
    assert [entry.name for entry in store.entries("packs")] == ["packs/a"]
    store.sweep()
    assert left_over(folder) == [".other", ".tmp-young"]
    assert (folder / "packs" / "a").exists()
    clock.advance(86_500)
    store.sweep()
    assert left_over(folder) == [".other"]


def test_a_pipe_or_a_folder_is_no_object(folder: Path) -> None:
    """What is no file does not hold a reader up, and is never replaced."""
    (folder / "packs" / "folder").mkdir(parents=True)
    os.mkfifo(folder / "packs" / "pipe")
    (folder / "packs" / "dangling").symlink_to(folder / "nowhere")
    store = LocalStore(folder)
    assert store.entries("packs") == []
    for name in ("packs/folder", "packs/pipe", "packs/dangling"):
        with pytest.raises(ObjectMissingError):
            store.read(name)
        with pytest.raises(ObjectExistsError):
            store.create(name, b"x")
    assert not (folder / "nowhere").exists()


FULL = """
import resource, sys
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.vault.store import LocalStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
store = LocalStore(sys.argv[1])
store.create("packs/small", b"x")
try:
    store.create("packs/large", b"x" * (1 << 17))
except FailedError as error:
    print(error.code, error.message)
"""


def test_a_full_disk_leaves_nothing_behind(folder: Path) -> None:
    """The system takes no more bytes: one line, no part of the object, no left-over."""
    done = subprocess.run([sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot-write cannot write {folder}/packs/large: File too large\n"
    assert [entry.name for entry in LocalStore(folder).entries("packs")] == ["packs/small"]
    assert left_over(folder) == []


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom the file system may refuse."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    """No right to read, write or list: an error with the path, no traceback."""
    store = LocalStore(tmp_path / "vault")
    store.create("packs/a", b"x")
    (tmp_path / "vault" / "packs").chmod(0)
    calls = (
        lambda: store.read("packs/a"),
        lambda: store.create("packs/b", b"x"),
        lambda: store.entries("packs"),
        lambda: store.delete("packs/a"),
    )
    with unprivileged():
        for call in calls:
            with pytest.raises(FailedError) as refusal:
                call()
            assert refusal.value.code == "no-access"
            assert str(tmp_path / "vault" / "packs") in refusal.value.message
    (tmp_path / "vault" / "packs").chmod(0o700)


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    """A file where a folder should be: nothing to read, nothing to write into."""
    (tmp_path / "packs").write_bytes(b"x")
    store = LocalStore(tmp_path)
    assert store.entries("packs") == []
    with pytest.raises(ObjectMissingError):
        store.read("packs/a")
    store.delete("packs/a")
    with pytest.raises(FailedError) as refusal:
        store.create("packs/a", b"x")
    assert refusal.value.code == "cannot-write"


def test_a_file_that_the_system_keeps_is_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the immutable flag, or a read-only file system, lets nothing be deleted."""
    store = LocalStore(folder)
    store.create("packs/a", b"x")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ImmutableError) as refusal:
        store.delete("packs/a")
    assert refusal.value.exit_code == 6


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links."""

    def refuse(source: object, target: object, **words: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("no_links")
def test_without_links_nothing_is_replaced_either(folder: Path) -> None:
    """The first creator wins, and nothing is left over."""
    store = LocalStore(folder)
    store.create("packs/a", b"first")
    # As one that looks first sees nothing yet.
    temporary = folder / "packs" / ".tmp-x"
    temporary.write_bytes(b"second")
    with pytest.raises(ObjectExistsError):
        store._publish(temporary, folder / "packs" / "a", "packs/a")
    temporary.unlink()
    with pytest.raises(ObjectExistsError):
        store.create("packs/a", b"second")
    assert store.read("packs/a") == b"first"
    assert left_over(folder) == []


@pytest.mark.usefixtures("no_links")
def test_without_links_a_failed_write_gives_the_name_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the whole file cannot take the place of the claim, the claim goes."""
    store = LocalStore(folder)

    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(FailedError, match="No space left"):
            store.create("packs/a", b"x")
    assert store.entries("packs") == []
    store.create("packs/a", b"x")


def test_a_link_whose_answer_was_lost_is_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over NFS a link that was made may be answered with "exists"; another's file is never taken for ours."""
    link = os.link

    def lose(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    store = LocalStore(folder)
    monkeypatch.setattr(os, "link", lose)
    store.create("packs/a", b"ours")
    assert store.read("packs/a") == b"ours"
    assert left_over(folder) == []


# Kills itself right before the file operation of a number, and says which ones there were when it comes to an end.
DYING = """
import os, signal, sys
from qlikmigrate.vault.store import LocalStore
folder, last = sys.argv[1], int(sys.argv[2])
seen = []
def watch(event, args):
    if event.split(".")[0] in ("open", "os", "pathlib") and any(folder in str(one) for one in args):
        if len(seen) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(event)
store = LocalStore(folder)
data = b"whole" * 1000
sys.addaudithook(watch)
store.create("packs/a", data)
print(*seen)
"""


def test_killed_before_any_step_the_name_is_absent_or_whole(tmp_path: Path) -> None:
    """kill -9 before each file operation in turn; the next creation goes well where nothing was made."""
    outcomes, number = [], 0
    while True:
        folder = tmp_path / f"vault{number}"
        done = subprocess.run([sys.executable, "-c", DYING, str(folder), str(number)], capture_output=True, text=True)
        store = LocalStore(folder)
        found = [entry.name for entry in store.entries("packs")]
        outcomes.append(found)
        if found:
            assert store.read("packs/a") == b"whole" * 1000
            with pytest.raises(ObjectExistsError):
                store.create("packs/a", b"x")
        else:
            store.create("packs/a", b"whole" * 1000)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        number += 1
    assert {"os.mkdir", "open", "os.link", "os.remove"} <= set(done.stdout.split())
    assert outcomes[0] == []
    assert outcomes[-2] == ["packs/a"]


WRITING = """
import sys
from qlikmigrate.vault.store import LocalStore
store = LocalStore(sys.argv[1])
data = bytes(range(256)) * (16 << 12)
print("ready", flush=True)
for number in range(1000):
    store.create(f"packs/{number:04}", data)
"""


def test_killed_while_writing_no_part_is_seen(folder: Path) -> None:
    """kill -9 at random instants of writing objects of 16 MiB: each that has a name is whole."""
    chance = random.Random(SEED)
    print(f"seed: {SEED}")
    data = bytes(range(256)) * (16 << 12)
    cut_off = turn = 0
    # At least four times, and until one was hit in the middle.
    while turn < 4 or (cut_off == 0 and turn < 40):
        turn += 1
        here = folder / str(turn)
        process = subprocess.Popen([sys.executable, "-c", WRITING, str(here)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.01, 0.3))
        process.kill()
        process.wait()
        process.stdout.close()
        store = LocalStore(here)
        assert all(store.read(entry.name) == data for entry in store.entries("packs"))
        cut_off += len(left_over(here))
    assert cut_off > 0
