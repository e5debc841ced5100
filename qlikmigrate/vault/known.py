"""What earlier snapshots know: which content a vault has already, and what a list row said of a document last time.

From the newest snapshot of the tenant where the vault can be read. Of an encrypted vault the host keeps a table for the
next backup: ids, rows and contents appear in it only as keyed hashes, so that it tells nobody what the vault holds.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import platformdirs
from attrs import define, evolve, field, frozen

from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.file import private_folder, write_atomic
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault.form import BARE, SECRETS, SETTLED, RowsLine
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.shelf import MAX_DEPTH, PieceError, Shelf
from qlikmigrate.vault.snapshot import VaultSnapshot

_FORMAT = "qlikmigrate-vault-table"
_KEY_BYTES = 32


@frozen(kw_only=True)
class KnownDocument:
    """An object's own document as the vault has it, and how it was read. `snapshot`: the last that has it."""

    ref: Ref
    run: tuple[Ref, int] | None
    reading: Reading
    snapshot: str


@define
class Knowledge:
    """Everything known. Keys are hashes under `key`, or plain where it is empty.

    `snapshot`: the one that it is known from. `identity`: whose readings these are, as a key. `last_good`: the
    snapshots of which one holds the last good version of an object that could not be read. `rows`, `dictionaries`,
    `manifest`: what new versions may build on; only where the vault can be read.
    """

    key: bytes = b""
    snapshot: str = ""
    identity: bytes = b""
    documents: dict[bytes, KnownDocument] = field(factory=dict)
    contents: dict[bytes, Ref] = field(factory=dict)
    last_good: dict[bytes, tuple[str, ...]] = field(factory=dict)
    rows: dict[tuple[Kind, str], RowsLine] = field(factory=dict)
    dictionaries: tuple[Ref, ...] = ()
    manifest: Ref | None = None

    def document(self, kind: Kind, ident: str) -> KnownDocument | None:
        """An object's own document."""
        return self.documents.get(self.named(kind, ident))

    def content(self, sha256: str) -> Ref | None:
        """Where content of that SHA-256 (hex) lies."""
        return self.contents.get(self.hide(bytes.fromhex(sha256)))

    def last_snapshots(self, kind: Kind, ident: str) -> tuple[str, ...]:
        """The snapshots of which one holds the last good version of an object; empty where none is known."""
        known = self.document(kind, ident)
        return (known.snapshot,) if known else self.last_good.get(self.named(kind, ident), ())

    def tells_of(self, kind: Kind, ident: str) -> bool:
        """Whether anything is known of an object, be it that no snapshot holds it."""
        return self.document(kind, ident) is not None or self.named(kind, ident) in self.last_good

    def is_of(self, identity: str) -> bool:
        """Whether these are the readings of that user."""
        return self.identity == self.hide(identity.encode())

    def named(self, kind: Kind, ident: str) -> bytes:
        """An object's key."""
        return self.hide(_name(kind, ident))

    def hide(self, value: bytes) -> bytes:
        """`value` as it may be kept: keyed, or as it is."""
        return hmac.digest(self.key, value, "sha256") if self.key else value

    def learn(self, kind: Kind, ident: str, known: KnownDocument) -> None:
        """Keep a document."""
        self.documents[self.named(kind, ident)] = known

    def only(self, packs: Collection[int]) -> Knowledge:
        """What is known as far as it lies in `packs`; of an encrypted vault, where nothing builds on other packs."""
        found = evolve(self, documents={}, last_good=dict(self.last_good))
        for key, one in self.documents.items():
            if one.ref.pack in packs and (one.run is None or one.run[0].pack in packs):
                found.documents[key] = one
            else:
                found.last_good[key] = (one.snapshot,)
        found.contents = {key: ref for key, ref in self.contents.items() if ref.pack in packs}
        return found

    def moved(self, moves: Mapping[Ref, Ref]) -> Knowledge:
        """The same where pieces lie elsewhere by now."""
        if not moves:
            return self
        found = evolve(self, documents={}, contents={key: moves.get(ref, ref) for key, ref in self.contents.items()})
        for key, one in self.documents.items():
            run = (moves.get(one.run[0], one.run[0]), one.run[1]) if one.run else None
            found.documents[key] = evolve(one, ref=moves.get(one.ref, one.ref), run=run)
        return found

    @classmethod
    def of(cls, snapshot: VaultSnapshot, packs: Collection[int]) -> Knowledge:
        """What one snapshot tells, as far as it lies, with all that it builds on, in `packs`."""
        ground = _Ground(snapshot.shelf, packs)
        found = cls(snapshot=snapshot.info.id, identity=snapshot.manifest.identity.encode())
        if all(map(ground.bears, snapshot.manifested.dictionaries)):
            found.dictionaries = snapshot.manifested.dictionaries
        if ground.bears(snapshot.info.manifest):
            found.manifest = snapshot.info.manifest
        rows: dict[tuple[Kind, str], bytes] = {}
        for chunk in snapshot.manifested.rows:
            # Where rows are damaged no row is equal to a new one, and what they vouched for is read again.
            with contextlib.suppress(CorruptError):
                rows |= {(row.kind, row.id): row_hash(row) for row in snapshot.rows_of(chunk)}
            if ground.bears(chunk.ref) and (chunk.run is None or ground.bears(chunk.run)):
                found.rows[chunk.kind, chunk.first] = chunk
        for line in snapshot.manifested.documents:
            if ground.bears(line.ref) and (line.run is None or ground.bears(line.run[0])):
                reading = reading_of(line.read_at, line.flags, rows.get((line.kind, line.id), b""))
                known = KnownDocument(ref=line.ref, run=line.run, reading=reading, snapshot=snapshot.info.id)
                found.learn(line.kind, line.id, known)
        for good in snapshot.last_good:
            name = _name(good.kind, good.id)
            found.last_good[name] = (*found.last_good.get(name, ()), *good.snapshots)
        for ref in filter(ground.bears, snapshot.refs()):
            found.contents[bytes.fromhex(snapshot.shelf.piece(ref).sha256)] = ref
        return found


