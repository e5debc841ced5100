"""Histories of a tenant for the benchmarks, backup by backup: real edits out of a folder, and a made-up year.

An embedded tenant holds the automations and answers as the service would, so that every tool is given what a backup
receives. The same seed makes the same history.
"""

from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from attrs import evolve, frozen

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.message import Request
from qlikmigrate.model.document import Document, Part, cut_document, received
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import CloudTenant, Switches, seed_source
from qlikmigrate.sandbox.synthetic import Recipe

Key = tuple[Kind, str, Part]
Workspace = dict[str, Any]

_SMALLEST, _USUAL, _LARGEST = 10_000, 30_000, 250_000
_SPREAD = 0.8
# People work on one thing for days: half of the edits go to what was edited lately.
_AT_WORK = 30
# An unchanged document is read again within a week.
_SHARES = 7
_LISTS = {
    Kind.AUTOMATION: "/api/workflows/automations?listAll=true&sort=id&limit=200",
    Kind.ITEM: "/api/v1/items?limit=100",
    Kind.CONNECTION: "/api/workflows/automation-connections?listAll=true&limit=200",
    Kind.CONNECTOR: "/api/workflows/automation-connectors?limit=200",
    Kind.SPACE: "/api/v1/spaces?limit=100",
    Kind.USER: "/api/v1/users?limit=100",
}
_CHANGING = (Kind.AUTOMATION, Kind.ITEM)


@frozen(kw_only=True)
class Day:
    """One backup. `documents`: all of it. `changed`: what is new or other than in the backup before.

    `read`: the own documents that an incremental backup asks for; the others are as they were known.
    """

    at: datetime
    documents: Mapping[Key, Document]
    changed: frozenset[Key]
    read: frozenset[Key]

    @property
    def size_bytes(self) -> int:
        """All documents as received."""
        return sum(len(one.raw) for one in self.documents.values())

    def automations(self) -> list[str]:
        """Ids of the automations whose own documents it holds, sorted."""
        return sorted(ident for kind, ident, part in self.documents if kind is Kind.AUTOMATION and part is Part.DETAIL)


def files(documents: Mapping[Key, Document], keys: Iterable[Key]) -> dict[str, bytes | None]:
    """Those of a backup's files in which `keys` are: one for each document and each list, rows by id, a row a line.

    None for one that is gone.
    """
    found: dict[str, bytes | None] = {}
    lists = set()
    for kind, ident, part in keys:
        if part is Part.ROW:
            lists.add(kind)
            continue
        one = documents.get((kind, ident, part))
        found[file_of(kind, ident)] = None if one is None else received(one)
    for kind in lists:
        rows = sorted((key[1], key) for key in documents if key[0] is kind and key[2] is Part.ROW)
        found[f"{kind.value}s.json"] = b"[\n" + b",\n".join(received(documents[key]) for _, key in rows) + b"\n]\n"
    return found


def file_of(kind: Kind, ident: str) -> str:
    """The name of the file of one document."""
    return f"{kind.value}s/{ident or 'all'}.json"


