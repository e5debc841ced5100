"""Writing is all or nothing, whatever stands in its way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from stock import capture, documents, manifest, write

from qlikmigrate.archive import ArchiveWriter, layout, open_archive, verify
from qlikmigrate.archive.writer import PARTIAL_PREFIX
from qlikmigrate.kernel.error import FailedError, PartialError, UsageError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_existing_file(tmp_path: Path) -> None:
    """A file that exists is replaced with `force` only, and the hint says so."""
    path = write(tmp_path / "a.qma", documents())
    old = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        ArchiveWriter(path)
    assert "--force" in caught.value.hint
    assert path.read_bytes() == old
    write(path, documents(5), force=True)
    assert path.read_bytes() != old
    assert names(tmp_path) == ["a.qma"]


def test_file_that_appears_meanwhile(tmp_path: Path) -> None:
    """A file that appears while the archive is written is not replaced either."""
    with ArchiveWriter(tmp_path / "a.qma") as writer:
        (tmp_path / "a.qma").write_bytes(b"mine")
        with pytest.raises(UsageError):
            writer.finish(manifest(), capture())
    assert (tmp_path / "a.qma").read_bytes() == b"mine"
    assert names(tmp_path) == ["a.qma"]


def test_incomplete_replaces_only_incomplete(tmp_path: Path) -> None:
    """An incomplete snapshot takes the place of an incomplete one, never of a complete or unreadable one."""
    path = write(tmp_path / "a.qma", documents(), complete=False)
    write(path, documents(2), complete=False, force=True)
    write(path, documents(3), force=True)
    damaged = path.read_bytes()[:-1]
    for old in (path.read_bytes(), damaged, b"something else"):
        path.write_bytes(old)
        with pytest.raises(PartialError) as caught:
            write(path, documents(2), complete=False, force=True)
        assert caught.value.code == "incomplete-not-replacing"
        assert path.read_bytes() == old
        assert names(tmp_path) == ["a.qma"]


def test_abandon(tmp_path: Path) -> None:
    """Nothing is left of an abandoned archive, not even while it is being filled."""
    writer = ArchiveWriter(tmp_path / "a.qma")
    for one in documents():
        writer.add(one)
    assert names(tmp_path) == []
    writer.abandon()
    writer.abandon()
    assert names(tmp_path) == []
    with pytest.raises(RuntimeError), ArchiveWriter(tmp_path / "a.qma"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """A missing folder, a folder in the file's place and a link are refused before any work."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("none/a.qma", "folder", "link", "folder/a.qma/b"):
        with pytest.raises(UsageError):
            ArchiveWriter(tmp_path / name, force=True)


@pytest.mark.parametrize("call", ["pwrite", "fsync", "link"])
def test_disk_full(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at any moment is one line, and leaves nothing."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    if call == "link":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FailedError, match="No space left"):
        write(tmp_path / "a.qma", documents())
    assert names(tmp_path) == []


def test_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be linked, it is renamed."""

    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    assert verify(write(tmp_path / "a.qma", documents())).ok


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document above the limit is refused by name."""
    monkeypatch.setattr(layout, "MAX_DOCUMENT_BYTES", 10)
    with ArchiveWriter(tmp_path / "a.qma") as writer, pytest.raises(FailedError, match="`big`"):
        writer.add(Document(kind=Kind.USER, id="big", part=Part.ROW, raw=b"x" * 11))


def test_text_that_is_none(tmp_path: Path) -> None:
    """An id that is no Unicode is refused in one line."""
    with ArchiveWriter(tmp_path / "a.qma") as writer, pytest.raises(FailedError):
        writer.add(Document(kind=Kind.USER, id="\ud800", part=Part.ROW, raw=b"{}"))


_VICTIM = textwrap.dedent("""
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from stock import documents, write
    call, left = sys.argv[3], int(sys.argv[4])
    real = getattr(os, call)
    def counted(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    setattr(os, call, counted)
    write(Path(sys.argv[2]), documents(40), force=True)
    print("survived")
""")


@pytest.mark.parametrize(
    ("call", "after"),
    [("pwrite", 0), ("pwrite", 30), ("pread", 5), ("pread", 60), ("fsync", 0), ("fsync", 1), ("open", 0)],
)
def test_killed(call: str, after: int, tmp_path: Path) -> None:
    """Killed at any moment of writing, the old file or the whole new one is there, and no spool is left."""
    path = write(tmp_path / "a.qma", documents(2))
    old = path.read_bytes()
    folder = str(Path(__file__).parent)
    words = [sys.executable, "-c", _VICTIM, folder, str(path), call, str(after)]
    ended = subprocess.run(words, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert verify(path).ok
    if (call, after) == ("fsync", 1):
        with open_archive(path) as archive:
            assert len(archive.ids(Kind.AUTOMATION)) == 40
    else:
        assert path.read_bytes() == old
    left = set(names(tmp_path)) - {"a.qma"}
    assert len(left) <= 1
    assert all(name.startswith(PARTIAL_PREFIX) for name in left)
