"""A snapshot as plain text files, for reviews and for git: what one object says is in files of its own.

The files follow from what the tenant holds, never from when it was read or what ran: an unchanged tenant gives the same
bytes. They are for reading; only an archive can be restored from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from heapq import merge
from itertools import groupby, islice
from typing import Any

from attrs import frozen

from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.document import Document
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Note
from qlikmigrate.model.oem import is_oem
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.report.plain_json import encoded, line, pretty, read, table
from qlikmigrate.report.plain_name import stems

FORMAT = "qlikmigrate-plain"
FORMAT_VERSION = "1.0"
README = "README.md"
INDEX = "index.json"
ITEMS = "items.json"

# Of these kinds a tenant has one object.
SINGLE: Mapping[Kind, str] = {kind: f"{kind.value}.json" for kind in (Kind.SETTINGS, Kind.TENANT)}
# Kinds with a file for each object; members stand beside their space, and items, which only name ids, in one table.
# Runs are run data.
FOLDERS: Mapping[Kind, str] = {
    kind: f"{kind.value}s" for kind in Kind if kind not in (Kind.ASSIGNMENT, Kind.ITEM, Kind.RUN, *SINGLE)
}
# Of these kinds the rest changes by itself: views, reloads and logins.
# Source: openapi/items.json, itemResultResponseBody; openapi/users.json, User.
_KEPT: Mapping[Kind, Collection[str]] = {
    Kind.ITEM: ("id", "name", "resourceId", "resourceType", "resourceSubType", "spaceId", "ownerId"),
    Kind.USER: ("id", "name", "subject", "email", "status", "assignedRoles"),
}
_README_TEXT = """\
# {title}

The automations of a Qlik Cloud tenant and what they use, written by `qlikmigrate export --plain` for reading, for
reviews and for git. The next export into this folder replaces these files and removes those of objects that are gone.
Files of your own stay as they are.

**Treat this folder as a secret.** Execution tokens, parameter values of connections and OAuth addresses are not in it,
but secrets that people typed into workspaces are.

| file | holds |
|---|---|
| `index.json` | every object, a line each, with its files; what could not be read |
| `automations/NAME~ID.json` | one automation: state, owner, space, schedule |
| `automations/NAME~ID.workspace.json` | its workspace: blocks and variables |
| `spaces/NAME~ID.json`, `spaces/NAME~ID.members.json` | one space, and who has which roles in it |
| `connections`, `connectors`, `users` | one file for each |
| `items.json` | apps and other items, a line each: the names of ids that workspaces hold |
| `settings.json` | the tenant's settings of automations |

ID is the beginning of the id. Run data, capture times and whatever changes by itself are left out. A restore needs an
archive or a vault: nothing can be restored from these files.
"""

_OEM_README_TEXT = """\
# {title}

The automations of OEM accounts (Qlik Application Automation for OEM) and what they use, written by
`qlikmigrate export --plain` for reading, for reviews and for git. The next export into this folder replaces these
files and removes those of objects that are gone. Files of your own stay as they are.

**Treat this folder as a secret.** Execution tokens, credentials of connections and OAuth addresses are not in it, but
values that people stored in inputs are, and secrets that they typed into workspaces.

| file | holds |
|---|---|
| `index.json` | every object, a line each, with its files; what could not be read |
| `automations/NAME~ID.json` | one automation (a blend, as the API calls it) with its inputs |
| `workspaces/NAME~ID.json`, `schedules` | what people handed in for the automation of that id |
| `accounts`, `memberships` | one file for each account, and what it holds |
| `connections`, `connectors`, `templates` | one file for each |

