"""Every byte of an archive checked, and what can still be had from a damaged one.

Members are found by their own headers, front to back; directory and seal are held against what that gives. So each
byte belongs to a member, to the directory or to the seal, and damage to it shows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from attrs import evolve, field, frozen

from qlikmigrate.archive import layout
from qlikmigrate.archive.age import Opener
from qlikmigrate.archive.codec import DICTIONARY_BYTES, Codec, FrameError, declared_size
from qlikmigrate.archive.container import ContainerError, ContainerFile, Gap, Member, NewerContainerError
from qlikmigrate.archive.reader import checked_manifest, expected_members, newer, open_descriptor, own_content
from qlikmigrate.archive.sealed import begins_sealed, unseal
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse

_DIRECTORY = "central directory"
_SEAL = "seal"
_ENCRYPTION = "encryption"


@frozen(kw_only=True)
class Damage:
    """A part of the file that is not as it was written, and the object it hits; `kind` is None where it hits none.

    `member` may also be `central directory`, `seal` or `encryption`. A damaged chunk of rows gives one of these for
    each row.
    """

    member: str
    message: str
    kind: Kind | None = None
    id: str = ""
    name: str = ""
    part: Part | None = None


@frozen(kw_only=True)
class Whole:
    """A document that is still there, byte for byte."""

    kind: Kind
    id: str
    part: Part


@frozen(kw_only=True)
class Verification:
    """What `verify` found. `truncated`: the end of the file is missing. `complete`: what the manifest says of itself,
    None where the manifest is lost."""

    path: Path
    size_bytes: int
    damages: tuple[Damage, ...] = ()
    whole: tuple[Whole, ...] = field(default=(), repr=False)
    truncated: bool = False
    digest: str = ""
    complete: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not self.damages


def verify(path: str | os.PathLike[str], opener: Opener | None = None) -> Verification:
    """Check every byte of an archive. Damage is in the result, not raised.

    Of a sealed archive, what stands in front of the first damage is checked by its content, what follows is lost.

    Raises:
        NotFoundError: there is no such file.
        WrongKeyError: it is sealed, and `opener` does not open it.
        CorruptError: nothing in it is of an archive, or it is of a newer format version.
    """
    where = Path(path)
    with _opened(where, opener) as (file, size_bytes, damages):
        found = _Check(where, file).result()
        return evolve(found, size_bytes=size_bytes, damages=damages + found.damages)


def salvage(path: str | os.PathLike[str], opener: Opener | None = None) -> Iterator[Document]:
    """Every whole document of an archive, damaged or not, without run data and capture times.

    Where the manifest is lost too, secrets that were cut out are no longer noted, the frame's own checksum stands for
    the hash, and an id comes from the member's name or from the row itself.

    Raises:
        NotFoundError: there is no such file.
        WrongKeyError: it is sealed, and `opener` does not open it.
        CorruptError: nothing in it is of an archive, or it is of a newer format version.
    """
    where = Path(path)
    with _opened(where, opener) as (file, _, _):
        yield from _Check(where, file).documents()


@contextmanager
def _opened(path: Path, opener: Opener | None) -> Iterator[tuple[ContainerFile, int, tuple[Damage, ...]]]:
    """The container, as far as it can be had; the size of the file itself; and damage to what it is sealed with."""
    descriptor = open_descriptor(path)
    damages: tuple[Damage, ...] = ()
    try:
        size_bytes = os.fstat(descriptor).st_size
        if begins_sealed(descriptor):
            unsealed = unseal(descriptor, path, opener)
            os.close(descriptor)
            descriptor = unsealed.descriptor
            if unsealed.damage is not None:
                message = "does not hold; nothing behind the damage can be opened"
                damages = (Damage(member=_ENCRYPTION, message=message),)
        yield ContainerFile(descriptor), size_bytes, damages
    finally:
        os.close(descriptor)


class _Check:
    """One pass over a file."""

    def __init__(self, path: Path, file: ContainerFile) -> None:
        self._path = path
        self._file = file
        self._refuse_newer()
        found = list(file.scan())
        self._members = [one for one in found if isinstance(one, Member)]
        self._gaps = [one for one in found if isinstance(one, Gap)]
        self._by_name: Mapping[str, Member] = {member.name: member for member in self._members}
        if not any(layout.is_ours(one.name) for one in found):
            raise CorruptError(f"`{path}` is no archive")
        self._damages: list[Damage] = []
        self._whole: list[Whole] = []
        self._names: dict[tuple[Kind, str], str] = {}
        self._digest = ""
        self._strict = True
        self._form = self._load_manifest()
        self._codec = self._load_codec()

    def _refuse_newer(self) -> None:
        try:
            self._file.directory()
        except NewerContainerError as error:
            raise newer(str(error).rpartition(" ")[2]) from None
        except ContainerError:
            pass

    def _load_manifest(self) -> layout.ManifestForm | None:
        member = self._by_name.get(layout.MANIFEST)
        if member is None:
            return None
        try:
            content = own_content(self._file.stored(member))
            form, self._strict = checked_manifest(content)
        except ValueError as error:
            self._damage(layout.MANIFEST, str(error))
            return None
        self._digest = hashlib.sha256(content).hexdigest()
        return form

    def _load_codec(self) -> Codec | None:
        """For documents; None where they need a dictionary that is lost."""
        member = self._by_name.get(layout.DICTIONARY)
        if member is None:
            return None if self._dictionary_is_lost() else Codec()
        try:
            return Codec(own_content(self._file.stored(member), limit=DICTIONARY_BYTES))
        except ValueError as error:
            self._damage(layout.DICTIONARY, str(error))
            return None

    def _dictionary_is_lost(self) -> bool:
        """No whole dictionary is there, but a place where it was, or a document that asks for it."""
        for member in self._members:
            if layout.object_of(member.name) is not None:
                return Codec.needs_dictionary(self._file.stored(member))
        return any(gap.name == layout.DICTIONARY for gap in self._gaps)

    def result(self) -> Verification:
        """The outcome of the whole check."""
        for document in self.documents():
            self._whole.append(Whole(kind=document.kind, id=document.id, part=document.part))
        self._check_rest()
        truncated = self._check_end()
        if self._form is not None:
            self._check_presence(self._form)
        elif layout.MANIFEST not in self._by_name:
            self._damage(layout.MANIFEST, "is damaged or missing")
        known = {one.member for one in self._damages}
        for gap in self._gaps:
            if gap.name and gap.name not in known:
                self._damage_of(gap.name, "is damaged")
            elif not known:
                self._damage(_DIRECTORY, f"bytes {gap.start} to {gap.end} belong to nothing")
        return Verification(
            path=self._path,
            size_bytes=self._file.size_bytes,
            damages=tuple(self._named(one) for one in dict.fromkeys(self._damages)),
            whole=tuple(self._whole),
            truncated=truncated,
            digest=self._digest,
            complete=None if self._form is None else self._form.snapshot.complete,
        )

    def documents(self) -> Iterator[Document]:
        """Every whole document; what is not whole is noted as damage."""
        if self._form is None:
            yield from self._unlisted()
            return
        for entry in self._form.documents:
            raw = self._content(entry.member, self._codec, entry.size, entry.sha256)
            if raw is not None:
                cuts = layout.join_cuts(entry.cuts, ())
                yield Document(kind=entry.kind, id=entry.id, part=Part.DETAIL, raw=raw, cuts=cuts)
        for chunk in self._form.lists:
            text = self._content(chunk.member, Codec(), chunk.size, chunk.sha256)
            if text is None:
                continue
            try:
                raws = layout.split_rows(text, [row.size for row in chunk.rows])
            except ValueError as error:
                self._damage_of(chunk.member, str(error))
                continue
            for row, raw in zip(chunk.rows, raws, strict=True):
                self._note_name(chunk.kind, row.id, raw)
                cuts = layout.join_cuts(row.cuts, ())
                yield Document(kind=chunk.kind, id=row.id, part=Part.ROW, raw=raw, cuts=cuts)

    def _content(self, name: str, codec: Codec | None, size: int, sha256: str) -> bytes | None:
        member = self._by_name.get(name)
        if member is None:
            return None
        if codec is None:
            self._damage_of(name, "needs the dictionary, which is lost")
            return None
        try:
            content = codec.decompress(self._file.stored(member), size_bytes=size)
        except (FrameError, ContainerError) as error:
            self._damage_of(name, str(error))
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            self._damage_of(name, "hash differs")
            return None
        return content

    def _unlisted(self) -> Iterator[Document]:
        """Whole documents without a manifest to tell of them."""
        for member in self._members:
            found = layout.object_of(member.name)
            kind = layout.list_kind(member.name)
            codec = self._codec if found is not None else Codec()
            if found is None and kind is None:
                continue
            if codec is None:
                self._damage_of(member.name, "needs the dictionary, which is lost")
                continue
            try:
                frame = self._file.stored(member)
                size = declared_size(frame)
                if size > layout.MAX_DOCUMENT_BYTES:
                    raise FrameError(f"declares {size} bytes")
                content = codec.decompress(frame, size_bytes=size)
            except ValueError as error:
                self._damage_of(member.name, str(error))
                continue
            if found is not None:
                yield Document(kind=found[0], id=found[1], part=Part.DETAIL, raw=content)
            elif kind is not None:
                for ident, row in layout.rows_without_sizes(content):
                    yield Document(kind=kind, id=ident, part=Part.ROW, raw=row)

    def _check_rest(self) -> None:
        """Members in forms of ours."""
        for member in self._members:
            try:
                if member.name == layout.CAPTURE:
                    layout.load(layout.CaptureForm, own_content(self._file.stored(member)), strict=self._strict)
                elif member.name.startswith("run/"):
                    self._check_run(member)
            except ValueError as error:
                self._damage(member.name, str(error))

    def _check_run(self, member: Member) -> None:
        form = layout.load(layout.RunForm, own_content(self._file.stored(member)), strict=self._strict)
        if layout.run_member(form.first // layout.RUN_CHUNK_DOCUMENTS + 1) != member.name:
            raise ValueError("run data belongs to other documents")

    def _check_presence(self, form: layout.ManifestForm) -> None:
        """Each member that the manifest lists is there, once, in order; nothing else is."""
        dictionary = self._codec is None or layout.DICTIONARY in self._by_name
        expected = expected_members(form, dictionary=dictionary)
        present = [member.name for member in self._members]
        for name in expected:
            if name not in self._by_name:
                self._damage_of(name, "is damaged or missing")
        wanted = set(expected)
        there = set(present)
        if self._strict and [name for name in expected if name in there] != present:
            strangers = [name for name in present if name not in wanted]
            self._damage(strangers[0] if strangers else _DIRECTORY, "members are not those that the manifest lists")

    def _check_end(self) -> bool:
        """Directory and seal; True when the end is missing."""
        try:
            self._file.directory()
        except ContainerError as error:
            self._damage(_DIRECTORY, str(error))
            return not self._file.has_end()
        if not self._gaps and not self._file.tail_is_sound(self._members):
            self._damage(_DIRECTORY, "does not fit the members")
        if not self._gaps and not self._damages and not self._file.seal_is_sound():
            self._damage(_SEAL, "hash of the file differs")
        return False

    def _damage(self, member: str, message: str) -> None:
        self._damages.append(Damage(member=member, message=message))

    def _damage_of(self, member: str, message: str) -> None:
        """Damage with the objects that it hits."""
        chunk = self._chunks.get(member)
        if chunk is not None:
            for row in chunk.rows:
                damage = Damage(member=member, message=message, kind=chunk.kind, id=row.id, part=Part.ROW)
                self._damages.append(damage)
            return
        found = self._objects.get(member) or layout.object_of(member)
        if found is None:
            self._damage(member, message)
            return
        kind, ident = found
        self._damages.append(Damage(member=member, message=message, kind=kind, id=ident, part=Part.DETAIL))

    @cached_property
    def _chunks(self) -> Mapping[str, layout.ListEntry]:
        return {} if self._form is None else {chunk.member: chunk for chunk in self._form.lists}

    @cached_property
    def _objects(self) -> Mapping[str, tuple[Kind, str]]:
        return {} if self._form is None else {one.member: (one.kind, one.id) for one in self._form.documents}

    def _note_name(self, kind: Kind, ident: str, raw: bytes) -> None:
        try:
            value = parse(raw)
        except (ValueError, RecursionError):
            return
        name = value.get("name") if isinstance(value, dict) else None
        if isinstance(name, str):
            self._names[kind, ident] = name

    def _named(self, damage: Damage) -> Damage:
        """With the object's name, where a row tells it."""
        if damage.kind is None:
            return damage
        return Damage(
            member=damage.member,
            message=damage.message,
            kind=damage.kind,
            id=damage.id,
            name=self._names.get((damage.kind, damage.id), ""),
            part=damage.part,
        )
