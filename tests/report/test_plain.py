"""Plain export: names that every system takes, files that say what the snapshot says, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline import SURROUNDINGS, Timeline, automation

from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Note, Scope, Selection
from qlikmigrate.report.plain import Plain
from qlikmigrate.report.plain_json import line, pretty, read, table
from qlikmigrate.report.plain_name import folded, stems

NASTY = ["", "..", "../../etc/passwd", "/", "a\x00b", "CON", "con", "nul.txt", "A", "a", "é", "e\u0301", "ß", "ss",
         "x" * 5000, "ﬀ" * 300, ".", " ", ".git", "-rf", "😀", "ﷺ" * 40, "क्षि", "a\u202eb", "\ud800",
         "\u212a", "K", "✔️", "a.workspace"]  # fmt: skip
NAMES = st.text(max_size=30) | st.sampled_from(NASTY)
IDS = st.uuids().map(str) | st.text("aAbB01-", max_size=12) | NAMES
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@given(st.dictionaries(IDS, NAMES, max_size=25))
def test_names(objects: dict[str, str]) -> None:
    """Whatever objects are called, each has a file of its own on every file system, and its name a place in it."""
    found = stems(objects.items(), word="automation")
    assert set(found) == set(objects)
    assert len(set(map(folded, found.values()))) == len(found)
    for stem in found.values():
        assert not re.search(r'[<>:"/\\|?*.\x00-\x1f\x7f\s]', stem)
        assert stem.isprintable()
        assert not stem.startswith("-")
        assert not RESERVED.fullmatch(f"{stem}.json")
        assert len(f"{stem}.workspace.json".encode()) < 200


@given(st.dictionaries(st.uuids().map(str), NAMES, max_size=9), st.uuids().map(str), NAMES)
def test_names_do_not_depend_on_others(objects: dict[str, str], ident: str, name: str) -> None:
    """A new object renames no other object's file, unless both would have the same name."""
    before = stems(objects.items(), word="automation")
    after = stems({**objects, ident: name}.items(), word="automation")
    renamed = {one for one in before if before[one] != after[one]}
    assert all(one[:8] == ident[:8] for one in renamed - {ident})