class _Service:
    """An embedded tenant, looked at and changed over its API."""

    def __init__(self, name: str, start: datetime) -> None:
        self.clock = ManualClock(start)
        self.tenant = CloudTenant(name, clock=self.clock, switches=Switches(check_calls=False))
        self._bearer = ""

    def open(self) -> None:
        """Make the client that everything is asked with."""
        self._client = self.tenant.oauth_client("m2m")

    def log_in(self) -> None:
        """Tokens last a few hours."""
        body = dict(zip(("client_id", "client_secret"), self._client, strict=True))
        answer = self._send("POST", "/oauth/token", body | {"grant_type": "client_credentials"})
        self._bearer = str(orjson.loads(answer)["access_token"])

    def _send(self, method: str, path: str, body: object = None) -> bytes:
        headers = {"authorization": f"Bearer {self._bearer}", "content-type": "application/json"}
        url = path if path.startswith("https:") else self.tenant.base_url + path
        request = Request(method=method, url=url, headers=headers, body=b"" if body is None else orjson.dumps(body))
        response = self.tenant.handle(request).response
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {response.body.decode()}")
        return response.body

    def get(self, ident: str) -> bytes:
        """An automation."""
        return self._send("GET", f"/api/workflows/automations/{ident}")

    def put(self, ident: str, body: Mapping[str, Any]) -> None:
        """Save an automation."""
        names = ("name", "description", "schedules", "workspace", "maxConcurrentRuns")
        self._send("PUT", f"/api/workflows/automations/{ident}", {name: body[name] for name in names if name in body})

    def delete(self, ident: str) -> None:
        """Delete an automation."""
        self._send("DELETE", f"/api/workflows/automations/{ident}")

    def settings(self) -> bytes:
        """The settings."""
        return self._send("GET", "/api/workflows/automations/settings")

    def rows(self, path: str) -> Iterator[bytes]:
        """The rows of a list, as the service spells them."""
        url = path
        while url:
            page = orjson.loads(self._send("GET", url))
            yield from map(orjson.dumps, page["data"])
            url = (page["links"].get("next") or {}).get("href") or ""


class _Watch:
    """Takes backups as an incremental run would: the lists, the documents that changed, a seventh of the rest."""

    def __init__(self, service: _Service, seed: int) -> None:
        self._service = service
        self._chance = random.Random(seed)
        self._documents: dict[Key, Document] = {}
        self._number = 0

    def look(self, edited: Iterable[str] | None = None) -> Day:
        """The tenant now. `edited`: ids of the automations that may be other than last time, None for all."""
        service, before = self._service, self._documents
        service.log_in()
        at = service.clock.now()
        self._moment = at
        self._read: set[Key] = set()
        now: dict[Key, Document] = {}
        for kind, path in _LISTS.items():
            if before and kind not in _CHANGING:
                now |= {key: self._kept(key) for key in before if key[0] is kind and key[2] is Part.ROW}
                continue
            for raw in service.rows(path):
                self._take(now, (kind, str(orjson.loads(raw)["id"]), Part.ROW), raw)
        spaces = [key[1] for key in now if key[0] is Kind.SPACE]
        if not before:
            for space in spaces:
                for raw in service.rows(f"/api/v1/spaces/{quote(space)}/assignments?limit=100"):
                    self._take(now, (Kind.ASSIGNMENT, f"{space}/{orjson.loads(raw)['id']}", Part.ROW), raw)
            self._take(now, (Kind.SETTINGS, "", Part.DETAIL), service.settings())
        else:
            now |= {key: self._kept(key) for key in before if key[0] in (Kind.ASSIGNMENT, Kind.SETTINGS)}
        listed = [key[1] for key in now if key[0] is Kind.AUTOMATION]
        wanted = None if edited is None else set(edited)
        for number, ident in enumerate(sorted(listed)):
            key = (Kind.AUTOMATION, ident, Part.DETAIL)
            if key not in before or wanted is None or ident in wanted:
                self._take(now, key, service.get(ident), wait_ms=75)
            elif number % _SHARES == self._number % _SHARES:
                now[key] = self._kept(key, wait_ms=75)
            else:
                now[key] = before[key]
        self._number += 1
        self._documents = now
        changed = {key for key in before.keys() | now.keys() if not _is_same(before.get(key), now.get(key))}
        return Day(at=at, documents=now, changed=frozenset(changed), read=frozenset(self._read))

    def _tick(self, wait_ms: int) -> datetime:
        self._moment += timedelta(milliseconds=wait_ms, microseconds=self._chance.randrange(15, 60))
        return self._moment

    def _kept(self, key: Key, wait_ms: int = 0) -> Document:
        """Read again, and found the same."""
        self._note(key)
        return evolve(self._documents[key], read_at=self._tick(wait_ms))

    def _note(self, key: Key) -> None:
        if key[2] is Part.DETAIL:
            self._read.add(key)

    def _take(self, now: dict[Key, Document], key: Key, raw: bytes, wait_ms: int = 0) -> None:
        self._note(key)
        kept, cuts = cut_document(key[0], raw)
        old = self._documents.get(key)
        if old is not None and old.raw == kept:
            # The same bytes once in memory, however many days hold them.
            kept = old.raw
        kind, ident, part = key
        now[key] = Document(kind=kind, id=ident, part=part, raw=kept, cuts=cuts, read_at=self._tick(wait_ms))


