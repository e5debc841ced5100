"""Two embedded tenants on loopback, ready to back up one and restore into the other."""

from __future__ import annotations

from types import TracebackType

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox.seed import Company, seed_source, seed_target
from qlikmigrate.sandbox.server import Server
from qlikmigrate.sandbox.switches import Switches
from qlikmigrate.sandbox.tenant import CloudTenant

_LAYOUT = """\
# Embedded tenants. They live as long as the process that serves them; the secrets open nothing else.

[tenants.source]
url = "{source_url}"
access = "read"
oauth = {{ client_id = "{source_bot[0]}", client_secret = "{source_bot[1]}" }}
# Instead of the bot, an administrator's key, which cannot read other people's definitions:
# api_key = "{source_key}"

[tenants.target]
url = "{target_url}"
access = "write"
oauth = {{ client_id = "{target_bot[0]}", client_secret = "{target_bot[1]}" }}
impersonation = {{ client_id = "{target_web[0]}", client_secret = "{target_web[1]}" }}
# api_key = "{target_key}"
"""


class Sandbox:
    """A source and a target, seeded, served on loopback between `start` and `stop` or while entered.

    `port` is the source's, the target has the next one; 0 takes two free ones.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        clock: Clock | None = None,
        switches: Switches = Switches(),  # noqa: B008 - a frozen value
        seed: int = 0,
    ) -> None:
        self.source = CloudTenant("nordlicht", clock=clock, switches=switches, seed=seed)
        self.target = CloudTenant("nordlicht-dr", clock=clock, switches=switches, seed=seed + 1)
        self.source_company: Company = seed_source(self.source)
        self.target_company: Company = seed_target(self.target)
        self._source_bot = self.source.oauth_client("m2m")
        self._target_bot = self.target.oauth_client("m2m")
        self._target_web = self.target.oauth_client("impersonation")
        self._source_key = self.source.api_key(self.source_company.users["lena"])
        self._target_key = self.target.api_key(self.target_company.users["lena"])
        self._servers = [Server(self.source.handle, port)]
        try:
            self._servers.append(Server(self.target.handle, port + 1 if port else 0))
        except OSError:
            self._servers[0].stop()
            raise
        self.source.base_url, self.target.base_url = (server.url for server in self._servers)

    def start(self) -> Sandbox:
        """Accept connections from now on."""
        for server in self._servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop serving. A second call does nothing."""
        for server in self._servers:
            server.stop()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tenants_toml(self) -> str:
        """A tenants file for the two: `[tenants.source]` to read from, `[tenants.target]` to write to."""
        return _LAYOUT.format(
            source_url=self.source.base_url,
            target_url=self.target.base_url,
            source_bot=self._source_bot,
            target_bot=self._target_bot,
            target_web=self._target_web,
            source_key=self._source_key,
            target_key=self._target_key,
        )
