"""A sealed archive is the same archive to whoever has the key, and noise to everybody else."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO

import pytest
from stock import capture, documents, manifest, new_identity, opener_with, sealer_for, write

from qlikmigrate.archive import ArchiveWriter, Sealer, is_sealed, open_archive, salvage, verify
from qlikmigrate.archive.writer import PARTIAL_SUFFIX
from qlikmigrate.kernel.error import CorruptError, FailedError, NotFoundError, PartialError, WrongKeyError
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind

SECRET, PUBLIC = new_identity()
PLANTED = (b"Automation 1", b"a001", b"acme.eu.qlikcloud.com", b"Acme", b"Mail", b"manifest.json", b"PK\x03\x04", b"t1")


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed archive of 300 automations."""
    return write(tmp_path / "a.qma", documents(300), sealer=sealer_for(PUBLIC))


def test_same_archive_as_the_plain_one(tmp_path: Path, sealed: Path) -> None:
    """What it opens to is, byte for byte, what would have been written without a key."""
    plain = write(tmp_path / "plain.qma", documents(300))
    assert opener_with(SECRET).open(sealed.read_bytes()) == plain.read_bytes()
    assert (is_sealed(sealed), is_sealed(plain), is_sealed(tmp_path / "none")) == (True, False, False)
    with open_archive(sealed, opener_with(SECRET)) as archive, open_archive(plain) as other:
        assert archive.digest == other.digest
        assert archive.path == sealed
        assert archive.ids(Kind.AUTOMATION) == other.ids(Kind.AUTOMATION)
        assert archive.detail(Kind.AUTOMATION, "a007") == other.detail(Kind.AUTOMATION, "a007")
        assert list(archive.rows(Kind.AUTOMATION)) == list(other.rows(Kind.AUTOMATION))
    assert sealed.stat().st_mode & 0o777 == 0o600


def test_nothing_of_it_can_be_read(tmp_path: Path, sealed: Path) -> None:
    """No planted name, id or host is in the stored bytes, and not even that it is a ZIP."""
    stored = sealed.read_bytes()
    plain = write(tmp_path / "plain.qma", documents(300)).read_bytes()
    assert [one for one in PLANTED if len(one) > 3 and one in stored] == []
    assert PLANTED[-2] in plain


@pytest.mark.usefixtures("light_passphrases")
def test_passphrase(tmp_path: Path) -> None:
    """The same with a passphrase."""
    path = write(tmp_path / "a.qma", documents(), sealer=Sealer(passphrase=Secret("correct horse")))
    with open_archive(path, opener_with(passphrase="correct horse")) as archive:
        assert archive.manifest == manifest()


def test_keys(sealed: Path, tmp_path: Path) -> None:
    """Without the key it is closed, to `verify` and `salvage` as well; no file at all is still told as such."""
    for opener in (None, opener_with(new_identity()[0]), opener_with(passphrase="x")):
        with pytest.raises(WrongKeyError):
            open_archive(sealed, opener)
        with pytest.raises(WrongKeyError):
            verify(sealed, opener)
        with pytest.raises(WrongKeyError):
            list(salvage(sealed, opener))
    with pytest.raises(NotFoundError):
        open_archive(tmp_path / "none.qma", opener_with(SECRET))


def test_plain_archives_need_no_key(tmp_path: Path) -> None:
    """A key that is given and not needed does no harm."""
    path = write(tmp_path / "a.qma", documents())
    with open_archive(path, opener_with(SECRET)) as archive:
        assert archive.manifest.complete
    assert verify(path, opener_with(SECRET)).ok


class Watching(Sealer):
    """Looks at the folder when the archive is plain and complete, and when it is sealed."""

    def __init__(self, folder: Path) -> None:
        self._inner = sealer_for(PUBLIC)
        self._folder = folder
        self.seen: list[dict[str, int]] = []

    def seal_stream(self, source: BinaryIO, target: BinaryIO) -> None:
        self._look()
        self._inner.seal_stream(source, target)
        target.flush()
        self._look()

    def _look(self) -> None:
        self.seen.append({path.name: path.stat().st_size for path in self._folder.iterdir()})


def test_nothing_plain_has_a_name(tmp_path: Path) -> None:
    """While it is written there is one name in the folder, and behind it only what is sealed."""
    watching = Watching(tmp_path)
    with ArchiveWriter(tmp_path / "a.qma", sealer=watching) as writer:
        for one in documents(300):
            writer.add(one)
        assert list(tmp_path.iterdir()) == []
        writer.finish(manifest(), capture())
    (before,), (after,) = [list(seen.items()) for seen in watching.seen]
    assert before == (before[0], 0)
    assert before[0].endswith(PARTIAL_SUFFIX)
    assert after == (before[0], (tmp_path / "a.qma").stat().st_size)
    assert [path.name for path in tmp_path.iterdir()] == ["a.qma"]


