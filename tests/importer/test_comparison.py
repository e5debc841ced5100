"""The three-way comparison and the bodies that are sent: pure functions and their laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import DAILY, EVERY_HOUR, bound_block, document, text_block

from qlikmigrate.importer.body import full_body, shell_body, with_bindings, without_bindings
from qlikmigrate.importer.comparison import Face, Verdict, face_of, judge
from qlikmigrate.importer.ledger import Entry, LedgerWriter, read_ledger
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import is_armed
from qlikmigrate.model.schedule_form import normal_rule


def raw(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def face(text: str, bound: str | None = None) -> Face:
    return face_of(document("x", bound_block(1, bound), text_block(2, text)))


@pytest.mark.parametrize("emptied", ["[]", "null", "{}"])
def test_workspace_is_sent_as_an_object(emptied: str) -> None:
    """A service that answers an emptied object as a list, or null, is sent an object."""
    body = full_body(f'{{"name":"x","workspace":{emptied}}}'.encode(), space_id=None, max_concurrent_runs=None)
    assert json.loads(body)["workspace"] == {}


@pytest.mark.parametrize(
    ("wanted", "target", "last", "verdict"),
    [
        (face("a"), face("a"), None, Verdict.ADOPT),
        (face("a"), face("b"), None, Verdict.CONFLICT),
        (face("a"), face("a"), face("a"), Verdict.UNCHANGED),
        (face("b"), face("a"), face("a"), Verdict.UPDATE),
        (face("a"), face("b"), face("a"), Verdict.UNCHANGED),
        (face("b"), face("c"), face("a"), Verdict.CONFLICT),
        (face("b"), face("b"), face("a"), Verdict.UNCHANGED),
        (face("a"), face("a", "theirs"), face("a"), Verdict.UNCHANGED),
        (face("b"), face("a", "theirs"), face("a"), Verdict.UPDATE),
        (face("a", "ours"), face("a"), face("a"), Verdict.UPDATE),
        (face("a", "ours"), face("a", "theirs"), face("a", "ours"), Verdict.UNCHANGED),
        (face("b", "ours"), face("a", "theirs"), face("a", "ours"), Verdict.CONFLICT),
        (face("a", "ours"), face("a", "theirs"), face("a"), Verdict.UNCHANGED),
        (face("b", "ours"), face("a", "theirs"), face("a"), Verdict.UPDATE),
        (face("a", "new"), face("a", "old"), face("a", "old"), Verdict.UPDATE),
    ],
)
def test_verdicts(wanted: Face, target: Face, last: Face | None, verdict: Verdict) -> None:
    """Each combination of source, target and last write has one verdict."""
    assert judge(wanted, target, last).verdict is verdict


def test_face_ignores_spelling_and_sees_fields() -> None:
    """Key order, empty forms, editor keys and run data are no difference; a field that differs is named."""
    one = document("x", text_block(1, "a"), schedules=[DAILY])
    other = json.loads(json.dumps(one, sort_keys=True))
    other["workspace"]["blocks"][1]["comment"] = None
    other["workspace"]["blocks"][1]["inputs"][0]["structure"] = []
    other["workspace"]["blocks"][0]["logo"] = "https://cdn.qlikcloud.com/x.png"
    other["schedules"][0] |= {"id": "1", "nextRunAt": "x", "interval": -2, "recurrence": DAILY["recurrence"].lower()}
    other |= {"id": "1", "runMode": "scheduled", "lastRun": {"id": "2"}}
    assert face_of(one) == face_of(other)
    for field, value in {"name": "y", "description": "other", "schedules": [EVERY_HOUR]}.items():
        changed = judge(face_of(one), face_of(other | {field: value}), None)
        assert changed.fields == (field,)


def test_rules_compare_by_meaning() -> None:
    """Part order, case, prefix and default parts of an RRULE do not count; values do."""
    assert normal_rule("RRULE:FREQ=DAILY;INTERVAL=1;BYHOUR=7") == normal_rule("BYHOUR=7;freq=daily")
    assert normal_rule("FREQ=DAILY;BYHOUR=7") != normal_rule("FREQ=DAILY;BYHOUR=8")


def test_body_keeps_the_spelling_and_sends_only_what_is_accepted() -> None:
    """Numbers and white space travel as received; ids, state, run data and unknown fields do not travel."""
    text = (
        '{"id":"1","state":"available","workspace": {"blocks": [ {"x": 1.50, "y":-0, "big": 123456789012345678901} ]},'
        '"name":"n\\u00e5","runMode":"manual","unknown":1,"schedules":[],"description":null}'
    )
    body = full_body(text.encode(), space_id="s1", max_concurrent_runs=2).decode()
    assert '{"blocks": [ {"x": 1.50, "y":-0, "big": 123456789012345678901} ]}' in body
    assert '"name":"n\\u00e5"' in body
    assert set(json.loads(body)) == {"name", "description", "spaceId", "schedules", "workspace", "maxConcurrentRuns"}
    update = json.loads(full_body(text.encode(), space_id=None, max_concurrent_runs=None))
    assert set(update) == {"name", "description", "schedules", "workspace"}


def test_schedule_is_sent_in_the_sources_form() -> None:
    """One schedule, writable fields only; a placeholder is none; a recurrence goes without its overruled interval."""

    def sent(schedules: list[dict[str, Any]]) -> Any:
        return json.loads(full_body(raw(document("x", schedules=schedules)), space_id=None, max_concurrent_runs=None))[
            "schedules"
        ]

    assert sent([{**EVERY_HOUR, "id": "1", "lastStartedAt": "x"}]) == [
        {key: value for key, value in EVERY_HOUR.items() if value is not None}
    ]
    assert "interval" not in sent([{**DAILY, "interval": -2}])[0]
    assert sent([{"startAt": None, "stopAt": None, "interval": -1, "timezone": "Europe/London"}]) == []
    assert len(sent([DAILY, EVERY_HOUR])) == 1


@pytest.mark.parametrize("mode", ["manual", "scheduled", "webhook", "triggered"])
def test_shell_is_never_armed(mode: str) -> None:
    """Whatever an automation is, its shell has a manual start, no schedule, and the run's marker."""
    shell = json.loads(shell_body(raw(document("x", mode=mode, schedules=[DAILY])), space_id="", marker="[m]"))
    assert not is_armed(shell)
    assert shell["description"] == "[m]"
    assert "spaceId" not in shell


