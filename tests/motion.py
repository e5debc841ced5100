"""A source tenant in motion: people change it, and answers are bent, at chosen requests of a backup."""

from __future__ import annotations

import fnmatch
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, evolve, field
from stage import Stage

from qlikmigrate.archive import Archive, open_archive
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import CloudTenant

LIST = "/api/*/automations"
DETAIL = "/api/*/automations/????????-*"

Act = Callable[[], None]
Bend = Callable[[bytes], bytes]


@define
class Motion:
    """Stands before the tenant's handler. Lists are counted by their first pages, from 1."""

    stage: Stage
    lists: int = 0
    page_size: int = 200
    _at_list: dict[int, list[Act]] = field(factory=dict)
    _at_detail: dict[str, list[Act]] = field(factory=dict)
    _bends: list[tuple[str, Bend]] = field(factory=list)
    _keys: dict[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.stage.source.server._handler = self._handle

    @property
    def tenant(self) -> CloudTenant:
        return self.stage.source.tenant

    def at_list(self, number: int, act: Act) -> None:
        """`act` happens right before the list is read for the `number`-th time."""
        self._at_list.setdefault(number, []).append(act)

    def at_detail(self, ident: str, act: Act) -> None:
        """`act` happens right before the automation's own document is read for the first time."""
        self._at_detail.setdefault(ident, []).append(act)

    def bend(self, path: str, bend: Bend) -> None:
        """Every successful answer under `path` (a glob) is changed by `bend`."""
        self._bends.append((path, bend))

    def bend_rows(self, path: str, keep: Callable[[dict[str, Any], int], bool]) -> None:
        """Lists under `path` show only rows that `keep(row, number of the list)` lets through."""

        def bend(body: bytes) -> bytes:
            page = json.loads(body)
            page["data"] = [row for row in page["data"] if keep(row, self.lists)]
            # Rows that stay are spelled as they were.
            return json.dumps(page, separators=(",", ":"), ensure_ascii=False).encode()

        self.bend(path, bend)

    def create(self, name: str, owner: str = "ben") -> str:
        """Somebody makes an automation."""
        from stage import document

        return self.tenant.add_automation(document(name), self.stage.source.users[owner])

    def delete(self, ident: str) -> None:
        """Its owner deletes it."""
        self._as_owner(ident, "DELETE", b"")

    def rename(self, ident: str, name: str) -> None:
        """Its owner saves it under another name."""
        self._as_owner(ident, "PUT", json.dumps({"name": name}).encode())

    def _as_owner(self, ident: str, method: str, body: bytes) -> None:
        owner = self.tenant.automations[ident]["ownerId"]
        key = self._keys.setdefault(owner, "") or self.tenant.api_key(owner)
        self._keys[owner] = key
        url = f"{self.tenant.base_url}/api/v1/automations/{ident}"
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        reply = self.tenant.handle(Request(method=method, url=url, headers=headers, body=body))
        assert reply.response.status in (200, 204), reply.response.body

    def _handle(self, request: Request) -> Reply:
        parts = urlsplit(request.url)
        if fnmatch.fnmatchcase(parts.path, LIST) and "cursor" not in parse_qs(parts.query):
            self.lists += 1
            for act in self._at_list.pop(self.lists, []):
                act()
        for act in self._at_detail.pop(parts.path.rpartition("/")[2], []):
            act()
        # As though the service gave fewer rows a page than were asked for.
        request = evolve(request, url=request.url.replace("limit=200", f"limit={self.page_size}"))
        reply = self.tenant.handle(request)
        for path, bend in self._bends:
            if reply.response.status == 200 and fnmatch.fnmatchcase(parts.path, path):
                body = bend(reply.response.body)
                headers = {**reply.response.headers, "content-length": str(len(body))}
                reply = evolve(reply, response=evolve(reply.response, body=body, headers=headers))
        return reply


def archive_of(stage: Stage, name: str = "a.qma") -> Archive:
    """The archive of a backup."""
    return open_archive(stage.folder / name)


def names_in(stage: Stage, name: str = "a.qma") -> list[str]:
    """The names of the automations whose documents an archive holds, sorted."""
    with archive_of(stage, name) as archive:
        documents = [archive.detail(Kind.AUTOMATION, ident) for ident in archive.ids(Kind.AUTOMATION)]
    return sorted(json.loads(one.raw)["name"] for one in documents)


def balanced(stage: Stage, name: str = "a.qma") -> dict[str, int]:
    """The counts of automations, zeros left out, after the sum is checked."""
    with archive_of(stage, name) as archive:
        counts = archive.manifest.counts["automations"]
        assert counts.captured == len(archive.ids(Kind.AUTOMATION))
        found = (archive.manifest.unreadable, archive.manifest.vanished, archive.manifest.missing)
        assert (counts.unreadable, counts.vanished, counts.missing) == tuple(map(len, found))
    assert counts.listed == counts.captured + counts.unreadable + counts.vanished + counts.missing
    sums = {key: getattr(counts, key) for key in ("listed", "captured", "unreadable", "vanished", "missing")}
    return {key: value for key, value in sums.items() if value}


def requests_by_path(tenant: Any) -> Counter[str]:
    """How often each path was asked for, ids as `{}`. `tenant`: what has `seen` them."""
    import re

    return Counter(re.sub(r"/[0-9a-f-]{24,36}(?=/|$)", "/{}", one.path) for one in tenant.seen)
