"""Opening the vault that the command line names, with the keys that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qlikmigrate.archive import Sealer
    from qlikmigrate.cli.session import Session
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.vault import Vault, VaultSnapshot

_SCHEMES = ("s3://", "gs://", "az://")


def is_vault(name: str) -> bool:
    """Whether `name` is where a vault lies: a bucket, or a folder with a vault's description or packs."""
    place = Path(name)
    return name.startswith(_SCHEMES) or (place / "vault.json").exists() or (place / "packs").is_dir()


def split_address(name: str) -> tuple[str, str] | None:
    """Vault and WHEN that `name` means: a path that exists is one as a whole, else the last `@` splits.

    None: it means no vault.
    """
    if Path(name).exists():
        return (name, "latest") if Path(name).is_dir() and is_vault(name) else None
    location, mark, when = name.rpartition("@")
    if mark and location and (location.startswith(_SCHEMES) or Path(location).is_dir()):
        return location, when
    return (name, "latest") if name.startswith(_SCHEMES) else None


def lasting_address(location: str, snapshot: Snapshot) -> str:
    """A name that means this snapshot tomorrow and from another folder, too."""
    from qlikmigrate.vault import VaultSnapshot

    assert isinstance(snapshot, VaultSnapshot)
    place = location if location.startswith(_SCHEMES) else str(Path(location).absolute())
    return f"{place}@{snapshot.info.id}"


def sealer_of(session: Session, recipients: Sequence[str]) -> Sealer | None:
    """For whom to encrypt; a passphrase that is given beside keys opens those.

    Raises:
        UsageError: a key is malformed, or cannot be read.
    """
    from qlikmigrate.config.key_source import read_sealer

    passphrase = None if recipients or session.identities else session.passphrase
    return read_sealer(recipients, passphrase, session.environ)


def open_vault(session: Session, location: str, recipients: Sequence[str] = (), *, writes: bool = False) -> Vault:
    """A vault, with whatever keys were named. `writes`: it is to be written to.

    Raises:
        NotFoundError: there is none.
        CorruptError: its description is damaged, or of a newer format.
        UsageError: recipients are given for a vault that is not encrypted; a key cannot be read.
    """
    from qlikmigrate.vault import Vault

    sealer = sealer_of(session, recipients) if writes else None
    with told_as_vault(location):
        vault = Vault.open(location, sealing=sealer, clock=session.clock)
    give_keys(session, vault)
    session.report["vault"] = location
    return vault


@contextmanager
def told_as_vault(location: str) -> Iterator[None]:
    """Whoever names a snapshot where a vault is wanted is told so."""
    from qlikmigrate.kernel.error import NotFoundError

    try:
        yield
    except NotFoundError as error:
        address = split_address(location)
        if error.code == "no-vault" and address is not None and address[0] != location:
            error.hint = f"a vault as a whole is meant here: `{address[0]}`"
        raise


def open_or_make(session: Session, location: str, recipients: Sequence[str], *, init: bool) -> Vault:
    """A vault to write to; with `init` a new one where there is none.

    Raises:
        NotFoundError: there is none, and nobody said to make it.
        UsageError: as `open_vault`.
    """
    from qlikmigrate.kernel.error import NotFoundError
    from qlikmigrate.vault import Vault

    try:
        return open_vault(session, location, recipients, writes=True)
    except NotFoundError as error:
        if error.code != "no-vault":
            raise
        if not init:
            error.hint = "--init makes one"
            raise
    sealer = sealer_of(session, recipients)
    if sealer is not None and sealer.by_passphrase:
        session.output.say(
            "each pack of this vault will cost a second or more, at every backup and every opening: "
            "an identity that is locked with the passphrase is opened once (see docs/encryption.md)",
            level="warning",
        )
    vault = Vault.create(location, sealing=sealer, clock=session.clock)
    give_keys(session, vault)
    return vault


def give_keys(session: Session, vault: Vault) -> None:
    """Let an encrypted vault be read, where keys were named."""
    if vault.encrypted and (session.identities or session.passphrase):
        vault.opening = session.opener()


def open_address(session: Session, location: str, when: str, *, allow_incomplete: bool | None) -> VaultSnapshot:
    """The snapshot of a vault that WHEN means. Without a word on incomplete ones, the last complete one is preferred.

    Raises:
        NotFoundError: there is no such vault or snapshot.
        PartialError: it is incomplete, and that is not allowed.
        WrongKeyError: the vault is encrypted, and no key that was given opens it.
    """
    from qlikmigrate.kernel.error import PartialError

    vault = open_vault(session, location)
    try:
        info = vault.find(when, tenant=session.tenant, allow_incomplete=bool(allow_incomplete))
    except PartialError:
        if allow_incomplete is not None:
            raise
        info = vault.find(when, tenant=session.tenant, allow_incomplete=True)
    return vault.snapshot(info)
