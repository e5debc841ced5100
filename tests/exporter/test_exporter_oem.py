"""Backups of OEM accounts, through the command line, against the embedded service on both sets of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from attrs import evolve
from oem_stage import OemStage

from qlikmigrate.archive.spool import Spool
from qlikmigrate.model.document import Part, received
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import read_holding
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import HtmlOk, ResetBefore, Status, Truncate
from qlikmigrate.sandbox.oem import AccountIds, Envelope, OemSwitches

SECRET = "sk_live_4f9d8c7b6a5e4d3c2b1a"


def asked(stage: OemStage, path: str) -> Any:
    """What the service answers to a GET, asked for beside the tool."""
    app_id, key = stage.service.key_pair()
    answer = httpx.get(f"{stage.service.base_url}{path}", headers={"x-app-id": app_id, "x-api-key": key})
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content


def test_everything_of_the_account_is_in_the_archive(oem_stage: OemStage) -> None:
    """Each automation, children of bundles too, each connection, each connector and template that is referred to."""
    ended = oem_stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True), ended.lines
    account = oem_stage.service.account("model")
    assert oem_stage.ids(Kind.ACCOUNT) == {account.guid}
    assert oem_stage.ids(Kind.AUTOMATION) == set(account.blends)
    assert oem_stage.ids(Kind.CONNECTION) == set(account.datasources)
    with oem_stage.archive() as archive:
        holding = read_holding(archive)
        assert oem_stage.ids(Kind.TEMPLATE) == {
            one.template_id for one in holding.automations.values() if one.template_id
        }
        assert oem_stage.ids(Kind.CONNECTOR) == {one.connector_id for one in holding.connections.values()}
        assert set(holding.automations) == set(account.blends)
        assert archive.manifest.source_kind == "oem"
        assert archive.manifest.tenant.id == account.guid
        rows = {row.id for row in archive.rows(Kind.AUTOMATION)}
    assert rows == set(account.blends), "each automation has a row, children of bundles by what the bundle says"
    assert ended.automations == {"listed": 22, "captured": 22}


def test_documents_are_as_received(oem_stage: OemStage) -> None:
    """To the byte, unknown fields included; a secret apart, which was not there to be sent."""
    oem_stage.backup()
    account = oem_stage.service.account("model").guid
    with oem_stage.archive() as archive:
        for kind, path in (
            (Kind.AUTOMATION, f"/accounts/{account}/blends/%s"),
            (Kind.CONNECTION, f"/accounts/{account}/datasources/%s"),
            (Kind.CONNECTOR, "/connectors/%s"),
            (Kind.TEMPLATE, "/templates/%s"),
        ):
            for ident in archive.ids(kind):
                document = archive.detail(kind, ident)
                sent = asked(oem_stage, path % ident)
                if not any(cut.text is None for cut in document.cuts):
                    assert received(document) == sent, (kind, ident)
                else:
                    whole, kept = json.loads(sent), json.loads(received(document))
                    assert {key: value for key, value in whole.items() if key in kept} == kept
                    assert whole.keys() - kept.keys() <= {"additional", "link", "params"}


def test_nothing_but_documented_gets_is_sent(oem_stage: OemStage) -> None:
    """Of all accounts, with runs and with selectors: no write, and nothing that no page of the vendor knows."""
    assert oem_stage.backup("--runs", "2", account="").code == 0
    assert oem_stage.backup("--include", "uses=Company mail").code == 0
    assert oem_stage.service.writes == []
    assert oem_stage.service.undocumented == []


def planted(path: str, value: Any) -> Any:
    """The answer with a token, a link and credentials in every object of it, at any depth."""
    if isinstance(value, list):
        return [planted(path, one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: planted(path, one) for key, one in value.items()}
    if "guid" in value:
        found |= {"executionToken": SECRET, "execution_token": SECRET}
        if "/datasources" in path and "connector" in value:
            found |= {"params": [{"api_key": SECRET}], "link": SECRET, "additional": {"link": SECRET}}
        if re.fullmatch("/v1/accounts(/[^/]+)?", path):
            found["datasource"] = {"Api-Key": SECRET}
    return found


def every_text(stage: OemStage) -> list[bytes]:
    """All that the tool wrote or said: documents of the archive, every file, every line."""
    with stage.archive() as archive:
        texts = [
            document.raw
            for kind in Kind
            for document in (*(archive.detail(kind, one) for one in archive.ids(kind)), *archive.rows(kind))
        ]
    texts += [one.read_bytes() for one in stage.folder.rglob("*") if one.is_file() and one != stage.config]
    return [*texts, stage.heard.encode()]


def test_planted_secrets_reach_neither_disk_nor_output(oem_stage: OemStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens at any depth, links, credentials: not in the spool, the archive, a vault, plain files or output."""
    oem_stage.bend = planted
    spooled: list[bytes] = []
    put = Spool.put
    monkeypatch.setattr(Spool, "put", lambda self, one: (spooled.append(one.raw), put(self, one))[1])
    assert oem_stage.backup("--runs", "2", account="").code == 0
    assert oem_stage.cli("backup", "partner/model", "--vault", oem_stage.folder / "v", "--init").code == 0
    oem_stage.cli("export", oem_stage.folder / "a.qma", "--plain", oem_stage.folder / "plain")
    oem_stage.cli("show", oem_stage.folder / "a.qma", oem_stage.partner.automations["Status board"])
    oem_stage.cli("cat", oem_stage.folder / "a.qma", oem_stage.partner.connections["Company mail"])
    assert len(spooled) > 100
    for text in (*every_text(oem_stage), *spooled):
        assert SECRET.encode() not in text


