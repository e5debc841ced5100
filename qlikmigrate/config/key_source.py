"""Where the keys of encryption come from: flags that name a source, or the environment; never a key as an argument.

What a flag says is not repeated in an error unless it is a file's name: it may be a secret that was put there by
mistake.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from qlikmigrate.archive.age import MAGIC, SECRET_KEY, KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.config.secret_source import from_keyring
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

IDENTITY_NAME = "QLIKMIGRATE_IDENTITY"
RECIPIENTS_NAME = "QLIKMIGRATE_RECIPIENTS"
_FORMS = ("file", "env", "keyring")
_HOW = "env:NAME, keyring:SERVICE/USER or file:PATH"


@frozen(kw_only=True)
class KeySource:
    """A place that holds a secret. `form`: file, env or keyring. `where`: the flag or variable that names it."""

    form: str
    word: str = field(repr=False)
    where: str

    def read(self, environ: Mapping[str, str]) -> bytes:
        """What is there.

        Raises:
            UsageError: nothing, it cannot be read, or others could have read or changed it.
        """
        match self.form:
            case "env":
                value = environ.get(self.word, "")
                if not value.strip():
                    raise UsageError(f"{self.where}: the environment variable that it names is not set or empty")
                return value.encode("utf-8", "surrogateescape")
            case "keyring":
                return from_keyring(self.word, self.where).encode()
            case _:
                return _read_file(Path(self.word), self.where, private=True)

    @property
    def place(self) -> str:
        """It, as errors name it."""
        return f"the identity file {self.word}" if self.form == "file" else f"the identity of {self.where}"


def parse_identity(text: str, *, where: str) -> KeySource:
    """The source of an identity: `PATH`, `file:PATH`, `env:NAME` or `keyring:SERVICE/USER`. Nothing is read yet.

    Raises:
        UsageError: it is of no such form, or the key itself.
    """
    return _parse(text, where, bare=True, how=f"a path, {_HOW}")


def parse_passphrase(text: str, *, where: str) -> KeySource:
    """The source of a passphrase: `file:PATH`, `env:NAME` or `keyring:SERVICE/USER`. Nothing is read yet.

    A bare word is refused, since it is more likely to be the passphrase than the name of a file.

    Raises:
        UsageError: it is of no such form.
    """
    return _parse(text, where, bare=False, how=_HOW)


def _parse(text: str, where: str, *, bare: bool, how: str) -> KeySource:
    form, colon, word = text.partition(":")
    if SECRET_KEY.search(text) or "PRIVATE KEY" in text or "\n" in text:
        raise UsageError(f"{where} is a key itself, which others can see on a command line", hint=f"write {how}")
    if not (colon and form in _FORMS):
        if not bare or not text:
            raise UsageError(f"{where} names no place where a secret is", hint=f"write {how}")
        form, word = "file", text
    sound = {
        "env": re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", word) is not None,
        "keyring": all(word.partition("/")),
        "file": bool(word),
    }
    if not sound[form]:
        raise UsageError(f"{where} names nothing after `{form}:`", hint=f"write {how}")
    return KeySource(form=form, word=word, where=where)


def identity_sources(flags: Sequence[str], environ: Mapping[str, str]) -> list[KeySource]:
    """Where identities are: what `--identity` says, else what the environment says.

    Raises:
        UsageError: a source is malformed.
    """
    if flags:
        return [parse_identity(flag, where="--identity") for flag in flags]
    default = environ.get(IDENTITY_NAME, "")
    return [parse_identity(default, where=f"${IDENTITY_NAME}")] if default else []


def read_opener(identities: Sequence[KeySource], passphrase: KeySource | None, environ: Mapping[str, str]) -> Opener:
    """What opens with these keys.

    Raises:
        UsageError: one cannot be read.
    """
    files = [_key_file(source, source.read(environ)) for source in identities]
    return Opener(files, passphrase=read_passphrase(passphrase, environ))


def _key_file(source: KeySource, content: bytes) -> KeyFile:
    if content.startswith(MAGIC):
        return KeyFile(content=content, where=source.place)
    try:
        return KeyFile(content=Secret(content.decode("utf-8")), where=source.place)
    except UnicodeDecodeError:
        raise UsageError(f"{source.place} is no identity", hint="`age-keygen -o FILE` makes an identity file") from None


def read_passphrase(source: KeySource | None, environ: Mapping[str, str]) -> Secret | None:
    """The passphrase, without the line end that a file may have.

    Raises:
        UsageError: it cannot be read, or is empty.
    """
    if source is None:
        return None
    try:
        text = source.read(environ).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{source.where} is no UTF-8 text") from None
    if not text:
        raise UsageError(f"{source.where}: the passphrase is empty")
    return Secret(text)


def read_sealer(recipients: Sequence[str], passphrase: KeySource | None, environ: Mapping[str, str]) -> Sealer | None:
    """What seals for `--recipient` or with `--passphrase`, else for whom the environment names; None: for nobody.

    Raises:
        UsageError: both are given, a key is malformed, or one cannot be read.
    """
    if recipients and passphrase is not None:
        raise UsageError(
            "--recipient and --passphrase exclude each other", hint="age seals for keys or with a passphrase"
        )
    if passphrase is not None:
        return Sealer(passphrase=read_passphrase(passphrase, environ))
    where = "--recipient"
    if not recipients:
        where = f"${RECIPIENTS_NAME}"
        recipients = [one for one in re.split(r"[,\n]", environ.get(RECIPIENTS_NAME, "")) if one.strip()]
    return Sealer([key for one in recipients for key in _public_keys(one.strip(), where)]) if recipients else None


def _public_keys(text: str, where: str) -> Iterator[PublicKey]:
    """One key, or with `@FILE` those of a file, one a line."""
    if not text.startswith("@"):
        yield PublicKey(text=text, where=where)
        return
    path = Path(text[1:])
    try:
        content = _read_file(path, where, private=False).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the recipients file {path} is no UTF-8 text") from None
    found = False
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found = True
            yield PublicKey(text=line, where=f"the recipients file {path}, line {number},")
    if not found:
        raise UsageError(f"the recipients file {path} holds no public key", hint="write one a line")


def _read_file(path: Path, where: str, *, private: bool) -> bytes:
    """A key file, checked as it is read. Whoever may write it decides who can read what is sealed.

    Raises:
        UsageError: it cannot be read, others can write it, or others can read it and it is `private`.
    """
    try:
        with path.expanduser().open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_ISREG(mode):
                if mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise UsageError(f"{where}: others can write {path}", hint=f"chmod go-w {path}")
                if private and mode & stat.S_IROTH:
                    raise UsageError(f"{where}: others can read the secret in {path}", hint=f"chmod o-rwx {path}")
            return file.read()
    except OSError as error:
        raise UsageError(f"{where}: cannot read {path}: {error.strerror}") from None
