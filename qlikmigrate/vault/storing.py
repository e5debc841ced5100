"""One snapshot stored: its pieces into packs, then its manifest, then its head. The lock of the vault is held."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from qlikmigrate.archive.codec import DICTIONARY_MAX_DOCUMENTS, Codec, train
from qlikmigrate.archive.layout import RowEntry, RunEntry, RunForm, dump, join_cuts, join_rows
from qlikmigrate.archive.spool import Key, Slot
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.kernel.event import Log
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import row_hash
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.vault.catalog import SnapshotInfo, newest
from qlikmigrate.vault.form import (
    SETTLED,
    DocumentLine,
    DocumentMeta,
    Manifested,
    RowsLine,
    RowsMeta,
    needs_of,
    write_manifest,
    write_record,
)
from qlikmigrate.vault.known import Knowledge, KnownDocument, Table, flags_of, reading_of
from qlikmigrate.vault.last_good import find_last_good, made_at
from qlikmigrate.vault.name import Begun, Ref
from qlikmigrate.vault.pack import What
from qlikmigrate.vault.press import Press, Pressed
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.stream import PackStream

if TYPE_CHECKING:
    from qlikmigrate.vault.writer import VaultWriter

# Read together with the one that is asked for.
_RUNS_TOGETHER = 16
# Rows that lie together: about so many bytes, cut where the ids say so, so that a new row moves no other. In an
# encrypted vault less, since a group is stored whole when a row in it changes.
_ROWS_BYTES = 96 * 1024
_SEALED_ROWS_BYTES = 8 * 1024
_ROWS_LONGEST = 8
# A dictionary of its own takes as much room in an encrypted pack as it saves on so many documents.
_WORTH_A_DICTIONARY = 40


@frozen(kw_only=True)
class _Work:
    """A record to store: `text`, or what lies in the spool. `base`: what it may build on; `version`: its number."""

    what: What
    kind: Kind
    ident: str
    text: bytes | None = field(default=None, repr=False)
    slot: Slot | None = None
    base: Ref | None = None
    version: int = 0


class Storing:
    """One `finish`, under the lock. `run` does it."""

    def __init__(self, writer: VaultWriter, stream: PackStream, manifest: Manifest, capture: Capture) -> None:
        self._writer = writer
        self._vault = writer.vault
        self._stream = stream
        self._manifest = evolve(manifest, counts=dict(sorted(manifest.counts.items())))
        self._capture = capture
        self._known = writer.knowledge
        self._spool = writer.spool
        self._sealed = self._vault.encrypted
        self._id = secrets.token_hex(8)
        self._dictionary: bytes | None = None
        self._dictionaries: tuple[Ref, ...] = ()
        self._press: Press | None = None
        self._press_with: bytes | None = None
        self._contents: dict[str, Ref] = {}
        self._rows: dict[tuple[Kind, str], bytes] = {}

    def run(self) -> SnapshotInfo:
        """Store everything; the snapshot as it is listed from now on."""
        self._forget_begun({info.id for info in self._vault.catalog.snapshots})
        begun = str(Begun(self._id, self._vault.clock.now()))
        self._vault.store.create(begun, b"")
        slots = self._spool.slots
        details = sorted(key for key in slots if key[0] is Part.DETAIL)
        self._learn_dictionary(details)
        documents = self._store_documents(details)
        rows = self._store_rows()
        documents += [
            DocumentLine(
                kind=kind, id=ident, ref=one.ref, run=one.run, read_at=one.reading.read_at, flags=flags_of(one.reading)
            )
            for (kind, ident), one in self._writer.reused.items()
        ]
        documents = [self._as_vouched(line) for line in documents]
        unread = [(note.kind, note.id) for note in (*self._manifest.unreadable, *self._manifest.missing)]
        since = {name: made_at(self._spool, *name) for name in unread}
        last_good = find_last_good(self._vault, self._known, self._writer.tenant, since)
        manifested = Manifested(
            id=self._id,
            tenant=self._writer.tenant,
            vault=self._vault.id,
            head=self._manifest,
            capture=self._capture,
            dictionaries=self._dictionaries,
            documents=tuple(sorted(documents, key=lambda line: (line.kind, line.id))),
            rows=tuple(rows),
            last_good=last_good,
        )
        text = write_manifest(manifested)
        base = self._known.manifest
        work = self._work(What.MANIFEST, Kind.TENANT, self._id, text, base)
        (place,) = self._store([work])
        self._stream.flush()
        info = self._publish(manifested, place, needs_of(last_good))
        # The snapshot is there: whatever fails from here on takes nothing from it.
        with contextlib.suppress(QlikmigrateError):
            self._vault.store.delete(begun)
        try:
            self._keep_table(manifested)
        except QlikmigrateError as error:
            told = f"{error.message}; the next backup of this vault may have to read and store everything again"
            self._writer.sink(Log(message=told, level="warning"))
        return info

    def _forget_begun(self, stored: Collection[str]) -> None:
        """A writer that was killed right after its head left a mark that would hide the loss of that head."""
        # Where nothing can be deleted they all stay, and one try tells.
        with contextlib.suppress(QlikmigrateError):
            for one in self._vault.catalog.begun:
                if one.id in stored:
                    self._vault.store.delete(str(one))

    # Pieces

    def _learn_dictionary(self, details: Sequence[Key]) -> None:
        if self._known.dictionaries:
            with contextlib.suppress(PieceError):
                self._dictionary = self._vault.shelf.content(self._known.dictionaries[0])
                self._dictionaries = self._known.dictionaries
                return
        if self._sealed and sum(not self._is_vouched(key) for key in details) < _WORTH_A_DICTIONARY:
            return
        learned = [self._spool.slots[key] for key in details[:DICTIONARY_MAX_DOCUMENTS]]
        self._dictionary = train(map(self._spool.content, learned), [slot.size for slot in learned])

    def _is_vouched(self, key: Key) -> bool:
        """Whether its row says that a document is one that the vault has, although it was read again."""
        known = self._known.document(key[1], key[2])
        reading = self._writer.readings.get((key[1], key[2]))
        return known is not None and reading is not None and known.reading.row_hash == reading.row_hash

    def _dictionary_place(self) -> Ref | None:
        """Where the dictionary is for the piece that is stored next; in an encrypted vault in the same pack."""
        if self._dictionary is None:
            return None
        if self._sealed:
            return self._stream.dictionary(self._dictionary)
        if not self._dictionaries:
            self._dictionaries = self._stream.two_dictionaries(self._dictionary)
        return self._dictionaries[0]

    def _work(
        self, what: What, kind: Kind, ident: str, text: bytes | None, base: Ref | None, slot: Slot | None = None
    ) -> _Work:
        """A record to store, with the earlier version that it may build on."""
        size = len(text) if text is not None else slot.size if slot else 0
        found = None
        if base is not None and not self._sealed:
            # What is damaged is not built upon.
            with contextlib.suppress(PieceError):
                found = self._vault.shelf.base_for(base, size)
        place, version = found or (None, 0)
        return _Work(what=what, kind=kind, ident=ident, text=text, slot=slot, base=place, version=version)

    def _store(self, works: Iterable[_Work]) -> Iterator[Ref]:
        """Store records, in order; where each lies."""
        if self._press is None or self._press_with is not self._dictionary:
            self._press, self._press_with = Press(self._dictionary), self._dictionary
        for work, pressed in self._press.run(works, self._content, base=self._base, is_stored=self._is_stored):
            yield self._place(work, pressed)

    def _content(self, work: _Work, codec: Codec) -> bytes:
        if work.text is not None:
            return work.text
        assert work.slot is not None
        meta = DocumentMeta(kind=work.kind, id=work.ident, cuts=work.slot.cuts)
        return write_record(meta, self._spool.content(work.slot, codec))

    def _base(self, work: _Work) -> bytes | None:
        with contextlib.suppress(PieceError):
            return self._vault.shelf.content(work.base) if work.base else None
        return None

    def _is_stored(self, digest: str) -> bool:
        """Whether the vault has that content, whole: what is damaged there is stored again while it is at hand."""
        place = self._known.content(digest)
        if place is None or self._sealed:
            return place is not None
        try:
            self._vault.shelf.content(place)
        except PieceError:
            return False
        return True

    def _place(self, work: _Work, pressed: Pressed) -> Ref:
        known = self._contents.get(pressed.sha256)
        if known is None and pressed.frame is None:
            known = self._known.content(pressed.sha256)
        if known is not None:
            self._contents[pressed.sha256] = known
            return known
        assert pressed.frame is not None
        base = self._dictionary_place() if pressed.whole else work.base
        ref = self._stream.add(
            work.what,
            pressed.frame,
            size=pressed.size,
            digest=pressed.sha256,
            kind=work.kind.value,
            ident=work.ident,
            base=base,
            version=0 if pressed.whole else work.version,
        )
        self._contents[pressed.sha256] = ref
        return ref

    # Documents and rows

    def _store_documents(self, details: Sequence[Key]) -> list[DocumentLine]:
        spool = self._spool

        def works() -> Iterator[_Work]:
            for key in details:
                known = self._known.document(key[1], key[2])
                base = known.ref if known else None
                yield self._work(What.DOCUMENT, key[1], key[2], None, base, spool.slots[key])

        places = list(self._store(works()))
        readings = self._writer.readings
        lines: list[DocumentLine] = []
        for first in range(0, len(details), _RUNS_TOGETHER):
            keys = details[first : first + _RUNS_TOGETHER]
            entries = [spool.run(spool.slots[key]) for key in keys]
            before = self._known.document(keys[0][1], keys[0][2])
            run = self._store_run(entries, before.run[0] if before and before.run else None)
            for number, (key, entry) in enumerate(zip(keys, entries, strict=True)):
                _, kind, ident = key
                lines.append(
                    DocumentLine(
                        kind=kind,
                        id=ident,
                        ref=places[first + number],
                        run=(run, number) if run is not None and entry.cuts else None,
                        read_at=(entry.read_at or self._capture.finished_at).replace(microsecond=0),
                        flags=flags_of(reading) if (reading := readings.get((kind, ident))) else "",
                    )
                )
        return lines

    def _store_run(self, entries: Sequence[RunEntry], base: Ref | None = None) -> Ref | None:
        """Run data that belongs together; None where there is none."""
        if not any(one.cuts for one in entries):
            return None
        form = RunForm(first=0, documents=tuple(evolve(one, read_at=None) for one in entries))
        (place,) = self._store([self._work(What.RUN, Kind.TENANT, "", dump(form), base)])
        return place

    def _store_rows(self) -> list[RowsLine]:
        lines = []
        rows = sorted(key for key in self._spool.slots if key[0] is Part.ROW)
        for keys in _together(rows, self._spool.slots, _SEALED_ROWS_BYTES if self._sealed else _ROWS_BYTES):
            slots = [self._spool.slots[key] for key in keys]
            kind, first = keys[0][1], keys[0][2]
            raws = [self._spool.content(slot) for slot in slots]
            entries = [self._spool.run(slot) for slot in slots]
            for key, slot, raw in zip(keys, slots, raws, strict=True):
                row = Document(kind=kind, id=key[2], part=Part.ROW, raw=raw, cuts=join_cuts(slot.cuts, ()))
                self._rows[kind, key[2]] = row_hash(row)
            meta = RowsMeta(
                kind=kind,
                rows=tuple(
                    RowEntry(id=key[2], size=slot.size, cuts=slot.cuts) for key, slot in zip(keys, slots, strict=True)
                ),
            )
            earlier = self._known.rows.get((kind, first))
            text = write_record(meta, join_rows(raws))
            (place,) = self._store([self._work(What.ROWS, kind, first, text, earlier.ref if earlier else None)])
            read_at = max((one.read_at for one in entries if one.read_at), default=self._capture.finished_at)
            lines.append(
                RowsLine(
                    kind=kind,
                    first=first,
                    ref=place,
                    run=self._store_run(entries, earlier.run if earlier else None),
                    read_at=read_at.replace(microsecond=0),
                )
            )
        return lines

    def _as_vouched(self, line: DocumentLine) -> DocumentLine:
        """A document that was read with another row than the one stored here is vouched for by none."""
        reused = self._writer.reused.get((line.kind, line.id))
        reading = reused.reading if reused else self._writer.readings.get((line.kind, line.id))
        if reading is None or reading.row_hash == self._rows.get((line.kind, line.id)):
            return line
        return evolve(line, flags=line.flags.replace(SETTLED, ""))

    # The end

    def _publish(self, manifested: Manifested, place: Ref, needs: tuple[str, ...]) -> SnapshotInfo:
        vault = self._vault
        # Whoever took the lock over may have tidied away what this builds on.
        self._stream.lock.check()
        vault.shelf.refresh()
        refs = [place, *manifested.refs()]
        # Frames of an encrypted vault build on nothing outside their pack, and cannot be looked into here.
        try:
            packs = frozenset(ref.pack for ref in refs) if self._sealed else vault.shelf.reach(refs)
        except PieceError as error:
            raise vault.shelf.corrupt(error) from None
        return vault.publish(manifested, place, packs, needs=needs, partial=self._manifest.selection is not None)

    def _keep_table(self, manifested: Manifested) -> None:
        """What the next backup of an encrypted vault goes by."""
        last = newest(self._vault.catalog.snapshots, self._writer.tenant)
        if not self._sealed or last is None or last.id != self._id:
            # A selection, or an older snapshot that is taken in, is nothing that the next backup could go by.
            return
        known = self._known
        identity = known.hide(self._writer.identity.encode())
        table = Knowledge(key=known.key, snapshot=self._id, identity=identity)
        for line in manifested.documents:
            row = self._rows.get((line.kind, line.id), b"")
            table.learn(
                line.kind,
                line.id,
                KnownDocument(
                    ref=line.ref,
                    run=line.run,
                    reading=reading_of(line.read_at, line.flags, row),
                    snapshot=self._id,
                ),
            )
        for good in manifested.last_good:
            name = known.named(good.kind, good.id)
            table.last_good[name] = (*table.last_good.get(name, ()), *good.snapshots)
        present = {ref for line in manifested.documents for ref in (line.ref, *((line.run[0],) if line.run else ()))}
        present |= {line.ref for line in manifested.rows} | {line.run for line in manifested.rows if line.run}
        table.contents = {key: ref for key, ref in known.contents.items() if ref in present}
        table.contents |= {
            known.hide(bytes.fromhex(digest)): ref for digest, ref in self._contents.items() if ref in present
        }
        packs = {sequence: name.sha256 for sequence, (name, _) in self._vault.shelf.packs.items()}
        Table.of(self._vault.id, self._writer.tenant).write(table, packs)


def _together(keys: Sequence[Key], slots: Mapping[Key, Slot], about_bytes: int) -> Iterator[list[Key]]:
    """Rows in groups of one kind. Where a group ends depends on the row there alone: elsewhere nothing moves."""
    group: list[Key] = []
    size = 0
    for key in keys:
        if group and (group[0][1] is not key[1] or size >= _ROWS_LONGEST * about_bytes):
            yield group
            group, size = [], 0
        group.append(key)
        size += slots[key].size
        share = int.from_bytes(hashlib.sha256(key[2].encode()).digest()[:4], "big") / 2**32
        if share * about_bytes < slots[key].size:
            yield group
            group, size = [], 0
    if group:
        yield group