def test_nothing_plain_has_a_name_when_read(
    sealed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is open, what it opens to has no name anywhere."""
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with open_archive(sealed, opener_with(SECRET)) as archive:
        assert archive.detail(Kind.AUTOMATION, "a001").id == "a001"
        assert list(place.iterdir()) == []
    assert [path.name for path in sealed.parent.iterdir()] == ["a.qma"]


def test_descriptors_are_given_back(sealed: Path) -> None:
    """Opening, failing to open and verifying leave no file open."""
    damaged = sealed.with_name("b.qma")
    damaged.write_bytes(sealed.read_bytes()[:-1])
    before = len(list(Path("/dev/fd").iterdir()))
    for path, opener in ((sealed, opener_with(SECRET)), (sealed, None), (damaged, opener_with(SECRET))):
        try:
            open_archive(path, opener).close()
            verify(path, opener)
        except (WrongKeyError, CorruptError):
            pass
    verify(damaged, opener_with(SECRET))
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_no_room_to_open(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder that cannot be used is one line with a hint."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(FailedError) as caught:
        open_archive(sealed, opener_with(SECRET))
    assert "TMPDIR" in caught.value.hint


def test_incomplete_never_replaces_what_cannot_be_opened(tmp_path: Path) -> None:
    """Whoever seals for others cannot see whether the old one is complete: it stays."""
    path = write(tmp_path / "a.qma", documents(2), complete=False, sealer=sealer_for(PUBLIC))
    old = path.read_bytes()
    for sealer in (sealer_for(PUBLIC), None):
        with pytest.raises(PartialError) as caught:
            write(path, documents(), complete=False, force=True, sealer=sealer)
        assert caught.value.code == "incomplete-not-replacing"
        assert path.read_bytes() == old
    write(path, documents(), force=True, sealer=sealer_for(PUBLIC))
    assert path.read_bytes() != old


def test_failing_to_seal_leaves_nothing(tmp_path: Path) -> None:
    """A disk that fills up while it is sealed: one line, and nothing in the folder."""

    class Full(Watching):
        def seal_stream(self, source: BinaryIO, target: BinaryIO) -> None:
            class Stuck(io.BytesIO):
                def write(self, data: object) -> int:
                    raise OSError(28, "No space left on device")

            self._inner.seal_stream(source, Stuck())

    with pytest.raises(FailedError, match="No space left"):
        write(tmp_path / "a.qma", documents(), sealer=Full(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_damage_is_located(sealed: Path) -> None:
    """Of a damaged one, what stands in front of the damage is whole, the rest is named; opening it says 13."""
    whole = verify(sealed, opener_with(SECRET))
    assert (whole.ok, whole.size_bytes, whole.complete) == (True, sealed.stat().st_size, True)
    data = bytearray(sealed.read_bytes())
    data[len(data) - 30_000] ^= 1
    sealed.write_bytes(data)
    with pytest.raises(CorruptError) as caught:
        open_archive(sealed, opener_with(SECRET))
    assert "verify" in caught.value.hint
    found = verify(sealed, opener_with(SECRET))
    assert found.damages[0].member == "encryption"
    lost = {one.id for one in found.damages if one.kind is Kind.AUTOMATION and one.part is Part.DETAIL}
    kept = {one.id for one in found.whole if one.kind is Kind.AUTOMATION and one.part is Part.DETAIL}
    assert lost
    assert kept
    assert lost | kept == {f"a{number:03d}" for number in range(300)}
    assert lost & kept == set()
    assert {one.id for one in salvage(sealed, opener_with(SECRET)) if one.part is Part.DETAIL} >= kept


@pytest.mark.parametrize("size", [0, 1, 100, 300, 5000, -1])
def test_cut_short(sealed: Path, size: int) -> None:
    """Cut short anywhere it is damaged, never something else."""
    sealed.write_bytes(sealed.read_bytes()[:size])
    with pytest.raises(CorruptError):
        open_archive(sealed, opener_with(SECRET))


def test_standard_tools_alone_open_it(tmp_path: Path, sealed: Path) -> None:
    """`age`, `unzip` and `zstd` get a document out of it, and seal one that this program opens."""
    for tool in ("age", "unzip", "zstd"):
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed")
    key, plain = tmp_path / "key.txt", tmp_path / "plain.qma"
    key.write_text(f"# mine\n{SECRET}\n")
    subprocess.run(["age", "-d", "-i", str(key), "-o", str(plain), str(sealed)], check=True)
    subprocess.run(["unzip", "-q", str(plain), "-d", str(tmp_path / "out")], check=True)
    out = tmp_path / "out"
    frame, dictionary = out / "automations" / "a007.json.zst", out / "dictionary.zst"
    subprocess.run(["zstd", "-q", "-d", str(dictionary)], check=True)
    words = ["zstd", "-q", "-d", "-c", "-D", str(out / "dictionary"), str(frame)]
    assert b'"Automation 7"' in subprocess.run(words, check=True, capture_output=True).stdout
    again = tmp_path / "again.qma"
    subprocess.run(["age", "-r", PUBLIC, "-o", str(again), str(plain)], check=True)
    assert verify(again, opener_with(SECRET)).ok
