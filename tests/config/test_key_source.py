"""Keys come from files, the environment and the keyring; what is wrong is said by its place, never by its value."""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pyrage
import pytest
from light import lightly_locked

from qlikmigrate.archive.age import Opener, Sealer
from qlikmigrate.config.key_source import (
    identity_sources,
    parse_identity,
    parse_passphrase,
    read_opener,
    read_passphrase,
    read_sealer,
)
from qlikmigrate.kernel.error import UsageError

IDENTITY = pyrage.x25519.Identity.generate()
SECRET, PUBLIC = str(IDENTITY), str(IDENTITY.to_public())
OTHER = str(pyrage.x25519.Identity.generate().to_public())


def key_file(folder: Path, content: str = SECRET, *, mode: int = 0o600) -> Path:
    """A file with a key."""
    path = folder / "key.txt"
    path.write_text(content)
    path.chmod(mode)
    return path


def opener(*flags: str, environ: dict[str, str] | None = None, passphrase: str | None = None) -> Opener:
    """What the flags of a reader give."""
    environ = environ or {}
    word = parse_passphrase(passphrase, where="--passphrase") if passphrase is not None else None
    return read_opener(identity_sources(flags, environ), word, environ)


def sealer(*flags: str, environ: dict[str, str] | None = None, passphrase: str | None = None) -> Sealer:
    """What the flags of a writer give, which must be something."""
    environ = environ or {}
    word = parse_passphrase(passphrase, where="--passphrase") if passphrase is not None else None
    made = read_sealer(flags, word, environ)
    assert made is not None
    return made


