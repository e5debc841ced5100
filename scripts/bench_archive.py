#!/usr/bin/env python3
"""Measure archives against the plain tools: size against `tar | zstd -9`, write speed against zstd, time of one read.

All numbers of one run come from the same documents on the same machine; zstd is at level 9 everywhere.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from qlikmigrate.archive import ArchiveWriter, open_archive
from qlikmigrate.archive.codec import LEVEL
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest
from qlikmigrate.sandbox.synthetic import Recipe

WORDS = [
    "customer",
    "invoice",
    "reload",
    "space",
    "sales",
    "order",
    "ticket",
    "report",
    "region",
    "weekly",
    "daily",
    "export",
    "import",
    "user",
    "group",
    "message",
    "app",
    "data",
    "model",
    "alert",
    "budget",
    "forecast",
    "inventory",
    "shipment",
    "quality",
    "owner",
    "status",
    "error",
    "retry",
    "channel",
    "mail",
    "record",
]


class Workshop:
    """Makes documents that look like automations: a small catalogue of blocks, fresh ids, texts of their own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._catalogue = [self._template(number) for number in range(120)]

    def ident(self) -> str:
        """A random id in the service's form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def text(self, low: int, high: int) -> str:
        """A few words."""
        return " ".join(self._random.choices(WORDS, k=self._random.randint(low, high)))

    def _template(self, number: int) -> dict[str, object]:
        inputs = [
            {"id": self.ident(), "type": self._random.choice(("string", "select", "object")), "structure": []}
            for _ in range(self._random.randint(1, 7))
        ]
        return {
            "name": f"{self.text(1, 2).title().replace(' ', '')}{number}",
            "displayName": f"{self.text(1, 2).title()} - {self.text(2, 4).title()}",
            "type": self._random.choice(("EndpointBlock", "SnippetBlock", "ForEachBlock", "ConditionBlock")),
            "inputs": inputs,
            "datasourcetype_guid": self.ident(),
            "endpoint_guid": self.ident(),
        }

    def _block(self, ident: str, child: str | None, names: list[str]) -> dict[str, object]:
        template = self._random.choice(self._catalogue)
        values = (
            lambda: f"{{$.{self._random.choice(names)}.{self._random.choice(WORDS)}}}",
            lambda: self.text(1, 12),
            lambda: None,
            lambda: self.ident(),
        )
        inputs = [one | {"value": self._random.choice(values)()} for one in template["inputs"]]  # type: ignore[attr-defined]
        names.append(str(template["name"]))
        return {
            "x": self._random.randrange(-900, 900),
            "y": self._random.randrange(-2000, 9000),
            "id": ident,
            "name": template["name"],
            "type": template["type"],
            "inputs": inputs,
            "childId": child,
            "comment": self.text(3, 20) if self._random.random() < 0.3 else None,
            "disabled": False,
            "settings": [
                {"id": "blendr_on_error", "type": "select", "value": "stop", "structure": []},
                {"id": "automations_censor_data", "type": "checkbox", "value": False, "structure": []},
            ],
            "collapsed": [{"name": "loop", "isCollapsed": False}],
            "displayName": template["displayName"],
            "loopBlockId": None,
            "endpoint_guid": template["endpoint_guid"],
            "datasourcetype_guid": template["datasourcetype_guid"],
        }

    def automation(self) -> tuple[str, bytes]:
        """Id and text of one automation of about 10 to 60 kB."""
        ident = self.ident()
        ids = [self.ident().upper() for _ in range(self._random.randint(10, 58))]
        names = ["Start"]
        blocks = [self._block(one, child, names) for one, child in zip(ids, [*ids[1:], None], strict=True)]
        document = {
            "id": ident,
            "name": self.text(2, 5).title(),
            "state": "available",
            "ownerId": self.ident(),
            "runMode": "manual",
            "workspace": {"blocks": blocks, "variables": []},
            "createdAt": f"2026-0{self._random.randint(1, 9)}-12T08:{self._random.randint(10, 59)}:00.000000Z",
            "description": self.text(5, 30),
        }
        return ident, json.dumps(document, separators=(",", ":")).encode()


def sandbox_documents(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Automations of 10 to 60 kB as the embedded tenant makes them up."""
    chance = random.Random(seed)
    made_ids = Workshop(seed)
    for index in range(count):
        recipe = Recipe(seed=chance.getrandbits(32), size_bytes=chance.randrange(10_000, 60_000))
        ident = made_ids.ident()
        head = {"id": ident, "name": recipe.name(index), "description": recipe.description(), "state": "available"}
        yield ident, json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"workspace":' + recipe() + b"}"


