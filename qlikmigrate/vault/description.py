"""`vault.json`, which says what a vault is: read, written, and written again where it is lost."""

from __future__ import annotations

import contextlib

from qlikmigrate.archive.layout import dump, load
from qlikmigrate.kernel.error import CorruptError, NotFoundError
from qlikmigrate.vault.form import SNAPSHOT_FORMAT, VAULT_FORMAT, Config, Header, check_version
from qlikmigrate.vault.name import CONFIG, PACKS, SNAPSHOTS, PackName, SnapshotName, sha256
from qlikmigrate.vault.pack import vault_of
from qlikmigrate.vault.store import ObjectExistsError, ObjectMissingError, Store

_SEALED = b"age-encryption.org/"


def write_config(config: Config) -> bytes:
    """`vault.json`, its own hash at the end."""
    data = dump(config)
    return data + b"\n" + sha256(data).encode("ascii") + b"\n"


def read_config(store: Store) -> Config:
    """What a vault is.

    Raises:
        NotFoundError: it is none.
        CorruptError: its description is damaged, or of a newer format.
    """
    try:
        data = store.read(CONFIG)
    except ObjectMissingError:
        if any(PackName.parse(entry.name) for entry in store.entries("packs")):
            raise CorruptError(
                f"{CONFIG} of the vault {store.location} is missing", hint="`repair` writes it again"
            ) from None
        raise NotFoundError(
            f"no vault: {store.location}", hint="`backup TENANT --vault VAULT --init` makes one", code="no-vault"
        ) from None
    text, _, rest = data.partition(b"\n")
    try:
        strict = check_version(text, VAULT_FORMAT, "vault")
        if rest != sha256(text).encode("ascii") + b"\n":
            raise ValueError("its hash differs")
        return load(Config, text, strict=strict)
    except ValueError as error:
        raise CorruptError(
            f"{CONFIG} of the vault {store.location} is damaged: {error}", hint="`repair` writes it again"
        ) from None


def repair_config(store: Store) -> bool:
    """Write `vault.json` again where it is lost; what it says follows from heads and packs. Whether that was needed.

    Raises:
        NotFoundError: there is no vault.
        CorruptError: it is of a newer format, or nothing is left that tells the vault's id.
    """
    try:
        read_config(store)
    except CorruptError as error:
        if error.code == "newer-format":
            raise
    else:
        return False
    ids: set[str] = set()
    encrypted = there = False
    for entry in store.entries(PACKS):
        if PackName.parse(entry.name) is None:
            continue
        start = store.read(entry.name, 0, 128)
        encrypted = encrypted or start.startswith(_SEALED)
        ids.add(vault_of(start))
    for entry in store.entries(SNAPSHOTS):
        header = _head_of(store, entry.name)
        if header is not None:
            ids.add(header.vault)
            # What is shown tells names, which no encrypted vault does.
            encrypted = encrypted or header.shown is None
    ids.discard("")
    if len(ids) != 1:
        why = "packs and heads are of several vaults" if ids else "nothing is left that tells the id of the vault"
        raise CorruptError(f"{CONFIG} of {store.location} cannot be written again: {why}")
    with contextlib.suppress(ObjectMissingError):
        there = store.read(CONFIG, 0, 1) is not None
    if there:
        store.delete(CONFIG)
    with contextlib.suppress(ObjectExistsError):
        store.create(CONFIG, write_config(Config(id=ids.pop(), encrypted=encrypted)))
    return True


def _head_of(store: Store, entry: str) -> Header | None:
    """A head that is whole.

    Raises:
        CorruptError: it is of a newer format.
    """
    name = SnapshotName.parse(entry)
    data = store.read(entry) if name else b""
    if name is None or sha256(data) != name.sha256:
        return None
    try:
        return load(Header, data, strict=check_version(data, SNAPSHOT_FORMAT, "head of a snapshot"))
    except ValueError:
        return None