@frozen
class _Ground:
    """Which pieces may be built upon: those that lie, with all that they build on, in packs that will stay."""

    shelf: Shelf
    packs: Collection[int]
    _seen: dict[Ref, bool] = field(factory=dict, init=False)

    def bears(self, ref: Ref) -> bool:
        """Whether a piece is one."""
        line: list[Ref] = []
        current: Ref | None = ref
        found = True
        while current is not None:
            if current in self._seen:
                found = self._seen[current]
                break
            line.append(current)
            try:
                current = self.shelf.piece(current).base
            except PieceError:
                found = False
            if not found or line[-1].pack not in self.packs or len(line) > MAX_DEPTH + 2:
                found = False
                break
        self._seen.update(dict.fromkeys(line, found))
        return found


def reading_of(read_at: datetime, flags: str, row: bytes) -> Reading:
    """A reading as a manifest keeps it. `row`: the hash of the list row; empty, and equal to no other, without one."""
    return Reading(
        row_hash=row, read_at=read_at, settled=SETTLED in flags, bare=BARE in flags, with_secrets=SECRETS in flags
    )


def flags_of(reading: Reading) -> str:
    """What a manifest notes of a reading."""
    marks = ((SETTLED, reading.settled), (BARE, reading.bare), (SECRETS, reading.with_secrets))
    return "".join(mark for mark, applies in marks if applies)


def _name(kind: Kind, ident: str) -> bytes:
    return f"{kind.value}\n{ident.lower()}".encode()


