"""An archive opened as a snapshot: only what is asked for is read, and checked before it is given out."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from qlikmigrate.archive import layout
from qlikmigrate.archive.age import Opener
from qlikmigrate.archive.codec import DICTIONARY_BYTES, Codec, FrameError, declared_size
from qlikmigrate.archive.container import ContainerError, ContainerFile, Member, NewerContainerError
from qlikmigrate.archive.sealed import begins_sealed, unseal
from qlikmigrate.kernel.error import CorruptError, FailedError, NotFoundError
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest

# Our own forms hold hashes, which do not shrink; more than this is made to fill the memory.
_MAX_RATIO = 2000
_RUN_CHUNKS_KEPT = 8
_HINT_DAMAGED = "`verify` tells what is damaged"


def open_descriptor(path: Path) -> int:
    """The file behind an archive, sealed or not.

    Raises:
        NotFoundError: there is none.
        FailedError: it cannot be read.
        CorruptError: it is no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"no such archive: `{path}`") from None
    except OSError as error:
        raise FailedError(f"cannot read `{path}`: {error.strerror}", code="cannot-read") from None
    if not os.path.isfile(descriptor):  # noqa: PTH113
        os.close(descriptor)
        raise CorruptError(f"`{path}` is no archive")
    return descriptor


def own_content(frame: bytes, *, limit: int = layout.MAX_MANIFEST_BYTES) -> bytes:
    """The content of a member in a form of ours, whose size nothing else tells.

    Raises:
        FrameError: it is damaged, or claims to be absurdly large.
    """
    declared = declared_size(frame)
    if declared > limit or declared > _MAX_RATIO * len(frame):
        raise FrameError(f"declares {declared} bytes in a frame of {len(frame)}")
    return Codec().decompress(frame, size_bytes=declared)


def checked_manifest(data: bytes) -> tuple[layout.ManifestForm, bool]:
    """A manifest from its JSON, and whether it is strictly of our version.

    Raises:
        CorruptError: it is of a newer format version.
        ValueError: it is none, or says what cannot be.
    """
    major, minor = layout.version_of(data)
    own_major, own_minor = map(int, layout.FORMAT_VERSION.split("."))
    if major > own_major:
        raise newer(f"{major}.{minor}")
    strict = (major, minor) <= (own_major, own_minor)
    form = layout.load(layout.ManifestForm, data, strict=strict)
    for entry in form.documents:
        if entry.member != layout.document_member(entry.kind, entry.id):
            raise ValueError(f"{entry.kind} `{entry.id}` stands in the wrong member")
    sizes = [entry.size for entry in form.documents] + [chunk.size for chunk in form.lists]
    sizes += [row.size for chunk in form.lists for row in chunk.rows]
    if any(not 0 <= size <= layout.MAX_DOCUMENT_BYTES + 2 for size in sizes):
        raise ValueError("declares a size that cannot be")
    for chunk in form.lists:
        if layout.list_kind(chunk.member) is not chunk.kind:
            raise ValueError(f"rows of `{chunk.kind}` stand in the wrong member")
    return form, strict


def newer(version: str) -> CorruptError:
    """The refusal of a newer format."""
    return CorruptError(
        f"archive is of format version {version}, this tool reads up to {layout.FORMAT_VERSION}",
        hint="install a newer version of the tool",
        code="newer-format",
    )


