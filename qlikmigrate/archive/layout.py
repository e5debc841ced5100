"""What stands where in an archive of format version 1: member names, the text for people, and our JSON forms."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import cattrs
import orjson
from attrs import field, frozen
from cattrs.gen import make_dict_unstructure_fn
from cattrs.preconf.orjson import OrjsonConverter, make_converter

from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.jsontext import elements
from qlikmigrate.model.document import Cut, CutReason, Path
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest

FORMAT = "qlikmigrate-archive"
FORMAT_VERSION = "1.0"
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
MAX_MANIFEST_BYTES = 512 * 1024 * 1024

README = "README.txt"
MANIFEST = "manifest.json.zst"
DICTIONARY = "dictionary.zst"
CAPTURE = "capture.json.zst"

# A chunk of list rows is read as a whole to give out one row.
LIST_CHUNK_ROWS = 200
LIST_CHUNK_BYTES = 4 * 1024 * 1024
RUN_CHUNK_DOCUMENTS = 256

_FOLDERS: Mapping[Kind, str] = {kind: f"{kind.value}s" if not kind.value.endswith("s") else kind.value for kind in Kind}
_KINDS = {folder: kind for kind, folder in _FOLDERS.items()}
_UNSAFE = re.compile(rb"[^a-z0-9_-]")
_MAX_STEM = 180
# Names that some systems keep for devices.
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")

README_TEXT = """\
This file is a snapshot of the automations of one Qlik tenant, written by qlikmigrate (archive format 1).

