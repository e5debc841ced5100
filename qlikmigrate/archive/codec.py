"""Frames and dictionaries of zstd: the only place that knows the library. Same input, same libzstd, same bytes.

A frame always declares its content size and carries a checksum; nothing is decompressed before the size is checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import zstandard

LEVEL = 9
DICTIONARY_BYTES = 256 * 1024
DICTIONARY_MIN_DOCUMENTS = 20
DICTIONARY_MAX_DOCUMENTS = 500
SAMPLE_TOTAL_BYTES = 8 * 1024 * 1024

# The spool is read once and thrown away.
_SPOOL_LEVEL = 1


class FrameError(ValueError):
    """A frame is damaged, lies about its size, or needs another dictionary."""


def library_version() -> str:
    """The version of libzstd that compresses."""
    return ".".join(map(str, zstandard.ZSTD_VERSION))


class Codec:
    """Compresses to and decompresses from single frames, with one dictionary or none."""

    def __init__(self, dictionary: bytes | None = None, *, level: int = LEVEL) -> None:
        self.dictionary = dictionary
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary is not None else None
        if data is not None:
            data.precompute_compress(level=level)
        self._compressor = zstandard.ZstdCompressor(
            level=level, dict_data=data, write_checksum=True, write_content_size=True, threads=0
        )
        self._decompressor = zstandard.ZstdDecompressor(dict_data=data)

    @classmethod
    def spool(cls) -> Codec:
        """A fast one for what is soon compressed again."""
        return cls(level=_SPOOL_LEVEL)

    def compress(self, content: bytes) -> bytes:
        """One frame."""
        return self._compressor.compress(content)

    def decompress(self, frame: bytes, *, size_bytes: int) -> bytes:
        """The content of one frame that must declare and hold `size_bytes`, and be followed by nothing.

        Raises:
            FrameError: it does not.
        """
        declared = declared_size(frame)
        if declared != size_bytes:
            raise FrameError(f"declares {declared} bytes instead of {size_bytes}")
        try:
            content = self._decompressor.decompress(frame, read_across_frames=False, allow_extra_data=False)
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


def train(samples: Sequence[bytes]) -> bytes | None:
    """A dictionary for documents like `samples`; None where they are too few or too small to learn from."""
    if len(samples) < DICTIONARY_MIN_DOCUMENTS:
        return None
    try:
        return zstandard.train_dictionary(
            DICTIONARY_BYTES, list(samples), k=1024, d=8, level=LEVEL, steps=1, threads=0
        ).as_bytes()
    except zstandard.ZstdError:
        return None
