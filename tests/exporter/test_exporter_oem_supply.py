"""Workspaces and schedules that people hand in: checked first, brought to where they belong, kept as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from oem_stage import OemStage

from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import INTERVALS, read_holding

WORKSPACE = b'{ "blocks": [],  "variables": [] }'
HEAD = "automation,schedule_start_at,schedule_stop_at,schedule_interval,schedule_timezone,state\n"


@pytest.fixture
def stage(make_oem_stage: Callable[..., OemStage]) -> OemStage:
    """What is handed in has nothing to do with how the service answers."""
    return make_oem_stage()


def hand_in(stage: OemStage, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    folder = stage.folder / "workspaces"
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def supplied(stage: OemStage) -> dict[str, bytes]:
    """Id → the workspace in the archive."""
    with stage.archive() as archive:
        return {ident: archive.detail(Kind.WORKSPACE, ident).raw for ident in archive.ids(Kind.WORKSPACE)}


def test_a_guid_goes_before_a_name_and_a_name_before_a_template(stage: OemStage) -> None:
    """Three files for four automations of one template; each keeps the nearest, to the byte."""
    guids = stage.partner.automations
    named = {"Order sync Gent": WORKSPACE + b" ", guids["Order sync Malm\u00f6"]: WORKSPACE + b"  "}
    template = stage.partner.templates["Order sync"]
    files = {f"{word}.json": raw for word, raw in named.items()} | {f"{template.upper()}.json": WORKSPACE}
    ended = stage.backup("--workspaces", hand_in(stage, files))
    assert ended.code == 0, ended.lines
    found = supplied(stage)
    assert found[guids["Order sync Gent"]] == WORKSPACE + b" "
    assert found[guids["Order sync Malm\u00f6"]] == WORKSPACE + b"  "
    assert found[guids["Order sync Berlin"]] == WORKSPACE
    assert len(found) == 4
    assert ended.summary["restorable"] == "partial"
    assert "oem-workspace-unavailable" in ended.codes()


def test_what_means_several_or_none_is_told(stage: OemStage) -> None:
    """Used for nothing, with a warning that says why."""
    files = {"Price export.json": WORKSPACE, "Nobody.json": WORKSPACE, "Invoicing.json": WORKSPACE}
    ended = stage.backup("--workspaces", hand_in(stage, files))
    told = {(line["code"], line["where"]) for line in ended.of("problem") if line["severity"] == "warning"}
    assert ("workspace-ambiguous", "Price export.json") in told
    assert ("workspace-unused", "Nobody.json") in told
    assert ("workspace-unused", "Invoicing.json") in told, "a bundle has no workspace of its own"
    assert supplied(stage) == {}


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"blocks": {}}', b'{"workspace": null}', b'{"blocks": []', b'\xff{"blocks": []}']
)
def test_what_is_no_workspace_is_refused_first(stage: OemStage, raw: bytes) -> None:
    """2, before anything is sent."""
    ended = stage.backup("--workspaces", hand_in(stage, {"a.json": raw}))
    assert ended.code == 2
    assert "a.json" in ended.error["message"]
    assert stage.service.seen == []


def test_no_folder_and_an_empty_one_are_refused(stage: OemStage) -> None:
    """2, too."""
    assert stage.backup("--workspaces", stage.folder / "none").code == 2
    assert stage.backup("--workspaces", hand_in(stage, {})).code == 2


def test_cat_gives_what_the_editor_uploads(stage: OemStage, shared: Path) -> None:
    """A workspace as it was handed in; of what the editor exported with a name beside it, the workspace alone."""
    corpus = sorted((shared / "corpus").glob("*.json"))[0].read_bytes()
    wrapped = b'{"name": "Gent", "workspace": ' + WORKSPACE + b"}"
    files = {"Order sync Gent.json": wrapped, "Order sync Berlin.json": corpus}
    assert stage.backup("--workspaces", hand_in(stage, files)).code == 0

    def cat(name: str) -> bytes:
        told = stage.cli("cat", stage.folder / "a.qma", name, "--workspace")
        return str(told.of("item")[0]["document"]).encode()

    assert cat("Order sync Gent") == WORKSPACE
    assert json.loads(cat("Order sync Berlin")).keys() >= {"blocks"}
    assert supplied(stage)[stage.partner.automations["Order sync Gent"]] == wrapped
    assert stage.cli("cat", stage.folder / "a.qma", "Status board", "--workspace").code == 2


def test_the_token_of_a_saved_answer_is_cut_out(stage: OemStage) -> None:
    """A whole answer of the API that was handed in keeps all but its execution token."""
    token = "Zq7" * 12
    whole = b'{"executionToken": "%s", "name": "x", "workspace": {"blocks": []}}' % token.encode()
    assert stage.backup("--workspaces", hand_in(stage, {"Status board.json": whole})).code == 0
    assert supplied(stage)[stage.partner.automations["Status board"]] == b'{"name": "x", "workspace": {"blocks": []}}'
    assert token not in stage.heard


def test_a_secret_in_a_workspace_is_counted(stage: OemStage) -> None:
    """At backup time, and `scan` says where without showing it."""
    secret = "ghp_" + "a1B2c3D4e5F6" * 3
    raw = json.dumps({"blocks": [{"id": "b", "name": "http", "inputs": [{"id": "token", "value": secret}]}]})
    ended = stage.backup("--workspaces", hand_in(stage, {"Status board.json": raw.encode()}))
    assert "secret-in-workspace" in ended.codes()
    scanned = stage.cli("scan", stage.folder / "a.qma")
    assert {"secret-in-workspace", "secret-in-inputs"} <= {item.get("code") for item in scanned.of("item")}
    assert secret not in stage.heard


def schedules(stage: OemStage, text: str, name: str = "s.csv") -> Path:
    """A schedules file."""
    path = stage.folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_schedules_from_csv_and_json_are_the_same(stage: OemStage) -> None:
    """By name and by guid; an empty cell is unknown; a spreadsheet's semicolons and mark are understood."""
    guid = stage.partner.automations["Daily digest for dealers"]
    rows = [
        ["Status board", "", "", "30", "UTC", "available"],
        [guid.upper(), "2026-01-05 07:00:00", "", "-1", "Europe/Amsterdam", ""],
        ["New dealer", "", "", "", "", "disabled"],
    ]
    columns = HEAD.strip().split(",")
    as_json = [{key: cell or None for key, cell in zip(columns, row, strict=True)} for row in rows]
    as_json[0]["schedule_interval"] = 30  # type: ignore[assignment]
    found = []
    for path in (
        schedules(stage, HEAD + "".join(",".join(row) + "\n" for row in rows)),
        schedules(stage, "\ufeff" + HEAD.replace(",", ";") + "".join(";".join(row) + "\r\n" for row in rows), "t.csv"),
        schedules(stage, json.dumps(as_json), "s.json"),
    ):
        ended = stage.backup("--schedules", path)
        assert ended.code == 0, ended.lines
        with stage.archive() as archive:
            found.append({one: archive.detail(Kind.SCHEDULE, one).raw for one in archive.ids(Kind.SCHEDULE)})
    assert found[0] == found[1] == found[2]
    assert json.loads(found[0][guid]) == {
        "schedule_interval": -1, "schedule_start_at": "2026-01-05 07:00:00", "schedule_timezone": "Europe/Amsterdam",
    }  # fmt: skip
    with stage.archive() as archive:
        known = read_holding(archive).schedules
    assert (known[stage.partner.automations["Status board"]].interval_s, len(known)) == (30, 3)


