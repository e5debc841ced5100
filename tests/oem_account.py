"""Archives of OEM accounts, written document by document as an export would: what is in them is said by each test."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from qlikmigrate.archive import ArchiveWriter
from qlikmigrate.model.document import Document, Part
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture, Manifest, Restorable

AT = datetime(2026, 1, 5, 6, tzinfo=UTC)
HOST = "api.blendr.io"


def guid(word: str) -> str:
    """The same guid for the same word."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, word))


def stored_input(name: str, value: Any) -> dict[str, Any]:
    """A top input whose value is stored."""
    return {"field_name": name, "prompt": name, "persisted_value": value, "is_top_input": True, "is_persisted": True}


@define
class OemAccount:
    """One account. Everything is found by its guid."""

    name: str
    blends: dict[str, dict[str, Any]] = field(factory=dict)
    datasources: dict[str, dict[str, Any]] = field(factory=dict)
    workspaces: dict[str, Any] = field(factory=dict)
    schedules: dict[str, dict[str, Any]] = field(factory=dict)

    @property
    def id(self) -> str:
        return guid(f"account {self.name}")

    def connection(self, name: str, connector: str, connector_name: str = "A connector", **more: Any) -> str:
        """A datasource."""
        ident = guid(f"{self.name} datasource {name} {len(self.datasources)}")
        row = {"guid": ident, "name": name, "connector": {"guid": connector, "name": connector_name}}
        self.datasources[ident] = {**row, "is_used": True, "is_connected": True, "blends": [], **more}
        return ident

    def automation(
        self, name: str, workspace: Any = None, schedule: Mapping[str, Any] | None = None, **more: Any
    ) -> str:
        """A blend; `workspace` and `schedule` are what people hand in."""
        ident = str(more.pop("guid", guid(f"{self.name} blend {name}")))
        self.blends[ident] = {
            "guid": ident, "name": name, "description": f"{name}, described", "run_mode": "manual",
            "template_guid": None, "isbundle": False, "created_at": "2025-06-16T07:38:41+00:00", "inputs": [], **more,
        }  # fmt: skip
        if workspace is not None:
            self.workspaces[ident] = workspace
        if schedule is not None:
            self.schedules[ident] = dict(schedule)
        return ident


def write_archive(path: Path, *accounts: OemAccount) -> Path:
    """The archive of these accounts."""
    with ArchiveWriter(path, force=True) as writer:

        def add(kind: Kind, ident: str, value: Any, *parts: Part) -> None:
            raw = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
            for part in parts or (Part.DETAIL,):
                writer.add(Document(kind=kind, id=ident, part=part, raw=raw, read_at=AT))

        for account in accounts:
            facts = {"guid": account.id, "externalid": account.name, "name": account.name.title()}
            add(Kind.ACCOUNT, account.id, facts, Part.ROW, Part.DETAIL)
            for ident, one in account.blends.items():
                add(Kind.AUTOMATION, ident, one, Part.ROW, Part.DETAIL)
            for ident, one in account.datasources.items():
                add(Kind.CONNECTION, ident, one, Part.ROW, Part.DETAIL)
            for ident, one in account.workspaces.items():
                add(Kind.WORKSPACE, ident, one)
            for ident, one in account.schedules.items():
                add(Kind.SCHEDULE, ident, one)
            held = {"automations": sorted(account.blends), "connections": sorted(account.datasources)}
            add(Kind.MEMBERSHIP, account.id, held)
        one = accounts[0]
        tenant = TenantFacts(id=one.id, name=one.name.title(), host=HOST)
        if len(accounts) > 1:
            tenant = TenantFacts(id="oem:12345", host=HOST)
        manifest = Manifest(tool_version="0.1.0", source_kind="oem", tenant=tenant, restorable=Restorable.PARTIAL)
        writer.finish(manifest, Capture(started_at=AT, finished_at=AT))
    return path