@frozen
class Table:
    """The file in which a host keeps what it knows of one tenant in one encrypted vault."""

    folder: Path
    vault: str
    tenant: str

    @classmethod
    def of(cls, vault: str, tenant: str) -> Table:
        """In the user's state folder."""
        return cls(Path(platformdirs.user_state_dir("qlikmigrate")) / "vaults", vault, tenant)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.vault}-{self.tenant}.json"

    def read(self, packs: Mapping[int, str]) -> Knowledge:
        """What it tells. `packs`: sequence → SHA-256; what lies in a pack that is another one by now is forgotten.

        A table that is missing or damaged knows nothing: then everything is read and stored once more.
        """
        found = Knowledge(key=self._key())
        try:
            value = orjson.loads(self.path.read_bytes())
            if (value["format"], value["vault"], value["tenant"]) != (_FORMAT, self.vault, self.tenant):
                return found
            # One that was made with another key tells nothing, and must not seem to.
            if value["key"] != found.hide(_FORMAT.encode()).hex():
                return found
            told = {int(seq): sha for seq, sha in value["packs"].items()}
            there = {seq for seq, sha in told.items() if packs.get(seq, sha) == sha}
            found.snapshot = str(value["snapshot"])
            found.identity = bytes.fromhex(value["identity"])
            for key, columns in value["documents"].items():
                known = _known(columns, found.key, key)
                if known.ref.pack in there and (known.run is None or known.run[0].pack in there):
                    found.documents[bytes.fromhex(key)] = known
                else:
                    found.last_good[bytes.fromhex(key)] = (known.snapshot,)
            for key, text in value["contents"].items():
                ref = Ref.parse(text)
                if ref.pack in there:
                    found.contents[bytes.fromhex(key)] = ref
            for key, snapshots in value["last_good"].items():
                found.last_good[bytes.fromhex(key)] = tuple(map(str, snapshots))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Knowledge(key=found.key)
        return found

    def write(self, knowledge: Knowledge, packs: Mapping[int, str]) -> None:
        """Keep it for the next backup.

        Raises:
            UsageError: the folder cannot be written to.
        """
        refs = [one.ref for one in knowledge.documents.values()] + list(knowledge.contents.values())
        refs += [one.run[0] for one in knowledge.documents.values() if one.run]
        used = sorted({ref.pack for ref in refs})
        value = {
            "format": _FORMAT,
            "vault": self.vault,
            "tenant": self.tenant,
            "key": knowledge.hide(_FORMAT.encode()).hex(),
            "snapshot": knowledge.snapshot,
            "identity": knowledge.identity.hex(),
            "packs": {str(seq): packs[seq] for seq in used if seq in packs},
            "documents": {
                key.hex(): _columns(one, knowledge.key, key.hex()) for key, one in knowledge.documents.items()
            },
            "contents": {key.hex(): str(ref) for key, ref in knowledge.contents.items()},
            "last_good": {key.hex(): snapshots for key, snapshots in knowledge.last_good.items()},
        }
        private_folder(self.folder)
        write_atomic(self.path, orjson.dumps(value))

    def _key(self) -> bytes:
        """The host's own key for this vault, made when it is first asked for."""
        path = self.folder / f"{self.vault}.key"
        try:
            key = path.read_bytes()
        except OSError:
            key = b""
        if len(key) != _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            private_folder(self.folder)
            write_atomic(path, key)
        return key


def _columns(one: KnownDocument, key: bytes, name: str) -> list[Any]:
    run = f"{one.run[0]}#{one.run[1]}" if one.run else ""
    row = _veil(one.reading.row_hash, key, name).hex()
    return [str(one.ref), run, rfc3339(one.reading.read_at), flags_of(one.reading), row, one.snapshot]


def _known(columns: Iterable[Any], key: bytes, name: str) -> KnownDocument:
    ref, run, read_at, flags, row, snapshot = columns
    place, _, number = run.partition("#")
    return KnownDocument(
        ref=Ref.parse(ref),
        run=(Ref.parse(place), int(number)) if run else None,
        reading=reading_of(datetime.fromisoformat(read_at), flags, _veil(bytes.fromhex(row), key, name)),
        snapshot=snapshot,
    )


def _veil(row: bytes, key: bytes, name: str) -> bytes:
    """The hash of a row as the table keeps it, and back: without the key nobody can try what the row may have said."""
    pad = hmac.digest(key, b"row\n" + name.encode(), "sha256")
    return bytes(one ^ other for one, other in zip(row, pad, strict=False))