def real_documents(folder: Path, seed: int) -> Iterator[tuple[str, bytes]]:
    """The workspaces of a folder, each as one document."""
    random_ids = Workshop(seed)
    for path in sorted(folder.glob("*.json")):
        yield random_ids.ident(), path.read_bytes()


def tar_zstd_size(documents: list[tuple[str, bytes]]) -> int:
    """Bytes of `tar | zstd -9`: one stream of unknown length, the level's own window, with checksum."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for ident, raw in documents:
            info = tarfile.TarInfo(f"automations/{ident}.json")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    return len(compressor.compress(stream.getvalue())) + len(compressor.flush())


def plain_seconds(documents: list[tuple[str, bytes]]) -> float:
    """Seconds that zstd alone takes for the documents one by one, without a dictionary."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    start = time.perf_counter()
    for _, raw in documents:
        compressor.compress(raw)
    return time.perf_counter() - start


def write_seconds(path: Path, documents: list[tuple[str, bytes]]) -> float:
    """Seconds from the first document to the synced archive."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    start = time.perf_counter()
    with ArchiveWriter(path, force=True) as writer:
        for ident, raw in documents:
            writer.add(Document(kind=Kind.AUTOMATION, id=ident, part=Part.DETAIL, raw=raw, read_at=now))
        writer.finish(
            Manifest(tool_version="0", tenant=TenantFacts(id="bench")), Capture(started_at=now, finished_at=now)
        )
    return time.perf_counter() - start


def read_times_ms(path: Path, count: int) -> tuple[float, list[float]]:
    """Milliseconds to open, and to read each of `count` documents in random order."""
    start = time.perf_counter()
    archive = open_archive(path)
    opened = (time.perf_counter() - start) * 1000
    times = []
    with archive:
        idents = list(archive.ids(Kind.AUTOMATION))
        random.Random(1).shuffle(idents)
        for ident in idents[:count]:
            start = time.perf_counter()
            archive.detail(Kind.AUTOMATION, ident)
            times.append((time.perf_counter() - start) * 1000)
    return opened, times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="measure the JSON files of this folder instead")
    parser.add_argument("--varied", action="store_true", help="measure documents of more varied blocks instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.folder:
        documents = list(real_documents(given.folder, given.seed))
    elif not given.varied:
        documents = list(sandbox_documents(given.documents, given.seed))
    else:
        workshop = Workshop(given.seed)
        documents = [workshop.automation() for _ in range(given.documents)]
    total = sum(len(raw) for _, raw in documents)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "bench.qma"
        # Alternating, so that a slow moment of the machine hits both.
        pairs = [(plain_seconds(documents), write_seconds(path, documents)) for _ in range(given.rounds)]
        size = path.stat().st_size
        opened_ms, times_ms = read_times_ms(path, 500)
    plain_s = statistics.median(plain for plain, _ in pairs)
    write_s = statistics.median(write for _, write in pairs)
    tar_size = tar_zstd_size(documents)
    print(f"documents          {len(documents)}, {total / 1e6:.1f} MB, zstd level {LEVEL}")
    print(f"archive            {size} bytes, {total / size:.2f} : 1")
    print(f"tar | zstd -9      {tar_size} bytes, {total / tar_size:.2f} : 1")
    print(f"size ratio         {size / tar_size:.3f} (archive / tar | zstd; aim: at most 1.05)")
    print(f"write              {write_s:.2f} s, zstd alone {plain_s:.2f} s")
    print(f"speed ratio        {plain_s / write_s:.3f} (archive / zstd alone; aim: at least 0.7)")
    print(f"open               {opened_ms:.1f} ms")
    print(
        f"read one document  median {statistics.median(times_ms):.3f} ms, max {max(times_ms):.3f} ms (aim: at most 2)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
