"""Where a tenant is, who we are there and how much we may do: plain values, checked when a client is opened."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from attrs import field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.message import Handler
from qlikmigrate.kernel.secret import Secret

FamilyChoice = Literal["auto", "workflows", "v1"]


class Access(StrEnum):
    """What a client may do: read; also enable and disable; everything. Each includes the one before."""

    READ = "read"
    STATE = "state"
    WRITE = "write"

    @property
    def rank(self) -> int:
        """0, 1, 2: more is more."""
        return list(Access).index(self)


@frozen(kw_only=True)
class ApiKey:
    """A key that belongs to a user. Sent as it is; cannot be renewed."""

    key: Secret


@frozen(kw_only=True)
class OAuthClient:
    """A client that mints tokens. With `impersonate` (a subject) it acts as that one user, else as its own bot."""

    client_id: str
    client_secret: Secret
    impersonate: str | None = None


def _positive(instance: object, attribute: object, value: float) -> None:
    if value <= 0:
        raise UsageError(f"`limits.{getattr(attribute, 'name', '')}` must be above 0: {value}")


def _part(instance: object, attribute: object, value: float) -> None:
    if not 0 < value <= 1:
        raise UsageError(f"`limits.share` must be above 0 and at most 1: {value}")


@frozen(kw_only=True)
class Pacing:
    """How fast and how long, whatever the service.

    `share`: part of the quota this tool may use, above 0 up to 1. `timeout_s`: of one attempt, answer included.
    """

    share: float = field(default=0.8, validator=_part)
    concurrency: int = field(default=8, validator=_positive)
    timeout_s: float = field(default=60.0, validator=_positive)


@frozen(kw_only=True)
class Limits(Pacing):
    """The quota of a Qlik Cloud tenant."""

    tier1_per_minute: int = field(default=1000, validator=_positive)
    tier2_per_minute: int = field(default=100, validator=_positive)


class Place(Protocol):
    """Where calls go, as far as those who send them and tell of them need it.

    `name`: as on the command line. `table`: its name in the tenants file. `service`: what its `url` should be.
    """

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def proxy(self) -> str | None: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def limits(self) -> Pacing: ...


@frozen(kw_only=True)
class Endpoint:
    """One tenant of the tenants file.

    `family`: `auto` decides once, at the first list. `handler`: a server in this process, used instead of a socket.
    """

    name: str
    url: str
    access: Access = Access.READ
    credentials: ApiKey | OAuthClient
    impersonation: OAuthClient | None = None
    family: FamilyChoice = "auto"
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    limits: Limits = field(factory=Limits)
    handler: Handler | None = field(default=None, repr=False)

    @property
    def table(self) -> str:
        """The table of the tenants file."""
        return self.name

    @property
    def service(self) -> str:
        """What `url` should be."""
        return "a Qlik tenant"

    @property
    def origin(self) -> str:
        """Scheme, host and port of `url`, nothing else: `https://acme.eu.qlikcloud.com`."""
        return origin_of(self.url)

    @property
    def host(self) -> str:
        """Host name without port, lower case."""
        return host_of(self.url)


def origin_of(url: str) -> str:
    """Scheme, host and port of `url`, lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def host_of(url: str) -> str:
    """Host name of `url` without port, lower case."""
    return (urlsplit(url).hostname or "").lower()


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: the only place that secrets may go to without TLS."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_key(endpoint: Endpoint) -> None:
    """Refuse a key that cannot stand in a header, without showing it.

    Raises:
        UsageError: it is empty, or holds a blank or a character outside ASCII.
    """
    credentials = endpoint.credentials
    if isinstance(credentials, ApiKey) and not is_header_word(credentials.key.reveal()):
        raise UsageError(
            f"`api_key` of tenant `{endpoint.name}` is empty or holds characters that no key has",
            hint="paste it again, without blanks and line ends",
        )


def is_header_word(text: str) -> bool:
    """Whether `text` is printable ASCII without blanks."""
    return bool(text) and all("!" <= character <= "~" for character in text)


def check_url(endpoint: Place, *, example: str = "https://TENANT.REGION.qlikcloud.com") -> None:
    """Refuse a url that would send credentials in the clear.

    Raises:
        UsageError: not `https://`, unless the host is a loopback address; no host.
    """
    try:
        parts = urlsplit(endpoint.url)
        sound = bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(
            f"`url` of tenant `{endpoint.name}` is no web address: {endpoint.url!r}",
            hint=f'write `url = "{example}"`',
        )
    if parts.scheme != "https" and not is_loopback(endpoint.host):
        raise UsageError(
            f"`url` of tenant `{endpoint.name}` is not encrypted: {endpoint.origin}",
            hint=f'write `url = "https://{endpoint.host}"`',
        )
