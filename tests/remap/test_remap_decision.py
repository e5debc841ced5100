"""The mapping file's decisions, end to end: keep, null and drop for each kind; and that files survive being re-run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remap_tenants import one, source, target
from stage import PLATFORM_OPERATIONS, Stage, bound_block, call_block, document, text_block

from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision, Mapping, MappingRow
from qlikmigrate.remap.mapping_file import parse
from qlikmigrate.remap.matching import match
from qlikmigrate.remap.proposal import render

KINDS = (Kind.USER, Kind.SPACE, Kind.CONNECTOR, Kind.CONNECTION, Kind.AUTOMATION)
WORDS = st.text(min_size=1, max_size=12)


def load(stage: Stage) -> dict[str, str]:
    """A caller that refers to a space, a connection, an automation, an app and a user."""
    tenant, users = stage.source.tenant, stage.source.users
    bound = tenant.add_connection(PLATFORM_OPERATIONS, "Operations", users["ben"])
    stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", stage.target.users["ben"])
    callee = tenant.add_automation(document("callee"), users["ben"])
    app = "0beb6795-2072-4f0c-9043-3b2aff6123af"
    tenant.add_automation(
        document(
            "caller",
            bound_block(1, bound),
            call_block(2, callee),
            text_block(3, stage.source.spaces["Sales"]),
            text_block(4, users["cleo"]),
            text_block(5, app),
        ),
        users["ben"],
    )
    return {"connection": bound, "callee": callee, "app": app}


def held(stage: Stage) -> list[Any]:
    """What the copy of the caller refers to, block by block."""
    blocks = stage.target.one("caller")["workspace"]["blocks"]
    return [(block["settings"] or block["inputs"])[0]["value"] for block in blocks[1:]]


def restore(stage: Stage, decision: str, ids: dict[str, str]) -> Any:
    line = f'{{ decision = "{decision}" }}'
    mapping = stage.folder / "mapping.toml"
    mapping.write_text(
        f'[users]\n"cleo@example.com" = {line}\n[spaces]\n"Sales" = {line}\n'
        f'[connections]\n"Operations" = {line}\n[automations]\n"callee" = {line}\n[ids]\n"{ids["app"]}" = {line}\n',
        encoding="utf-8",
    )
    assert stage.backup().code == 0
    ended = stage.restore("a.qma", "--mapping", str(mapping))
    assert ended.code == 0, ended.error
    return ended


def test_keep(stage: Stage) -> None:
    """References stay as they are, knowingly, and nothing is said of them; the automation itself comes over."""
    ids = load(stage)
    mine = stage.source
    keep = '{ decision = "keep" }'
    (stage.folder / "mapping.toml").write_text(
        f'[users]\n"cleo@example.com" = {keep}\n[spaces]\n"Sales" = {keep}\n[ids]\n"{ids["app"]}" = {keep}\n',
        encoding="utf-8",
    )
    assert stage.backup().code == 0
    ended = stage.restore("a.qma", "--mapping", str(stage.folder / "mapping.toml"))
    assert ended.code == 0, ended.error
    assert held(stage)[2:] == [mine.spaces["Sales"], mine.users["cleo"], ids["app"]]
    assert not ended.codes() & {"source-id-left", "unknown-id"}


def test_null(stage: Stage) -> None:
    """Null takes the place of whole values; the automation that is no longer called comes over all the same."""
    ids = load(stage)
    ended = restore(stage, "null", ids)
    assert held(stage) == [None, None, None, None, None]
    assert stage.target.named("callee")
    assert ended.automations == {"selected": 2, "created": 2}


def test_drop(stage: Stage) -> None:
    """Like null, and the automation is left out."""
    ids = load(stage)
    ended = restore(stage, "drop", ids)
    assert held(stage) == [None, None, None, None, None]
    assert not stage.target.named("callee")
    assert ended.automations == {"selected": 2, "created": 1, "skipped": 1}
    blocks = stage.target.one("caller")["workspace"]["blocks"]
    assert blocks[2]["disabled"] is True


@st.composite
def mappings(draw: st.DrawFn) -> Mapping:
    rows = []
    for kind in KINDS:
        for number in range(draw(st.integers(0, 3))):
            found = one(
                kind, f"{kind}-{number}-{draw(WORDS)}", draw(WORDS), email=draw(st.sampled_from(["", "A@b.example"]))
            )
            decision = draw(st.sampled_from(list(Decision)))
            is_mapped = decision is Decision.MAP
            rows.append(
                MappingRow(
                    kind=kind, source=found, decision=decision, target_id=draw(WORDS) if is_mapped else None,
                    rule=draw(st.sampled_from(["explicit", "subject", "type+name"])) if is_mapped else "explicit",
                )
            )  # fmt: skip
    hosts = draw(st.dictionaries(st.sampled_from(["a.example", "b.example"]), st.just("c.example")))
    return Mapping(rows=tuple(rows), hosts=hosts)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(mappings(), WORDS)
def test_file_round_trips(mapping: Mapping, remark: str) -> None:
    """What is written reads back as the same decisions; written once more it is the same text; remarks stay."""
    text = render(mapping)
    file = parse(text)
    assert {(entry.kind, entry.source): (entry.target, entry.decision) for entry in file.entries} == {
        (row.kind, row.source.id): (row.target_id or "", row.decision) for row in mapping.rows
    }
    assert dict(file.hosts) == dict(mapping.hosts)
    assert {entry.source for entry in file.handmade().entries} == {
        row.source.id for row in mapping.rows if row.rule == "explicit"
    }
    assert render(mapping, text) == text
    said = "# " + "".join(char for char in remark if char.isprintable())
    commented = "\n".join([said, *(f"{line}  # mine" if '" = ' in line else line for line in text.split("\n"))])
    again = render(mapping, commented)
    assert again == commented
    assert parse(again).entries == file.entries


def test_every_section_of_a_file() -> None:
    """Rules, mail domains, values and switches are read and carried into the mapping."""
    text = """
