"""Commands that are for Qlik Cloud refuse an OEM account: exit 2, a plain sentence, nothing sent, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, document

from qlikmigrate.cli.app import COMMANDS
from qlikmigrate.kernel.message import Reply, Request, Response
from qlikmigrate.sandbox import Server

# Command lines by command. ARCHIVE, PLAN and RUN are of a Cloud tenant; the target of PLAN and RUN has become OEM.
LINES: dict[str, list[str]] = {
    "backup": ["backup OEM -o OUT", "backup OEM/acme -o OUT"],
    "diff": ["diff ARCHIVE tenant:OEM", "diff tenant:OEM/acme ARCHIVE"],
    "mapping": ["mapping ARCHIVE OEM -o OUT"],
    "plan": ["plan ARCHIVE OEM -o OUT", "plan ARCHIVE OEM/acme -o OUT"],
    "apply": ["apply PLAN"],
    "restore": ["restore ARCHIVE OEM --run OUT", "restore ARCHIVE OEM/acme --run OUT"],
    "clone": ["clone OEM source --run OUT", "clone source OEM/acme --run OUT"],
    "activate": ["activate RUN --yes", "activate RUN --source OEM --yes"],
    "cutover": ["cutover RUN --yes", "cutover RUN --source OEM --yes"],
    "status": ["status RUN"],
    "rollback": ["rollback RUN --yes"],
    "reassign": ["reassign RUN --yes"],
    "callers": ["callers RUN -o OUT"],
    "drill": ["drill ARCHIVE --into OEM"],
}
# Those that name no tenant, or take an OEM account.
OTHERS = {
    "demo", "sandbox", "doctor", "list", "show", "cat", "scan", "log", "verify", "prune", "repair", "repack", "export",
    "import",
}  # fmt: skip


def test_every_command_is_here() -> None:
    """A new command belongs to one of the two."""
    assert set(LINES) | OTHERS == set(COMMANDS)
    assert not set(LINES) & OTHERS


@pytest.fixture
def asked() -> list[Request]:
    """What the OEM service was asked."""
    return []


@pytest.fixture
def words(stage: Stage, asked: list[Request]) -> Iterator[dict[str, str]]:
    """An archive, a plan and a run; then the tenants file calls their target an OEM account."""

    def handler(request: Request) -> Reply:
        asked.append(request)
        return Reply(response=Response(status=200, body=b"[]"))

    stage.source.tenant.add_automation(document("a"), stage.source.users["ada"])
    archive, plan, run = (stage.folder / name for name in ("a.qma", "plan.json", "run"))
    assert stage.backup().code == 0
    assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    assert stage.cli("restore", archive, "target", "--run", run).code == 0
    with Server(handler) as server:
        oem = f'kind = "oem"\nurl = "{server.url}/v1"\naccess = "write"\napp_id = "1"\napi_key = "k"\n'
        text = stage.config.read_text()
        stage.config.write_text(text.partition("[tenants.target]")[0] + f"[tenants.target]\n{oem}[tenants.oem]\n{oem}")
        yield {
            "ARCHIVE": str(archive), "PLAN": str(plan), "RUN": str(run), "OUT": str(stage.folder / "out"),
            "OEM/acme": "oem/acme", "OEM": "oem", "tenant:OEM": "tenant:oem", "tenant:OEM/acme": "tenant:oem/acme",
        }  # fmt: skip


def test_cloud_commands_refuse_an_oem_account(stage: Stage, words: dict[str, str], asked: list[Request]) -> None:
    """Each command line ends with 2 and says that the account is one of OEM, and what the command is for."""
    for lines in LINES.values():
        for line in lines:
            ended = stage.cli(*(words.get(word, word) for word in line.split()))
            assert (ended.code, ended.error.get("code")) == (2, "not-for-oem"), (line, ended.error)
            command = line.partition(" ")[0]
            assert "is an OEM account" in ended.error["message"], line
            assert f"`{command}` is for Qlik Cloud" in ended.error["message"], line
            assert ended.error["hint"]
            assert not Path(words["OUT"]).exists(), line
    assert asked == []