def test_no_secret_of_the_service_reaches_disk_or_output(oem_stage: OemStage) -> None:
    """Keys, tokens, links and credentials that the service ever made, but for what customers stored in inputs."""
    oem_stage.backup(account="")
    oem_stage.cli("backup", "partner/model", "--vault", oem_stage.folder / "v", "--init")
    oem_stage.cli("scan", oem_stage.folder / "a.qma")
    stored = {
        value
        for blend in (one for account in oem_stage.service.accounts.values() for one in account.blends.values())
        for value in blend.values.values()
        if isinstance(value, str)
    }
    secrets = oem_stage.service.secrets() - stored
    assert len(secrets) > 20
    for text in every_text(oem_stage):
        for secret in secrets:
            assert secret.encode() not in text


def test_values_of_inputs_are_kept_or_cut(oem_stage: OemStage) -> None:
    """They stay, since a restore needs them, and are counted; or none is in the archive, masked in any output."""
    account = oem_stage.service.account("model")
    ended = oem_stage.backup()
    assert "secret-in-inputs" in ended.codes()
    with oem_stage.archive() as archive:
        stored = [value for one in read_holding(archive).automations.values() for value in one.stored_inputs().values()]
    assert len(stored) > 10
    assert "secret-in-inputs" not in oem_stage.backup("--without-input-values", name="b.qma").codes()
    with oem_stage.archive("b.qma") as archive:
        for ident in archive.ids(Kind.AUTOMATION):
            assert b"persisted_value" not in archive.detail(Kind.AUTOMATION, ident).raw
        assert archive.manifest.restorable.value == "metadata"
    north = next(one.guid for one in account.blends.values() if one.name == "Stock feed North")
    told = oem_stage.cli("show", oem_stage.folder / "a.qma", north)
    token = next(item for item in told.of("item") if item.get("name") == "feed_token")
    assert "***" in json.dumps(token["value"]) or "masked" in json.dumps(token["value"]) or "…" in json.dumps(token)


def test_the_same_account_gives_the_same_bytes(oem_stage: OemStage) -> None:
    """Whatever order answers came in, documents and manifest are the same."""
    digests = []
    for name in ("a.qma", "b.qma"):
        oem_stage.backup(name=name)
        with oem_stage.archive(name) as archive:
            digests.append(archive.digest)
    assert digests[0] == digests[1]


def test_all_accounts_in_one_archive(oem_stage: OemStage) -> None:
    """Each is there with what it holds; one of them is picked by `account`."""
    assert oem_stage.backup(account="").code == 0
    accounts = oem_stage.service.accounts
    with oem_stage.archive() as archive:
        assert archive.manifest.tenant.id.startswith("oem:")
        for account in accounts.values():
            assert set(read_holding(archive, account.guid).automations) == set(account.blends)
            assert set(read_holding(archive, account.guid).connections) == set(account.datasources)
    assert oem_stage.backup("--include", "account=model", account="", name="b.qma").code == 0
    assert oem_stage.ids(Kind.ACCOUNT, "b.qma") == {oem_stage.partner.model}


