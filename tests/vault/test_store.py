"""One suite for all stores: a folder, memory, and a bucket behind a real S3 protocol server."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from place import Place

from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.vault.store import (
    Entry,
    MemoryStore,
    ObjectExistsError,
    ObjectMissingError,
    ObjectNameError,
    Store,
    read_all,
)

BAD_NAMES = [
    "", ".", "..", "../x", "packs/..", "packs/../../x", "/x", "packs//x", "packs/", "packs/deep/x", "packs/.x",
    ".tmp-1", "packs/.tmp-1", "a b", "packs\\x", "x\0", "x\n", "ä", "x:y", "x%2fy", "x*", "x" * 300,
]  # fmt: skip
TENTH = b"0123456789"


def names(store: Store, folder: str) -> list[str]:
    return [entry.name for entry in store.entries(folder)]


def test_what_is_created_is_read_back_by_another_handle(place: Place) -> None:
    """Bytes, size and name are the same; the root is a folder as well, and folders do not mix."""
    place.open().create("vault.json", b"{}")
    place.open().create("packs/00000002-b", b"\x00\xff" * 10)
    place.open().create("packs/00000001-a@~._", TENTH)
    again = place.open()
    assert again.entries("packs") == [Entry("packs/00000001-a@~._", 10), Entry("packs/00000002-b", 20)]
    assert again.entries("") == [Entry("vault.json", 2)]
    assert again.read("packs/00000001-a@~._") == TENTH
    assert again.read("packs/00000002-b") == b"\x00\xff" * 10


def test_nothing_is_replaced(store: Store) -> None:
    """A second creation is refused, with the same bytes too, and the first object stays."""
    store.create("packs/a", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(ObjectExistsError):
            store.create("packs/a", data)
    assert store.read("packs/a") == b"first"


def test_what_is_not_there_is_told_apart(store: Store) -> None:
    """A missing object has an error of its own, whatever is asked of it; a missing folder is an empty one."""
    assert store.entries("packs") == []
    assert store.entries("") == []
    store.create("packs/a", TENTH)
    for range_ in ((), (0, 5), (5,), (0, 0)):
        with pytest.raises(ObjectMissingError):
            store.read("packs/b", *range_)


def test_what_is_deleted_is_gone(store: Store) -> None:
    """Deleting twice is no error, and the name can be taken again."""
    store.create("packs/a", b"one")
    store.delete("packs/a")
    store.delete("packs/a")
    assert store.entries("packs") == []
    with pytest.raises(ObjectMissingError):
        store.read("packs/a")
    store.create("packs/a", b"two")
    assert store.read("packs/a") == b"two"


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 4, b"0123"), (4, None, b"456789"), (8, 2, b"89"), (8, 100, b"89"), (9, 1, b"9"), (10, 1, b""),
        (10, None, b""), (11, None, b""), (500, 7, b""), (3, 0, b""), (0, 100, TENTH), (0, None, TENTH),
    ],
)  # fmt: skip
def test_ranges(store: Store, offset: int, size: int | None, expected: bytes) -> None:
    """A range gives what there is of it; beyond the end that is nothing."""
    store.create("packs/a", TENTH)
    assert store.read("packs/a", offset, size) == expected


@pytest.mark.parametrize(("offset", "size"), [(-1, None), (0, -1)])
def test_a_range_is_not_negative(store: Store, offset: int, size: int | None) -> None:
    """No store reads from the other end by accident."""
    store.create("packs/a", TENTH)
    with pytest.raises(ValueError, match="no range"):
        store.read("packs/a", offset, size)


def test_empty_object(store: Store) -> None:
    """No bytes are an object too."""
    store.create("marks/a", b"")
    assert store.entries("marks") == [Entry("marks/a", 0)]
    assert store.read("marks/a") == store.read("marks/a", 0, 5) == store.read("marks/a", 1) == b""
    with pytest.raises(ObjectExistsError):
        store.create("marks/a", b"")


def test_large_object(store: Store) -> None:
    """20 MiB travel whole, and the last bytes can be had alone."""
    data = bytes(range(256)) * (20 << 12) + b"the end"
    store.create("packs/large", data)
    assert store.entries("packs") == [Entry("packs/large", len(data))]
    assert store.read("packs/large", len(data) - 7) == b"the end"
    assert store.read("packs/large", len(data) - 3, 1 << 21) == b"end"
    assert store.read("packs/large") == data


def test_thousands_of_entries(place: Place) -> None:
    """2,500 names, which are three pages of a bucket, are all listed once and in order."""
    expected = [f"packs/{number:08x}" for number in range(2500)]
    for name in reversed(expected):
        place.put(name, b"x")
    assert names(place.open(), "packs") == expected
    assert place.open().entries("") == []


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_lead_elsewhere_are_refused(place: Place, name: str, tmp_path: Path) -> None:
    """Nothing can be read, written, deleted or listed outside of the store, or under a name that a store may change."""
    (tmp_path / "x").write_bytes(b"secret")
    store = place.open()
    for call in (store.read, store.delete, lambda name: store.create(name, b"x")):
        with pytest.raises(ObjectNameError) as refusal:
            call(name)
        assert isinstance(refusal.value, CorruptError)
        assert len(refusal.value.message.splitlines()) == 1
    if name:
        with pytest.raises(ObjectNameError):
            store.entries(name)
    assert (tmp_path / "x").read_bytes() == b"secret"
    assert store.entries("") == store.entries("packs") == []


@pytest.mark.parametrize("kind", ["local", "s3-plain"])
def test_what_others_left_there_is_not_listed(kind: str, make_place: Callable[[str], Place]) -> None:
    """Files that no vault makes, deeper folders, and the folders that a bucket's console makes are no objects."""
    place = make_place(kind)
    for name in ("packs/notes (1).txt", "packs/.DS_Store", "packs/deep/x", "packs/.tmp-0123", "packs/a"):
        place.put(name, b"x")
    if kind == "s3-plain":
        place.put("packs/", b"")
    assert names(place.open(), "packs") == ["packs/a"]