[users]
"anna@acme.example" = "Anna at the target"
[mail_domains]
"acme.example" = "acme-dr.example"
[values]
BUCKET = "dr"
[rewrite]
code = true
[[rules.users]]
field = "email"
from = "@acme\\\\.example$"
to = "@acme-dr.example"
[[rules.spaces]]
field = "name"
from = "^DEV "
to = ""
"""
    mine = source(
        one(Kind.USER, "u1", "Anna", email="Anna@Acme.example"), one(Kind.USER, "u2", "Bo", email="bo@acme.example"),
        one(Kind.SPACE, "s1", "DEV Sales", type="shared"),
    )  # fmt: skip
    theirs = target(
        one(Kind.USER, "t1", "Anna at the target"), one(Kind.USER, "t2", "Bo", email="BO@acme-dr.example"),
        one(Kind.SPACE, "s2", "Sales", type="shared"),
    )  # fmt: skip
    mapping = match(mine, theirs, decisions=parse(text))
    found = {(row.kind, row.source.id): (row.target_id, row.rule) for row in mapping.rows}
    assert found[Kind.USER, "u1"] == ("t1", "explicit")
    assert found[Kind.USER, "u2"] == ("t2", "email")
    assert found[Kind.SPACE, "s1"] == ("s2", "type+name")
    assert mapping.mail_domains == {"acme.example": "acme-dr.example"}
    assert mapping.rewrite_code is True
    assert parse(text).literal_values() == {"BUCKET": "dr"}


def test_values_lists_and_re_runs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`[values]` from text, environment and file; `--ids`; `--unmatched`; own lines and comments outlive a re-run."""
    tenant, users = stage.source.tenant, stage.source.users
    app, there = "0beb6795-2072-4f0c-9043-3b2aff6123af", "9d2125ab-2072-4f0c-9043-3b2aff6123af"
    lonely = tenant.add_user("corp\\dan", "Dan", "dan@example.com")
    tenant.add_automation(document("a", text_block(1, f"@@BUCKET@@/@@TOKEN@@/@@CERT@@ {app}")), users["ben"])
    tenant.add_automation(document("b"), lonely)
    monkeypatch.setenv("DR_TOKEN", "env-7f3a")
    (stage.folder / "cert.txt").write_text("file-91\n", encoding="utf-8")
    (stage.folder / "ids.csv").write_text(f"kind,source_id,target_id\nitem,{app},{there}\n", encoding="utf-8")
    mapping = stage.folder / "mapping.toml"
    mine = '[values]  # mine\nBUCKET = "dr"\nTOKEN = { env = "DR_TOKEN" }\nCERT = { file = "cert.txt" }\n'
    mapping.write_text(mine, encoding="utf-8")
    archive, unmatched = stage.folder / "a.qma", stage.folder / "open.csv"
    assert stage.backup().code == 0
    words = ("mapping", archive, "target", "-o", mapping, "--ids", stage.folder / "ids.csv", "--unmatched", unmatched)
    assert stage.cli(*words).code == 0
    first = mapping.read_text(encoding="utf-8")
    assert first.startswith(mine)
    assert unmatched.read_text(encoding="utf-8").splitlines()[1:] == [f"user,{lonely},Dan,"]
    assert stage.cli(*words).code == 0
    assert mapping.read_text(encoding="utf-8") == first
    ended = stage.restore("a.qma", "--mapping", str(mapping), "--fallback-owner", "ben@example.com", run="run")
    assert ended.code == 0, ended.error
    assert stage.target.one("a")["workspace"]["blocks"][1]["inputs"][0]["value"] == f"dr/env-7f3a/file-91 {there}"
    kept = [path for path in (stage.folder / "run").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"env-7f3a" in path.read_bytes()]
    assert "env-7f3a" not in json.dumps(ended.lines)
    mapping.write_text(first.replace('BUCKET = "dr"\n', ""), encoding="utf-8")
    refused = stage.cli("plan", archive, "target", "--mapping", mapping, "--fallback-owner", "ben@example.com")
    assert refused.code == 6
    assert "value-missing" in refused.codes()