def _is_same(one: Document | None, other: Document | None) -> bool:
    return one is not None and other is not None and one.raw == other.raw and one.cuts == other.cuts


def real_history(folder: Path) -> Iterator[Day]:
    """The versions `X__vDATE_HASH.json` of each `X` in `folder`, a backup after each: as the service would answer.

    Raises:
        FileNotFoundError: there is no folder, or no PROVENANCE.tsv with dates in it.
    """
    dates = {}
    for line in (folder / "PROVENANCE.tsv").read_text().splitlines()[1:]:
        fields = line.split("\t")
        dates[fields[0]] = fields[4]
    versions = sorted((dates[path.name], *_version(path), path) for path in folder.glob("*.json"))
    service = _Service("real", datetime.fromisoformat(f"{versions[0][0]}T08:00:00+00:00"))
    owner = service.tenant.add_user("ACME\\ana", "Ana", "ana@acme.example", roles=("TenantAdmin", "AutomationCreator"))
    service.open()
    watch = _Watch(service, 0)
    made: dict[str, str] = {}
    for date, name, _, path in versions:
        moment = datetime.fromisoformat(f"{date}T09:00:00+00:00")
        # Two of one date: an hour between them.
        wait = max(timedelta(hours=1), moment - service.clock.now())
        service.clock.advance(wait.total_seconds())
        value = json.loads(path.read_bytes())
        workspace = value.get("workspace", value)
        if name in made:
            service.tenant.replace_workspace(made[name], workspace)
        else:
            made[name] = service.tenant.add_automation({"name": name, "workspace": workspace}, owner)
        service.clock.advance(600)
        yield watch.look([made[name]])


def _version(path: Path) -> tuple[str, int]:
    """The name of what it is a version of, and a number that puts the last one last."""
    name, versioned, _ = path.stem.partition("__v")
    return name, 0 if versioned else 1


def made_up_history(*, automations: int, days: int, changed: int, runs: bool, seed: int) -> Iterator[Day]:
    """A made-up time of daily backups. `changed`: automations edited a day. `runs`: all of them run every day, too."""
    chance = random.Random(seed)
    service = _Service("year", datetime(2025, 11, 1, 2, tzinfo=UTC))
    company = seed_source(service.tenant)
    owners, spaces = list(company.users.values()), ["", *company.spaces.values()]
    editor = Editor(seed)
    ids = list(service.tenant.automations)
    if len(ids) > automations:
        raise SystemExit(f"the demo company alone has {len(ids)} automations")

    def add() -> str:
        size = round(min(max(_USUAL * math.exp(chance.gauss(0, _SPREAD)), _SMALLEST), _LARGEST))
        recipe = Recipe(seed=chance.getrandbits(40), size_bytes=size)
        document = {
            "name": recipe.name(len(ids)),
            "description": recipe.description(),
            "workspace": orjson.loads(recipe()),
        }
        return service.tenant.add_automation(document, chance.choice(owners), chance.choice(spaces))

    ids += [add() for _ in range(automations - len(ids))]
    service.open()
    watch = _Watch(service, seed)
    yield watch.look()
    lately: list[str] = []
    for _ in range(days - 1):
        # People edit during the day, runs are done in the evening, the backup comes at night.
        service.clock.advance(8 * 3600)
        service.log_in()
        edited: set[str] = set()
        while len(edited) < changed:
            moment = chance.random()
            if moment < 0.03:
                ids.append(add())
                edited.add(ids[-1])
            elif moment < 0.05:
                gone = chance.choice(ids)
                service.delete(gone)
                ids.remove(gone)
                lately = [one for one in lately if one != gone]
                edited.add(gone)
            else:
                ident = chance.choice(lately if lately and chance.random() < 0.5 else ids)
                if ident not in ids or ident in edited:
                    continue
                service.put(ident, editor.edit(orjson.loads(service.get(ident))))
                edited.add(ident)
                lately = [*(one for one in lately if one != ident), ident][-_AT_WORK:]
            service.clock.advance(chance.randrange(60, 3600))
        if runs:
            for ident in ids:
                service.clock.advance(chance.randrange(1, 60))
                if service.tenant.automations[ident]["state"] == "available":
                    service.tenant.run(ident)
        now = service.clock.now()
        night = (now + timedelta(days=1)).replace(hour=2, minute=0, second=chance.randrange(60), microsecond=0)
        service.clock.advance((night - now).total_seconds())
        yield watch.look(None if runs else edited)