def expected_members(form: layout.ManifestForm, *, dictionary: bool) -> list[str]:
    """The members that an archive with this manifest has, in order."""
    rows = sum(len(chunk.rows) for chunk in form.lists)
    documents = len(form.documents) + rows
    runs = -(-documents // layout.RUN_CHUNK_DOCUMENTS)
    return [
        layout.README,
        layout.MANIFEST,
        *([layout.DICTIONARY] if dictionary else []),
        *(entry.member for entry in form.documents),
        *(chunk.member for chunk in form.lists),
        *(layout.run_member(number) for number in range(1, runs + 1)),
        layout.CAPTURE,
    ]


class Archive:
    """An opened archive. Implements `Snapshot`. Methods raise `CorruptError` where what is stored is damaged."""

    def __init__(self, path: Path, file: ContainerFile) -> None:
        self.path = path
        self._file = file
        try:
            self._members: Mapping[str, Member] = {member.name: member for member in file.directory()}
            content = own_content(self._stored(layout.MANIFEST))
            self._form, strict = checked_manifest(content)
            self._check_members(strict=strict)
        except NewerContainerError as error:
            raise newer(str(error).rpartition(" ")[2]) from None
        except (ContainerError, ValueError, KeyError) as error:
            raise self._corrupt(error) from None
        self._strict = strict
        self._digest = hashlib.sha256(content).hexdigest()
        self._details = {(entry.kind, entry.id): (n, entry) for n, entry in enumerate(self._form.documents)}
        if len(self._details) != len(self._form.documents):
            raise self._corrupt("an object is listed twice")
        self._codec: Codec | None = None
        self._runs: OrderedDict[int, tuple[layout.RunEntry, ...]] = OrderedDict()
        with contextlib.suppress(ValueError):
            # Now, so that the first document is read as fast as all others; damage is told by whoever needs it.
            self._document_codec()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._file.size_bytes

    @property
    def format_version(self) -> str:
        """The format version it was written in."""
        return self._form.format_version

    @property
    def manifest(self) -> Manifest:
        """Its head."""
        return self._form.snapshot

    @property
    def capture(self) -> Capture:
        """When it was taken."""
        try:
            return layout.load(
                layout.CaptureForm, own_content(self._stored(layout.CAPTURE)), strict=self._strict
            ).capture
        except ValueError as error:
            raise self._corrupt(error) from None

    @property
    def digest(self) -> str:
        """SHA-256 hex of the manifest, which holds the hash of every document. Capture times do not change it."""
        return self._digest

    def ids(self, kind: Kind) -> Sequence[str]:
        """Ids of the objects whose own document it holds, sorted."""
        return [entry.id for entry in self._form.documents if entry.kind is kind]

    def detail(self, kind: Kind, ident: str) -> Document:
        """One object's own document.

        Raises:
            KeyError: it holds none.
        """
        number, entry = self._details[kind, ident]
        try:
            raw = self._document_codec().decompress(self._stored(entry.member), size_bytes=entry.size)
            if hashlib.sha256(raw).hexdigest() != entry.sha256:
                raise ValueError("hash differs")
            return self._document(Part.DETAIL, kind, ident, raw, entry.cuts, number)
        except ValueError as error:
            raise self._corrupt(f"{kind} `{ident}`: {error}") from None

    def rows(self, kind: Kind) -> Iterator[Document]:
        """The list rows of a kind, in id order."""
        number = len(self._form.documents)
        for chunk in self._form.lists:
            if chunk.kind is kind:
                try:
                    raws = self._rows(chunk)
                    found = [
                        self._document(Part.ROW, kind, row.id, raw, row.cuts, number + index)
                        for index, (row, raw) in enumerate(zip(chunk.rows, raws, strict=True))
                    ]
                except ValueError as error:
                    raise self._corrupt(f"rows in `{chunk.member}`: {error}") from None
                yield from found
            number += len(chunk.rows)

    def _rows(self, chunk: layout.ListEntry) -> list[bytes]:
        text = Codec().decompress(self._stored(chunk.member), size_bytes=chunk.size)
        if hashlib.sha256(text).hexdigest() != chunk.sha256:
            raise ValueError("hash differs")
        return layout.split_rows(text, [row.size for row in chunk.rows])

    def _document(
        self, part: Part, kind: Kind, ident: str, raw: bytes, secrets: tuple[layout.SecretCut, ...], number: int
    ) -> Document:
        run = self._run(number)
        cuts = layout.join_cuts(secrets, run.cuts)
        return Document(kind=kind, id=ident, part=part, raw=raw, cuts=cuts, read_at=run.read_at)

    def _run(self, number: int) -> layout.RunEntry:
        """Run data of the document that stands at `number` in the manifest."""
        index, place = divmod(number, layout.RUN_CHUNK_DOCUMENTS)
        entries = self._runs.get(index)
        if entries is None:
            content = own_content(self._stored(layout.run_member(index + 1)))
            form = layout.load(layout.RunForm, content, strict=self._strict)
            if form.first != index * layout.RUN_CHUNK_DOCUMENTS:
                raise ValueError("run data belongs to other documents")
            entries = self._runs[index] = form.documents
            if len(self._runs) > _RUN_CHUNKS_KEPT:
                self._runs.popitem(last=False)
        if place >= len(entries):
            raise ValueError("run data is missing")
        return entries[place]

    def _document_codec(self) -> Codec:
        if self._codec is None:
            dictionary = None
            if layout.DICTIONARY in self._members:
                dictionary = own_content(self._stored(layout.DICTIONARY), limit=DICTIONARY_BYTES)
            self._codec = Codec(dictionary)
        return self._codec

    def _stored(self, name: str) -> bytes:
        return self._file.stored(self._members[name])

    def _check_members(self, *, strict: bool) -> None:
        expected = expected_members(self._form, dictionary=layout.DICTIONARY in self._members)
        present = list(self._members)
        if not strict:
            # A newer minor version may have added members.
            wanted = set(expected)
            present = [name for name in present if name in wanted]
        if present != expected:
            raise ValueError("members are not those that the manifest lists")

    def _corrupt(self, why: object) -> CorruptError:
        return CorruptError(f"`{self.path}` is damaged or no archive: {why}", hint=_HINT_DAMAGED)


def open_archive(path: str | os.PathLike[str], opener: Opener | None = None) -> Archive:
    """Open an archive by its directory and manifest; the rest is read when asked for. A sealed one is opened first.

    Raises:
        NotFoundError: there is no such file.
        WrongKeyError: it is sealed, and `opener` does not open it.
        CorruptError: it is damaged, no archive, or of a newer format version.
    """
    where = Path(path)
    file = _container(where, opener)
    try:
        return Archive(where, file)
    except BaseException:
        file.close()
        raise


def _container(path: Path, opener: Opener | None) -> ContainerFile:
    descriptor = open_descriptor(path)
    try:
        if not begins_sealed(descriptor):
            return ContainerFile(descriptor)
        unsealed = unseal(descriptor, path, opener)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    if unsealed.damage is not None:
        os.close(unsealed.descriptor)
        unsealed.damage.hint = _HINT_DAMAGED
        raise unsealed.damage
    return ContainerFile(unsealed.descriptor)