def test_of_many_threads_one_creates(place: Place) -> None:
    """Eight at once, 25 times: one wins each time, and its bytes are what is there."""
    stores = [place.open() for _ in range(8)]
    starting = threading.Barrier(len(stores))
    won: list[tuple[str, bytes]] = []

    def race(number: int) -> None:
        for turn in range(25):
            name, data = f"locks/{turn:08x}", f"writer {number}".encode()
            starting.wait()
            try:
                stores[number].create(name, data)
            except ObjectExistsError:
                continue
            won.append((name, data))

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(race, range(len(stores))))
    assert sorted(name for name, _ in won) == [f"locks/{turn:08x}" for turn in range(25)]
    assert all(place.open().read(name) == data for name, data in won)


RACER = """
import sys
from qlikmigrate.vault.store import ObjectExistsError, open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(40):
    try:
        store.create(f"locks/{turn:08x}", sys.argv[2].encode())
    except ObjectExistsError:
        continue
    print(f"locks/{turn:08x}")
"""


@pytest.mark.parametrize("kind", ["local", "s3-plain"])
def test_of_many_processes_one_creates(kind: str, make_place: Callable[[str], Place]) -> None:
    """Three processes take 40 names: each is won once, by whoever's bytes are there."""
    place = make_place(kind)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, place.location, f"writer {number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for number, racer in enumerate(racers):
        out, _ = racer.communicate(timeout=60)
        assert racer.returncode == 0
        said += [(name, f"writer {number}".encode()) for name in out.split()]
    assert Counter(name for name, _ in said) == Counter(f"locks/{turn:08x}" for turn in range(40))
    assert all(place.open().read(name) == data for name, data in said)


def test_deleting_frees_space(store: Store) -> None:
    """None of these keeps what is deleted, empty or not."""
    assert not store.is_immutable()
    store.create("packs/a", b"x")
    assert not store.is_immutable()


def test_sweeping_keeps_every_object(store: Store) -> None:
    """What was created is no left-over, however old."""
    store.create("packs/a", b"x")
    store.create("vault.json", b"x")
    store.sweep()
    assert names(store, "packs") + names(store, "") == ["packs/a", "vault.json"]


def test_many_reads(store: Store) -> None:
    """Several objects in the order asked for; one that is missing is None."""
    for number in range(20):
        store.create(f"many/{number:02}", b"%d" % number)
    names = [f"many/{number:02}" for number in (7, 99, *range(20))]
    assert list(read_all(store, names)) == [
        (name, b"%d" % int(name[5:]) if name != "many/99" else None) for name in names
    ]
    assert list(read_all(store, [])) == []


def test_a_far_away_store_is_asked_for_many_at_once() -> None:
    """Four reads that each wait for the other three come to an end."""
    together = threading.Barrier(4, timeout=20)

    class Far(MemoryStore):
        reads_at_once = 4

        def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
            together.wait()
            return super().read(name, offset, size)

    store = Far()
    for number in range(8):
        store.create(f"o/{number}", b"x")
    assert [data for _, data in read_all(store, [entry.name for entry in store.entries("o")])] == [b"x"] * 8