@pytest.mark.parametrize("word", ["nobody", "Velo model"])
def test_an_account_that_is_not_there(oem_stage: OemStage, word: str) -> None:
    """By guid or externalid, never by name: 2."""
    ended = oem_stage.backup(account=f"/{word}")
    assert (ended.code, ended.error["code"]) == (2, "usage")
    assert not (oem_stage.folder / "a.qma").exists()


@pytest.mark.parametrize("ids", list(AccountIds))
def test_either_form_of_an_account_will_do(make_oem_stage: Callable[..., OemStage], ids: AccountIds) -> None:
    """Named by its guid or its externalid, whichever of them paths take."""
    stage = make_oem_stage(OemSwitches(account_ids=ids))
    for word in ("model", stage.partner.model, stage.partner.model.upper()):
        assert stage.backup(account=f"/{word}").code == 0


@pytest.mark.parametrize(
    ("selectors", "names"),
    [
        (["--include", "name=Order sync *"], 4),
        (["--include", "mode=webhook"], 1),
        (["--include", "name=Invoice reminder"], 3),
        (["--include", "name=Invoic*", "--exclude", "name=Invoicing"], 0),
        (["--include", "uses=velo-repos"], 1),
    ],
)
def test_selectors(oem_stage: OemStage, selectors: list[str], names: int) -> None:
    """Names, modes and hard links; a bundle as a whole, whichever part of it is meant."""
    ended = oem_stage.backup(*selectors)
    if not names:
        assert (ended.code, ended.error["message"]) == (2, "the selection is empty")
        return
    assert ended.code == 0
    assert len(oem_stage.ids(Kind.AUTOMATION)) == names
    with oem_stage.archive() as archive:
        assert archive.manifest.selection is not None
        read_holding(archive)


@pytest.mark.parametrize("flags", [["--include", "owner=x"], ["--exclude", "space=x"], ["--with-calls"]])
def test_what_oem_accounts_do_not_have_is_refused(make_oem_stage: Callable[..., OemStage], flags: list[str]) -> None:
    """Owners, spaces and calls: 2, and nothing is sent."""
    stage = make_oem_stage()
    assert stage.backup(*flags).code == 2
    assert stage.service.seen == []


def test_a_detail_that_is_refused_is_unreadable(oem_stage: OemStage) -> None:
    """400 or 404 on what is still listed: 3, unless it is known to be so. The rest is there."""
    blend = oem_stage.partner.automations["Status board"]
    oem_stage.service.faults.append(
        Fault(path=f"*/blends/{blend}", effect=Status(code=oem_stage.service.switches.missing_status), times=None)
    )
    ended = oem_stage.backup()
    assert (ended.code, ended.automations) == (3, {"listed": 22, "captured": 21, "unreadable": 1})
    assert blend not in oem_stage.ids(Kind.AUTOMATION)
    oem_stage.write_config(f'accept_unreadable = ["{blend}"]')
    assert oem_stage.backup().code == 0


@pytest.mark.parametrize("effect", [Status(code=500), HtmlOk(), Truncate(0.5), ResetBefore()])
def test_a_detail_that_fails_once_is_had_in_the_end(oem_stage: OemStage, effect: Any) -> None:
    """A fault that passes is no loss."""
    oem_stage.service.faults.append(Fault(path="*/blends/*", effect=effect, times=3))
    assert oem_stage.backup().code == 0
    assert len(oem_stage.ids(Kind.AUTOMATION)) == 22


@pytest.mark.parametrize("envelope", [Envelope.OTHER])
def test_a_list_of_another_shape_is_no_empty_list(make_oem_stage: Callable[..., OemStage], envelope: Envelope) -> None:
    """It fails loudly, and leaves no file."""
    stage = make_oem_stage(OemSwitches(blends_envelope=envelope))
    ended = stage.backup()
    assert ended.code == 1
    assert not (stage.folder / "a.qma").exists()


def test_a_wrong_key_ends_it(make_oem_stage: Callable[..., OemStage]) -> None:
    """20, whatever status the service has for it."""
    for status in (401, 403):
        stage = make_oem_stage(OemSwitches(bad_credentials_status=status))
        stage.config.write_text(stage.config.read_text().replace(stage.service.key_pair()[1], "wrong-key-123"))
        assert stage.backup().code == 20


