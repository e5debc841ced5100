"""Parts of a far-away store's packs, read block by block: what lies together is asked for once, what is known to be
wanted many at a time. A pack never changes, so what was read stays true."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.vault.store import Store

_BLOCK_BYTES = 256 * 1024
_KEPT_BYTES = 32 * 1024 * 1024
# Longer ones are asked for as they are.
_LONG_BYTES = 4 * _BLOCK_BYTES


class Blocks:
    """The blocks that were read last. Threads may read at the same time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0

    def read(self, name: str, offset: int, length: int) -> bytes:
        """As `Store.read`.

        Raises:
            ObjectMissingError: there is no such object.
        """
        if length > _LONG_BYTES or length == 0:
            return self._store.read(name, offset, length)
        first, last = offset // _BLOCK_BYTES, (offset + length - 1) // _BLOCK_BYTES
        start = offset - first * _BLOCK_BYTES
        return b"".join(self._block(name, number) for number in range(first, last + 1))[start : start + length]

    def fetch(self, packs: Iterable[tuple[str, int]]) -> None:
        """Get the last blocks of packs, which hold their indexes, all at once. Of each: its name and size.

        So many that they would push each other out are not: then each is read when it is wanted. What goes wrong is
        told when somebody reads.
        """
        wanted = {(name, max(size - 1, 0) // _BLOCK_BYTES): size for name, size in packs}
        with self._lock:
            missing = [one for one in wanted if one not in self._kept]
        size = sum(size - number * _BLOCK_BYTES for (_, number), size in wanted.items())
        if not missing or size > _KEPT_BYTES // 2:
            return

        def get(one: tuple[str, int]) -> None:
            with suppress(QlikmigrateError):
                self._block(*one)

        with ThreadPoolExecutor(min(self._store.reads_at_once, len(missing)), thread_name_prefix="fetch") as pool:
            list(pool.map(get, missing))

    def _block(self, name: str, number: int) -> bytes:
        key = (name, number)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        found = self._store.read(name, number * _BLOCK_BYTES, _BLOCK_BYTES)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._size += len(found)
            while self._size > _KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found
