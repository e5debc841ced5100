"""age files under a passphrase that take a thousandth of the work: to make and to open a usual one takes seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

# The logarithm of scrypt's cost; `age` takes 18.
_WORK = 8
_PIECE_BYTES = 64 * 1024


def lightly_locked(data: bytes, passphrase: str, armored: bool = False) -> bytes:
    """`data` under a passphrase, for anything that reads age files.

    Source: age-encryption.org/v1, "The scrypt recipient type", "Header MAC", "Payload", "ASCII armor".
    """
    file_key, salt, nonce = (secrets.token_bytes(16) for _ in range(3))
    label = b"age-encryption.org/v1/scrypt"
    wrap = hashlib.scrypt(passphrase.encode(), salt=label + salt, n=1 << _WORK, r=8, p=1, dklen=32)
    body = ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt %s %d\n%s\n---" % (_text(salt), _WORK, _text(body))
    mac = hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")
    cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    pieces = [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)] or [b""]
    sealed = [
        cipher.encrypt(number.to_bytes(11, "big") + bytes([number == len(pieces) - 1]), piece, None)
        for number, piece in enumerate(pieces)
    ]
    whole = header + b" " + _text(mac) + b"\n" + nonce + b"".join(sealed)
    if not armored:
        return whole
    coded = base64.b64encode(whole)
    lines = [coded[at : at + 64] for at in range(0, len(coded), 64)]
    return b"\n".join([b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----", b""])


def _text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF with SHA-256, one block of it (RFC 5869)."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\x01", "sha256")
