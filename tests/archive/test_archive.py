"""What is put into an archive comes out of it, and the same goes in as the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stock import NOON, capture, document, documents, manifest, write

from qlikmigrate.archive import ArchiveWriter, open_archive, verify
from qlikmigrate.archive.layout import document_member, object_of
from qlikmigrate.kernel.error import CorruptError, NotFoundError
from qlikmigrate.model.document import Cut, CutReason, Document, Part, received
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, SnapshotWriter, copy_snapshot, inventory_of

IDENTS = st.one_of(
    st.text(max_size=40).filter(lambda text: text.isprintable() or "\x00" in text or "\n" in text),
    st.sampled_from(["", "..", "../../etc/passwd", "/", "a\x00b", "CON", "con", "A", "a", "é", "é", "~empty", "%41",
                     "x" * 5000, "ﬀ" * 300, ".", " ", "a.json.zst", "😀"]),
)  # fmt: skip
MOMENTS = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
CUTS = st.lists(
    st.builds(
        Cut,
        path=st.lists(st.text(max_size=5) | st.integers(0, 9), max_size=3).map(tuple),
        offset=st.integers(0, 99),
        length=st.integers(0, 99),
        reason=st.just(CutReason.SECRET),
        sha256=st.none() | st.just("0" * 64),
    )
    | st.builds(
        Cut,
        path=st.just(("lastRunAt",)),
        offset=st.integers(0, 99),
        length=st.integers(0, 99),
        reason=st.just(CutReason.RUN),
        text=st.text(max_size=9),
    ),
    max_size=4,
).map(tuple)
DOCUMENTS = st.lists(
    st.builds(
        Document,
        kind=st.sampled_from(Kind),
        id=IDENTS,
        part=st.sampled_from(Part),
        raw=st.binary(max_size=300) | st.text(max_size=99).map(str.encode),
        cuts=CUTS,
        read_at=MOMENTS,
    ),
    max_size=30,
    unique_by=lambda one: (one.kind, one.id, one.part),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=DOCUMENTS, order=st.randoms(use_true_random=False))
def test_round_trip(made: list[Document], order: random.Random, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever ids, bytes, cuts and times documents have, they come back equal, and their order leaves no trace."""
    folder = tmp_path_factory.mktemp("round")
    first = write(folder / "a.qma", made)
    shuffled = list(made)
    order.shuffle(shuffled)
    assert write(folder / "b.qma", shuffled).read_bytes() == first.read_bytes()
    with open_archive(first) as archive:
        details = [one for one in made if one.part is Part.DETAIL]
        assert all(archive.detail(one.kind, one.id) == one for one in details)
        for kind in Kind:
            assert list(archive.ids(kind)) == sorted(one.id for one in details if one.kind is kind)
            rows = [one for one in made if one.part is Part.ROW and one.kind is kind]
            assert list(archive.rows(kind)) == sorted(rows, key=lambda one: one.id)
        assert archive.manifest == manifest()
        assert archive.capture == capture()
    found = verify(first)
    assert found.ok
    assert len(found.whole) == len(made)
    shutil.rmtree(folder)


