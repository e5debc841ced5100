"""Sealing and opening: whoever has a key gets the same bytes back, everybody else one line that says why not."""

from __future__ import annotations

import io
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from light import lightly_locked
from stock import new_identity, opener_with, sealer_for

from qlikmigrate.archive.age import KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.kernel.error import CorruptError, QlikmigrateError, UsageError, WrongKeyError
from qlikmigrate.kernel.secret import Secret

DATA = b"Quarterly figures " * 9000  # more than two of age's pieces of 64 KiB
PACKAGE = Path(__file__).resolve().parent.parent.parent / "qlikmigrate"


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """A secret key and its public half."""
    return new_identity()


@pytest.fixture(scope="module")
def sealed(keys: tuple[str, str]) -> bytes:
    """`DATA`, sealed for that key."""
    return sealer_for(keys[1]).seal(DATA)


@pytest.fixture(scope="module")
def locked() -> bytes:
    """A few bytes, sealed with the passphrase `correct horse`."""
    return lightly_locked(b"few", "correct horse")


def refusal(opener: Opener, data: bytes) -> QlikmigrateError:
    """Why it was not opened: always one of our own errors."""
    with pytest.raises(QlikmigrateError) as caught:
        opener.open(data, what="`a.qma`")
    assert caught.value.message.startswith("`a.qma` ") or "`a.qma`" in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


def test_round_trip(keys: tuple[str, str], sealed: bytes) -> None:
    """Every recipient opens it, among whatever other identities it has; nobody sees anything of it before."""
    assert b"Quarterly" not in sealed
    assert opener_with(keys[0]).open(sealed) == DATA
    others = [new_identity() for _ in range(3)]
    for_all = sealer_for(keys[1], *(public for _, public in others)).seal(DATA)
    for secret, _ in (keys, *others):
        assert opener_with(new_identity()[0], secret).open(for_all) == DATA
    for empty in (b"", b"x"):
        assert opener_with(keys[0]).open(sealer_for(keys[1]).seal(empty)) == empty


def test_identity_files_have_comments_and_several_keys(keys: tuple[str, str], sealed: bytes) -> None:
    """What `age-keygen` writes is read, and so are several of it in one file, with Windows line ends, too."""
    text = f"# created: 2026-03-01\r\n# public key: {keys[1]}\r\n\r\n{new_identity()[0]}\r\n{keys[0]}\r\n"
    assert opener_with(text).open(sealed) == DATA


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys(tmp_path: Path, kind: str) -> None:
    """SSH keys seal and open as well; one with a passphrase of its own is refused with the reason."""
    for name, word in (("open", ""), ("locked", "secret")):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", word, "-C", "me@host", "-f", str(tmp_path / name)], check=True
        )
    data = sealer_for((tmp_path / "open.pub").read_text()).seal(DATA)
    assert opener_with((tmp_path / "open").read_text()).open(data) == DATA
    with pytest.raises(UsageError) as caught:
        opener_with((tmp_path / "locked").read_text()).open(data)
    assert "passphrase" in caught.value.hint


def test_passphrase(keys: tuple[str, str], locked: bytes) -> None:
    """A passphrase opens what it sealed; the wrong one, none, or an identity in its place is a wrong key."""
    sealed = Sealer(passphrase=Secret("correct horse")).seal(b"few")
    for one in (sealed, locked):
        assert opener_with(passphrase="correct horse").open(one) == b"few"
    for opener in (opener_with(passphrase="battery staple"), opener_with(keys[0]), opener_with()):
        assert isinstance(refusal(opener, locked), WrongKeyError)


