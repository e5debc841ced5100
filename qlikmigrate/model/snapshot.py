"""A snapshot as the rest of the house sees it: written once, read by kind and id. Archives implement both sides."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.inventory import Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import CLOUD, Capture, Manifest


class SnapshotWriter(Protocol):
    """Takes documents in any order, as they arrive; memory does not grow with them."""

    def add(self, document: Document) -> None:
        """Take a document. A later one with the same kind, id and part takes its place."""

    def discard(self, kind: Kind, ident: str, part: Part | None = None) -> None:
        """Forget one part of an object, or all of it: it vanished while the snapshot was taken."""

    def finish(self, manifest: Manifest, capture: Capture) -> None:
        """Write it all; until then nothing is visible under its final name."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class Snapshot(Protocol):
    """An opened snapshot. Every document is checked against its hash when read.

    Raises (all methods):
        CorruptError: what is stored is damaged.
    """

    @property
    def manifest(self) -> Manifest:
        """Its head."""

    @property
    def capture(self) -> Capture:
        """When it was taken."""

    @property
    def digest(self) -> str:
        """SHA-256 hex that stands for all its documents and its manifest: what a plan was made from."""

    def ids(self, kind: Kind) -> Sequence[str]:
        """Ids of the objects whose own document (`Part.DETAIL`) it holds, sorted."""

    def detail(self, kind: Kind, ident: str) -> Document:
        """One object's own document.

        Raises:
            KeyError: it holds none.
        """

    def rows(self, kind: Kind) -> Iterator[Document]:
        """The list rows of a kind, in id order."""


def copy_snapshot(snapshot: Snapshot, writer: SnapshotWriter) -> None:
    """Hand all of a snapshot to `writer` and finish: documents with cuts and capture times, the same head.

    From an archive into an archive, the same tool and libzstd give the same bytes.

    Raises:
        CorruptError: what is stored is damaged; nothing is finished then.
        QlikmigrateError: whatever the writer raises.
    """
    for kind in Kind:
        for ident in snapshot.ids(kind):
            writer.add(snapshot.detail(kind, ident))
        for row in snapshot.rows(kind):
            writer.add(row)
    writer.finish(snapshot.manifest, snapshot.capture)


def parse(raw: bytes) -> Any:
    """A document's value, to be looked at and never to be written: an integer beyond 64 bits is read as a float.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # orjson refuses half of a surrogate pair, which a service that cuts texts short does write.
        return json.loads(raw)


_INVENTORY_KINDS = (Kind.AUTOMATION, Kind.CONNECTION, Kind.CONNECTOR, Kind.SPACE, Kind.USER, Kind.ITEM)


def inventory_of(snapshot: Snapshot, kinds: Collection[Kind] = _INVENTORY_KINDS) -> Inventory:
    """What the tenant held when the snapshot was taken."""
    found = []
    for kind in kinds:
        for row in snapshot.rows(kind):
            value = parse(row.raw)
            # An automation is listed among the items, too; its own list says more.
            if isinstance(value, Mapping) and value.get("resourceType") != "automation":
                found.append(entity(kind, value))
    manifest = snapshot.manifest
    return Inventory(tenant=manifest.tenant, entities=tuple(found), is_cloud=manifest.source_kind == CLOUD)
