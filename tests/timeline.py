"""Snapshots of one tenant over time, as archives: made-up ones, and real edit histories."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import define, field

from qlikmigrate.archive import Archive, ArchiveWriter, open_archive
from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Counts, Manifest

START = datetime(2026, 3, 1, 2, tzinfo=UTC)
TENANT = TenantFacts(id="t1", name="Acme", host="acme.eu.qlikcloud.com")
NAMES = ("multipleTenantInstaller", "singleTenantDeployer", "singleTenantInstaller")


def automation(ident: str, name: str = "", **fields: Any) -> dict[str, Any]:
    """An automation as the API gives it."""
    return {
        "id": ident, "name": name or ident, "state": "available", "ownerId": "u-ben", "spaceId": "s-sales",
        "runMode": "manual", "description": "", "schedules": [], "executionToken": f"token-of-{ident}",
        "lastRunAt": "2026-01-01T00:00:00Z", "maxConcurrentRuns": 1, "workspace": {"blocks": [], "variables": []},
        **fields,
    }  # fmt: skip


SURROUNDINGS: tuple[tuple[Kind, str, dict[str, Any]], ...] = (
    (Kind.USER, "u-ben", {"id": "u-ben", "name": "Ben Example", "lastUpdatedAt": "2026-01-01T00:00:00Z"}),
    (Kind.USER, "u-ada", {"id": "u-ada", "name": "Ada Example"}),
    (Kind.SPACE, "s-sales", {"id": "s-sales", "name": "Sales", "type": "shared"}),
    (Kind.ASSIGNMENT, "s-sales/m1", {"id": "m1", "type": "user", "assigneeId": "u-ada", "roles": ["consumer"]}),
    (Kind.CONNECTION, "c1", {"id": "c1", "name": "Mail", "params": [{"name": "key", "value": "hidden"}]}),
    (Kind.ITEM, "i1", {"id": "i1", "name": "Sales", "resourceType": "app", "resourceId": "r1", "itemViews": {"n": 1}}),
)


@define
class Timeline:
    """Takes archives into a folder. `manifest`: what the next ones say of themselves besides."""

    folder: Path
    taken: list[Path] = field(factory=list)

    def take(
        self,
        automations: Iterable[Mapping[str, Any]],
        *,
        listed: Iterable[Mapping[str, Any]] = (),
        surroundings: Iterable[tuple[Kind, str, Mapping[str, Any]]] = SURROUNDINGS,
        **manifest: Any,
    ) -> Path:
        """A day later than the last one. `listed`: automations that the tenant lists and does not give."""
        at = START + timedelta(days=len(self.taken))
        path = self.folder / f"{at:%Y%m%d}.qma"
        held = list(automations)
        with ArchiveWriter(path) as writer:

            def add(kind: Kind, ident: str, part: Part, value: Mapping[str, Any]) -> None:
                raw, cuts = cut_document(kind, json.dumps(value, ensure_ascii=False).encode())
                writer.add(Document(kind=kind, id=ident, part=part, raw=raw, cuts=cuts, read_at=at))

            for one in held:
                add(Kind.AUTOMATION, one["id"], Part.DETAIL, one)
            for one in (*held, *listed):
                row = {key: value for key, value in one.items() if key != "workspace"}
                add(Kind.AUTOMATION, one["id"], Part.ROW, row)
            for kind, ident, value in surroundings:
                add(kind, ident, Part.ROW, value)
            add(Kind.SETTINGS, "", Part.DETAIL, {"maxConcurrentRunsPerAutomation": 10})
            counts = {"automations": Counts(listed=len(held), captured=len(held))}
            head = Manifest(**{"tool_version": "0.1.0", "tenant": TENANT, "counts": counts} | manifest)
            writer.finish(head, Capture(started_at=at, finished_at=at + timedelta(minutes=1)))
        self.taken.append(path)
        return path

    def open(self, number: int = -1) -> Archive:
        """One of those taken."""
        return open_archive(self.taken[number])


def real_history(shared: Path, name: str) -> list[dict[str, Any]]:
    """The workspaces of a real automation, oldest first."""
    versions = sorted((shared / "corpus").glob(f"{name}__v*.json"))
    newest = shared / "corpus" / f"{name}.json"
    return [json.loads(path.read_text(encoding="utf-8")) for path in (*versions, newest) if path.exists()]


def sorted_tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but those of git, by its relative path."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}
