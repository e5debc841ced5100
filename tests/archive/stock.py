"""Documents and archives for the tests: few, small, always the same."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage

from qlikmigrate.archive import ArchiveWriter, KeyFile, Opener, PublicKey, Sealer, container
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def document(kind: Kind, ident: str, part: Part, value: object, *, later_s: int = 0) -> Document:
    """A document as the exporter makes it."""
    raw, cuts = cut_document(kind, json.dumps(value, ensure_ascii=False).encode())
    read_at = NOON + timedelta(seconds=later_s)
    return Document(kind=kind, id=ident, part=part, raw=raw, cuts=cuts, read_at=read_at)


def documents(automations: int = 4, *, runs: int = 0) -> list[Document]:
    """A small tenant. `runs`: how often its automations have run: other run data, other capture times."""
    chance = random.Random(7)
    made = []
    for index in range(automations):
        ident = f"a{index:03d}"
        row = {"id": ident, "name": f"Automation {index}", "lastRunAt": f"2026-01-{runs + 1:02d}T00:00:00Z"}
        blocks = [{"id": f"{chance.getrandbits(128):032X}", "type": "EndpointBlock"} for _ in range(3)]
        detail = row | {"executionToken": f"token-{index}", "workspace": {"blocks": blocks}, "duration": runs}
        made.append(document(Kind.AUTOMATION, ident, Part.DETAIL, detail, later_s=runs))
        made.append(document(Kind.AUTOMATION, ident, Part.ROW, row, later_s=runs))
    link = {"id": "c1", "name": "Mail", "params": [{"name": "key", "value": "hidden"}], "redirect": "https://x.test"}
    made.append(document(Kind.CONNECTION, "c1", Part.ROW, link, later_s=runs))
    made.append(document(Kind.SETTINGS, "", Part.DETAIL, {"enabled": True}, later_s=runs))
    return made


def manifest(*, complete: bool = True) -> Manifest:
    """A head."""
    return Manifest(
        tool_version="0.1.0",
        tenant=TenantFacts(id="t1", name="Acme", host="acme.eu.qlikcloud.com"),
        complete=complete,
        counts={"automations": Counts(listed=4, captured=4)},
    )


def capture(*, runs: int = 0) -> Capture:
    """A time."""
    at = NOON + timedelta(days=runs)
    return Capture(started_at=at, finished_at=at + timedelta(seconds=1), requests={"tier1": 9})


def write(
    path: Path,
    made: Iterable[Document],
    *,
    force: bool = False,
    complete: bool = True,
    runs: int = 0,
    sealer: Sealer | None = None,
) -> Path:
    """An archive of these documents."""
    with ArchiveWriter(path, force=force, sealer=sealer) as writer:
        for one in made:
            writer.add(one)
        writer.finish(manifest(complete=complete), capture(runs=runs))
    return path


def new_identity() -> tuple[str, str]:
    """A secret key and its public half."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def sealer_for(*keys: str) -> Sealer:
    """Seals for these public keys."""
    return Sealer([PublicKey(text=key, where="key") for key in keys])


def opener_with(*keys: str, passphrase: str | None = None) -> Opener:
    """Opens with these secret keys."""
    files = [KeyFile(content=Secret(key), where=f"identity {number}") for number, key in enumerate(keys, 1)]
    return Opener(files, passphrase=None if passphrase is None else Secret(passphrase))


def rebuild(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """An archive sealed as it should be, whose members say what they please."""
    with path.open("wb") as file:
        made = container.ContainerWriter(file)
        for name, data in members:
            made.add(name, data)
        made.finish()
    return path


def local_record(name: bytes, data: bytes) -> bytes:
    """A ZIP member written without our checks."""
    crc, size = zlib.crc32(data), len(data)
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0x21, crc, size, size, len(name), 0) + name + data