@given(st.lists(st.none() | st.text(max_size=8), max_size=6))
def test_bindings_are_cleared_and_filled_in_place(bound: list[str | None]) -> None:
    """Clearing nulls every binding; filling only gaps touches nothing that is bound; other bytes stay."""
    value = document("x", *(bound_block(number, one) for number, one in enumerate(bound)))
    before = raw(value)
    cleared = json.loads(without_bindings(before))
    for block in value["workspace"]["blocks"][1:]:
        block["settings"][0]["value"] = None
    assert cleared == value
    names = {block["id"]: f"c{number}" for number, block in enumerate(value["workspace"]["blocks"])}
    filled = json.loads(with_bindings(before, names, only_gaps=True))
    for number, one in enumerate(bound):
        shown = filled["workspace"]["blocks"][number + 1]["settings"][0]["value"]
        assert shown == (one if one is not None else f"c{number + 1}")
    if all(one is None for one in bound):
        assert without_bindings(before) is before


def test_ledger_gives_back_what_it_took(tmp_path: Path) -> None:
    """The last entry of an object counts, ids are found without regard to case, a torn line is cut off."""
    path = tmp_path / "folder" / "l.jsonl"
    with LedgerWriter(path, source_tenant="s", target_tenant="t") as writer:
        writer.record(Entry(kind=Kind.AUTOMATION, source_id="A1", target_id="b1", face=face("a", "c")))
        writer.record(Entry(kind=Kind.AUTOMATION, source_id="A1", target_id="b2", face=face("b", "c")))
    path.write_bytes(path.read_bytes() + b'{"kind":"automation","sour')
    with LedgerWriter(path, source_tenant="s", target_tenant="t") as writer:
        writer.record(Entry(kind=Kind.AUTOMATION, source_id="A2", target_id="b3"))
    ledger = read_ledger(path, source_tenant="s", target_tenant="t")
    found = ledger.get(Kind.AUTOMATION, "a1")
    assert found is not None
    assert (found.target_id, found.face) == ("b2", face("b", "c"))
    assert ledger.pairs() == {(Kind.AUTOMATION, "a1"): "b2", (Kind.AUTOMATION, "a2"): "b3"}
    with pytest.raises(CorruptError, match="another pair"):
        read_ledger(path, source_tenant="s", target_tenant="other")


@pytest.mark.parametrize(
    "text", ["no json\nat all\n", '{"format":"other"}\n', '{"format":"qlikmigrate-ledger","format_version":2}\n']
)
def test_broken_ledger_is_named(tmp_path: Path, text: str) -> None:
    """Garbage, another format and a newer one are refused, not taken for an empty ledger."""
    path = tmp_path / "l.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptError):
        read_ledger(path, source_tenant="s", target_tenant="t")
