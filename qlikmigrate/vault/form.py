"""The JSON and the lines that a vault writes: its own description, heads of snapshots, manifests, records.

Of an encrypted vault these stand in clear: the description, and of a head what no field of `Shown` holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import orjson
from attrs import field, frozen

from qlikmigrate.archive.codec import Codec
from qlikmigrate.archive.layout import RowEntry, SecretCut, dump, keep_defaults, load
from qlikmigrate.archive.reader import own_content
from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.vault.name import Ref, sha256

VAULT_FORMAT = "qlikmigrate-vault"
SNAPSHOT_FORMAT = "qlikmigrate-vault-snapshot"
FORMAT_VERSION = "1.0"

DAMAGE_CODES = ("lost-by-damage", "manifest-lost")
"""Codes of the problems by which a snapshot says that damage to the vault has taken something of it."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")

SETTLED, BARE, SECRETS = "s", "b", "x"
"""What a manifest notes of a document: saved well before it was read; without a workspace; with texts like secrets."""


@frozen(kw_only=True)
class Config:
    """`vault.json`: what a vault is."""

    format: str = VAULT_FORMAT
    format_version: str = FORMAT_VERSION
    id: str
    encrypted: bool = False


@frozen(kw_only=True)
class Shown:
    """What a listing shows of a snapshot; only in vaults that are not encrypted."""

    tenant_id: str = ""
    tenant_name: str = ""
    host: str = ""
    automations: int = 0
    scope: str = ""
    restorable: str = ""

    @property
    def label(self) -> str:
        """What people call the tenant."""
        return self.tenant_name or self.host


def shown_of(head: Manifest) -> Shown:
    """What a listing shows of a snapshot."""
    counts = head.counts.get("automations")
    return Shown(
        tenant_id=head.tenant.id,
        tenant_name=head.tenant.name,
        host=head.tenant.host,
        automations=counts.captured if counts else 0,
        scope=head.scope.value,
        restorable=head.restorable.value,
    )


@frozen(kw_only=True)
class Header:
    """The head of a snapshot, in clear. Times are UTC.

    `tenant`: a tag that tells tenants of this vault apart and says nothing else. `damaged`: incomplete because damage
    to the vault took something of it. `needs`: ids of the snapshots that
    hold the last good version of what could not be read in this one. `packs`: sequence numbers, as ranges, of all that
    is needed to read it; `packs_sha256` stands for their names. `manifest`: where its manifest lies.
    """

    format: str = SNAPSHOT_FORMAT
    format_version: str = FORMAT_VERSION
    vault: str
    id: str
    tenant: str
    started_at: datetime
    finished_at: datetime
    complete: bool = True
    partial: bool = False
    damaged: bool = False
    needs: tuple[str, ...] = ()
    packs: str
    packs_sha256: str
    manifest: str
    shown: Shown | None = None


def is_damaged(head: Manifest) -> bool:
    """Whether a snapshot is incomplete because damage to the vault took something of it."""
    return not head.complete and any(one.code in DAMAGE_CODES for one in head.problems)


def pack_digest(names: Sequence[str]) -> str:
    """What `packs_sha256` is of the packs of these names."""
    return sha256("\n".join(sorted(names)).encode("ascii"))


def check_version(data: bytes, wanted: str, what: str) -> bool:
    """Refuse a newer format. False for a newer minor version of ours, which may have added fields.

    Raises:
        CorruptError: it is of a newer major version, code `newer-format`.
        ValueError: it is nothing of ours.
    """
    value: Any = orjson.loads(data)
    if not isinstance(value, dict) or value.get("format") != wanted:
        raise ValueError(f"is no {what}")
    found = _VERSION.fullmatch(str(value.get("format_version")))
    if not found:
        raise ValueError(f"is no {what}")
    version, own = (int(found[1]), int(found[2])), tuple(map(int, FORMAT_VERSION.split(".")))
    if version[0] > own[0]:
        raise CorruptError(
            f"the {what} is of format version {value['format_version']}, this tool reads up to {FORMAT_VERSION}",
            hint="install a newer version of the tool",
            code="newer-format",
        )
    return version <= own


@frozen(kw_only=True)
class DocumentMeta:
    """The first line of a document's record: what it is, and the secrets cut out of it."""

    kind: Kind
    id: str
    cuts: tuple[SecretCut, ...] = ()


@frozen(kw_only=True)
class RowsMeta:
    """The first line of a record of list rows: whose they are."""

    kind: Kind
    rows: tuple[RowEntry, ...]


def write_record(meta: DocumentMeta | RowsMeta, text: bytes) -> bytes:
    """A record: its first line says what the rest is."""
    return dump(meta) + b"\n" + text


def split_record(record: bytes) -> tuple[bytes, bytes]:
    """First line and rest of a record.

    Raises:
        ValueError: it has no first line.
    """
    line, mark, text = record.partition(b"\n")
    if not mark:
        raise ValueError("is no record")
    return line, text


@frozen(kw_only=True)
class DocumentLine:
    """A document in a manifest. `run`: where its run data lies, and which entry there; None without any."""

    kind: Kind
    id: str
    ref: Ref
    run: tuple[Ref, int] | None
    read_at: datetime
    flags: str = ""


@frozen(kw_only=True)
class RowsLine:
    """List rows of one kind that lie together. `first`: the id of the first; `run`: their run data, in order."""

    kind: Kind
    first: str
    ref: Ref
    run: Ref | None
    read_at: datetime


