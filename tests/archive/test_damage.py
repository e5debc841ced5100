"""Damage of any kind is found and named, and what is whole is given back."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import zstandard
from giant import giant_frame
from stock import document, documents, local_record, rebuild, write

from qlikmigrate.archive import container, open_archive, salvage, verify
from qlikmigrate.archive.codec import Codec, FrameError
from qlikmigrate.archive.container import ContainerFile, Member
from qlikmigrate.archive.layout import object_of
from qlikmigrate.archive.reader import open_descriptor
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind


def members(path: Path) -> list[tuple[Member, bytes]]:
    """The members of a sound archive and what they store."""
    file = ContainerFile(open_descriptor(path))
    with contextlib.closing(file):
        return [(member, file.stored(member)) for member in file.directory()]


def frame(value: object) -> bytes:
    """A value as a member of ours."""
    return zstandard.ZstdCompressor(level=9, write_checksum=True).compress(orjson.dumps(value))


def raws(found: Iterator[Document]) -> dict[tuple[Kind, str, Part], bytes]:
    """Documents by key."""
    return {(one.kind, one.id, one.part): one.raw for one in found}


def test_every_byte_flipped(tmp_path: Path) -> None:
    """Each byte of an archive, changed alone, is damage; within a document's record it names exactly that object."""
    made = documents(3)
    path = write(tmp_path / "a.qma", made)
    whole = path.read_bytes()
    assert verify(path).ok
    owner = {at: member.name for member, _ in members(path) for at in range(member.offset, member.end)}
    bad = tmp_path / "bad.qma"
    for at in range(len(whole)):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        found = verify(bad)
        assert not found.ok, at
        assert not found.truncated, at
        name = owner.get(at, "")
        hit = {(one.kind, one.id) for one in found.damages if one.kind is not None}
        if object_of(name):
            assert hit == {object_of(name)}, at
        elif name.startswith("lists/automations"):
            assert hit == {(Kind.AUTOMATION, f"a00{n}") for n in range(3)}, at
        elif name.startswith("lists/"):
            assert hit == {(Kind.CONNECTION, "c1")}, at
        else:
            assert not hit, at
        if name:
            assert name in {one.member for one in found.damages}, at


def test_damage_has_a_name(tmp_path: Path) -> None:
    """Damage to an automation's document tells the name that people know it by."""
    path = write(tmp_path / "a.qma", documents())
    member = next(one for one, _ in members(path) if one.name == "automations/a002.json.zst")
    data = bytearray(path.read_bytes())
    data[member.data_offset + 9] ^= 1
    path.write_bytes(data)
    (damage,) = verify(path).damages
    assert (damage.kind, damage.id, damage.name, damage.part) == (Kind.AUTOMATION, "a002", "Automation 2", Part.DETAIL)
    with open_archive(path) as archive:
        assert archive.detail(Kind.AUTOMATION, "a001").id == "a001"
        with pytest.raises(CorruptError, match="a002"):
            archive.detail(Kind.AUTOMATION, "a002")


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    """Cut off anywhere, an archive still gives and names every document whose record is whole."""
    made = documents(3)
    path = write(tmp_path / "a.qma", made)
    whole = path.read_bytes()
    records = members(path)
    by_key = {(one.kind, one.id, one.part): one.raw for one in made}
    bad = tmp_path / "bad.qma"
    for size in range(len(whole)):
        bad.write_bytes(whole[:size])
        expected: set[tuple[Kind, str, Part]] = set()
        for member, _ in records:
            if member.end <= size and (found := object_of(member.name)):
                expected.add((*found, Part.DETAIL))
            elif member.end <= size and member.name.startswith("lists/automations"):
                expected |= {(Kind.AUTOMATION, f"a00{n}", Part.ROW) for n in range(3)}
            elif member.end <= size and member.name.startswith("lists/connections"):
                expected.add((Kind.CONNECTION, "c1", Part.ROW))
        try:
            checked = verify(bad)
        except CorruptError:
            assert size < records[0][0].data_offset
            continue
        assert checked.truncated, size
        assert not checked.ok, size
        assert {(one.kind, one.id, one.part) for one in checked.whole} == expected, size
        assert raws(salvage(bad)) == {key: by_key[key] for key in expected}, size
        with pytest.raises(CorruptError):
            open_archive(bad)


def test_manifest_lost(tmp_path: Path) -> None:
    """Without its manifest an archive still gives every document, named by member or row, and says what is lost."""
    made = documents(60)
    path = write(tmp_path / "a.qma", made)
    record = next(one for one, _ in members(path) if one.name == "manifest.json.zst")
    data = bytearray(path.read_bytes())
    data[record.data_offset : record.end] = bytes(record.size)
    path.write_bytes(data)
    assert raws(salvage(path)) == {(one.kind, one.id, one.part): one.raw for one in made}
    assert {one.member for one in verify(path).damages} == {"manifest.json.zst"}


