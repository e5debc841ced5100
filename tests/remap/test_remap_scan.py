"""`scan` on archives: everything that a migration will meet, and no value of a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from secret_list import secrets
from stage import MAIL, PLATFORM_OPERATIONS, Stage, bound_block, call_block, document, start_block, text_block

from qlikmigrate.cli.app import run


def load(stage: Stage) -> dict[str, str]:
    """Two automations with something of each kind; ids by what they are."""
    tenant, users, spaces = stage.source.tenant, stage.source.users, stage.source.spaces
    bound = tenant.add_connection(PLATFORM_OPERATIONS, "Source tenant", users["ben"])
    callee = tenant.add_automation(document("callee"), users["ben"])
    gone = "0beb6795-2072-4f0c-9043-3b2aff6123af"
    nobody = "65f0c1a2b3c4d5e6f7a8b9c0"
    host = tenant.hostnames[0]
    code = {**start_block(), "id": "C", "type": "CustomCodeBlock3", "name": "code", "inputs": [
        {"id": "code", "value": f"x = '{spaces['Sales']}'", "type": "code", "structure": {}}
    ]}  # fmt: skip
    caller = tenant.add_automation(
        document(
            "caller",
            bound_block(1, bound),
            bound_block(2, None, MAIL),
            call_block(3, callee),
            call_block(4, gone),
            text_block(5, f"{spaces['Ops']} {nobody} anna@other.example https://{host}/x https://b.eu.qlikcloud.com"),
            text_block(6, "Sales"),
            text_block(7, "lib://Sales:DataFiles/log.qvd of @@BUCKET@@"),
            code,
        ),
        users["ben"],
        space=spaces["Sales"],
    )
    token = tenant.automations[callee]["executionToken"]
    tenant.add_automation(document("button", text_block(1, f"press {token} now")), users["cleo"])
    return {"caller": caller, "callee": callee, "gone": gone, "nobody": nobody, "token": token, "bound": bound}


def test_scan_tells_what_a_migration_will_meet(make_stage: Callable[..., Stage]) -> None:
    """One finding for each thing, with place, kind and name; the target is never asked."""
    stage = make_stage(check_calls=False)
    ids = load(stage)
    assert stage.backup().code == 0
    seen = len(stage.target.tenant.seen)
    ended = stage.cli("scan", stage.folder / "a.qma")
    assert ended.code == 0
    assert len(stage.target.tenant.seen) == seen
    found = {
        (row["code"], row["of"], row["source_id"], row["path"].partition("workspace.")[2].partition(".")[0])
        for row in ended.of("item")
        if row["kind"] == "finding" and row["automation"] == "caller"
    }
    spaces = stage.source.spaces
    assert found == {
        ("source-id-left", "connection", ids["bound"], "blocks[1]"),
        ("connection-unbound", "connection", "", "blocks[2]"),
        ("source-id-left", "automation", ids["callee"], "blocks[3]"),
        ("call-unresolved", "automation", ids["gone"], "blocks[4]"),
        ("source-id-left", "space", spaces["Ops"], "blocks[5]"),
        ("unknown-id", None, ids["nobody"], "blocks[5]"),
        ("mail-address", None, "anna@other.example", "blocks[5]"),
        ("source-host-left", None, stage.source.tenant.hostnames[0], "blocks[5]"),
        ("foreign-host", None, "b.eu.qlikcloud.com", "blocks[5]"),
        ("name-reference", "space", spaces["Sales"], "blocks[6]"),
        ("name-reference", "space", spaces["Sales"], "blocks[7]"),
        ("value-missing", None, "BUCKET", "blocks[7]"),
        ("id-in-code", "space", spaces["Sales"], "blocks[8]"),
    }
    (secret,) = [
        row for row in ended.of("item") if row.get("code") == "secret-in-workspace" and row["kind"] == "finding"
    ]
    assert secret["automation"] == "button"
    assert "execution token" in secret["message"]
    assert ids["token"] not in json.dumps(ended.lines)
    used = {(row["name"], row["blocks"]) for row in ended.of("item") if row["kind"] == "connector"}
    assert used == {("Qlik Platform Operations", 1), ("Mail", 1)}
    assert ended.summary["counts"]["findings"]["name-reference"] == 2
    assert ended.automations == {"scanned": 3}


def test_scan_for_people(make_stage: Callable[..., Stage]) -> None:
    """Counts come first; `--verbose` names each place; selectors leave the rest out."""
    stage = make_stage(check_calls=False)
    load(stage)
    assert stage.backup().code == 0
    archive = str(stage.folder / "a.qma")
    stage.capture.readouterr()
    assert run(["scan", archive]) == 0
    short = stage.capture.readouterr().out
    assert "references by name, space: 2 places in 1 automation [name-reference]\n" in short
    assert "blocks[6]" not in short
    assert run(["scan", archive, "--verbose"]) == 0
    assert "    caller: workspace.blocks[6].inputs[0].value (block `output6`)\n" in stage.capture.readouterr().out
    assert run(["scan", archive, "--include", "name=callee"]) == 0
    assert stage.capture.readouterr().out == ""
    assert run(["scan", archive, "--include", "name=nothing"]) == 2


def test_no_command_tells_a_secret(stage: Stage) -> None:
    """Every planted secret through backup, scan, show, mapping, plan and restore: not in any output, nor in any file
    of the run, the plan or the ledger."""
    planted = secrets()
    there = [one for one in planted if len(one.value) >= 9]
    for number, one in enumerate(planted):
        stage.source.tenant.add_automation(document(f"planted {number}", one.block), stage.source.users["ben"])
    said: list[str] = []
    archive = stage.folder / "a.qma"

    def go(*words: str | Path) -> None:
        for form in (["--json"], ["--verbose"]):
            stage.capture.readouterr()
            config = [] if words[0] in ("list", "show", "verify") else ["--config", str(stage.config)]
            code = run([str(word) for word in words] + form + config)
            read = stage.capture.readouterr()
            said.append(read.out + read.err)
            assert code == 0, read.err

    go("backup", "source", "-o", archive, "--force")
    go("list", archive)
    go("show", archive)
    for number in range(len(planted)):
        assert run(["show", str(archive), f"planted {number}"]) == 0
    read = stage.capture.readouterr()
    said.append(read.out + read.err)
    go("scan", archive)
    go("mapping", archive, "target", "-o", stage.folder / "mapping.toml")
    go("plan", archive, "target", "-o", stage.folder / "plan.json")
    go("show", stage.folder / "plan.json")
    go("restore", archive, "target", "--run", stage.folder / "run", "--resume")
    go("show", stage.folder / "run")
    files = [path for path in stage.folder.rglob("*") if path.is_file() and path.suffix != ".qma"]
    assert any(path.name == "journal.jsonl" for path in files)
    said += [path.read_text(encoding="utf-8") for path in files]
    words = "\n".join(said)
    assert sum(line.count("secret-in-workspace") for line in said) >= len(planted)
    for one in there:
        assert one.value not in words
        assert json.dumps(one.value, ensure_ascii=False)[1:-1] not in words
