"""A snapshot as one file, written once, checked whenever read, and opened by standard tools as well."""

from qlikmigrate.archive.age import KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.archive.reader import Archive, open_archive
from qlikmigrate.archive.sealed import is_sealed
from qlikmigrate.archive.verification import Damage, Verification, Whole, salvage, verify
from qlikmigrate.archive.writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveWriter",
    "Damage",
    "KeyFile",
    "Opener",
    "PublicKey",
    "Sealer",
    "Verification",
    "Whole",
    "is_sealed",
    "open_archive",
    "salvage",
    "verify",
]