def test_a_connection_without_its_detail_stays_known(oem_stage: OemStage) -> None:
    """Its list row stands in, with a warning; the connection is still one of the account's."""
    ident = oem_stage.partner.connections["Company mail"]
    oem_stage.service.faults.append(Fault(path=f"*/datasources/{ident}", effect=Status(code=404), times=None))
    ended = oem_stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert "connection-detail-failed" in ended.codes()
    with oem_stage.archive() as archive:
        assert read_holding(archive).connections[ident].name == "Company mail"


def test_templates_and_connectors_are_no_part_of_completeness(oem_stage: OemStage) -> None:
    """What cannot be read of them is a warning: exit 0."""
    oem_stage.service.faults.append(Fault(path="*/templates*", effect=Status(code=400), times=None))
    oem_stage.service.faults.append(Fault(path="*/connectors/*", effect=Status(code=404), times=None))
    ended = oem_stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert {"template-unreadable", "connector-unreadable"} <= ended.codes()
    assert ended.summary["counts"]["connectors"]["unreadable"] == 5


def test_one_of_many_accounts_that_is_closed(oem_stage: OemStage) -> None:
    """The others are in the archive; 3, unless it is known to be so."""
    closed = oem_stage.service.account("rad-hamburg")
    for word in (closed.guid, closed.externalid):
        path = f"*/accounts/{word}/blends"
        oem_stage.service.faults.append(Fault(path=path, effect=Status(code=400, body=b"{}"), times=None))
    ended = oem_stage.backup(account="")
    assert (ended.code, "account-unreadable" in ended.codes()) == (3, True)
    assert ended.summary["counts"]["accounts"]["unreadable"] == 1
    assert len(oem_stage.ids(Kind.AUTOMATION)) == 22
    oem_stage.write_config('accept_unreadable = ["rad-hamburg"]')
    assert oem_stage.backup(account="").code == 0
    assert oem_stage.backup(account="/rad-hamburg").code == 1, "as the only one it is the backup's failure"


def test_what_the_api_does_not_give_is_said(oem_stage: OemStage) -> None:
    """One line for each kind of thing, with its number; not one for each automation."""
    ended = oem_stage.backup()
    codes = [line["code"] for line in ended.of("problem")]
    for code in ("oem-workspace-unavailable", "oem-schedule-unavailable", "oem-credentials-unavailable"):
        assert codes.count(code) == 1
    assert ended.summary["restorable"] == "metadata"


def test_what_the_api_gives_against_its_pages_is_kept(make_oem_stage: Callable[..., OemStage]) -> None:
    """An answer with a workspace and a schedule counts as had, and `cat` gives the workspace."""
    stage = make_oem_stage(evolve(OemSwitches.documented(), schedule_in_get=True, workspace_member="workspace"))
    for template in stage.service.templates.values():
        template.workspace = {"blocks": [], "variables": []}
    ended = stage.backup()
    assert ended.code == 0
    assert "oem-schedule-unavailable" not in ended.codes()
    told = stage.cli("cat", stage.folder / "a.qma", stage.partner.automations["Status board"], "--workspace")
    assert "blocks" in json.loads(told.of("item")[0]["document"])


def test_a_backup_that_fails_leaves_nothing(oem_stage: OemStage) -> None:
    """The service goes away in the middle: 1, no file."""
    oem_stage.service.faults.append(Fault(path="*/datasources*", effect=Status(code=500), times=None))
    assert oem_stage.backup().code == 1
    assert not (oem_stage.folder / "a.qma").exists()
    assert not list(oem_stage.folder.glob("*.tmp*"))


def test_rows_of_children_are_as_the_bundle_has_them(make_oem_stage: Callable[..., OemStage]) -> None:
    """No list has a row for them, so what their bundle says of them stands in, to the byte."""
    stage = make_oem_stage()
    stage.backup()
    account = stage.partner.model
    sent = asked(stage, f"/accounts/{account}/blends")
    with stage.archive() as archive:
        for row in archive.rows(Kind.AUTOMATION):
            assert row.part is Part.ROW
            assert received(row) in sent