class Editor:
    """Changes automations as people do: a few blocks, now and then the name."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed ^ 0x5EED)

    def edit(self, document: Workspace) -> Workspace:
        """The automation after an afternoon's work, `document` itself changed."""
        workspace = document["workspace"]
        if isinstance(workspace, dict) and workspace.get("blocks"):
            for _ in range(self._random.randint(1, 4)):
                weights = {self._reword: 55, self._move: 20, self._add: 15, self._remove: 7, self._comment: 15}
                (change,) = self._random.choices(list(weights), list(weights.values()))
                change(workspace)
        if self._random.random() < 0.04:
            document["name"] = f"{document['name']} {self._words(1)}"[:80]
        return document

    def _words(self, count: int) -> str:
        return Recipe(seed=self._random.getrandbits(40), size_bytes=0).description()[: 9 * count].strip()

    def _texts(self, workspace: Workspace) -> list[tuple[dict[str, Any], str]]:
        found = []
        for block in workspace["blocks"]:
            entries = [*(block.get("inputs") or ()), *(block.get("operations") or ())]
            found += [(entry, "value") for entry in entries if isinstance(entry.get("value"), str)]
        return found

    def _reword(self, workspace: Workspace) -> None:
        """A word or two of one to three values."""
        texts = [(entry, name) for entry, name in self._texts(workspace) if entry.get("id") != "run_mode"]
        for entry, name in self._random.sample(texts, min(len(texts), self._random.randint(1, 3))):
            words = entry[name].split(" ")
            at = self._random.randrange(len(words))
            words[at : at + self._random.randint(0, 2)] = [self._words(self._random.randint(1, 3))]
            entry[name] = " ".join(words)

    def _move(self, workspace: Workspace) -> None:
        """One block, or one with what follows it."""
        blocks = workspace["blocks"]
        at = self._random.randrange(len(blocks))
        end = len(blocks) if self._random.random() < 0.3 else at + 1
        x, y = 20 * self._random.randint(-9, 9), 20 * self._random.randint(-9, 9)
        for block in blocks[at:end]:
            if isinstance(block.get("x"), int) and isinstance(block.get("y"), int):
                block["x"] += x
                block["y"] += y

    def _add(self, workspace: Workspace) -> None:
        """A new block behind another one."""
        blocks = workspace["blocks"]
        made = self._random.choice(
            orjson.loads(Recipe(seed=self._random.getrandbits(40), size_bytes=8_000)())["blocks"][1:]
        )
        before = self._random.choice(blocks)
        made["id"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4)).upper()
        made["name"] = f"{made['name'].rstrip('0123456789')}{len(blocks) + 1}"
        made["childId"] = before.get("childId")
        before["childId"] = made["id"]
        blocks.append(made)

    def _remove(self, workspace: Workspace) -> None:
        """A block, and the line to it."""
        blocks = workspace["blocks"]
        if len(blocks) < 3:
            return
        gone = blocks.pop(self._random.randrange(1, len(blocks)))
        for block in blocks:
            for name in ("childId", "childTrueId", "childFalseId", "loopBlockId"):
                if block.get(name) == gone["id"]:
                    block[name] = gone.get("childId")

    def _comment(self, workspace: Workspace) -> None:
        """What somebody thought of it."""
        self._random.choice(workspace["blocks"])["comment"] = self._words(self._random.randint(2, 6))
