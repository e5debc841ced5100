"""Where a vault lies, as people write it: a folder, or a bucket with a prefix."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from qlikmigrate.api.endpoint import is_loopback
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.vault.store.interface import Store, is_name
from qlikmigrate.vault.store.local import LocalStore

_SCHEMES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
# The first that is set counts, as with other programs.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@frozen(kw_only=True)
class BucketAddress:
    """A bucket, and the folder in it that the vault has; empty: all of it. `scheme`: s3, gs or az."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def open_store(location: str, *, clock: Clock | None = None) -> Store:
    """The store at `location`: a folder, or `s3://bucket/prefix`. Whether anything is there shows when it is used.

    Endpoint and credentials of a bucket come from the environment.

    Raises:
        UsageError: the location is none, or needs an extra that is not installed.
    """
    if not location or "\0" in location:
        raise UsageError("a vault needs a location", hint="name a folder, or s3://bucket/prefix")
    scheme = _SCHEME.match(location)
    if scheme is None:
        path = Path(location).expanduser()
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is no folder", hint="a vault is a folder, or s3://bucket/prefix")
        return LocalStore(path, clock=clock)
    address = bucket_address(location)
    try:
        from qlikmigrate.vault.store.object_store import ObjectStore
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise UsageError(f"{address} needs an extra", hint="pip install 'qlikmigrate[s3]'") from None
    endpoint = endpoint_of(os.environ) if address.scheme == "s3" else ""
    return ObjectStore(address, endpoint=endpoint, clock=clock)


def bucket_address(location: str) -> BucketAddress:
    """What `location` names.

    Raises:
        UsageError: it is no bucket that can be used, or holds more than its name.
    """
    scheme, _, rest = location.partition("://")
    if scheme.lower() not in _SCHEMES:
        raise UsageError(f"a vault cannot lie at `{scheme}://`", hint="name a folder, or s3://bucket/prefix")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.fullmatch(bucket) or (prefix and not all(is_name(part) for part in prefix.split("/"))):
        # Not shown: whoever writes credentials into it finds them in no log.
        raise UsageError(
            "the location names no bucket and prefix",
            hint="write s3://bucket/prefix, in letters, digits and `._@~-`; credentials come from the environment",
        )
    return BucketAddress(scheme=scheme.lower(), bucket=bucket, prefix=prefix)


def endpoint_of(environ: Mapping[str, str]) -> str:
    """The S3 endpoint that the environment names; empty: Amazon's own.

    Raises:
        UsageError: it is no web address, or not encrypted although it is not on this machine.
    """
    variable = next((name for name in _ENDPOINTS if environ.get(name)), "")
    if not variable:
        return ""
    url = environ[variable]
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host or "@" in url:
        raise UsageError(f"`{variable}` is no web address", hint="write https://HOST, without user or key")
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(f"`{variable}` is not encrypted", hint=f"write https://{parts.netloc}")
    return url