def test_names_are_readable() -> None:
    """Letters and digits of any script stay; the beginning of the id follows."""
    objects = {
        "9c1f2e34-aa": "Nightly reload / EU (v2)",
        "0b": "Ärenden måndag",
        "twin-one": "Twin",
        "twin-onE": "twin",
    }
    found = stems(objects.items(), word="automation")
    assert found["9c1f2e34-aa"] == "Nightly-reload-EU-v2~9c1f2e34"
    assert found["0b"] == "Ärenden-måndag~0b"
    assert re.fullmatch(r"Twin~[0-9a-f]{16}", found["twin-one"])
    assert re.fullmatch(r"twin~[0-9a-f]{16}", found["twin-onE"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.booleans())
def test_pretty_says_the_same(value: Any, ascii_only: bool) -> None:
    """Text for people means what was received, whole or on one line, and its order of members is its own."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass" if ascii_only else "replace")
    shown = pretty(read(text))
    assert json.loads(shown) == json.loads(text)
    assert json.loads(line(read(text)).encode()) == json.loads(text)
    assert shown.endswith(b"\n")
    assert pretty(read(shown)) == shown
    assert json.loads(table([read(text)])) == [json.loads(text)]


def test_pretty_keeps_spellings() -> None:
    """Numbers stay to the digit, however large; half of a surrogate pair stays an escape; members are sorted."""
    raw = rb'{"b": 1.50, "a": [12345678901234567890123, -0, 1e400, {}, []], "c": "\ud800\u00e9"}'
    assert pretty(read(raw)).decode() == (
        '{\n  "a": [\n    12345678901234567890123,\n    -0,\n    1e400,\n    {},\n    []\n  ],\n  "b": 1.50,\n'
        '  "c": "\\ud800é"\n}\n'
    )
    for deep in (b"[" * 100_000, b"[" * 900 + b"]" * 900):
        try:
            assert pretty(read(deep)).startswith(b"[")
        except ValueError:
            assert len(deep) == 100_000


def files_of(path_of: Timeline, number: int = -1) -> dict[str, bytes]:
    """Path → bytes."""
    with path_of.open(number) as archive:
        plain = Plain(archive)
        found = {one.path: one.data for one in plain}
        assert set(found) <= plain.paths
    return found


def test_what_is_in_the_files(tmp_path: Path) -> None:
    """The automation, its workspace apart, members beside their space, a table of items; the index names every file."""
    timeline = Timeline(tmp_path)
    timeline.take([automation("a1", "Nightly", workspace={"blocks": [{"id": "B", "type": "X"}], "version": 1.50})])
    files = files_of(timeline)
    assert set(files) == {
        "README.md", "index.json", "items.json", "settings.json", "automations/Nightly~a1.json",
        "automations/Nightly~a1.workspace.json", "connections/Mail~c1.json", "spaces/Sales~s-sales.json",
        "spaces/Sales~s-sales.members.json", "users/Ben-Example~u-ben.json", "users/Ada-Example~u-ada.json",
    }  # fmt: skip
    one = json.loads(files["automations/Nightly~a1.json"])
    assert one["name"] == "Nightly"
    assert not {"workspace", "executionToken", "lastRunAt"} & set(one)
    assert json.loads(files["automations/Nightly~a1.workspace.json"])["blocks"] == [{"id": "B", "type": "X"}]
    assert b"hidden" not in b"".join(files.values())
    assert json.loads(files["spaces/Sales~s-sales.members.json"])[0]["assigneeId"] == "u-ada"
    assert json.loads(files["items.json"]) == [{"id": "i1", "name": "Sales", "resourceId": "r1", "resourceType": "app"}]
    index = json.loads(files["index.json"])
    assert index["complete"] is True
    named = {path for one in index["objects"] for key, path in one.items() if key in ("file", "workspace", "members")}
    assert named | {"README.md", "index.json", "items.json", "settings.json"} == set(files)


def test_what_changes_by_itself_is_not_in_them(tmp_path: Path) -> None:
    """Runs, logins, views, capture times, a newer tool: the same bytes."""
    timeline = Timeline(tmp_path)
    timeline.take([automation("a1")])
    moved = [
        (
            kind,
            ident,
            {**value, "lastUpdatedAt": "2027", "itemViews": {"n": 9}} if kind in (Kind.USER, Kind.ITEM) else value,
        )
        for kind, ident, value in SURROUNDINGS
    ]
    timeline.take([automation("a1", lastRunAt="2027", executionToken="other")], surroundings=moved, tool_version="9.9")
    assert files_of(timeline, 0) == files_of(timeline, 1)


def test_the_index_says_what_is_missing(tmp_path: Path) -> None:
    """Incompleteness, narrow views and what could not be read stand in it; an unreadable automation has its row."""
    timeline = Timeline(tmp_path)
    lost = Note(kind=Kind.AUTOMATION, id="a2", name="Lost", reason="403")
    timeline.take(
        [automation("a1")], listed=[automation("a2", "Lost")], complete=False, unreadable=(lost,), scope=Scope.IDENTITY,
        selection=Selection(include=("name=*",)),
    )  # fmt: skip
    files = files_of(timeline)
    index = json.loads(files["index.json"])
    assert (index["complete"], index["scope"], index["selection"]["include"]) == (False, "identity", ["name=*"])
    assert index["unreadable"] == [{"kind": "automation", "id": "a2", "name": "Lost", "reason": "403"}]
    assert json.loads(files["automations/Lost~a2.json"])["name"] == "Lost"
    assert "automations/Lost~a2.workspace.json" not in files


def test_a_document_that_is_no_json(tmp_path: Path) -> None:
    """Told by kind and id, as damage."""
    from qlikmigrate.archive import ArchiveWriter, open_archive
    from qlikmigrate.model.document import Document, Part
    from qlikmigrate.model.snapshot import copy_snapshot

    timeline = Timeline(tmp_path)
    timeline.take([automation("a1")])

    class Broken(ArchiveWriter):
        def finish(self, *head: Any) -> None:
            self.add(Document(kind=Kind.SPACE, id="s9", part=Part.DETAIL, raw=b"<html>"))
            super().finish(*head)

    with timeline.open() as archive, Broken(tmp_path / "b.qma") as writer:
        copy_snapshot(archive, writer)
    with open_archive(tmp_path / "b.qma") as archive, pytest.raises(CorruptError, match="space `s9`"):
        list(Plain(archive))