@frozen(kw_only=True)
class LastGood:
    """An object that was listed and could not be read, and the snapshot that holds its last good version.

    `snapshot`: empty where none does.
    """

    kind: Kind
    id: str
    snapshot: str

    @property
    def snapshots(self) -> tuple[str, ...]:
        """The snapshot, if there is one."""
        return (self.snapshot,) if self.snapshot else ()


def needs_of(last_good: Sequence[LastGood]) -> tuple[str, ...]:
    """What a head says of last good versions: the snapshots that hold them."""
    return tuple(sorted({ident for one in last_good for ident in one.snapshots}))


@frozen(kw_only=True)
class Manifested:
    """A snapshot's manifest: its head, and where everything lies. `dictionaries`: copies of one dictionary."""

    id: str
    tenant: str
    vault: str
    head: Manifest
    capture: Capture
    dictionaries: tuple[Ref, ...] = ()
    documents: tuple[DocumentLine, ...] = field(default=(), repr=False)
    rows: tuple[RowsLine, ...] = field(default=(), repr=False)
    last_good: tuple[LastGood, ...] = ()

    def refs(self) -> Iterator[Ref]:
        """Every piece that it speaks of."""
        yield from self.dictionaries
        for doc in self.documents:
            yield doc.ref
            if doc.run is not None:
                yield doc.run[0]
        for rows in self.rows:
            yield rows.ref
            if rows.run is not None:
                yield rows.run


@frozen(kw_only=True)
class _First:
    """The first line of a manifest."""

    format: str = SNAPSHOT_FORMAT
    format_version: str = FORMAT_VERSION
    vault: str
    id: str
    tenant: str
    head: Manifest
    capture: Capture


def write_manifest(one: Manifested) -> bytes:
    """A manifest: a line of JSON, then a line with tabs for each thing; ids percent-encoded."""
    lines = [dump(_First(vault=one.vault, id=one.id, tenant=one.tenant, head=one.head, capture=one.capture))]

    def line(*columns: object) -> None:
        lines.append("\t".join(map(str, columns)).encode("ascii"))

    for dictionary in one.dictionaries:
        line("dictionary", dictionary)
    for doc in one.documents:
        run = f"{doc.run[0]}#{doc.run[1]:x}" if doc.run else "-"
        line("document", doc.kind, _encode(doc.id), doc.ref, run, rfc3339(doc.read_at), doc.flags or "-")
    for rows in one.rows:
        line("rows", rows.kind, _encode(rows.first), rows.ref, rows.run or "-", rfc3339(rows.read_at))
    for good in one.last_good:
        line("last-good", good.kind, _encode(good.id), good.snapshot or "-")
    return b"\n".join(lines) + b"\n"


def read_manifest(text: bytes) -> Manifested:
    """The inverse of `write_manifest`.

    Raises:
        CorruptError: it is of a newer format version.
        ValueError: it is none.
    """
    first, _, rest = text.partition(b"\n")
    strict = check_version(first, SNAPSHOT_FORMAT, "manifest of a snapshot")
    head = load(_First, first, strict=strict)
    dictionaries: list[Ref] = []
    documents: list[DocumentLine] = []
    rows: list[RowsLine] = []
    last_good: list[LastGood] = []
    for raw in rest.decode("ascii").split("\n")[:-1]:
        word, *columns = raw.split("\t")
        match word, columns:
            case "dictionary", [ref]:
                dictionaries.append(Ref.parse(ref))
            case "document", [kind, ident, ref, run, read_at, flags]:
                documents.append(
                    DocumentLine(
                        kind=Kind(kind),
                        id=_decode(ident),
                        ref=Ref.parse(ref),
                        run=_run(run),
                        read_at=datetime.fromisoformat(read_at),
                        flags="" if flags == "-" else flags,
                    )
                )
            case "rows", [kind, ident, ref, run, read_at]:
                rows.append(
                    RowsLine(
                        kind=Kind(kind),
                        first=_decode(ident),
                        ref=Ref.parse(ref),
                        run=None if run == "-" else Ref.parse(run),
                        read_at=datetime.fromisoformat(read_at),
                    )
                )
            case "last-good", [kind, ident, snapshot]:
                last_good.append(LastGood(kind=Kind(kind), id=_decode(ident), snapshot=snapshot.replace("-", "")))
            case _ if strict:
                raise ValueError("a line of the manifest is malformed")
    return Manifested(
        id=head.id,
        tenant=head.tenant,
        vault=head.vault,
        head=head.head,
        capture=head.capture,
        dictionaries=tuple(dictionaries),
        documents=tuple(documents),
        rows=tuple(rows),
        last_good=tuple(last_good),
    )


def write_moves(moves: Mapping[Ref, Ref]) -> bytes:
    """Where pieces went: a line each, compressed."""
    lines = "".join(f"{old}\t{new}\n" for old, new in sorted(moves.items()))
    return Codec().compress(lines.encode("ascii"))


def read_moves(data: bytes) -> dict[Ref, Ref]:
    """The inverse of `write_moves`.

    Raises:
        ValueError: it is none.
    """
    moves = {}
    for line in own_content(data).decode("ascii").splitlines():
        old, _, new = line.partition("\t")
        moves[Ref.parse(old)] = Ref.parse(new)
    return moves


def _run(text: str) -> tuple[Ref, int] | None:
    if text == "-":
        return None
    ref, _, number = text.partition("#")
    return Ref.parse(ref), int(number, 16)


def _encode(ident: str) -> str:
    # No quoted text is a percent sign alone.
    return quote(ident, safe="") or "%"


def _decode(text: str) -> str:
    return "" if text == "%" else unquote(text, errors="strict")


keep_defaults(Config, Shown, Header, _First)