def fits(writer: Sealer, reader: Opener) -> bool:
    """Whether what one seals the other opens."""
    return reader.open(writer.seal(b"x")) == b"x"


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring in memory."""
    held: dict[tuple[str, str], str] = {}
    errors = ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    ring = ModuleType("keyring")
    ring.errors = errors  # type: ignore[attr-defined]
    ring.get_password = lambda service, user: held.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return held


def test_identities_from_everywhere(tmp_path: Path, keyring: dict[tuple[str, str], str]) -> None:
    """A path, `file:`, `env:` and `keyring:` give the same key; several are tried together."""
    path = key_file(tmp_path)
    keyring["age", "me/too"] = SECRET
    made = sealer(PUBLIC)
    assert fits(made, opener(str(path)))
    assert fits(made, opener(f"file:{path}"))
    assert fits(made, opener("env:KEY", environ={"KEY": f"# mine\n{SECRET}\n"}))
    assert fits(made, opener("keyring:age/me/too"))
    assert fits(made, opener("env:OTHER", str(path), environ={"OTHER": str(pyrage.x25519.Identity.generate())}))


def test_the_environment_is_the_default(tmp_path: Path) -> None:
    """`QLIKMIGRATE_IDENTITY` names a source; a flag takes its place."""
    path = key_file(tmp_path)
    assert fits(sealer(PUBLIC), opener(environ={"QLIKMIGRATE_IDENTITY": str(path)}))
    assert fits(sealer(PUBLIC), opener(environ={"QLIKMIGRATE_IDENTITY": "env:KEY", "KEY": SECRET}))
    assert fits(sealer(PUBLIC), opener(str(path), environ={"QLIKMIGRATE_IDENTITY": "missing"}))
    assert identity_sources((), {"QLIKMIGRATE_IDENTITY": ""}) == []


def test_recipients(tmp_path: Path) -> None:
    """Keys, files of keys with comments, and the environment's list of both; a flag takes the environment's place."""
    path = tmp_path / "friends.txt"
    path.write_text(f"# friends\n\n{OTHER}\n  {PUBLIC}  \n")
    reader = opener("env:KEY", environ={"KEY": SECRET})
    for flags in ((PUBLIC,), (OTHER, PUBLIC), (f"@{path}",)):
        assert fits(sealer(*flags), reader)
    for listed in (PUBLIC, f"{OTHER}, {PUBLIC}", f"{OTHER}\n{PUBLIC}\n", f"@{path}"):
        assert fits(sealer(environ={"QLIKMIGRATE_RECIPIENTS": listed}), reader)
    assert fits(sealer(PUBLIC, environ={"QLIKMIGRATE_RECIPIENTS": "nonsense"}), reader)
    assert read_sealer((), None, {}) is None
    assert read_sealer((), None, {"QLIKMIGRATE_RECIPIENTS": " ,\n"}) is None


@pytest.mark.usefixtures("light_passphrases")
def test_passphrases(tmp_path: Path) -> None:
    """A passphrase may hold anything, blanks around it, too; only the line end of a file is no part of it."""
    path = key_file(tmp_path, " correct horse \r\n")
    for source, environ in ((f"file:{path}", {}), ("env:WORD", {"WORD": " correct horse "})):
        secret = read_passphrase(parse_passphrase(source, where="--passphrase"), environ)
        assert secret is not None
        assert secret.reveal() == " correct horse "
    assert fits(
        sealer(passphrase="env:WORD", environ={"WORD": "x", "QLIKMIGRATE_RECIPIENTS": PUBLIC}),
        opener(passphrase="env:WORD", environ={"WORD": "x"}),
    )
    with pytest.raises(UsageError, match="exclude each other"):
        sealer(PUBLIC, passphrase="env:WORD", environ={"WORD": "x"})


def test_a_locked_identity_file(tmp_path: Path) -> None:
    """A file that age locked with a passphrase is no text, and opens with `--passphrase`."""
    path = tmp_path / "key.age"
    path.write_bytes(lightly_locked(SECRET.encode(), "word"))
    path.chmod(0o600)
    assert fits(sealer(PUBLIC), opener(str(path), passphrase="env:WORD", environ={"WORD": "word"}))


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
def test_key_files_that_others_reach(tmp_path: Path, mode: int) -> None:
    """A secret that others can read or change is refused, with the command that closes it."""
    path = key_file(tmp_path, mode=mode)
    for attempt in (
        lambda: opener(str(path)),
        lambda: sealer(passphrase=f"file:{path}"),
    ):
        with pytest.raises(UsageError, match="others can") as caught:
            attempt()
        assert caught.value.hint.startswith("chmod ")
    path.chmod(0o640)
    assert opener(str(path))


def test_recipients_files_that_others_can_change(tmp_path: Path) -> None:
    """Whoever may write the list decides who can read the archives; everybody may read it."""
    path = tmp_path / "friends.txt"
    path.write_text(PUBLIC)
    path.chmod(0o644)
    sealer(f"@{path}")
    path.chmod(0o664)
    with pytest.raises(UsageError, match="others can write"):
        sealer(f"@{path}")


REFUSED = {
    "the key itself": lambda: parse_identity(SECRET, where="--identity"),
    "in small letters": lambda: parse_identity(SECRET.lower(), where="--identity"),
    "after env:": lambda: parse_identity(f"env:{SECRET}", where="--identity"),
    "as passphrase": lambda: parse_passphrase(SECRET, where="--passphrase"),
    "in the variable": lambda: identity_sources((), {"QLIKMIGRATE_IDENTITY": SECRET}),
    "as recipient": lambda: sealer(SECRET),
    "among recipients": lambda: sealer(environ={"QLIKMIGRATE_RECIPIENTS": f"{PUBLIC},{SECRET}"}),
    "broken, in the environment": lambda: opener("env:KEY", environ={"KEY": SECRET[:-1]}).open(
        sealer(PUBLIC).seal(b"")
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_secret_key_is_never_shown(case: str) -> None:
    """Wherever a secret key stands by mistake, it is refused and neither message, hint nor traceback repeats it."""
    with pytest.raises(UsageError) as caught:
        REFUSED[case]()
    told = io.StringIO()
    traceback.print_exception(caught.value, file=told)
    assert SECRET[15:40] not in (told.getvalue() + caught.value.hint).upper()
    assert caught.value.hint


@pytest.mark.parametrize("word", ["hunter2", "env:hunter 2!", "keyring:hunter2", "env:", "file:", ""])
def test_a_passphrase_is_never_shown(word: str) -> None:
    """A passphrase in place of its source is refused and not repeated."""
    with pytest.raises(UsageError) as caught:
        parse_passphrase(word, where="--passphrase")
    assert "hunter" not in caught.value.message + caught.value.hint
    assert "--passphrase" in caught.value.message


def test_a_variable_that_is_not_set_is_not_repeated() -> None:
    """`env:$WORD` gives the shell's own expansion, which may be the passphrase."""
    for environ in ({}, {"hunter2": " "}):
        with pytest.raises(UsageError) as caught:
            read_passphrase(parse_passphrase("env:hunter2", where="--passphrase"), environ)
        assert "hunter2" not in caught.value.message + caught.value.hint


BROKEN = {
    "no such identity file": (lambda folder: opener(f"{folder}/none"), "--identity: cannot read"),
    "no such list": (lambda folder: sealer(f"@{folder}/none"), "--recipient: cannot read"),
    "empty list": (lambda folder: sealer(f"@{key_file(folder, '# nobody')}"), "holds no public key"),
    "list with a wrong line": (lambda folder: sealer(f"@{key_file(folder, f'{PUBLIC}{chr(10)}me')}"), "line 2"),
    "list that is no text": (lambda folder: sealer(f"@{binary(folder)}"), "no UTF-8"),
    "identity that is no text": (lambda folder: opener(str(binary(folder))), "is no identity"),
    "passphrase that is no text": (lambda folder: sealer(passphrase=f"file:{binary(folder)}"), "no UTF-8"),
    "empty passphrase": (lambda folder: sealer(passphrase=f"file:{key_file(folder, chr(10))}"), "empty"),
    "keyring without the entry": (lambda folder: opener("keyring:a/b"), "no keyring entry"),
}


def binary(folder: Path) -> Path:
    """A file that is neither text nor sealed."""
    path = key_file(folder, "")
    path.write_bytes(b"\xff\xfe\x00")
    return path


@pytest.mark.parametrize("case", BROKEN)
def test_broken_sources(case: str, tmp_path: Path, keyring: dict[tuple[str, str], str]) -> None:
    """Each is one line that names where it came from."""
    attempt, word = BROKEN[case]
    with pytest.raises(UsageError, match=word):
        attempt(tmp_path)
