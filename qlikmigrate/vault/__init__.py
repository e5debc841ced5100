"""Many snapshots over time: a content-addressed store that writes everything once."""

from qlikmigrate.vault.catalog import SnapshotInfo
from qlikmigrate.vault.snapshot import VaultSnapshot
from qlikmigrate.vault.vault import Vault
from qlikmigrate.vault.writer import VaultWriter

__all__ = ["SnapshotInfo", "Vault", "VaultSnapshot", "VaultWriter"]
