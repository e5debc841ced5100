"""Commands, and archives beside tenants, that are for Qlik Cloud refuse an OEM account: exit 2, a plain sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, document

from qlikmigrate.cli.app import COMMANDS
from qlikmigrate.kernel.message import Reply, Request, Response
from qlikmigrate.sandbox import Server

# ARCHIVE, PLAN and RUN are of a Cloud tenant. TURNED: the tenants file now calls their target an OEM account.
REFUSED = {
    "mapping": ["mapping ARCHIVE oem -o OUT", "mapping ARCHIVE oem/acme -o OUT"],
    "drill": ["drill ARCHIVE --into oem/acme"],
    "activate": ["activate RUN --source oem --yes"],
    "cutover": ["cutover RUN --source oem/acme --yes"],
}
TURNED = {
    "activate": ["activate RUN --yes"],
    "cutover": ["cutover RUN --yes"],
    "status": ["status RUN"],
    "rollback": ["rollback RUN --yes"],
    "reassign": ["reassign RUN --yes"],
    "callers": ["callers RUN -o OUT"],
}
# They know OEM accounts, and what of Qlik Cloud does not go with one.
MISMATCHED = {
    "apply": ["apply PLAN"],
    "diff": ["diff ARCHIVE tenant:oem", "diff tenant:oem ARCHIVE"],
    "plan": ["plan ARCHIVE oem -o OUT", "plan ARCHIVE oem/acme -o OUT"],
    "restore": ["restore ARCHIVE oem --run OUT", "restore ARCHIVE oem/acme --run OUT"],
    "clone": ["clone source oem --run OUT", "clone source oem/acme --run OUT"],
}
# Those that name no tenant, or that anything may be named to.
OTHERS = {
    "demo", "sandbox", "doctor", "backup", "list", "show", "cat", "scan", "log", "verify", "prune", "repair", "repack",
    "export", "import", "oem",
}  # fmt: skip


def test_every_command_is_here() -> None:
    """A new command belongs somewhere."""
    named = {*REFUSED, *TURNED, *MISMATCHED}
    assert named | OTHERS >= set(COMMANDS)
    assert named <= set(COMMANDS)
    assert not named & OTHERS


class Scene:
    """A stage with an archive, a plan and a run; and an OEM service that answers nothing and is asked nothing."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.stage = stage
        self.oem = f'kind = "oem"\nurl = "{url}/v1"\naccess = "write"\napp_id = "1"\napi_key = "k"\n'
        self.cloud = stage.config.read_text()
        self.out = stage.folder / "out"
        self.words = {"ARCHIVE": "a.qma", "PLAN": "plan.json", "RUN": "run", "OUT": "out"}
        stage.config.write_text(f"{self.cloud}\n[tenants.oem]\n{self.oem}")

    def turn(self) -> None:
        """The target becomes an OEM account."""
        source = self.cloud.partition("[tenants.target]")[0]
        self.stage.config.write_text(f"{source}[tenants.target]\n{self.oem}[tenants.oem]\n{self.oem}")

    def refusal(self, line: str) -> dict[str, str]:
        """What the command line ends with; it must be 2, with nothing written."""
        words = (str(self.stage.folder / self.words[word]) if word in self.words else word for word in line.split())
        ended = self.stage.cli(*words)
        assert ended.code == 2, (line, ended.error)
        assert not Path(self.out).exists(), line
        return ended.error


@pytest.fixture
def asked() -> list[Request]:
    """What the OEM service was asked."""
    return []


@pytest.fixture
def scene(stage: Stage, asked: list[Request]) -> Iterator[Scene]:
    """The scene, served."""

    def handler(request: Request) -> Reply:
        asked.append(request)
        return Reply(response=Response(status=200, body=b"[]"))

    stage.source.tenant.add_automation(document("a"), stage.source.users["ada"])
    archive, plan, run = (stage.folder / name for name in ("a.qma", "plan.json", "run"))
    assert stage.backup().code == 0
    assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    assert stage.cli("restore", archive, "target", "--run", run).code == 0
    with Server(handler) as server:
        yield Scene(stage, server.url)


def test_cloud_commands_refuse_an_oem_account(scene: Scene, asked: list[Request]) -> None:
    """They say that it is one, and what they are for; the service is not asked anything."""
    for turned, table in ((False, REFUSED), (True, TURNED)):
        if turned:
            scene.turn()
        for command, lines in table.items():
            for line in lines:
                error = scene.refusal(line)
                assert error["code"] == "not-for-oem", line
                assert error["message"].endswith(f"is an OEM account: `{command}` is for Qlik Cloud"), line
                assert error["hint"]
    assert asked == []


def test_what_is_of_qlik_cloud_does_not_go_with_an_oem_account(scene: Scene, asked: list[Request]) -> None:
    """An archive or plan of Qlik Cloud beside an OEM account is refused in a sentence that says so."""
    for command, lines in MISMATCHED.items():
        if command == "apply":
            scene.turn()
        for line in lines:
            message = scene.refusal(line)["message"]
            assert "OEM account" in message or "is a provider with all its accounts" in message, line
    assert {request.method for request in asked} <= {"GET"}