def test_dictionary_lost(tmp_path: Path) -> None:
    """Without the dictionary the documents are named as lost, and the rows still come back."""
    made = documents(60)
    path = write(tmp_path / "a.qma", made)
    record = next(one for one, _ in members(path) if one.name == "dictionary.zst")
    data = bytearray(path.read_bytes())
    data[record.data_offset + 40] ^= 4
    path.write_bytes(data)
    found = verify(path)
    lost = {(one.kind, one.id, Part.DETAIL) for one in found.damages if one.kind is not None}
    assert lost == {(one.kind, one.id, one.part) for one in made if one.part is Part.DETAIL}
    assert raws(salvage(path)) == {(one.kind, one.id, one.part): one.raw for one in made if one.part is Part.ROW}


def test_bytes_between(tmp_path: Path) -> None:
    """Bytes put in front, between, or behind are damage."""
    path = write(tmp_path / "a.qma", documents())
    whole = path.read_bytes()
    second = members(path)[1][0].offset
    for at in (0, second, len(whole)):
        path.write_bytes(whole[:at] + b"some more" + whole[at:])
        assert not verify(path).ok
        with pytest.raises(CorruptError):
            open_archive(path)


def forged(path: Path, change: dict[str, bytes], extra: tuple[tuple[str, bytes], ...] = ()) -> Path:
    """The archive with some members replaced, sealed anew."""
    stored = [(member.name, change.get(member.name, data)) for member, data in members(path)]
    return rebuild(path, [*stored, *extra])


def listed(path: Path) -> dict[str, object]:
    """The manifest of a sound archive as a value."""
    data = {member.name: data for member, data in members(path)}["manifest.json.zst"]
    value: dict[str, object] = orjson.loads(zstandard.ZstdDecompressor().decompress(data))
    return value


@pytest.mark.parametrize("version", ["2.0", "10.3"])
def test_newer_version(version: str, tmp_path: Path) -> None:
    """A newer major version is refused, naming both versions."""
    path = write(tmp_path / "a.qma", documents())
    forged(path, {"manifest.json.zst": frame(listed(path) | {"format_version": version})})
    for opener in (open_archive, verify):
        with pytest.raises(CorruptError, match=rf"version {version}.* 1\.0") as caught:
            opener(path)
        assert caught.value.code == "newer-format"


def test_newer_container(tmp_path: Path) -> None:
    """So is a container of a newer major version, whatever is inside."""
    path = write(tmp_path / "a.qma", documents())
    body = path.read_bytes()[:-64].replace(b"qma/1 ", b"qma/2 ")
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    for opener in (open_archive, verify):
        with pytest.raises(CorruptError, match=r"version 2.* 1\.0"):
            opener(path)


def test_newer_minor_version(tmp_path: Path) -> None:
    """A newer minor version may add fields and members; the same version may not."""
    path = write(tmp_path / "a.qma", documents())
    added = listed(path) | {"mood": "fine"}
    forged(path, {"manifest.json.zst": frame(added | {"format_version": "1.7"})}, (("mood.json.zst", frame({})),))
    with open_archive(path) as archive:
        assert archive.detail(Kind.AUTOMATION, "a001").id == "a001"
    assert verify(path).ok
    forged(path, {"manifest.json.zst": frame(added)})
    with pytest.raises(CorruptError):
        open_archive(path)


def test_stranger_among_members(tmp_path: Path) -> None:
    """A member that the manifest does not list is damage."""
    path = forged(write(tmp_path / "a.qma", documents()), {}, (("automations/more.json.zst", frame({})),))
    assert not verify(path).ok
    with pytest.raises(CorruptError):
        open_archive(path)


def test_decompression_bomb(tmp_path: Path) -> None:
    """A frame that declares or holds more than the manifest says is not decompressed."""
    huge = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(64 << 20))
    stream = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    unknown = stream.compress(bytes(1 << 20)) + stream.flush()
    two = frame(1) + frame(2)
    for bomb in (huge, unknown, two, b"", b"no frame"):
        path = write(tmp_path / "a.qma", documents(), force=True)
        forged(path, {"automations/a001.json.zst": bomb})
        with open_archive(path) as archive, pytest.raises(CorruptError):
            archive.detail(Kind.AUTOMATION, "a001")
        assert [one.id for one in verify(path).damages] == ["a001"]
        for own in ("manifest.json.zst", "capture.json.zst"):
            path = write(tmp_path / "a.qma", documents(), force=True)
            forged(path, {own: bomb})
            assert not verify(path).ok
            with pytest.raises(CorruptError):
                open_archive(path).capture  # noqa: B018


