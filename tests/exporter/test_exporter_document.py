"""What lies in the archive: the bytes as received, without secrets, the same every night."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from motion import DETAIL, LIST, Motion, archive_of, balanced, requests_by_path
from stage import MAIL, PLATFORM_OPERATIONS, bound_block, document, text_block

from qlikmigrate.model.document import CutReason, received
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import Families
from qlikmigrate.sandbox.switches import BotConnections, Wrapping

DICTIONARY = "dictionary"


def contents(path: Path) -> dict[str, bytes]:
    """Every member of an archive, decompressed."""
    with zipfile.ZipFile(path) as file:
        stored = {name: file.read(name) for name in file.namelist()}
    found = {}
    dictionary = next((zstandard.decompress(data) for name, data in stored.items() if DICTIONARY in name), None)
    for name, data in stored.items():
        if data[:4] != zstandard.FRAME_HEADER:
            found[name] = data
            continue
        needs = zstandard.get_frame_parameters(data).dict_id != 0
        codec = zstandard.ZstdDecompressor(
            dict_data=zstandard.ZstdCompressionDict(dictionary) if needs and dictionary else None  # type: ignore[arg-type]
        )
        found[name] = codec.decompress(data)
    return found


def fill(motion: Motion, count: int = 25) -> dict[str, str]:
    """Automations bound to connections with secrets; the secrets by a word for each."""
    here = motion.stage.source
    ben = here.users["ben"]
    secret = here.tenant.add_connection(
        MAIL, "Mail", ben, params={"Password": "hunter2-hunter2", "Host": "smtp.example"}
    )
    for index in range(count):
        ident = here.tenant.add_automation(document(f"A{index}", bound_block(1, secret), text_block(2, "hi")), ben)
    here.tenant.run(ident)
    tokens = {f"token {name}": one["executionToken"] for name, one in here.by_name().items()}
    return {**tokens, "parameter": "hunter2-hunter2"}


@pytest.mark.parametrize("family", [Families.BOTH, Families.V1_ONLY])
@pytest.mark.parametrize("bot", [BotConnections.READ, BotConnections.LIST_ONLY])
def test_no_secret_in_any_member(make_motion: Callable[..., Motion], family: Families, bot: BotConnections) -> None:
    """Execution tokens, connection values and consent links stand in no member, rows included; nor do our own."""
    motion = make_motion(families=family, bot_connections=bot, list_workspace=True)
    secrets = fill(motion)
    link = "https://login.example/?state=consent-state-0815"
    motion.bend("/api/*/automation-connections/*", lambda body: body[:-1] + f',"redirect":"{link}"}}'.encode())
    assert motion.stage.backup().code == 0
    members = contents(motion.stage.folder / "a.qma")
    assert any(b'"blocks"' in text for text in members.values())
    for what, secret in {**secrets, "link": "consent-state-0815", "client": motion.stage.source.bot[1]}.items():
        places = [name for name, text in members.items() if secret.encode() in text]
        assert not places, (what, places)
    if bot is BotConnections.READ:
        with archive_of(motion.stage) as archive:
            ident = next(one["id"] for one in motion.tenant.connections.values() if one["name"] == "Mail")
            detail = archive.detail(Kind.CONNECTION, ident)
        assert [one["name"] for one in json.loads(detail.raw)["params"]]
        assert {cut.reason for cut in detail.cuts} == {CutReason.SECRET}


def test_run_data_has_members_of_its_own(motion: Motion) -> None:
    """No run field stands in a document or a row; the bytes as received can be put together again."""
    fill(motion)
    sent: dict[str, bytes] = {}

    def keep(body: bytes) -> bytes:
        sent[json.loads(body)["id"]] = body
        return body

    motion.bend(DETAIL, keep)
    assert motion.stage.backup().code == 0
    run = [name for name, text in contents(motion.stage.folder / "a.qma").items() if b"lastRun" in text]
    assert run
    assert all(name.startswith(("run/", "manifest")) for name in run)
    with archive_of(motion.stage) as archive:
        for ident in archive.ids(Kind.AUTOMATION):
            one = archive.detail(Kind.AUTOMATION, ident)
            value = json.loads(sent[ident])
            token = value.pop("executionToken")
            assert json.loads(received(one)) == value
            assert sum(cut.length for cut in one.cuts) + len(one.raw) == len(sent[ident])
            assert token.encode() not in received(one)


def test_unchanged_tenant_gives_the_same_bytes(motion: Motion) -> None:
    """Two nights of a tenant that only ran: all members but run data and capture are byte for byte the same."""
    fill(motion)
    here = motion.stage.source
    for first in ("cleo", "ada"):
        here.tenant.add_connection(PLATFORM_OPERATIONS, first, here.users[first])
    assert motion.stage.backup("a.qma").code == 0
    for ident in here.tenant.automations:
        here.tenant.run(ident)
    assert motion.stage.backup("b.qma").code == 0
    first, second = (contents(motion.stage.folder / name) for name in ("a.qma", "b.qma"))
    assert first.keys() == second.keys()
    different = {name for name in first if first[name] != second[name]}
    manifests = [json.loads(next(text for name, text in one.items() if "manifest" in name)) for one in (first, second)]
    # A cut's place stays the same, its length follows the run.
    assert manifests[0]["snapshot"] == manifests[1]["snapshot"]
    assert [one["sha256"] for one in manifests[0]["documents"]] == [one["sha256"] for one in manifests[1]["documents"]]
    assert not {name for name in different if not name.startswith(("run/", "capture", "manifest"))}


def test_same_answers_in_any_order_give_the_same_documents(motion: Motion) -> None:
    """Answers arrive in another order each time; problems and notes are sorted."""
    from qlikmigrate.sandbox import Fault
    from qlikmigrate.sandbox.fault import Delay, Status

    fill(motion)
    idents = list(motion.tenant.automations)
    for ident in idents[:6]:
        motion.tenant.faults.append(Fault(path=f"*/automations/{ident}", effect=Status(code=403), times=None))
    assert motion.stage.backup("a.qma").code == 3
    for index, ident in enumerate(idents[:12]):
        motion.tenant.faults.append(Fault(path=f"*/automations/{ident}", effect=Delay(0.02 * (12 - index)), times=None))
    assert motion.stage.backup("b.qma").code == 3
    texts = [contents(motion.stage.folder / name) for name in ("a.qma", "b.qma")]
    # When each was read differs, and stands apart.
    first, second = (
        {name: text for name, text in one.items() if not name.startswith(("run/", "capture"))} for one in texts
    )
    assert first == second


def test_v1_only_tenant(make_motion: Callable[..., Motion]) -> None:
    """What does not exist under v1 is an `info`, and nothing is asked for twice but the first list."""
    motion = make_motion(families=Families.V1_ONLY)
    fill(motion, 3)
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"], ended.summary["restorable"]) == (0, True, "full")
    told = next(line for line in ended.of("problem") if line["code"] == "not-under-v1")
    assert told["severity"] == "info"
    asked = requests_by_path(motion.tenant)
    assert asked["/api/v1/automations"] == 2
    assert sum(count for path, count in asked.items() if path.startswith("/api/workflows")) == 1
    with archive_of(motion.stage) as archive:
        assert archive.manifest.api == "v1"


@pytest.mark.parametrize("wrapping", list(Wrapping))
@pytest.mark.parametrize("text", [False, True])
def test_spellings_of_the_service(make_motion: Callable[..., Motion], wrapping: Wrapping, text: bool) -> None:
    """Wrapped single objects are unwrapped, booleans as text understood, rows may carry workspaces."""
    motion = make_motion(
        wrapping=wrapping, string_booleans=text, list_workspace=text, bot_connections=BotConnections.READ
    )
    fill(motion, 3)
    assert motion.stage.backup().code == 0
    with archive_of(motion.stage) as archive:
        for kind in (Kind.AUTOMATION, Kind.CONNECTION):
            for ident in archive.ids(kind):
                assert json.loads(archive.detail(kind, ident).raw)["id"] == ident
        assert len(archive.ids(Kind.CONNECTION)) == len(motion.tenant.connections)


ODD = [
    pytest.param(lambda body: json.dumps(json.loads(body), indent=4).encode(), id="pretty"),
    pytest.param(lambda body: body[:-1] + ',"name2":"Ünï\\u00e9 \U0001f600 \\ud83d"}'.encode(), id="unicode"),
    pytest.param(lambda body: body[:-1] + b',"state":"hibernating","runMode":"telepathic"}', id="enum"),
    pytest.param(
        lambda body: body[:-1] + b',"big":123456789012345678901234567890,"x":1.50,"z":-0,"e":1E2}', id="number"
    ),
    pytest.param(lambda body: body[:-1] + b',"description":"one","description":"two"}', id="double"),
    pytest.param(lambda body: b"\r\n\t " + body + b"\n", id="space"),
    pytest.param(lambda body: body.replace(b'"executionToken"', b'"execution\\u0054oken"'), id="escaped-name"),
]


@pytest.mark.parametrize("odd", ODD)
def test_documents_are_kept_as_received(motion: Motion, odd: Callable[[bytes], bytes]) -> None:
    """Spelling, unknown fields, doubles and numbers come through; only the token and run data are cut."""
    secrets = fill(motion, 2)
    sent: dict[str, bytes] = {}

    def keep(body: bytes) -> bytes:
        answer = odd(body)
        sent[json.loads(body)["id"]] = answer
        return answer

    motion.bend(DETAIL, keep)
    assert motion.stage.backup().code == 0
    assert balanced(motion.stage) == {"listed": 2, "captured": 2}
    with archive_of(motion.stage) as archive:
        for ident, raw in sent.items():
            one = archive.detail(Kind.AUTOMATION, ident)
            back = received(one)
            (secret,) = [cut for cut in one.cuts if cut.reason is CutReason.SECRET]
            assert len(back) == len(raw) - secret.length
            # The piece cut is one run of bytes of what was received.
            same = next((i for i, (a, b) in enumerate(zip(back, raw, strict=False)) if a != b), len(back))
            assert back[:same] + raw[same : same + secret.length] + back[same:] in (raw, back[:same] + raw[same:])
            assert not any(value.encode() in back for value in secrets.values())


def test_pretty_printed_pages(motion: Motion) -> None:
    """Rows are cut out of a page by their span, whatever its spelling."""
    fill(motion, 3)
    motion.bend(LIST, lambda body: json.dumps(json.loads(body), indent=2).encode())
    assert motion.stage.backup().code == 0
    with archive_of(motion.stage) as archive:
        rows = [one.raw for one in archive.rows(Kind.AUTOMATION)]
    assert all(row.startswith(b'{\n      "id"') for row in rows)


def test_missing_workspace_is_told(motion: Motion) -> None:
    """A document without its workspace is captured, restorable in part, and named; an empty one is whole."""
    fill(motion, 3)
    first, second, _ = motion.tenant.automations

    def without(body: bytes) -> bytes:
        value = json.loads(body)
        return json.dumps({key: item for key, item in value.items() if key != "workspace"}).encode()

    motion.bend(f"*/automations/{first}", without)
    motion.bend(f"*/automations/{second}", lambda body: json.dumps(json.loads(body) | {"workspace": []}).encode())
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"], ended.summary["restorable"]) == (0, True, "partial")
    assert [line["where"] for line in ended.of("problem") if line["code"] == "workspace-withheld"] == [first]
    motion.bend(DETAIL, without)
    assert motion.stage.backup("b.qma").summary["restorable"] == "metadata"


def test_secrets_in_workspaces_are_counted_and_never_shown(motion: Motion) -> None:
    """One warning with the number of automations; no text of theirs in the output."""
    here = motion.stage.source
    ben = here.users["ben"]
    typed = "Bearer abcdefghijklmnopqrstuvwxyz0123456789"
    here.tenant.add_automation(document("typed", text_block(1, typed)), ben)
    here.tenant.add_automation(document("formula", text_block(1, "Bearer {$.login.token}")), ben)
    ended = motion.stage.backup()
    assert ended.code == 0
    (told,) = [line for line in ended.of("problem") if line["code"] == "secret-in-workspace"]
    assert told["severity"] == "warning"
    assert "of 1 automations" in told["message"]
    assert "abcdefghij" not in json.dumps(ended.lines)
