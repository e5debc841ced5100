"""Where the OEM service is and whose accounts are meant: plain values, checked when a client is opened."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from qlikmigrate.api.endpoint import Access, Pacing, check_url, host_of, is_header_word, origin_of
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.message import Handler
from qlikmigrate.kernel.secret import Secret

# Source: reference "SaaS API overview": the only base that is printed; regional ones are not known.
API_URL = "https://api.blendr.io/v1"
# Source: "List all connectors": no `/v1`, no credentials.
CONNECTORS_URL = "https://admin.blendr.io/integrations"


@frozen(kw_only=True)
class KeyPair:
    """What a provider (SaaS Admin) shows on each call. It reaches every account of that provider."""

    app_id: str
    api_key: Secret


def _positive(instance: object, attribute: object, value: float) -> None:
    if value <= 0:
        raise UsageError(f"`limits.per_minute` must be above 0: {value}")


@frozen(kw_only=True)
class OemLimits(Pacing):
    """The quota of a key pair. Source: "SaaS API overview": 300 calls a minute.

    Assumed: counted for the provider, not for each account; the overview says "per account".
    """

    per_minute: int = field(default=300, validator=_positive)


@frozen(kw_only=True)
class OemEndpoint:
    """One table of the tenants file, or one account of it.

    `name`: `partner` or `partner/ACCOUNT`, as on the command line. `url`: the base of all paths. `connectors_url`: the
    public list of connectors, to which credentials never go. `handler`: a server in this process, used instead of a
    socket.
    """

    name: str
    url: str = API_URL
    access: Access = Access.READ
    credentials: KeyPair
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    limits: OemLimits = field(factory=OemLimits)
    handler: Handler | None = field(default=None, repr=False)
    connectors_url: str = CONNECTORS_URL
    table: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.table:
            object.__setattr__(self, "table", self.name.partition("/")[0])

    @property
    def service(self) -> str:
        """What `url` should be."""
        return "the address of the OEM API"

    @property
    def base(self) -> str:
        """`url` without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme, host and port of `url`, nothing else."""
        return origin_of(self.url)

    @property
    def host(self) -> str:
        """Host name without port, lower case."""
        return host_of(self.url)


def check_endpoint(endpoint: OemEndpoint) -> None:
    """Refuse what would send credentials in the clear, and a pair that cannot stand in headers, without showing it.

    Raises:
        UsageError: a url is no web address or not encrypted; `app_id` or `api_key` is empty or no word.
    """
    check_url(endpoint, example=API_URL)
    pair = endpoint.credentials
    for key, word in (("app_id", pair.app_id), ("api_key", pair.api_key.reveal())):
        if not is_header_word(word):
            raise UsageError(
                f"`{key}` of tenant `{endpoint.name}` is empty or holds characters that none has",
                hint="paste it again, without blanks and line ends",
            )