It is an ordinary ZIP file. Its members are stored as they are; those that end in .zst are zstd frames.
To read it without qlikmigrate:

    unzip FILE.qma -d snapshot && cd snapshot
    zstd -d manifest.json.zst                            what is in here: kind, id, member, SHA-256 of each document
    zstd -d dictionary.zst                               if there is one
    zstd -d -D dictionary automations/ID.json.zst        one document (without -D where there is no dictionary)
    zstd -d lists/*.zst                                  the rows of each list, a JSON array a file

Folders: automations, connections, ... hold one document an object, lists the rows of the tenant's lists, run what
changes whenever an automation runs. capture.json.zst says when the snapshot was taken.
The ZIP comment holds the SHA-256 of all bytes before it.
""".encode("ascii")


def stem(ident: str) -> str:
    """An id as a file name that is safe on every system: reversible, or a hash where it would be too long.

    Capitals are escaped too, so that two ids never differ by case alone.
    """
    if not ident:
        return "~empty"
    encoded = ident.encode("utf-8")
    name = _UNSAFE.sub(lambda byte: b"%%%02x" % ord(byte[0]), encoded).decode("ascii")
    if len(name) > _MAX_STEM:
        return f"~{hashlib.sha256(encoded).hexdigest()}"
    if _RESERVED.fullmatch(name):
        return f"%{encoded[0]:02x}{name[1:]}"
    return name


def document_member(kind: Kind, ident: str) -> str:
    """The member that holds one object's own document."""
    return f"{_FOLDERS[kind]}/{stem(ident)}.json.zst"


def list_member(kind: Kind, number: int) -> str:
    """The member that holds the chunk `number` (from 1) of a kind's rows."""
    return f"lists/{_FOLDERS[kind]}-{number:04d}.json.zst"


def run_member(number: int) -> str:
    """The member that holds the run data of the documents of chunk `number` (from 1)."""
    return f"run/{number:04d}.json.zst"


def object_of(member: str) -> tuple[Kind, str] | None:
    """Kind and id that a document's member name tells; None for other members. A hashed id is given as `~HASH`."""
    folder, slash, rest = member.partition("/")
    kind = _KINDS.get(folder)
    name = rest.removesuffix(".json.zst")
    if not slash or kind is None or name == rest:
        return None
    if name == "~empty":
        return kind, ""
    return kind, unquote_to_bytes(name).decode("utf-8", "replace")


def is_ours(member: str) -> bool:
    """Whether an archive may have a member of that name."""
    fixed = (README, MANIFEST, DICTIONARY, CAPTURE)
    return member in fixed or object_of(member) is not None or list_kind(member) is not None


def list_kind(member: str) -> Kind | None:
    """The kind whose rows a member holds; None for other members."""
    found = re.fullmatch(r"lists/([a-z]+)-\d+\.json\.zst", member)
    return _KINDS.get(found[1]) if found else None


@frozen(kw_only=True)
class SecretCut:
    """A secret cut out of a document, in the manifest."""

    path: Path
    offset: int
    length: int
    sha256: str | None = None


@frozen(kw_only=True)
class RunCut:
    """Run data cut out of a document, in a run member. `index`: its place among all cuts of the document."""

    index: int
    path: Path
    offset: int
    length: int
    text: str


@frozen(kw_only=True)
class DocumentEntry:
    """One object's own document: `size` and `sha256` are of the uncompressed bytes in `member`."""

    kind: Kind
    id: str
    member: str
    size: int
    sha256: str
    cuts: tuple[SecretCut, ...] = ()


@frozen(kw_only=True)
class RowEntry:
    """One row in a chunk."""

    id: str
    size: int
    cuts: tuple[SecretCut, ...] = ()


@frozen(kw_only=True)
class ListEntry:
    """One chunk of rows: `[`, the rows joined by comma and newline, `]`; `size` and `sha256` are of that text."""

    kind: Kind
    member: str
    size: int
    sha256: str
    rows: tuple[RowEntry, ...]


@frozen(kw_only=True)
class ManifestForm:
    """`manifest.json`."""

    format: str = FORMAT
    format_version: str = FORMAT_VERSION
    snapshot: Manifest
    documents: tuple[DocumentEntry, ...] = ()
    lists: tuple[ListEntry, ...] = ()


@frozen(kw_only=True)
class RunEntry:
    """When a document was read, and the run data cut out of it."""

    read_at: datetime | None = None
    cuts: tuple[RunCut, ...] = ()


@frozen(kw_only=True)
class RunForm:
    """`run/NNNN.json`: one entry for each document from number `first` on (from 0, details before rows)."""

    first: int
    documents: tuple[RunEntry, ...] = ()


@frozen(kw_only=True)
class CaptureForm:
    """`capture.json`."""

    capture: Capture
    libzstd: str = field(default="")


def _converter(*, strict: bool) -> OrjsonConverter:
    converter = make_converter(forbid_extra_keys=strict, omit_if_default=True, detailed_validation=False)
    converter.register_unstructure_hook(datetime, rfc3339)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    return converter


_STRICT = _converter(strict=True)
# A newer minor version may have added fields.
_TOLERANT = _converter(strict=False)


def keep_defaults(*forms: type) -> None:
    """Let forms be written with members that hold their default, too; inner ones first."""
    for form in forms:
        _STRICT.register_unstructure_hook(form, make_dict_unstructure_fn(form, _STRICT, _cattrs_omit_if_default=False))


# Inner ones first: an outer form takes the hooks that are there when it is made.
keep_defaults(Manifest, Capture, ManifestForm)


def dump(form: object) -> bytes:
    """A form as JSON: one of those here, or one that is made of such.

    Raises:
        ValueError: a text in it is no Unicode.
    """
    try:
        return _STRICT.dumps(form)
    except TypeError:  # orjson's, for lone surrogates
        raise ValueError("a text is no Unicode") from None


_T = TypeVar("_T")


def load(form: type[_T], data: bytes, *, strict: bool = True) -> _T:
    """A form from JSON.

    Raises:
        ValueError: it is not of that form.
    """
    try:
        return (_STRICT if strict else _TOLERANT).loads(data, form)
    except (cattrs.BaseValidationError, cattrs.ForbiddenExtraKeysError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"not of the form expected: {error}") from None


def version_of(data: bytes) -> tuple[int, int]:
    """Major and minor format version that a manifest declares.

    Raises:
        ValueError: it is none of our manifests.
    """
    value: Any = orjson.loads(data)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError("is no manifest")
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", str(value.get("format_version")))
    if not found:
        raise ValueError("declares no format version")
    return int(found[1]), int(found[2])


def join_rows(rows: Sequence[bytes]) -> bytes:
    """The text of a chunk of rows."""
    return b"[" + b",\n".join(rows) + b"]"


def split_rows(text: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The inverse of `join_rows`.

    Raises:
        ValueError: rows of these sizes do not make up `text`.
    """
    rows = []
    offset = 1
    for size in sizes:
        rows.append(text[offset : offset + size])
        offset += size + 2
    if join_rows(rows) != text:
        raise ValueError("rows do not make up the chunk")
    return rows


def rows_without_sizes(text: bytes) -> list[tuple[str, bytes]]:
    """Id and bytes of the rows of a chunk whose manifest is lost. Nothing where its text is no JSON array."""
    rows = []
    try:
        decoded = text.decode("utf-8")
        for start, end in elements(decoded):
            row = decoded[start:end]
            value = json.loads(row)
            ident = value.get("id", value.get("guid")) if isinstance(value, dict) else None
            rows.append((ident if isinstance(ident, str) else "", row.encode()))
    except (ValueError, RecursionError):
        return []
    return rows


def split_cuts(cuts: tuple[Cut, ...]) -> tuple[tuple[SecretCut, ...], tuple[RunCut, ...]]:
    """Cuts by where they are kept: secrets in the manifest, run data beside the documents."""
    secrets = []
    runs = []
    for index, cut in enumerate(cuts):
        if cut.reason is CutReason.RUN:
            text = cut.text or ""
            runs.append(RunCut(index=index, path=cut.path, offset=cut.offset, length=cut.length, text=text))
        else:
            secrets.append(SecretCut(path=cut.path, offset=cut.offset, length=cut.length, sha256=cut.sha256))
    return tuple(secrets), tuple(runs)


def join_cuts(secrets: tuple[SecretCut, ...], runs: tuple[RunCut, ...]) -> tuple[Cut, ...]:
    """The inverse of `split_cuts`.

    Raises:
        ValueError: the two do not belong together.
    """
    total = len(secrets) + len(runs)
    by_index = {run.index: run for run in runs}
    if len(by_index) != len(runs) or any(not 0 <= index < total for index in by_index):
        raise ValueError("run data has no place among the cuts")
    rest = iter(secrets)
    cuts = []
    for index in range(total):
        run = by_index.get(index)
        if run is not None:
            cuts.append(Cut(path=run.path, offset=run.offset, length=run.length, reason=CutReason.RUN, text=run.text))
        else:
            one = next(rest)
            cuts.append(
                Cut(path=one.path, offset=one.offset, length=one.length, reason=CutReason.SECRET, sha256=one.sha256)
            )
    return tuple(cuts)
