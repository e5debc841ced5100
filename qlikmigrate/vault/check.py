"""What earlier verifications found sound, kept in the vault for retention and for people; a damaged record is none."""

from __future__ import annotations

from datetime import datetime

import orjson
from attrs import frozen

from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.vault.name import CHECKS, CheckName, read_ranges, sha256, write_ranges
from qlikmigrate.vault.store import ObjectExistsError, ObjectMissingError
from qlikmigrate.vault.vault import Vault
from qlikmigrate.vault.verification import Level, VaultVerification

_FORMAT = "qlikmigrate-check"


@frozen(kw_only=True)
class CheckRecord:
    """What an earlier verification found sound, and when."""

    at: datetime
    level: Level
    packs: frozenset[int]


def file_check(vault: Vault, found: VaultVerification, at: datetime) -> None:
    """Keep what a verification has found, for retention and for people."""
    data = orjson.dumps(
        {
            "format": _FORMAT,
            "format_version": "1.0",
            "level": found.level.name.lower(),
            "sound": write_ranges(found.sound),
            "damaged": len(found.damages),
        }
    )
    vault.store.create(str(CheckName(at, sha256(data))), data)


def try_to_file_check(vault: Vault, found: VaultVerification, at: datetime) -> bool:
    """The same where the vault may be one that cannot be written to; False then."""
    try:
        file_check(vault, found, at)
    except ObjectExistsError:
        return True
    except QlikmigrateError:
        return False
    return True


def checks(vault: Vault) -> list[CheckRecord]:
    """What earlier verifications found, oldest first. A record that is damaged says nothing."""
    found = []
    for entry in vault.store.entries(CHECKS):
        name = CheckName.parse(entry.name)
        if name is None:
            continue
        try:
            data = vault.store.read(entry.name)
            if sha256(data) != name.sha256:
                continue
            value = orjson.loads(data)
            level = Level[str(value["level"]).upper()]
            found.append(CheckRecord(at=name.at, level=level, packs=read_ranges(value["sound"])))
        except (ObjectMissingError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda one: one.at)
