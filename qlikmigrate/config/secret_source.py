"""Where a secret comes from: environment, file, keyring or command. A literal is for loopback addresses only."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.secret import Secret

_HOW = 'write it as { env = "NAME" }, { file = "PATH" }, { keyring = "service/user" } or { command = ["…"] }'
_COMMAND_TIMEOUT_S = 60


def resolve(
    value: Any, *, where: str, environ: Mapping[str, str], folder: Path, literal: bool, command: bool
) -> Secret:
    """The secret that `value` of the tenants file stands for. Relative files are looked up in `folder`.

    Raises:
        UsageError: it is unset, empty, of no known form, or of a form that is not allowed here.
    """
    if isinstance(value, str):
        if not literal:
            raise UsageError(f"{where} is a literal secret, which only a loopback address may have", hint=_HOW)
        return _checked(value, where)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise UsageError(f"{where} is no secret reference", hint=_HOW)
    form, source = next(iter(value.items()))
    match form:
        case "env" if isinstance(source, str):
            if source not in environ:
                raise UsageError(f"{where}: environment variable `{source}` is not set", hint=f"export {source}=…")
            return _checked(environ[source], where)
        case "file" if isinstance(source, str):
            return _checked(_from_file(folder / Path(source).expanduser(), where), where)
        case "keyring" if isinstance(source, str):
            return _checked(_from_keyring(source, where), where)
        case "command" if isinstance(source, list) and source and all(isinstance(word, str) for word in source):
            if not command:
                raise UsageError(
                    f"{where}: `command` is not honoured from a tenants file in the working folder",
                    hint="keep such a file in your config folder, or name it with --config",
                )
            return _checked(_from_command(source, where), where)
        case _:
            raise UsageError(f"{where} is no secret reference", hint=_HOW)


def _checked(value: str, where: str) -> Secret:
    text = value.strip()
    if not text:
        raise UsageError(f"{where} is empty")
    if not text.isascii() or any(character.isspace() or not character.isprintable() for character in text):
        raise UsageError(f"{where} holds white space or characters that no key has")
    return Secret(text)


def _from_file(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise UsageError(f"{where}: cannot read {path}: {reason}") from None


def _from_keyring(source: str, where: str) -> str:
    service, slash, user = source.partition("/")
    if not slash:
        raise UsageError(f'{where}: write the keyring entry as "service/user"')
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise UsageError(f"{where}: the keyring needs an extra", hint="pip install 'qlikmigrate[keyring]'") from None
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise UsageError(f"{where}: the keyring answered {type(error).__name__}") from None
    if value is None:
        raise UsageError(f"{where}: no keyring entry `{source}`", hint=f"keyring set {service} {user}")
    return str(value)


def _from_command(words: list[str], where: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
            words, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: command `{words[0]}` failed: {type(error).__name__}") from None
    if done.returncode != 0:
        raise UsageError(f"{where}: command `{words[0]}` ended with exit code {done.returncode}")
    return done.stdout
