"""Made `v1.0.qma`: run once for each format version, never again over a file that is there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from stock import documents, write

from qlikmigrate.archive.layout import FORMAT_VERSION

if __name__ == "__main__":
    write(Path(__file__).parent / f"v{FORMAT_VERSION}.qma", documents(24))
