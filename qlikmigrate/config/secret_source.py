"""Where a secret comes from: environment, file, keyring or command. A literal is for loopback addresses only.

What a source says is checked without being read; nothing here ever shows what it gives.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

HOW = 'write it as { env = "NAME" }, { file = "PATH" }, { keyring = "service/user" } or { command = ["…"] }'
_COMMAND_TIMEOUT_S = 60


@frozen(kw_only=True)
class SecretSource:
    """One source. `form`: literal, env, file, keyring or command. `where`: its place in the tenants file.

    `text`: it may hold anything, as a password or a host does; only the line end of a file is taken off.
    """

    form: str
    words: tuple[str, ...] = field(repr=False)
    where: str
    text: bool = False

    def read(self, *, environ: Mapping[str, str], folder: Path) -> Secret:
        """The secret. Relative files are looked up in `folder`.

        Raises:
            UsageError: it is unset, empty, or cannot be had.
        """
        word, where = self.words[0], self.where
        match self.form:
            case "env":
                if word not in environ:
                    raise UsageError(f"{where}: environment variable `{word}` is not set", hint=f"export {word}=…")
                return self._checked(environ[word])
            case "file":
                return self._checked(_from_file(folder / Path(word).expanduser(), where))
            case "keyring":
                return self._checked(from_keyring(word, where))
            case "command":
                return self._checked(_from_command(list(self.words), where))
            case _:
                return self._checked(word)

    def _checked(self, value: str) -> Secret:
        if self.text:
            return Secret(value.removesuffix("\n").removesuffix("\r"))
        return _checked(value, self.where)


def parse_source(value: Any, *, where: str, literal: bool, command: bool) -> SecretSource:
    """The source that `value` of the tenants file describes. `literal`, `command`: whether these may be used here.

    Raises:
        UsageError: it is missing, of no known form, or of a form that is not allowed here.
    """
    if value == "":
        raise UsageError(f"{where} is missing or empty", hint=HOW)
    if isinstance(value, str):
        if not literal:
            raise UsageError(f"{where} is a literal secret, which only a loopback address may have", hint=HOW)
        return SecretSource(form="literal", words=(value,), where=where)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise UsageError(f"{where} is no secret reference", hint=HOW)
    form, source = next(iter(value.items()))
    match form:
        case "env" | "file" if isinstance(source, str) and source:
            return SecretSource(form=form, words=(source,), where=where)
        case "keyring" if isinstance(source, str) and all(source.partition("/")):
            return SecretSource(form=form, words=(source,), where=where)
        case "keyring":
            raise UsageError(f"{where} names no keyring entry", hint='write { keyring = "service/user" }')
        case "command" if isinstance(source, list) and source and all(isinstance(word, str) for word in source):
            if not command:
                raise UsageError(
                    f"{where}: `command` is not honoured from a tenants file in the working folder",
                    hint="keep such a file in your config folder, or name it with --config",
                )
            return SecretSource(form=form, words=tuple(source), where=where)
        case _:
            raise UsageError(f"{where} is no secret reference", hint=HOW)


def _checked(value: str, where: str) -> Secret:
    text = value.strip()
    if not text:
        raise UsageError(f"{where} is empty", hint="put the key or secret there")
    if not text.isascii() or any(character.isspace() or not character.isprintable() for character in text):
        raise UsageError(
            f"{where} holds white space or characters that no key has", hint="it must be the key alone, on one line"
        )
    return Secret(text)


def _from_file(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            f"{where}: cannot read {path}: {reason}", hint="a relative path starts at the tenants file's folder"
        ) from None


def from_keyring(source: str, where: str) -> str:
    """What the keyring holds for `service/user`.

    Raises:
        UsageError: nothing, the keyring is locked, or the extra is missing.
    """
    service, _, user = source.partition("/")
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise UsageError(f"{where}: the keyring needs an extra", hint="pip install 'qlikmigrate[keyring]'") from None
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise UsageError(
            f"{where}: the keyring answered {type(error).__name__}", hint="is it unlocked, and is there one at all?"
        ) from None
    if value is None:
        raise UsageError(f"{where}: no keyring entry `{source}`", hint=f"keyring set {service} {user}")
    return str(value)


def _from_command(words: list[str], where: str) -> str:
    hint = "it must print the secret and nothing else"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
            words, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{where}: command `{words[0]}` took over {_COMMAND_TIMEOUT_S} s", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise UsageError(f"{where}: command `{words[0]}` failed: {reason}", hint=hint) from None
    if done.returncode != 0:
        raise UsageError(f"{where}: command `{words[0]}` ended with exit code {done.returncode}", hint=hint)
    return done.stdout
