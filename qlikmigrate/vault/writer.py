"""A snapshot's way into a vault: only what is new is stored, and its head, which makes it visible, comes last."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from qlikmigrate.archive.layout import MAX_DOCUMENT_BYTES
from qlikmigrate.archive.spool import Spool
from qlikmigrate.kernel.error import FailedError, LockedError
from qlikmigrate.kernel.event import Sink, discard
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.earlier import Reading
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.known import Knowledge, KnownDocument
from qlikmigrate.vault.shelf import PieceError
from qlikmigrate.vault.storing import Storing
from qlikmigrate.vault.stream import PackStream

if TYPE_CHECKING:
    from qlikmigrate.vault.vault import Vault


class VaultWriter:
    """Writes one snapshot into a vault. Implements `SnapshotWriter`.

    What is added waits in a file without a name; `finish` takes the lock, stores what is new and then the head.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        spool_folder: Path | None = None,
        sink: Sink = discard,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.vault = vault
        self.sink = sink
        self._watch = watch
        folder = spool_folder or Path(tempfile.gettempdir())
        try:
            self._spool: Spool | None = Spool(folder)
        except OSError as error:
            raise FailedError(f"cannot write to {folder}: {error.strerror}", code="no-access") from None
        self.readings: dict[tuple[Kind, str], Reading] = {}
        self.reused: dict[tuple[Kind, str], KnownDocument] = {}
        self.tenant = ""
        self.identity = ""
        self.knowledge = Knowledge()
        self._seen: object = None
        self.info: SnapshotInfo | None = None
        self.stored_bytes = 0

    def __enter__(self) -> VaultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abandon()

    # SnapshotWriter

    def add(self, document: Document) -> None:
        """Take a document. A later one with the same kind, id and part takes its place.

        Raises:
            FailedError: the disk is full, or the document is too large.
        """
        if len(document.raw) > MAX_DOCUMENT_BYTES:
            limit = MAX_DOCUMENT_BYTES >> 20
            raise FailedError(f"{document.kind} `{document.id}` is larger than {limit} MiB", code="document-too-large")
        try:
            self._open_spool().put(document)
        except OSError as error:
            raise FailedError(f"cannot write a temporary file: {error.strerror}", code="cannot-write") from None
        except ValueError:
            raise FailedError("a text is no Unicode", code="not-storable") from None
        if document.part is Part.DETAIL:
            self.reused.pop((document.kind, document.id), None)

    def discard(self, kind: Kind, ident: str, part: Part | None = None) -> None:
        """Forget one part of an object, or all of it."""
        for one in (part,) if part else Part:
            self._open_spool().drop((one, kind, ident))
        if part is not Part.ROW:
            self.reused.pop((kind, ident), None)

    def abandon(self) -> None:
        """Leave nothing behind. After `finish` it does nothing."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def finish(self, manifest: Manifest, capture: Capture) -> None:
        """Store what is new, then the head.

        Raises:
            LockedError: another writer holds the vault, or it was tidied while the snapshot was taken.
            FailedError: the store cannot be written to.
        """
        vault = self.vault
        if not self.tenant:
            self.begin(manifest.tenant, manifest.identity)
        try:
            with vault.lock(sink=self.sink, watch=self._watch) as lock:
                self._look_again()
                stream = PackStream(vault.store, vault.id, vault.next_sequence(), lock, vault.sealing)
                self.info = Storing(self, stream, manifest, capture).run()
                self.stored_bytes = stream.stored_bytes
        finally:
            self.abandon()
        vault.refresh()

    # Earlier

    def begin(self, tenant: TenantFacts, identity: str) -> None:
        """Look up what the vault knows of a tenant, as `identity` saw it."""
        self.vault.refresh()
        self.tenant = self.vault.tag(tenant.id)
        self.identity = identity
        self._look()

    def known(self, kind: Kind, ident: str) -> Reading | None:
        """The reading behind the document that the newest snapshot holds."""
        known = self.knowledge.document(kind, ident)
        return known.reading if known and self.knowledge.is_of(self.identity) else None

    def remember(self, kind: Kind, ident: str, reading: Reading) -> None:
        """The document that was added was read like this."""
        self.readings[kind, ident] = reading

    def reuse(self, kind: Kind, ident: str) -> None:
        """The snapshot takes over the document that is known."""
        known = self.knowledge.document(kind, ident)
        if known is None:
            raise ValueError(f"no {kind} `{ident}` is known")
        self._open_spool().drop((Part.DETAIL, kind, ident))
        self.reused[kind, ident] = known

    def carry(self, kind: Kind, ident: str) -> None:
        """It could not be had: nothing to do now, since the manifest will say so, and its last version is looked up."""

    def _look(self) -> None:
        self._seen = (self.vault.catalog, self.vault.shelf.packs)
        self.knowledge = self.vault.knowledge(self.tenant)

    def _look_again(self) -> None:
        """Others may have written to the vault, or tidied it, since it was looked up.

        Raises:
            LockedError: what is taken over is gone, or about to go.
        """
        self.vault.refresh()
        if self._seen == (self.vault.catalog, self.vault.shelf.packs):
            return
        self._look()
        for (kind, ident), before in self.reused.items():
            now = self.knowledge.document(kind, ident)
            if now is not None and now.reading == before.reading:
                self.reused[kind, ident] = now
            elif not self._stays(before):
                raise LockedError(
                    "the vault was tidied while the snapshot was taken",
                    hint="run the backup again",
                    code="vault-changed",
                )

    def _stays(self, known: KnownDocument) -> bool:
        """Whether a document lies where it was known to, and will."""
        refs = [known.ref, *((known.run[0],) if known.run else ())]
        vault = self.vault
        try:
            needed = frozenset(ref.pack for ref in refs) if vault.encrypted else vault.shelf.reach(refs)
        except PieceError:
            return False
        return needed <= vault.shelf.packs.keys() - vault.catalog.marked

    def _open_spool(self) -> Spool:
        if self._spool is None:
            raise RuntimeError("the snapshot is finished or abandoned")
        return self._spool

    @property
    def spool(self) -> Spool:
        """What was added."""
        return self._open_spool()