def copied(source: Path, target: Path) -> Path:
    """An archive of what another one holds."""
    with open_archive(source) as archive, ArchiveWriter(target) as writer:
        copy_snapshot(archive, writer)
    return target


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=DOCUMENTS, complete=st.booleans())
def test_a_copy_is_the_same(made: list[Document], complete: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever an archive holds, copied into another one gives the same file, run data and capture times included."""
    folder = tmp_path_factory.mktemp("copy")
    first = write(folder / "a.qma", made, complete=complete, runs=3)
    assert copied(first, folder / "b.qma").read_bytes() == first.read_bytes()
    shutil.rmtree(folder)


def test_a_copy_of_many(tmp_path: Path) -> None:
    """So does one with a dictionary and several chunks."""
    first = write(tmp_path / "a.qma", many(), runs=5)
    assert copied(first, tmp_path / "b.qma").read_bytes() == first.read_bytes()


def test_a_copy_of_damage(tmp_path: Path) -> None:
    """Of a damaged archive no copy is finished."""
    first = write(tmp_path / "a.qma", many())
    raw = first.read_bytes()
    with zipfile.ZipFile(first) as members:
        place = members.getinfo(document_member(Kind.AUTOMATION, "a100")).header_offset + 120
    first.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    with pytest.raises(CorruptError):
        copied(first, tmp_path / "b.qma")
    assert [path.name for path in tmp_path.iterdir()] == ["a.qma"]


@given(ident=IDENTS, other=IDENTS)
def test_member_names(ident: str, other: str) -> None:
    """A member's name is safe on every system, tells the id, and differs from others by more than case."""
    name = document_member(Kind.AUTOMATION, ident)
    assert name.isascii()
    assert name == name.lower()
    assert len(name) < 220
    assert name.count("/") == 1
    assert ".." not in name
    assert "\\" not in name
    assert (name == document_member(Kind.AUTOMATION, other)) == (ident == other)
    if len(name) < 200 and "~" not in name.replace("~empty", ""):
        assert object_of(name) == (Kind.AUTOMATION, ident)


def many(runs: int = 0) -> list[Document]:
    """Enough for a dictionary, for two chunks of rows and for several of run data."""
    return documents(230, runs=runs)


def test_many_documents(tmp_path: Path) -> None:
    """Documents with a dictionary, rows in chunks and run data in chunks come back as received."""
    made = many()
    path = write(tmp_path / "a.qma", made)
    names = zipfile.ZipFile(path).namelist()
    assert {"dictionary.zst", "lists/automations-0002.json.zst", "run/0002.json.zst"} <= set(names)
    with open_archive(path) as archive:
        for one in made:
            if one.part is Part.DETAIL:
                assert received(archive.detail(one.kind, one.id)) == received(one)
        assert list(archive.rows(Kind.AUTOMATION)) == [
            one for one in made if one.part is Part.ROW and one.kind is Kind.AUTOMATION
        ]
        assert len(inventory_of(archive).entities) == 231


def test_capture_leaves_no_trace(tmp_path: Path) -> None:
    """The same documents run and captured at another time give the same bytes but for run data, capture and seal."""
    one = write(tmp_path / "a.qma", many(), runs=0)
    two = write(tmp_path / "b.qma", many(runs=11), runs=5)
    with zipfile.ZipFile(one) as left, zipfile.ZipFile(two) as right:
        same = [name for name in left.namelist() if left.read(name) == right.read(name)]
        other = set(left.namelist()) - set(same)
        first_other = min(left.getinfo(name).header_offset for name in other)
    assert {name.partition("/")[0] for name in other} == {"run", "capture.json.zst"}
    assert one.read_bytes()[:first_other] == two.read_bytes()[:first_other]
    with open_archive(one) as left_archive, open_archive(two) as right_archive:
        assert left_archive.digest == right_archive.digest
        assert left_archive.capture != right_archive.capture


def test_digest_stands_for_documents_and_manifest(tmp_path: Path) -> None:
    """Another document, or another head, is another digest."""
    made = documents()
    changed = [*made[1:], document(Kind.AUTOMATION, "a000", Part.DETAIL, {"id": "a000", "name": "other"})]
    paths = [write(tmp_path / "a.qma", made), write(tmp_path / "b.qma", changed)]
    paths.append(write(tmp_path / "c.qma", made, complete=False))
    digests = set()
    for path in paths:
        with open_archive(path) as archive:
            digests.add(archive.digest)
    assert len(digests) == 3


def test_later_document_takes_the_place(tmp_path: Path) -> None:
    """A document added twice is there once, as added last; a discarded object is gone with all its parts."""
    made = documents()
    again = document(Kind.AUTOMATION, "a001", Part.DETAIL, {"id": "a001", "name": "again"})
    with ArchiveWriter(tmp_path / "a.qma") as writer:
        for one in (*made, again):
            writer.add(one)
        writer.discard(Kind.AUTOMATION, "a002")
        writer.discard(Kind.AUTOMATION, "never there")
        writer.finish(manifest(), capture())
    with open_archive(tmp_path / "a.qma") as archive:
        assert archive.detail(Kind.AUTOMATION, "a001") == again
        assert list(archive.ids(Kind.AUTOMATION)) == ["a000", "a001", "a003"]
        assert [row.id for row in archive.rows(Kind.AUTOMATION)] == ["a000", "a001", "a003"]
        with pytest.raises(KeyError):
            archive.detail(Kind.AUTOMATION, "a002")


def test_huge_document(tmp_path: Path) -> None:
    """A document and a row larger than a chunk come back."""
    text = random.Random(1).randbytes(3_000_000).hex()
    made = [document(Kind.USER, "u", part, {"id": "u", "text": text}) for part in Part] + documents()
    with open_archive(write(tmp_path / "a.qma", made)) as archive:
        assert archive.detail(Kind.USER, "u") == made[0]
        assert list(archive.rows(Kind.USER)) == [made[1]]


def test_zip_and_zstd_open_it(tmp_path: Path) -> None:
    """An ordinary ZIP reader, libzstd and the dictionary in the archive give every document."""
    made = many()
    with zipfile.ZipFile(write(tmp_path / "a.qma", made)) as archive:
        assert archive.testzip() is None
        assert all(one.compress_type == zipfile.ZIP_STORED for one in archive.infolist())
        plain = zstandard.ZstdDecompressor()
        listed = orjson.loads(plain.decompress(archive.read("manifest.json.zst")))
        dictionary = zstandard.ZstdCompressionDict(plain.decompress(archive.read("dictionary.zst")))
        trained = zstandard.ZstdDecompressor(dict_data=dictionary)
        raws = {one["id"]: trained.decompress(archive.read(one["member"])) for one in listed["documents"]}
        rows = orjson.loads(plain.decompress(archive.read("lists/automations-0001.json.zst")))
    assert raws == {one.id: one.raw for one in made if one.part is Part.DETAIL}
    assert rows[0]["name"] == "Automation 0"


@pytest.mark.skipif(not (shutil.which("unzip") and shutil.which("zstd")), reason="no unzip or zstd here")
def test_command_line_tools_open_it(tmp_path: Path) -> None:
    """The commands that README.txt in the archive names give a document back."""
    made = many()
    write(tmp_path / "a.qma", made)
    run = lambda *words: subprocess.run(words, cwd=tmp_path, check=True, capture_output=True).stdout  # noqa: E731
    run("unzip", "-q", "a.qma")
    run("zstd", "-q", "-d", "dictionary.zst")
    assert run("zstd", "-dc", "-D", "dictionary", "automations/a007.json.zst") == made[14].raw
    assert b"zstd -d -D dictionary" in (tmp_path / "README.txt").read_bytes()


def test_mode(tmp_path: Path) -> None:
    """Only the owner can read an archive, whatever the umask."""
    old = os.umask(0)
    try:
        path = write(tmp_path / "a.qma", documents())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_such_archive(tmp_path: Path) -> None:
    """A missing file is `NotFoundError`; a folder, an empty file and any other file are `CorruptError`."""
    with pytest.raises(NotFoundError):
        open_archive(tmp_path / "none.qma")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_bytes(b"hello " * 100)
    with zipfile.ZipFile(tmp_path / "zip", "w") as other:
        other.writestr("a.txt", "a")
    for name in (".", "empty", "text", "zip"):
        with pytest.raises(CorruptError):
            open_archive(tmp_path / name)
        with pytest.raises(CorruptError):
            verify(tmp_path / name)


def test_protocols(tmp_path: Path) -> None:
    """Writer and reader are what the model asks for."""
    writer: SnapshotWriter = ArchiveWriter(tmp_path / "a.qma")
    writer.finish(manifest(), capture())
    with open_archive(tmp_path / "a.qma") as archive:
        snapshot: Snapshot = archive
        assert list(snapshot.ids(Kind.AUTOMATION)) == []
        assert snapshot.capture.started_at == NOON