def test_manifest_that_agrees_with_a_giant_frame(tmp_path: Path) -> None:
    """A terabyte that frame and manifest both declare is refused before any room is made for it."""
    for giant in (1 << 40, 1 << 62):
        path = write(tmp_path / "a.qma", documents(), force=True)
        value = listed(path)
        entries = value["documents"]
        assert isinstance(entries, list)
        entries[1]["size"] = giant
        forged(path, {"manifest.json.zst": frame(value), "automations/a001.json.zst": giant_frame(giant)})
        with pytest.raises(CorruptError) as caught, open_archive(path) as archive:
            archive.detail(Kind.AUTOMATION, "a001")
        assert caught.value.exit_code == 13
        assert not verify(path).ok
        with pytest.raises(FrameError, match="more than any"):
            Codec().decompress(giant_frame(giant), size_bytes=giant)


def test_another_document_in_its_place(tmp_path: Path) -> None:
    """A sound frame with other content of the same size is found by its hash."""
    path = write(tmp_path / "a.qma", documents())
    raw = next(one.raw for one in documents() if one.id == "a001" and one.part is Part.DETAIL)
    fake = zstandard.ZstdCompressor(write_checksum=True).compress(raw.replace(b"Automation 1", b"Automation 9"))
    forged(path, {"automations/a001.json.zst": fake})
    with open_archive(path) as archive, pytest.raises(CorruptError):
        archive.detail(Kind.AUTOMATION, "a001")
    assert [one.id for one in verify(path).damages] == ["a001"]


@pytest.mark.parametrize("field", ["size", "member", "kind", "sha256"])
def test_wrong_manifest(field: str, tmp_path: Path) -> None:
    """A manifest that says what cannot be is refused."""
    wrong = {"size": -1, "member": "automations/../../x.json.zst", "kind": "spaceship", "sha256": None}[field]
    path = write(tmp_path / "a.qma", documents())
    value = listed(path)
    entry = value["documents"]
    assert isinstance(entry, list)
    entry[0][field] = wrong
    forged(path, {"manifest.json.zst": frame(value)})
    assert not verify(path).ok
    with pytest.raises(CorruptError), open_archive(path) as archive:
        archive.detail(Kind.AUTOMATION, "a000")


@pytest.mark.parametrize("name", [b"../a", b"/a", b"a/../b", b"a\\b", b"C:a", b"a\x00b", b"", b"a/b/c", b"A"])
def test_unsafe_names(name: bytes, tmp_path: Path) -> None:
    """Names that lead elsewhere are never written, and nobody's container is opened with them."""
    with pytest.raises(container.ContainerError):
        rebuild(tmp_path / "a", [(name.decode(), b"")])
    directory = struct.pack(
        "<4s6H3I5H2I", b"PK\x01\x02", 0x314, 20, 0, 0, 0, 0x21, 0, 0, 0, len(name), 0, 0, 0, 0, 0o100600 << 16, 0
    )
    record = local_record(name, b"")
    path = tmp_path / "b"
    size = len(directory + name)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, size, len(record), 77)
    path.write_bytes(record + directory + name + end + b"qma/1 sha256=" + b"0" * 64)
    for opener in (open_archive, verify):
        with pytest.raises(CorruptError):
            opener(path)


def test_doubled_members(tmp_path: Path) -> None:
    """Two members of one name are damage."""
    path = write(tmp_path / "a.qma", documents())
    stored = [(member.name, data) for member, data in members(path)]
    rebuild(path, [*stored, stored[2]])
    assert not verify(path).ok
    with pytest.raises(CorruptError):
        open_archive(path)


def test_absurd_count(tmp_path: Path) -> None:
    """A directory that claims more members than it has room for is refused at once."""
    path = write(tmp_path / "a.qma", documents())
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x05\x06")
    data[at + 8 : at + 12] = b"\xfe\xff\xfe\xff"
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        open_archive(path)


def test_many_members(tmp_path: Path) -> None:
    """More members than a plain ZIP can count are written and read by the wide records."""
    path = rebuild(tmp_path / "a", ((f"users/u{n}.json.zst", b"") for n in range(70_000)))
    file = ContainerFile(open_descriptor(path))
    with contextlib.closing(file):
        assert len(file.directory()) == 70_000
        assert file.seal_is_sound()


def test_far_members() -> None:
    """A member beyond 4 GiB has its place in a wide field, and the directory's own place is wide too."""
    near = Member("README.txt", 0, (1 << 30), 1)
    members_ = [near]
    for number in range(5):
        members_.append(Member(f"users/u{number}.json.zst", members_[-1].end, 1 << 30, 1))
    data = container.tail(members_)
    size = data.index(b"PK\x06\x06")
    assert tuple(container._entries(data[:size], len(members_))) == tuple(members_)
    assert struct.unpack_from("<Q", data, size + 48)[0] == members_[-1].end


def test_reads_are_by_position(tmp_path: Path) -> None:
    """Short reads of the system are put together; the end of the file ends them."""
    path = write(tmp_path / "a.qma", [document(Kind.USER, "u", Part.ROW, {"id": "u"})])
    file = ContainerFile(open_descriptor(path))
    with contextlib.closing(file):
        assert file.read(0, 1 << 20) == path.read_bytes()
        assert file.read(file.size_bytes, 5) == b""
