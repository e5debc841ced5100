"""Made `v1.0.qma`, `v1.0-sealed.qma` and `v1.0-sealed.key`, its secret key, which guards nothing but that file.

Run once for each format version, never again over a file that is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from stock import documents, new_identity, sealer_for, write

from qlikmigrate.archive.layout import FORMAT_VERSION

HERE = Path(__file__).parent


def main() -> None:
    """Write what is not there yet."""
    plain, sealed = HERE / f"v{FORMAT_VERSION}.qma", HERE / f"v{FORMAT_VERSION}-sealed.qma"
    if not plain.exists():
        write(plain, documents(24))
    if not sealed.exists():
        secret, public = new_identity()
        sealed.with_suffix(".key").write_text(f"# public key: {public}\n{secret}\n")
        write(sealed, documents(24), sealer=sealer_for(public))


if __name__ == "__main__":
    main()
