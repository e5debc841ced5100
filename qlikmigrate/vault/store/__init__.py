"""Where a vault lies: a folder, memory, or a bucket, all behind one interface of named bytes that are written once."""

from qlikmigrate.vault.store.error import ImmutableError, ObjectExistsError, ObjectMissingError, ObjectNameError
from qlikmigrate.vault.store.interface import Entry, Store, read_all
from qlikmigrate.vault.store.local import LocalStore
from qlikmigrate.vault.store.location import open_store
from qlikmigrate.vault.store.memory import MemoryStore

__all__ = [
    "Entry",
    "ImmutableError",
    "LocalStore",
    "MemoryStore",
    "ObjectExistsError",
    "ObjectMissingError",
    "ObjectNameError",
    "Store",
    "open_store",
    "read_all",
]
