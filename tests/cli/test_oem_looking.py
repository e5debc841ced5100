"""Snapshots of OEM accounts in the commands that look into archives and vaults, and in those that cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from oem_stage import OemStage
from stage import Stage

from qlikmigrate.sandbox.oem import OemSwitches

SECRET = "sk_live_4f9d8c7b6a5e4d3c2b1a"


@pytest.fixture
def stage(make_oem_stage: Callable[..., OemStage]) -> OemStage:
    """A backup of the model account, and one of all accounts."""
    stage = make_oem_stage(OemSwitches(state_in_get=True))
    assert stage.backup().code == 0
    assert stage.backup(account="", name="all.qma").code == 0
    return stage


def test_list_names_templates_states_and_accounts(stage: OemStage) -> None:
    """Children come after their bundle; of several accounts each row says whose it is."""
    rows = stage.cli("list", stage.folder / "a.qma").of("item")
    names = [row["name"] for row in rows]
    at = names.index("Invoicing")
    assert names[at : at + 3] == ["Invoicing", "Invoice import", "Invoice reminder"]
    board = next(row for row in rows if row["name"] == "Status board")
    assert (board["template"], board["state"], board["account"]) == ("Status board", "available", "model")
    assert {row["account"] for row in stage.cli("list", stage.folder / "all.qma").of("item")} >= {
        "model",
        "rad-hamburg",
    }


def test_show_masks_what_looks_like_a_secret(stage: OemStage) -> None:
    """Inputs are shown, a secret among them is not; template and connections have names."""
    stage.service.blend(stage.partner.automations["Order sync Gent"]).values["folder"] = SECRET
    stage.backup()
    told = stage.cli("show", stage.folder / "a.qma", "Order sync Gent")
    fields = {row["field"]: row["value"] for row in told.of("item") if row["kind"] == "automation"}
    assert fields["state"] == "disabled"
    assert fields["template"].startswith("Order sync (")
    inputs = {row["name"]: row["value"] for row in told.of("item") if row["kind"] == "input"}
    assert inputs.keys() >= {"shop", "folder"}
    assert SECRET not in stage.heard
    assert any(row["kind"] == "connection" and row["name"] == "Dealer base" for row in told.of("item"))


def test_an_archive_is_the_same_as_the_account(stage: OemStage) -> None:
    """Nothing differs from the account that it was taken of, nor from the archive of all accounts: 0."""
    for other in ("partner/model", "tenant:partner/model", stage.folder / "all.qma", stage.folder / "a.qma"):
        ended = stage.cli("diff", stage.folder / "a.qma", other)
        assert ended.code == 0, ended.lines
        assert ended.summary["counts"]["automations"]["same"] == 22
        assert ended.summary["counts"]["connections"]["same"] == 6


def test_what_differs_is_told_by_name(stage: OemStage) -> None:
    """Inputs, names, states, links, automations and connections that came or went: 5. Secrets are masked."""
    service, guids = stage.service, stage.partner.automations
    blend = service.blend(guids["Order sync Gent"])
    blend.values["shop"], blend.values["folder"], blend.state = "Gent-Zuid", SECRET, "available"
    service.blend(guids["Status board"]).name = "Board"
    del service.account("model").blends[guids["New dealer test"]]
    made = service.add_blend(stage.partner.model, "made by hand")
    link = service.add_datasource(stage.partner.model, "Mail", "Second mail", {})
    ended = stage.cli("diff", stage.folder / "a.qma", "partner/model")
    assert ended.code == 5
    told = {(row["kind"], row["name"]): row for row in ended.of("item")}
    assert told["automation", "New dealer test"]["change"] == "removed"
    assert told["automation", "made by hand"]["b_id"] == made
    assert told["connection", "Second mail"]["b_id"] == link
    assert told["automation", "Board"]["edits"][0]["old"] == "Status board"
    edits = {(edit["id"], edit["place"]): edit["new"] for edit in told["automation", "Order sync Gent"]["edits"]}
    assert edits["inputs", "[shop].value"] == "Gent-Zuid"
    assert edits["state", ""] == "available"
    assert ("inputs", "[folder].value") in edits
    assert SECRET not in stage.heard
    text = stage.cli("diff", stage.folder / "a.qma", "partner/model", "--format", "md", "--include", "name=Board")
    assert text.summary["counts"]["automations"]["compared"] == 1


def test_what_nobody_knows_is_no_difference(stage: OemStage) -> None:
    """A state that the service shows no more, and a schedule that somebody handed in since."""
    stage.service.switches = OemSwitches(state_in_nested=False)
    path = stage.folder / "s.csv"
    path.write_text("automation,schedule_interval,state\nStatus board,30,disabled\n")
    assert stage.backup("--schedules", path, name="b.qma").code == 0
    ended = stage.cli("diff", stage.folder / "a.qma", stage.folder / "b.qma", "--exclude", "name=Status board")
    assert ended.code == 0, ended.of("item")


def test_two_accounts_are_compared_by_name_and_template(stage: OemStage) -> None:
    """The customer's automations beside the model's: ids, accounts and times are no difference."""
    assert stage.backup(account="/rad-hamburg", name="b.qma").code == 0
    ended = stage.cli("diff", stage.folder / "a.qma", stage.folder / "b.qma")
    assert ended.code == 5
    assert "ambiguous-match" in ended.codes()
    assert {row["change"] for row in ended.of("item")} >= {"removed"}


def test_diff_refuses_what_means_nothing(stage: OemStage, make_stage: Callable[..., Stage]) -> None:
    """An OEM account beside Qlik Cloud; owners; a mapping file: 2."""
    cloud = make_stage()
    assert cloud.backup("cloud.qma").code == 0
    mapping = stage.folder / "m.toml"
    mapping.write_text("")
    archive = stage.folder / "a.qma"
    for words in (
        (archive, stage.folder / "cloud.qma"),
        (archive, archive, "--include", "owner=x"),
        (archive, archive, "--mapping", mapping),
        (archive, archive, "--with-calls"),
        (archive, archive, "--include", "name=nothing is called so"),
    ):
        assert stage.cli("diff", *words).code == 2, words


def test_a_vault_holds_and_follows_oem_accounts(stage: OemStage) -> None:
    """The second backup stores what changed; `log` tells it; `list` and `prune` work."""
    vault = stage.folder / "v"
    stage.cli("backup", "partner/model", "--vault", vault, "--init")
    before = sum(one.stat().st_size for one in vault.rglob("*") if one.is_file())
    stage.service.blend(stage.partner.automations["Order sync Gent"]).values["shop"] = "Gent-Zuid"
    stage.cli("backup", "partner/model", "--vault", vault)
    after = sum(one.stat().st_size for one in vault.rglob("*") if one.is_file())
    assert after - before < before / 2
    told = stage.cli("log", vault, "Order sync Gent")
    changed, seen = told.of("item")
    assert (changed["what"], seen["what"]) == ("changed", "seen")
    assert changed["edits"][0]["new"] == "Gent-Zuid"
    assert stage.cli("verify", vault).code == 0
    assert stage.cli("prune", vault, "--keep-last", "1", "--yes").code == 0
    assert stage.cli("list", f"{vault}@latest").code == 0


def test_a_plain_export_is_the_same_each_time(stage: OemStage) -> None:
    """Whatever ran since: no file differs; the page says what it is of."""
    plain = stage.folder / "plain"
    assert stage.cli("export", stage.folder / "a.qma", "--plain", plain).code == 0
    assert "OEM accounts" in (plain / "README.md").read_text()
    app_id, key = stage.service.key_pair()
    run = f"{stage.service.base_url}/accounts/model/blends/{stage.partner.automations['Status board']}/run"
    assert httpx.post(run, json={"async": True}, headers={"x-app-id": app_id, "x-api-key": key}).status_code == 200
    stage.backup("--runs", "1")
    ended = stage.cli("export", stage.folder / "a.qma", "--plain", plain)
    assert ended.summary["counts"]["files"]["written"] == 0
    assert json.loads((plain / "index.json").read_text())["objects"]


def test_scan_chooses_among_accounts(stage: OemStage) -> None:
    """`account` and `uses` as in a backup; owners are refused."""
    archive = stage.folder / "all.qma"
    every = stage.cli("scan", archive).summary["counts"]["automations"]["scanned"]
    one = stage.cli("scan", archive, "--include", "account=rad-hamburg")
    assert 0 < one.summary["counts"]["automations"]["scanned"] < every
    assert stage.cli("scan", archive, "--include", "uses=velo-repos").summary["counts"]["automations"]["scanned"] == 1
    assert stage.cli("scan", archive, "--include", "owner=x").code == 2


def test_verify_and_export_know_the_kinds(stage: OemStage) -> None:
    """Every byte of an archive is checked, and a copy of it is the same."""
    assert stage.cli("verify", stage.folder / "all.qma").code == 0
    assert stage.cli("export", stage.folder / "all.qma", "-o", stage.folder / "c.qma").code == 0
    assert (stage.folder / "c.qma").read_bytes() == (stage.folder / "all.qma").read_bytes()


def test_a_drill_says_plainly_that_it_cannot(stage: OemStage) -> None:
    """2, not a bug's words."""
    ended = stage.cli("drill", stage.folder / "a.qma")
    assert (ended.code, ended.error["code"]) == (2, "not-for-oem")


@pytest.mark.parametrize(
    "flags", [["--workspaces", "w"], ["--schedules", "s.csv"], ["--runs", "1"], ["--without-input-values"]]
)
def test_what_is_of_oem_alone_is_refused_for_qlik_cloud(
    flags: list[str], make_stage: Callable[..., Stage], tmp_path: Path
) -> None:
    """2, and nothing is sent; `account`, too."""
    cloud = make_stage()
    (tmp_path / "w").mkdir()
    ended = cloud.backup("a.qma", *flags)
    assert (ended.code, ended.error["code"]) == (2, "only-for-oem")
    assert cloud.backup("a.qma", "--include", "account=x").code == 2
    assert not cloud.source.tenant.seen
