"""What a vault asks of encryption: whole objects sealed for those who may read, and opened again."""

from __future__ import annotations

from typing import BinaryIO, Protocol


class Sealing(Protocol):
    """Seals for the recipients that the host is configured with; who seals need not be able to open."""

    def seal(self, data: bytes) -> bytes:
        """`data`, readable by the recipients alone."""


class Opening(Protocol):
    """Opens what was sealed for one of its identities."""

    def open(self, data: bytes, *, what: str = "it") -> bytes:
        """The inverse of `Sealing.seal`. `what`: names it in messages.

        Raises:
            WrongKeyError: it was sealed for others.
            CorruptError: it is damaged.
        """

    def open_stream(self, source: BinaryIO, target: BinaryIO) -> None:
        """The same from file to file. Of what is damaged further on, the sound beginning is in `target`."""
