"""Frames and dictionaries of zstd: the only place that knows the library. Same input, same libzstd, same bytes.

A frame always declares its content size and carries a checksum; nothing is decompressed before the size is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import zstandard

LEVEL = 9
# For what is kept for years and seldom made: the first versions when a vault is written anew.
THOROUGH_LEVEL = 19
# A hundredth larger than level 19, in a tenth of its time.
DELTA_LEVEL = 12
DICTIONARY_BYTES = 256 * 1024
DICTIONARY_MIN_DOCUMENTS = 20
DICTIONARY_MAX_DOCUMENTS = 500
SAMPLE_TOTAL_BYTES = 16 * 1024 * 1024
SAMPLE_SEGMENT_BYTES = 32 * 1024
MAX_CONTENT_BYTES = 512 * 1024 * 1024
"""Nothing larger is ever put into one frame: what declares more was made to fill the memory."""

# The spool is read once and thrown away: twice the size of level 1 or so, in half the time.
_SPOOL_LEVEL = -5
_USUAL_DOCUMENT_BYTES = 32 * 1024


class FrameError(ValueError):
    """A frame is damaged, lies about its size, or needs another dictionary."""


def library_version() -> str:
    """The version of libzstd that compresses."""
    return ".".join(map(str, zstandard.ZSTD_VERSION))


class Codec:
    """Compresses to and decompresses from single frames, with one dictionary or none. For one thread at a time."""

    def __init__(self, dictionary: bytes | None = None, *, level: int = LEVEL) -> None:
        self._level = level
        self._dictionary = None if dictionary is None else zstandard.ZstdCompressionDict(dictionary)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=self._dictionary)

    @cached_property
    def _compressor(self) -> zstandard.ZstdCompressor:
        if self._dictionary is None:
            return zstandard.ZstdCompressor(level=self._level, write_checksum=True, write_content_size=True)
        if self._level > LEVEL:
            return self._thorough(self._dictionary)
        # The level's own tables would be copied for each document, 8 MiB at a time: these are an eighth of it or less
        # and cost two thousandths of the size. With the window forced, libzstd copies them for short documents too,
        # which is faster than searching dictionary and document apart.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self._level,
            source_size=_USUAL_DOCUMENT_BYTES,
            dict_size=len(self._dictionary),
            hash_log=17,
            chain_log=17,
            window_log=22,
            force_max_window=True,
            write_checksum=True,
            write_content_size=True,
            write_dict_id=True,
        )
        self._dictionary.precompute_compress(compression_params=parameters)
        return zstandard.ZstdCompressor(dict_data=self._dictionary, compression_params=parameters)

    def _thorough(self, dictionary: zstandard.ZstdCompressionDict) -> zstandard.ZstdCompressor:
        """With the tables that the level asks for: a seventh smaller at level 19, at ten times the time."""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self._level,
            source_size=_USUAL_DOCUMENT_BYTES,
            dict_size=len(dictionary),
            write_checksum=True,
            write_content_size=True,
            write_dict_id=True,
        )
        dictionary.precompute_compress(compression_params=parameters)
        return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)

    @classmethod
    def spool(cls) -> Codec:
        """A fast one for what is soon compressed again."""
        return cls(level=_SPOOL_LEVEL)

    @staticmethod
    def needs_dictionary(frame: bytes) -> bool:
        """Whether a frame was made with a dictionary."""
        try:
            return bool(zstandard.get_frame_parameters(frame).dict_id)
        except zstandard.ZstdError:
            return False

    def compress(self, content: bytes) -> bytes:
        """One frame."""
        return self._compressor.compress(content)

    def decompress(self, frame: bytes, *, size_bytes: int) -> bytes:
        """The content of one frame that must declare and hold `size_bytes`, and be followed by nothing.

        Raises:
            FrameError: it does not.
        """
        return _content(self._decompressor, frame, size_bytes)


def press_delta(content: bytes, base: bytes) -> bytes:
    """One frame that holds what differs from `base`, an earlier version of `content`."""
    # Without both sizes libzstd chooses tables for short texts and finds a fraction of what is the same.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        DELTA_LEVEL,
        source_size=len(content),
        dict_size=len(base),
        write_checksum=True,
        write_content_size=True,
    )
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(content)


def apply_delta(frame: bytes, base: bytes, *, size_bytes: int) -> bytes:
    """The inverse of `press_delta`; the content must be of `size_bytes`.

    Raises:
        FrameError: it is not, the frame is damaged, or was made from another base.
    """
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return _content(zstandard.ZstdDecompressor(dict_data=dictionary), frame, size_bytes)


def _content(decompressor: zstandard.ZstdDecompressor, frame: bytes, size_bytes: int) -> bytes:
    declared = declared_size(frame)
    if declared != size_bytes:
        raise FrameError(f"declares {declared} bytes instead of {size_bytes}")
    if declared > MAX_CONTENT_BYTES:
        raise FrameError(f"declares {declared} bytes, which is more than any frame may hold")
    try:
        content = decompressor.decompress(frame, read_across_frames=False, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from None
    if len(content) != size_bytes:
        raise FrameError(f"holds {len(content)} bytes instead of {size_bytes}")
    return content


def declared_size(frame: bytes) -> int:
    """The content size that a frame's header declares.

    Raises:
        FrameError: it is no frame, declares no size, or lacks the checksum.
    """
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from None
    if parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        raise FrameError("declares no content size")
    if not parameters.has_checksum:
        raise FrameError("has no checksum")
    return parameters.content_size


def samples(documents: Iterable[bytes], sizes: Sequence[int]) -> list[bytes]:
    """What a dictionary learns from: segments of each document at even distances, in all about 16 MiB at most.

    So training takes a fifth of a second, however long the documents are; of them, one at a time is held.
    `sizes`: of the documents, bytes.
    """
    if sum(sizes) <= SAMPLE_TOTAL_BYTES:
        return list(documents)
    count = max(1, SAMPLE_TOTAL_BYTES // SAMPLE_SEGMENT_BYTES // len(sizes))
    taken = []
    for document in documents:
        if len(document) <= count * SAMPLE_SEGMENT_BYTES:
            taken.append(document)
            continue
        room = len(document) - SAMPLE_SEGMENT_BYTES
        starts = [room * index // max(1, count - 1) for index in range(count)]
        taken += [document[start : start + SAMPLE_SEGMENT_BYTES] for start in starts]
    return taken


def train(documents: Iterable[bytes], sizes: Sequence[int]) -> bytes | None:
    """A dictionary for documents like these, of `sizes` bytes; None where they are too few or too small to learn from.

    Fixed parameters instead of a search: a search costs seconds and gains less than two per cent.
    """
    if len(sizes) < DICTIONARY_MIN_DOCUMENTS:
        return None
    try:
        taken: list[bytes | bytearray | memoryview[int]] = list(samples(documents, sizes))
        return zstandard.train_dictionary(
            DICTIONARY_BYTES, taken, k=1536, d=8, accel=10, level=LEVEL, threads=0
        ).as_bytes()
    except zstandard.ZstdError:
        return None
