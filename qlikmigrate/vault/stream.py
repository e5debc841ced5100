"""New packs of one writing: pieces go in one after the other; a pack that is full is stored, and stays as it is."""

from __future__ import annotations

from qlikmigrate.archive.codec import Codec
from qlikmigrate.vault.lock import Lock
from qlikmigrate.vault.name import PackName, Ref, sha256
from qlikmigrate.vault.pack import MAX_PACK_BYTES, PackBuilder, What
from qlikmigrate.vault.sealing import Sealing
from qlikmigrate.vault.store import Store


class PackStream:
    """Writes packs from a sequence number on. Whoever writes holds the lock, which is looked at before each pack.

    `lock`: that one. `written`: the packs stored so far, by sequence number. `stored_bytes`: their size.
    """

    def __init__(self, store: Store, vault_id: str, sequence: int, lock: Lock, sealing: Sealing | None) -> None:
        self._store = store
        self._vault_id = vault_id
        self.lock = lock
        self._sealing = sealing
        self._builder = PackBuilder(vault_id, sequence)
        self._dictionary: Ref | None = None
        self.written: dict[int, PackName] = {}
        self.stored_bytes = 0

    @property
    def sequence(self) -> int:
        """The number of the pack that the next piece goes into."""
        full = self._builder.size_bytes >= MAX_PACK_BYTES
        return self._builder.sequence + (1 if full else 0)

    def add(
        self,
        what: What,
        frame: bytes,
        *,
        size: int,
        digest: str,
        kind: str = "",
        ident: str = "",
        base: Ref | None = None,
        version: int = 0,
    ) -> Ref:
        """Store a piece; where it is to be found. `digest`, `size`: of its content."""
        if self._builder.size_bytes >= MAX_PACK_BYTES:
            self.flush()
        return self._builder.add(what, frame, size=size, sha256=digest, kind=kind, id=ident, base=base, version=version)

    def dictionary(self, content: bytes) -> Ref:
        """The place of a dictionary in the pack that the next piece goes into: it is put there once."""
        if self._builder.size_bytes >= MAX_PACK_BYTES:
            self.flush()
        if self._dictionary is None or self._dictionary.pack != self._builder.sequence:
            frame = Codec().compress(content)
            self._dictionary = self.add(What.DICTIONARY, frame, size=len(content), digest=sha256(content))
        return self._dictionary

    def two_dictionaries(self, content: bytes) -> tuple[Ref, Ref]:
        """The places of a dictionary that a whole vault needs: in the next pack, and in one of its own before it."""
        spare = self.dictionary(content)
        self.flush()
        return self.dictionary(content), spare

    def flush(self) -> None:
        """Store what there is.

        Raises:
            LockedError: the lock is somebody else's by now; nothing more is written.
        """
        if not self._builder.pieces:
            return
        self.lock.check()
        data = self._builder.finish()
        if self._sealing is not None:
            data = self._sealing.seal(data)
        name = PackName(self._builder.sequence, sha256(data))
        self._store.create(str(name), data)
        self.written[name.sequence] = name
        self.stored_bytes += len(data)
        self._builder = PackBuilder(self._vault_id, name.sequence + 1)
