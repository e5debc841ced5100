"""Two OEM providers beside the two Cloud tenants on loopback: a partner's accounts, and where they may go."""

from __future__ import annotations

from types import TracebackType

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox.oem.seed import Partner, seed_model, seed_other
from qlikmigrate.sandbox.oem.service import OemService
from qlikmigrate.sandbox.oem.switches import OemSwitches
from qlikmigrate.sandbox.server import Server
from qlikmigrate.sandbox.service import Sandbox

_LAYOUT = """
# A partner's SaaS Admin of Qlik Application Automation for OEM, and its model account; `partner/ACCOUNT` names another.
[tenants.partner]
kind = "oem"
url = "{partner.base_url}"
access = "write"
app_id = "{pair[0]}"
api_key = "{pair[1]}"
account = "model"
limits = {{ per_minute = {per_minute} }}

# Another SaaS Admin: templates of the same names under other guids.
[tenants.partner-b]
kind = "oem"
url = "{other.base_url}"
access = "write"
app_id = "{other_pair[0]}"
api_key = "{other_pair[1]}"
limits = {{ per_minute = {per_minute} }}
"""
# Nobody waits for the minute of a service that is only played.
_PER_MINUTE = 6000


class OemSandbox:
    """The two Cloud tenants and two OEM providers, seeded, served between `start` and `stop` or while entered.

    `port` is the Cloud source's; target, partner and the other partner have the next three; 0 takes four free ones.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        clock: Clock | None = None,
        switches: OemSwitches = OemSwitches(per_minute=_PER_MINUTE),  # noqa: B008 - a frozen value
        seed: int = 0,
    ) -> None:
        self.partner = OemService("velo", clock=clock, switches=switches, seed=seed)
        self.other = OemService("velo-b", clock=clock, switches=switches, seed=seed)
        self.model: Partner = seed_model(self.partner)
        self.staging: Partner = seed_other(self.other)
        self.cloud = Sandbox(port, clock=clock, seed=seed)
        self._servers: list[Server] = []
        try:
            for number, service in enumerate((self.partner, self.other), 2):
                server = Server(service.handle, port + number if port else 0)
                self._servers.append(server)
                service.base_url = f"{server.url}/v1"
        except OSError:
            self.stop()
            raise

    def start(self) -> OemSandbox:
        """Accept connections from now on."""
        self.cloud.start()
        for server in self._servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop serving. A second call does nothing."""
        self.cloud.stop()
        for server in self._servers:
            server.stop()

    def __enter__(self) -> OemSandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tenants_toml(self) -> str:
        """A tenants file for the four: `source`, `target`, `partner` and `partner-b`."""
        return self.cloud.tenants_toml() + _LAYOUT.format(
            partner=self.partner,
            pair=self.partner.key_pair(),
            other=self.other,
            other_pair=self.other.key_pair(),
            per_minute=self.partner.switches.per_minute or _PER_MINUTE,
        )
