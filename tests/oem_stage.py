"""An embedded OEM service on a real loopback server, a tenants file, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, evolve
from stage import Ended

from qlikmigrate.archive import open_archive
from qlikmigrate.cli.app import run
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.sandbox import Server
from qlikmigrate.sandbox.oem import OemService, OemSwitches, Partner, seed_model

# Values for the connections of the seeded model account that ask for some.
SECRETS = """
[connections."Velo CRM"]
environment = "production"
api_key = "planted-velo-key"
[connections."Company mail"]
Sender = "a@b.example"
Host = "smtp"
Port = "587"
Username = "bi"
Password = "planted-smtp-password"
[connections."Dealer mail"]
Sender = "a@b.example"
Host = "smtp"
Port = "587"
Username = "dealers"
Password = "planted-dealer-password"
[connections.Warehouse]
"Base URL" = "https://wms.example"
"API Key" = "planted-warehouse-key"
"""


@define
class OemStage:
    """One provider, seeded."""

    folder: Path
    service: OemService
    partner: Partner
    capture: Any
    heard: str = ""
    # Called with method and path before a request is answered (of a list, its first page), and with path and value of
    # what is answered to a GET.
    before: Callable[[str, str], None] = lambda method, path: None
    bend: Callable[[str, Any], Any] | None = None

    def handle(self, request: Request) -> Reply:
        """Answer as the service does, but for what the test bends."""
        parts = urlsplit(request.url)
        path = parts.path
        if "page=" not in parts.query:
            self.before(request.method, path)
        reply = self.service.handle(request)
        if self.bend is None or request.method != "GET" or reply.lost or reply.response.status != 200:
            return reply
        body = json.dumps(self.bend(path, json.loads(reply.response.body)), ensure_ascii=False).encode()
        headers = {**reply.response.headers, "content-length": str(len(body))}
        return evolve(reply, response=evolve(reply.response, body=body, headers=headers))

    @property
    def config(self) -> Path:
        return self.folder / "oem.toml"

    def write_config(self, extra: str = "") -> None:
        """The tenants file: `partner` with all its accounts."""
        app_id, key = self.service.key_pair()
        self.config.write_text(
            f'[tenants.partner]\nkind = "oem"\nurl = "{self.service.base_url}"\napp_id = "{app_id}"\n'
            f'api_key = "{key}"\naccess = "write"\nlimits = {{ per_minute = 60000, timeout_seconds = 5 }}\n{extra}\n',
            encoding="utf-8",
        )
        self.config.chmod(0o600)

    def cli(self, *words: str | Path) -> Ended:
        """Run a command with `--json` and this stage's tenants file; `heard` keeps all that was printed."""
        self.capture.readouterr()
        arguments = [str(word) for word in words] + ["--json", "--no-progress"]
        if words[0] not in ("list", "show", "cat", "verify"):
            arguments += ["--config", str(self.config)]
        code = run(arguments)
        told = self.capture.readouterr()
        self.heard += told.out + told.err
        ended = Ended(code, [json.loads(line) for line in told.out.splitlines()])
        assert ended.summary["exit_code"] == code
        return ended

    def backup(self, *words: str | Path, account: str = "/model", name: str = "a.qma") -> Ended:
        """Back up the model account, or another, into the stage's folder."""
        return self.cli("backup", f"partner{account}", "-o", self.folder / name, "--force", *words)

    @contextmanager
    def archive(self, name: str = "a.qma") -> Iterator[Snapshot]:
        """An archive of the stage's folder."""
        with open_archive(self.folder / name) as opened:
            yield opened

    def ids(self, kind: Kind, name: str = "a.qma") -> set[str]:
        """Ids of the documents of a kind in an archive."""
        with self.archive(name) as opened:
            return set(opened.ids(kind))


@contextmanager
def oem_staged(
    folder: Path, capture: Any, switches: OemSwitches | None = None, seed: int = 1, clock: Clock | None = None
) -> Iterator[OemStage]:
    """A stage whose provider answers as `switches` say. `clock`: the provider's, else the machine's."""
    service = OemService("velo", switches=switches or OemSwitches.documented(), seed=seed, clock=clock)
    partner = seed_model(service)
    stage = OemStage(folder, service, partner, capture)
    server = Server(stage.handle).start()
    service.base_url = f"{server.url}/v1"
    try:
        stage.write_config()
        yield stage
    finally:
        server.stop()