@pytest.mark.parametrize(
    "line",
    [
        "x,,,31,UTC,",
        "x,,,,UTC,",
        "x,,,60,Mars/Base,",
        "x,tomorrow,,60,UTC,",
        "x,2026-01-02 00:00:00,2026-01-01 00:00:00,60,UTC,",
        "x,,,60,UTC,unavailable",
        ",,,60,UTC,",
        "x,,,60",
        "x,,,60,UTC,\nx,,,30,UTC,",
    ],
)
def test_what_the_api_would_not_take_is_refused_first(stage: OemStage, line: str) -> None:
    """Intervals, zones, times, states, and lines that are none: 2, before anything is sent."""
    assert stage.backup("--schedules", schedules(stage, HEAD + line + "\n")).code == 2
    assert stage.service.seen == []


@pytest.mark.parametrize("text", ["", "name\nx\n", "automation,cron\nx,y\n", "[1]", '{"a": 1}', "[{"])
def test_a_file_that_is_none_is_refused(stage: OemStage, text: str) -> None:
    """No header line, unknown columns, no array of objects: 2."""
    name = "s.json" if text[:1] in ("[", "{") else "s.csv"
    assert stage.backup("--schedules", schedules(stage, text, name)).code == 2


def test_schedules_that_mean_several_or_none_are_told(stage: OemStage) -> None:
    """As with workspaces."""
    ended = stage.backup("--schedules", schedules(stage, HEAD + "Price export,,,-1,,\nNobody,,,-1,,\n"))
    assert {"schedule-ambiguous", "schedule-unused"} <= ended.codes()


def test_with_all_that_the_api_lacks_a_snapshot_is_full(stage: OemStage) -> None:
    """A workspace for each that is no bundle, a schedule for each that one may start: `full`; else `partial`."""
    blends: list[Any] = [one for one in stage.service.account("model").blends.values() if not one.is_bundle]
    folder = hand_in(stage, {f"{one.guid}.json": WORKSPACE for one in blends})
    lines = [f"{one.guid},,,{INTERVALS[2]},UTC,\n" for one in blends if one.mode == "scheduled"]
    path = schedules(stage, HEAD + "".join(lines))
    ended = stage.backup("--workspaces", folder, "--schedules", path)
    assert ended.summary["restorable"] == "full"
    assert not {"oem-workspace-unavailable", "oem-schedule-unavailable"} & ended.codes()
    path = schedules(stage, HEAD + "".join(lines[1:]))
    assert stage.backup("--workspaces", folder, "--schedules", path).summary["restorable"] == "partial"


def test_newest_runs_are_kept_as_run_data(stage: OemStage) -> None:
    """No more than asked for of each."""
    app_id, key = stage.service.key_pair()
    for name in ("Status board", "Order sync Berlin"):
        path = f"/accounts/model/blends/{stage.partner.automations[name]}/run"
        for _ in range(3):
            answer = httpx.post(
                stage.service.base_url + path, json={"async": True}, headers={"x-app-id": app_id, "x-api-key": key}
            )
            assert answer.status_code == 200
    assert stage.backup("--runs", "2").code == 0
    with stage.archive() as archive:
        kept = [row.id.partition("/")[0] for row in archive.rows(Kind.RUN)]
    assert sorted(kept) == sorted(
        [stage.partner.automations[name] for name in ("Status board", "Order sync Berlin")] * 2
    )
