"""Contents made into frames, on threads: as what differs from an earlier version, or whole, whichever is smaller."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from attrs import field, frozen

from qlikmigrate.archive.codec import LEVEL, Codec, press_delta
from qlikmigrate.kernel.ahead import ahead
from qlikmigrate.vault.name import sha256

_THREADS = 2
_AHEAD = 8
# A delta that takes more than this part of the content is held against a whole frame.
_POOR_DELTA = 4

W = TypeVar("W")


@frozen(kw_only=True)
class Pressed:
    """A content as a frame. `whole`: it needs no earlier version, but the dictionary where there is one.

    `frame` is None where nobody needs it: the content is stored already.
    """

    sha256: str
    size: int
    frame: bytes | None = field(default=None, repr=False)
    whole: bool = True


class Press:
    """Makes frames with one dictionary, or none. `level`: of whole frames."""

    def __init__(self, dictionary: bytes | None, *, level: int = LEVEL) -> None:
        self._codecs: queue.SimpleQueue[tuple[Codec, Codec]] = queue.SimpleQueue()
        for _ in range(_THREADS):
            self._codecs.put((Codec.spool(), Codec(dictionary, level=level)))

    def run(
        self,
        works: Iterable[W],
        content: Callable[[W, Codec], bytes],
        *,
        base: Callable[[W], bytes | None] = lambda _: None,
        is_stored: Callable[[str], bool] = lambda _: False,
    ) -> Iterator[tuple[W, Pressed]]:
        """Each work with its frame, in order.

        `content` gives a work's content, `base` an earlier version to build on, or None. `is_stored` tells by SHA-256
        what needs no frame. All are called on threads, `content` with a codec for what lies in a spool.
        """

        def press(work: W) -> tuple[W, Pressed]:
            reading, writing = pair = self._codecs.get()
            try:
                text = content(work, reading)
                digest = sha256(text)
                if is_stored(digest):
                    return work, Pressed(sha256=digest, size=len(text))
                frame, whole = _frame(text, base(work), writing)
                return work, Pressed(sha256=digest, size=len(text), frame=frame, whole=whole)
            finally:
                self._codecs.put(pair)

        return ahead(press, works, threads=_THREADS, depth=_AHEAD)


def _frame(text: bytes, base: bytes | None, codec: Codec) -> tuple[bytes, bool]:
    if base is None:
        return codec.compress(text), True
    delta = press_delta(text, base)
    if len(delta) * _POOR_DELTA <= len(text):
        return delta, False
    whole = codec.compress(text)
    return (delta, False) if len(delta) < len(whole) else (whole, True)
