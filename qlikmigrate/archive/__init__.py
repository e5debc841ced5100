"""A snapshot as one file, written once, checked whenever read, and opened by standard tools as well."""

from qlikmigrate.archive.reader import Archive, open_archive
from qlikmigrate.archive.writer import ArchiveWriter

__all__ = ["Archive", "ArchiveWriter", "open_archive"]
