"""The one place where age is spoken: seals bytes for public keys or a passphrase, and opens what was sealed.

age hides content and shows any change of it. It proves no author: whoever knows a public key can seal for it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, BinaryIO

from attrs import frozen

from qlikmigrate.kernel.error import CorruptError, FailedError, QlikmigrateError, UsageError, WrongKeyError
from qlikmigrate.kernel.secret import Secret

# How each sealed file begins. Source: age-encryption.org/v1, "Header".
MAGIC = b"age-encryption.org/v1\n"
_PASSPHRASE_MAGIC = MAGIC + b"-> scrypt "
_ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----"
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
SECRET_KEY = re.compile(r"AGE-SECRET-KEY-", re.IGNORECASE)
_PUBLIC_KEYS = "a public key begins with age1, ssh-ed25519 or ssh-rsa"
# What the library answers when a key does not fit. Observed: pyrage 1.2 to 1.4; tests/archive/test_age.py holds them.
_WRONG_KEY = frozenset({"No matching keys found", "Decryption failed"})
_TOO_MUCH_WORK = "Excessive work parameter"
# How much work it takes to try a passphrase, or may take to open, the library derives from one short measurement of the
# machine. One that was disturbed gives a tenth of what it should: then it is asked again.
_SEALED_AGAIN = 5
_OPENED_AGAIN = 20
_ENOUGH_WORK = 16
_WORK = re.compile(rb"-> scrypt \S+ (\d+)\n")


@frozen(kw_only=True)
class PublicKey:
    """Whom to seal for: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. `where`: names its place in messages."""

    text: str
    where: str


@frozen(kw_only=True)
class KeyFile:
    """Secret keys as a source gave them. `content`: lines of an identity file or a private SSH key; bytes where the
    file is sealed itself, with a passphrase. `where`: names its place in messages."""

    content: Secret | bytes
    where: str


class Sealer:
    """Seals for whoever has the secret half of one of the public `keys`, or who knows `passphrase`.

    Raises:
        UsageError: a key is malformed, there is none, there is a passphrase as well, or the extra is missing.
    """

    def __init__(self, keys: Sequence[PublicKey] = (), *, passphrase: Secret | None = None) -> None:
        if bool(keys) == (passphrase is not None):
            raise UsageError("an archive is sealed either for recipients or with a passphrase", hint="give one of them")
        self._age = _library()
        self._recipients = [_recipient(self._age, key) for key in keys]
        self._passphrase = passphrase

    @property
    def by_passphrase(self) -> bool:
        """Whether a passphrase opens it: then each object takes a second to seal, and one to open."""
        return self._passphrase is not None

    def seal(self, data: bytes) -> bytes:
        """`data`, sealed. Each call gives other bytes."""
        sealed = io.BytesIO()
        self.seal_stream(io.BytesIO(data), sealed)
        return sealed.getvalue()

    def seal_stream(self, source: BinaryIO, target: BinaryIO) -> None:
        """Seal what `source` holds into `target`, a piece at a time; with a passphrase all of it at once.

        Raises:
            OSError: one of them cannot be read or written.
        """
        read, write = _Relay(source), _Relay(target)
        try:
            if self._passphrase is None:
                self._age.encrypt_io(read, write, self._recipients)
            else:
                write.write(_sealed_with(self._age, read.read(), self._passphrase))
        except (self._age.EncryptError, OSError) as error:
            _raise_own(read, write)
            raise FailedError(f"cannot seal: {error}", code="cannot-write") from None
        _raise_own(read, write)


class Opener:
    """Opens what was sealed for one of the `identities` or with `passphrase`, which opens sealed identities as well.

    Keys are looked at when something is to be opened, so that one without any says what is missing.
    """

    def __init__(self, identities: Sequence[KeyFile] = (), *, passphrase: Secret | None = None) -> None:
        self._files = tuple(identities)
        self._passphrase = passphrase
        self._keys: list[Any] | None = None

    def open(self, data: bytes, *, what: str = "it") -> bytes:
        """What was sealed. `what`: names it in messages.

        Raises:
            WrongKeyError: no key that it was sealed for is there. Damage in the part of the header that names the
                keys looks the same.
            CorruptError: it is damaged, or nothing that was sealed.
            UsageError: an identity is malformed, or the extra is missing.
        """
        opened = io.BytesIO()
        self.open_stream(io.BytesIO(data), opened, what=what)
        return opened.getvalue()

    def open_stream(self, source: BinaryIO, target: BinaryIO, *, what: str = "it") -> None:
        """Write what was sealed into `target`, a piece at a time; with a passphrase all of it at once.

        Of what is damaged further on, the sound beginning may be in `target` when the error comes.

        Raises:
            WrongKeyError, CorruptError, UsageError: as `open` does.
            OSError: one of them cannot be read or written.
        """
        start = source.read(len(_PASSPHRASE_MAGIC))
        if not start.startswith(MAGIC):
            raise CorruptError(f"{what} is damaged or nothing that age sealed")
        read, write = _Relay(source, start), _Relay(target)
        work = self._work_of(read, write, what, by_passphrase=start == _PASSPHRASE_MAGIC)
        age = _library()
        try:
            work(age)
        except (age.DecryptError, OSError) as error:
            _raise_own(read, write)
            raise _refusal(error, what) from None
        _raise_own(read, write)

    def _work_of(
        self, read: _Relay, write: _Relay, what: str, *, by_passphrase: bool
    ) -> Callable[[ModuleType], object]:
        """Raises: WrongKeyError when there is no key to try, UsageError when one is malformed."""
        if by_passphrase:
            if self._passphrase is None:
                raise WrongKeyError(
                    f"{what} is sealed with a passphrase", hint="--passphrase env:NAME says where it is", code="no-key"
                )
            word = self._passphrase
            return lambda age: write.write(_opened_with(age, read.read(), word))
        if not self._files:
            raise WrongKeyError(
                f"{what} is encrypted and no identity was given",
                hint="--identity FILE or QLIKMIGRATE_IDENTITY names the key that opens it",
                code="no-key",
            )
        keys = self._identities()
        return lambda age: age.decrypt_io(read, write, keys)

    def _identities(self) -> list[Any]:
        """The keys, parsed once: opening a sealed identity takes a second by design."""
        if self._keys is None:
            age = _library()
            self._keys = [key for file in self._files for key in self._parsed(age, file)]
        return self._keys

    def _parsed(self, age: ModuleType, file: KeyFile) -> list[Any]:
        content = file.content
        if isinstance(content, Secret):
            text = content.reveal().strip()
            if not text.startswith(_ARMOR):
                return _keys_of(age, text, file.where)
            content = text.encode()
        if self._passphrase is None:
            raise WrongKeyError(
                f"{file.where} is locked with a passphrase",
                hint="--passphrase env:NAME says where it is",
                code="no-key",
            )
        try:
            text = _opened_with(age, content, self._passphrase).decode("utf-8").strip()
        except age.DecryptError as error:
            refusal = _refusal(error, file.where)
            if isinstance(refusal, WrongKeyError):
                raise refusal from None
            raise UsageError(refusal.message) from None
        except UnicodeDecodeError:
            raise UsageError(f"{file.where} is no identity file") from None
        return _keys_of(age, text, file.where)


class _Relay:
    """A file as the library uses it. Keeps the error that reading or writing gave: a full disk, or Ctrl-C. The library
    would retell it as one of its own, or even, in its last write, keep silent. `start`: bytes that were read before."""

    def __init__(self, file: BinaryIO, start: bytes = b"") -> None:
        self._file = file
        self._start = start
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            if not self._start:
                return self._file.read(size)
            if size < 0:
                start, self._start = self._start, b""
                return start + self._file.read()
            start, self._start = self._start[:size], self._start[size:]
            return start
        except BaseException as error:
            self.error = error
            raise

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _sealed_with(age: ModuleType, data: bytes, word: Secret) -> bytes:
    """`data` sealed with a passphrase, of a few tries the one that is hardest to guess."""
    best, hardest = b"", -1
    for _ in range(_SEALED_AGAIN):
        sealed: bytes = age.passphrase.encrypt(data, word.reveal())
        found = _WORK.search(sealed[:200])
        work = int(found[1]) if found else _ENOUGH_WORK
        if work > hardest:
            best, hardest = sealed, work
        if hardest >= _ENOUGH_WORK:
            break
    return best


def _opened_with(age: ModuleType, data: bytes, word: Secret) -> bytes:
    """The inverse.

    Raises:
        DecryptError: of the library.
    """
    for left in reversed(range(_OPENED_AGAIN)):
        try:
            opened: bytes = age.passphrase.decrypt(data, word.reveal())
        except age.DecryptError as error:
            if left and str(error).startswith(_TOO_MUCH_WORK):
                continue
            raise
        return opened
    raise AssertionError


def _raise_own(*relays: _Relay) -> None:
    for relay in relays:
        if relay.error is not None:
            raise relay.error from None


def _refusal(error: Exception, what: str) -> QlikmigrateError:
    """Why something could not be opened."""
    message = str(error)
    if message in _WRONG_KEY:
        return WrongKeyError(
            f"the key given does not open {what}", hint="it was sealed for another one, or its header is damaged"
        )
    if message.startswith(_TOO_MUCH_WORK):
        return CorruptError(
            f"{what} asks for more work than this machine can do, or is damaged",
            hint="where the machine is busy, try again later",
            code="too-much-work",
        )
    return CorruptError(f"{what} is damaged: the encryption does not hold")


def _recipient(age: ModuleType, key: PublicKey) -> Any:
    text = key.text.strip()
    if SECRET_KEY.search(text):
        raise UsageError(f"{key.where} is a secret key", hint=f"{_PUBLIC_KEYS}; treat that key as known to others")
    kind = age.ssh if text.startswith("ssh-") else age.x25519
    try:
        return kind.Recipient.from_str(text)
    except age.RecipientError:
        raise UsageError(f"{key.where} is no public key that can be used", hint=_PUBLIC_KEYS) from None


def _keys_of(age: ModuleType, text: str, where: str) -> list[Any]:
    """The secret keys in the text of an identity file."""
    hint = "`age-keygen -o FILE` makes an identity file"
    try:
        if _PRIVATE_KEY.match(text):
            hint = "an SSH key must be ed25519 or RSA, and without a passphrase"
            return [age.ssh.Identity.from_buffer(text.encode() + b"\n")]
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                place = f"{where}, line {number},"
                found.append(age.x25519.Identity.from_str(line.strip()))
    except age.IdentityError:
        place = where if _PRIVATE_KEY.match(text) else place
        raise UsageError(f"{place} is no secret key that can be used", hint=hint) from None
    if not found:
        raise UsageError(f"{where} holds no secret key", hint=hint)
    return found


def _library() -> ModuleType:
    """Raises: UsageError when the extra is missing."""
    try:
        import pyrage
    except ImportError:
        raise UsageError("encryption needs an extra", hint="pip install 'qlikmigrate[age]'") from None
    return pyrage  # type: ignore[no-any-return]
