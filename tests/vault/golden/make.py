"""Made `v1.0.tar.gz`, `v1.0-sealed.tar.gz` and `v1.0-sealed.key`, the secret key, which guards nothing but that vault.

Run once for each format version, never again over a file that is there.
"""

from __future__ import annotations

import gzip
import io
import os
import socket
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "archive"))

from hamlet import BEGIN, StoppedError, tell
from stock import new_identity, opener_with, sealer_for

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.vault import Vault
from qlikmigrate.vault.form import FORMAT_VERSION
from qlikmigrate.vault.store import MemoryStore

HERE = Path(__file__).parent


class Stage(MemoryStore):
    """A store whose writer dies when a snapshot is to be seen, once `dying` is set."""

    dying = False

    def create(self, name: str, data: bytes) -> None:
        if self.dying and name.startswith("snapshots/"):
            raise StoppedError
        super().create(name, data)

    def stop(self, dying: bool) -> None:
        self.dying = dying


def pack(path: Path, store: MemoryStore) -> None:
    """All objects as a tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in sorted(store._objects.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    path.write_bytes(gzip.compress(made.getvalue(), mtime=0))


def main() -> None:
    """Write what is not there yet."""
    plain, sealed = HERE / f"v{FORMAT_VERSION}.tar.gz", HERE / f"v{FORMAT_VERSION}-sealed.tar.gz"
    key = HERE / f"v{FORMAT_VERSION}-sealed.key"
    # The lock of a plain vault names its holder.
    socket.gethostname = lambda: "golden"
    for path in (plain, sealed):
        if path.exists():
            continue
        secret, public = new_identity()
        keys = {"sealing": sealer_for(public), "opening": opener_with(secret)} if path == sealed else {}
        if keys:
            key.write_text(f"# public key: {public}\n{secret}\n")
        store, clock = Stage(), ManualClock(BEGIN)
        with tempfile.TemporaryDirectory() as state:
            os.environ["XDG_STATE_HOME"] = state
            tell(Vault.create(store, clock=clock, **keys), clock, store.stop)
        pack(path, store)


if __name__ == "__main__":
    main()