def test_locked_identity_file(keys: tuple[str, str], sealed: bytes) -> None:
    """An identity file that is locked with a passphrase opens with it, as bytes and as text."""
    for armored in (False, True):
        content = lightly_locked(f"{keys[0]}\n".encode(), "pass", armored=armored)
        file = KeyFile(content=Secret(content.decode()) if armored else content, where="key.age")
        assert Opener([file], passphrase=Secret("pass")).open(sealed) == DATA
        with pytest.raises(WrongKeyError, match=r"key\.age") as caught:
            Opener([file]).open(sealed)
        assert "--passphrase" in caught.value.hint
    with pytest.raises(WrongKeyError, match=r"key\.age"):
        Opener([file], passphrase=Secret("other")).open(sealed)
    with pytest.raises(UsageError, match=r"key\.age"):
        Opener([KeyFile(content=content[: len(content) // 2], where="key.age")], passphrase=Secret("pass")).open(sealed)


def test_wrong_or_missing_key(sealed: bytes) -> None:
    """Another key, or none, ends with 12; without one the hint says how to give it."""
    assert refusal(opener_with(new_identity()[0]), sealed).exit_code == 12
    missing = refusal(Opener(), sealed)
    assert (missing.exit_code, missing.code) == (12, "no-key")
    assert "--identity" in missing.hint


def flips(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file with one bit changed: in every byte of the header, and in each kind of place behind it."""
    header = data.index(b"\n", data.index(b"\n---") + 1) + 1
    piece = 65536 + 16
    places = {
        "header": range(header),
        "nonce": range(header, header + 16),
        "payload": range(header + 16, len(data) - 16, 7919),
        "tag": [header + 16 + number * piece - 1 for number in (1, 2)],
        "last tag": range(len(data) - 16, len(data)),
    }
    for name, offsets in places.items():
        for offset in offsets:
            for bit in (0x01, 0x80):
                damaged = bytearray(data)
                damaged[offset] ^= bit
                yield name, bytes(damaged)


def test_every_flip_is_noticed(keys: tuple[str, str], sealed: bytes) -> None:
    """One changed bit anywhere is told as damage, or as a wrong key where the header no longer names ours."""
    opener = opener_with(keys[0])
    found = Counter((name, refusal(opener, data).exit_code) for name, data in flips(sealed))
    assert {name for name, code in found if code == 12} == {"header"}
    assert {name for name, code in found if code == 13} == {"header", "nonce", "payload", "tag", "last tag"}
    assert {code for _, code in found} == {12, 13}


def test_every_cut_is_noticed(keys: tuple[str, str], sealed: bytes) -> None:
    """A file that ends too early anywhere, or goes on too long, is damaged."""
    opener = opener_with(keys[0])
    header = sealed.index(b"\n---") + 60
    for size in [*range(header + 40), *range(header, len(sealed), 4099), len(sealed) - 1]:
        assert refusal(opener, sealed[:size]).exit_code == 13
    for more in (b"x", b"\n", sealed):
        assert refusal(opener, sealed + more).exit_code == 13


def test_damage_under_a_passphrase(locked: bytes) -> None:
    """The same with a passphrase; a header that asks for hours of work is refused at once."""
    opener = opener_with(passphrase="correct horse")
    lines = locked.split(b"\n")
    lines[1] = lines[1].rpartition(b" ")[0] + b" 40"
    assert refusal(opener, b"\n".join(lines)).exit_code == 13
    for offset in (3, 23, locked.index(b"\n---") + 10, len(locked) - 30, len(locked) - 1):
        damaged = bytearray(locked)
        damaged[offset] ^= 1
        assert refusal(opener, bytes(damaged)).exit_code in ((13,) if offset > 30 else (12, 13))
    assert refusal(opener, locked[:-1]).exit_code == 13


def test_a_disturbed_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sealed too cheaply is sealed again; what the library takes for too much work is tried again."""
    library = pyrage.passphrase
    made, asked = [10, 12, 17, 18], [0]

    def encrypt(data: bytes, _: str) -> bytes:
        return b"age-encryption.org/v1\n-> scrypt c2FsdA %d\n" % made.pop(0) + data

    def decrypt(data: bytes, _: str) -> bytes:
        asked[0] += 1
        if asked[0] < 4:
            raise pyrage.DecryptError("Excessive work parameter for passphrase.")
        return data

    monkeypatch.setattr(library, "encrypt", encrypt)
    monkeypatch.setattr(library, "decrypt", decrypt)
    sealed = Sealer(passphrase=Secret("w")).seal(b"text")
    assert (b" 17\n" in sealed, made) == (True, [18])
    assert opener_with(passphrase="w").open(sealed) == sealed
    assert asked == [4]
    asked[0] = -1000
    assert (refusal(opener_with(passphrase="w"), sealed).code, asked[0] > -1000) == ("too-much-work", True)


MALFORMED = {
    "no key at all": "hello",
    "cut short": "age1d823dtp882x6ysln8fzym5s0l3vh3zqkjt3a6d980knfpsvgxa6smndfj",
    "of another kind": "ssh-dss AAAAB3NzaC1kc3MAAACBAP",
    "of a plugin": "age1yubikey1qwe",
    "broken SSH": "ssh-ed25519 AAAA me@host",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_recipients(name: str) -> None:
    """A recipient that is no public key is refused, with the place that it came from."""
    with pytest.raises(UsageError, match=r"friends\.txt, line 3"):
        Sealer([PublicKey(text=MALFORMED[name], where="friends.txt, line 3")])


def test_secret_keys_are_shown_nowhere(keys: tuple[str, str], sealed: bytes) -> None:
    """A secret key in the wrong place, or a malformed one, is named by its place and never shown."""
    secret = keys[0]
    attempts = (
        lambda: Sealer([PublicKey(text=secret, where="--recipient")]),
        lambda: Sealer([PublicKey(text=secret.lower(), where="--recipient")]),
        lambda: opener_with(f"# mine\n{secret[:-1]}\n").open(sealed),
        lambda: opener_with(secret.lower() + "x").open(sealed),
        lambda: opener_with("-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret).open(sealed),
        lambda: opener_with(secret, "nonsense " + secret).open(sealed),
    )
    for attempt in attempts:
        with pytest.raises(UsageError) as caught:
            attempt()
        told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        assert secret[16:40] not in told.upper()
    assert secret not in repr(KeyFile(content=Secret(secret), where="x"))
    with pytest.raises(UsageError, match="identity 1, line 2,"):
        opener_with(f"# mine\n{secret[:-1]}\n").open(sealed)
    for empty in ("", "# only words\n\n"):
        with pytest.raises(UsageError, match="identity 1 holds no secret key"):
            opener_with(empty).open(sealed)


def test_either_recipients_or_a_passphrase(keys: tuple[str, str]) -> None:
    """age knows no file for both, and none for nobody."""
    for given, word in (((PublicKey(text=keys[1], where="x"),), Secret("y")), ((), None)):
        with pytest.raises(UsageError):
            Sealer(given, passphrase=word)


class Endless(io.RawIOBase):
    """Gives `size` bytes and notes the largest piece that was asked for."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "all of it at once"
        self.largest = max(self.largest, size)
        given = min(size, self.left)
        self.left -= given
        return b"x" * given


class Bin(io.RawIOBase):
    """Takes bytes, keeps none, and notes the largest piece."""

    size = 0
    largest = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.largest = max(self.largest, len(data))
        self.size += len(data)
        return len(data)


def test_streams_go_piece_by_piece(keys: tuple[str, str]) -> None:
    """However much there is, no more than a piece of it is in memory."""
    source, target = Endless(8 << 20), Bin()
    sealer_for(keys[1]).seal_stream(source, target)  # type: ignore[arg-type]
    assert target.size > 8 << 20
    assert max(source.largest, target.largest) < 1 << 17


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("size", [0, 100, 200_000])
def test_errors_of_files_stay_what_they_are(keys: tuple[str, str], error: BaseException, size: int) -> None:
    """A full disk and Ctrl-C come through the library unchanged, in the last write as well, where it is silent."""

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise error

    with pytest.raises(type(error)) as caught:
        sealer_for(keys[1]).seal_stream(io.BytesIO(bytes(size)), Full())
    assert caught.value is error
    if size:
        sealed = sealer_for(keys[1]).seal(bytes(size))
        with pytest.raises(type(error)) as caught:
            opener_with(keys[0]).open_stream(io.BytesIO(sealed), Full())
        assert caught.value is error


def test_missing_extra(keys: tuple[str, str], sealed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says what to install."""
    monkeypatch.setitem(sys.modules, "pyrage", None)
    for attempt in (lambda: sealer_for(keys[1]), lambda: opener_with(keys[0]).open(sealed)):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert caught.value.hint == "pip install 'qlikmigrate[age]'"


def test_one_module_knows_the_library() -> None:
    """pyrage is imported in one place, and only when something is sealed."""
    using = [path.name for path in PACKAGE.rglob("*.py") if "import pyrage" in path.read_text()]
    assert using == ["age.py"]
    code = "import sys, qlikmigrate.archive; sys.exit('pyrage' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_damage_tells_no_lies(keys: tuple[str, str]) -> None:
    """Something that age did not seal is no wrong key."""
    for data in (b"", b"PK\x03\x04", b"age-encryption.org/v2\n-> X25519 a\n", b"-----BEGIN AGE ENCRYPTED FILE-----\n"):
        with pytest.raises(CorruptError):
            opener_with(keys[0]).open(data)