ID is the beginning of the id. Run data, capture times and whatever changes by itself are left out. A restore needs an
archive or a vault: nothing can be restored from these files.
"""


@frozen(kw_only=True)
class PlainFile:
    """One file. `path`: relative, with `/`."""

    path: str
    data: bytes


class Plain:
    """A snapshot as plain files.

    Raises (when made, and when files are made):
        CorruptError: a document is damaged, or no JSON.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._names: dict[Kind, dict[str, str]] = {kind: self._read_names(kind) for kind in FOLDERS}
        self._stems = {kind: stems(names.items(), word=kind.value) for kind, names in self._names.items()}

    @property
    def paths(self) -> frozenset[str]:
        """Every path at which it may have a file: more than it will have, and none beside them."""
        found = {README, INDEX, ITEMS, *SINGLE.values()}
        for kind, folder in FOLDERS.items():
            found |= {f"{folder}/{stem}.json" for stem in self._stems[kind].values()}
        found |= {self._part(Kind.AUTOMATION, ident, "workspace") for ident in self._stems[Kind.AUTOMATION]}
        return frozenset(found | {self._part(Kind.SPACE, ident, "members") for ident in self._stems[Kind.SPACE]})

    def __iter__(self) -> Iterator[PlainFile]:
        """The files, one at a time; the index at the end."""
        tenant = self._snapshot.manifest.tenant
        text = (_OEM_README_TEXT if is_oem(self._snapshot) else _README_TEXT).format(
            title=_heading(tenant.name or tenant.host or tenant.id)
        )
        yield PlainFile(path=README, data=encoded(text))
        index: list[dict[str, Any]] = []
        for kind, folder in FOLDERS.items():
            for document in self._documents(kind):
                value = self._value(document)
                entry = {"file": f"{folder}/{self._stems[kind][document.id]}.json", "id": document.id,
                         "kind": kind.value, "name": self._names[kind][document.id]}  # fmt: skip
                if kind is Kind.AUTOMATION and isinstance(value, dict) and value.get("workspace") is not None:
                    entry["workspace"] = self._part(kind, document.id, "workspace")
                    yield self._file(entry["workspace"], value.pop("workspace"), document)
                yield self._file(entry["file"], value, document)
                index.append(entry)
        yield from self._members(index)
        for kind, path in SINGLE.items():
            for document in islice(self._documents(kind), 1):
                yield self._file(path, self._value(document), document)
        items = list(filter(_is_named_nowhere_else, map(self._value, self._documents(Kind.ITEM))))
        if items:
            yield PlainFile(path=ITEMS, data=encoded(table(items) + "\n"))
        yield PlainFile(path=INDEX, data=self._index(index))

    def _members(self, index: list[dict[str, Any]]) -> Iterator[PlainFile]:
        """One file for each space: its members, by their ids, which begin with the space's."""
        by_space = groupby(self._documents(Kind.ASSIGNMENT), lambda one: one.id.partition("/")[0])
        files = {ident: [self._value(one) for one in ones] for ident, ones in by_space}
        for entry in index:
            if entry["kind"] == Kind.SPACE and entry["id"] in files:
                entry["members"] = self._part(Kind.SPACE, entry["id"], "members")
                yield PlainFile(path=entry["members"], data=encoded(table(files[entry["id"]]) + "\n"))

    def _index(self, objects: list[dict[str, Any]]) -> bytes:
        """What is there. What follows from the tool, or from the hour, is left out."""
        manifest = self._snapshot.manifest
        tenant = manifest.tenant
        chosen = manifest.selection
        head: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "tenant": {"id": tenant.id, "name": tenant.name, "host": tenant.host},
            "complete": manifest.complete,
            "scope": manifest.scope.value,
        }
        if chosen:
            head["selection"] = {"include": chosen.include, "exclude": chosen.exclude, "with_calls": chosen.with_calls}
        told = [f'  "{key}": {line(value)}' for key, value in head.items()]
        for word, notes in (("unreadable", manifest.unreadable), ("missing", manifest.missing)):
            if notes:
                told.append(f'  "{word}": {table([_told(note) for note in notes], indent="  ")}')
        told.append(f'  "objects": {table(objects, indent="  ")}')
        return encoded("{\n" + ",\n".join(told) + "\n}\n")

    def _part(self, kind: Kind, ident: str, part: str) -> str:
        return f"{FOLDERS[kind]}/{self._stems[kind][ident]}.{part}.json"

    def _read_names(self, kind: Kind) -> dict[str, str]:
        names = {row.id: _name(self._value(row)) for row in self._snapshot.rows(kind)}
        for ident in self._snapshot.ids(kind):
            if ident not in names:
                names[ident] = _name(self._value(self._snapshot.detail(kind, ident)))
        return names

    def _documents(self, kind: Kind) -> Iterator[Document]:
        """One document of each object, in id order: its own, or else its row."""
        held = frozenset(self._snapshot.ids(kind))
        details = (self._snapshot.detail(kind, ident) for ident in self._snapshot.ids(kind))
        rows = (row for row in self._snapshot.rows(kind) if row.id not in held)
        yield from merge(details, rows, key=lambda one: one.id)

    @staticmethod
    def _value(document: Document) -> Any:
        try:
            value = read(document.raw)
        except ValueError as error:
            raise CorruptError(f"{document.kind.value} `{document.id}` is no JSON: {error}") from None
        if not isinstance(value, dict):
            return value
        kept = _KEPT.get(document.kind)
        # Addresses of other calls say nothing of the object.
        return {key: one for key, one in value.items() if (key in kept if kept else key != "links")}

    @staticmethod
    def _file(path: str, value: Any, document: Document) -> PlainFile:
        try:
            return PlainFile(path=path, data=pretty(value))
        except ValueError as error:
            raise CorruptError(f"{document.kind.value} `{document.id}`: {error}") from None


def _name(value: Any) -> str:
    name = value.get("name") if isinstance(value, Mapping) else None
    return name if isinstance(name, str) and name.__class__ is str else ""


def _is_named_nowhere_else(item: Any) -> bool:
    return not (isinstance(item, Mapping) and item.get("resourceType") == "automation")


def _told(note: Note) -> dict[str, str]:
    return {"kind": note.kind.value, "id": note.id, "name": note.name, "reason": note.reason}


def _heading(text: str) -> str:
    return " ".join(text.split()) or "Tenant"
