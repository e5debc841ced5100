"""A tenant's address as the tenants file may give it: encrypted, unless it is this machine, and nothing but a place."""

from __future__ import annotations

from urllib.parse import urlsplit

from qlikmigrate.api.endpoint import is_loopback
from qlikmigrate.kernel.error import UsageError


def check_address(url: str, what: str, *, path: bool = False, key: str = "url", example: str) -> bool:
    """Whether `url` is a loopback address. `what` names it in errors, `path`: whether it may have one, `key`: its
    name in the file.

    Raises:
        UsageError: it is missing, no web address, not encrypted, or holds more than an address.
    """
    hint = f'write {key} = "{example}"'
    if not url:
        raise UsageError(f"{what} is missing", hint=hint)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if "@" in url or parts.query or parts.fragment:
        # Not shown: whatever stands there may be a secret.
        raise UsageError(f"{what} holds more than an address", hint="no user, key or query belongs into it")
    if not host or port == 0 or parts.scheme not in ("https", "http"):
        raise UsageError(f"{what} is no web address: `{url}`", hint=hint)
    loopback = is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise UsageError(f"{what} is not encrypted: `{url}`", hint=f"write https://{parts.netloc}{parts.path}")
    if parts.path.strip("/") and not path:
        raise UsageError(f"{what} has a path: `{parts.path}`", hint=f"write {parts.scheme}://{parts.netloc}")
    return loopback
