"""Frames that claim to be far larger than they are."""

from __future__ import annotations

import struct


def giant_frame(size_bytes: int) -> bytes:
    """A frame of no content at all that declares so much, and has a checksum (RFC 8878, 3.1.1)."""
    # Content size in eight bytes, checksum; a window of 1 MiB; one block, the last one, empty.
    return b"\x28\xb5\x2f\xfd\xc4\x50" + struct.pack("<Q", size_bytes) + b"\x01\x00\x00" + b"\x99\xe9\xd8\x51"
