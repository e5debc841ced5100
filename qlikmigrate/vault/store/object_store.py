"""Objects in a bucket, through obstore: the only module that knows it.

An object is put under the condition that there is none of its name, so of several creators one wins. obstore's own
retries are off: whoever repeats a put has to know that its first one may have arrived.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import obstore
from attrs import frozen
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from qlikmigrate.kernel.clock import Clock, SystemClock
from qlikmigrate.kernel.error import AuthError, FailedError, NotFoundError, QlikmigrateError, UsageError
from qlikmigrate.vault.store.error import ImmutableError, ObjectExistsError, ObjectMissingError
from qlikmigrate.vault.store.interface import Entry, check_folder, check_name, check_range, is_name
from qlikmigrate.vault.store.location import BucketAddress

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig, S3Config

T = TypeVar("T")
_TRIES = 5
_FIRST_PAUSE_S = 0.5
# Nothing new is tried later than this after the first attempt.
_PATIENCE_S = 240.0
_CONNECT_TIMEOUT = timedelta(seconds=10)
# Of one attempt, body included. Long enough for a pack of 20 MiB at 1 Mbit/s; what is small shows sooner that it hangs.
_TIMEOUT = timedelta(seconds=200)
_SMALL_TIMEOUT = timedelta(seconds=30)
_SMALL_BYTES = 1 << 20
_PROOF_BYTES = 4096

_STATUS = re.compile(r"status(?: code)?: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
# The request for a token that asks the machine it runs on for credentials.
_MACHINE_CREDENTIALS = re.compile(r"/latest/(?:api/token|meta-data)")
# What Amazon answers to a request in the wrong region, where obstore leaves out the status.
_REDIRECT = "redirect without LOCATION"
# What is wrong with the credentials themselves, whatever was asked for.
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_AGAIN = {408, 409, 429}
_CREDENTIALS_HINT = (
    "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; profiles of the AWS command line are not read"
)


class ObjectStore:
    """The store in a bucket. `endpoint`: of an S3 service other than Amazon's.

    Raises:
        UsageError: the environment configures what cannot be.
    """

    reads_at_once = 16

    def __init__(self, address: BucketAddress, *, endpoint: str = "", clock: Clock | None = None) -> None:
        self._address = address
        self._clock = clock or SystemClock()
        try:
            self._bucket = _open(address, endpoint, _SMALL_TIMEOUT)
            self._patient = _open(address, endpoint, _TIMEOUT)
        except (BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0][:200]
            raise UsageError(f"cannot use {address}: {reason}") from None
        self._version: str | None = None
        self._proven = False

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return str(self._address)

    def entries(self, folder: str) -> list[Entry]:
        """The objects of a folder, by name."""
        check_folder(folder)
        found = self._repeat(lambda: obstore.list_with_delimiter(self._bucket, folder or None)["objects"])
        made = [Entry(one["path"], one["size"]) for one in found]
        # A bucket's console makes folders as empty objects of the folder's name.
        inside = [one for one in made if is_name(one.name) and one.name.rpartition("/")[0] == folder]
        return sorted(inside, key=lambda entry: entry.name)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Up to `size` bytes at `offset`.

        Raises:
            ObjectMissingError: there is no such object.
        """
        check_name(name)
        check_range(offset, size)
        bucket = self._bucket if size is not None and size <= _SMALL_BYTES else self._patient

        def attempt() -> bytes:
            options: GetOptions = {}
            if size == 0:
                obstore.head(bucket, name)
                return b""
            if size is not None:
                options = {"range": (offset, offset + size)}
            elif offset:
                options = {"range": {"offset": offset}}
            try:
                return bytes(obstore.get(bucket, name, options=options).bytes())
            except BaseError as error:
                if _Answer.of(error).status == 416:
                    # The range begins where the object ends, or after it.
                    return b""
                raise

        return self._repeat(attempt, name)

    def create(self, name: str, data: bytes) -> None:
        """Write an object. What it finds in its way after a lost answer is its own if the bytes are the same.

        Raises:
            ObjectExistsError: the name is taken.
            FailedError: the server fails, or would have replaced an object.
        """
        check_name(name)
        bucket = self._bucket if len(data) <= _SMALL_BYTES else self._patient
        in_doubt = False

        def attempt() -> None:
            nonlocal in_doubt
            try:
                made = obstore.put(bucket, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                if _Answer.of(error).status == 409:
                    # Two puts met, or one met a deletion: none of them says whose object is there.
                    raise
                if not (in_doubt and self._holds(name, data)):
                    raise ObjectExistsError(f"`{name}` exists in {self.location}") from None
            except BaseError:
                in_doubt = True
                raise
            else:
                self._version = made["version"]

        self._repeat(attempt, name)
        if not self._proven and len(data) <= _PROOF_BYTES:
            self._prove(name, data)

    def delete(self, name: str) -> None:
        """Delete an object; a bucket with versions keeps it all the same.

        Raises:
            ImmutableError: the store forbids it.
        """
        check_name(name)
        try:
            self._repeat(lambda: obstore.delete(self._bucket, name), name, deleting=True)
        except ObjectMissingError:
            return

    def is_immutable(self) -> bool:
        """Whether the bucket keeps versions, as each with object lock does: deleting hides, and frees nothing.

        It shows by the version of what was written last. Of a bucket whose versions were switched on after that, or
        switched off again, this is not known before something is written.
        """
        # Of the others, Google gives each object a version whether old ones are kept or not.
        if self._address.scheme == "gs":
            return False
        if self._version is None:
            self._version = self._repeat(self._newest_version)
        # `null` is the version of what was written while none were kept.
        return self._version not in (None, "null")

    def sweep(self) -> None:
        """Nothing is ever left behind: an object is one request."""

    def _newest_version(self) -> str | None:
        page = next(iter(obstore.list(self._bucket, chunk_size=1000)), None)
        if not page:
            return None
        newest = max(page, key=lambda one: one["last_modified"])
        return obstore.head(self._bucket, newest["path"])["version"]

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.read(name) == data
        except ObjectMissingError:
            return False

    def _prove(self, name: str, data: bytes) -> None:
        """See once that the condition counts: a server that ignores it would give one lock to two holders."""
        try:
            obstore.put(self._bucket, name, data, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            self._proven = _Answer.of(error).status != 409
        except BaseError:
            # Whatever went wrong, the object is written; the next one proves it.
            return
        else:
            raise FailedError(
                f"{self.location} replaces objects although it was asked not to",
                hint="a vault needs an object store with conditional writes (`If-None-Match`)",
                code="store-overwrites",
            )

    def _repeat(self, attempt: Callable[[], T], name: str = "", *, deleting: bool = False) -> T:
        """What `attempt` gives; repeated a few times where the server is busy or cannot be reached."""
        began = self._clock.monotonic()
        for number in range(_TRIES):
            if number:
                self._clock.pause(_FIRST_PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))
            try:
                return attempt()
            except (BaseError, FileNotFoundError) as error:
                answer = _Answer.of(error)
            late = self._clock.monotonic() - began > _PATIENCE_S
            if late or not answer.is_passing:
                break
        raise self._error(answer, name, deleting=deleting)

    def _error(self, answer: _Answer, name: str, *, deleting: bool) -> QlikmigrateError:
        if answer.no_credentials:
            return AuthError(f"no credentials for {self.location}", hint=_CREDENTIALS_HINT, code="store-refused")
        if answer.status is None:
            return FailedError(f"{self.location} cannot be reached", code="store-unreachable")
        if answer.code == "NoSuchBucket":
            return NotFoundError(f"no such bucket: {self.location}", hint="make it first", code="no-bucket")
        if deleting and answer.status == 403 and answer.code not in _BAD_CREDENTIALS:
            return ImmutableError(f"{self.location} does not let `{name}` be deleted")
        if answer.status in (401, 403) or answer.code in _BAD_CREDENTIALS:
            return AuthError(f"{self.location} refused the credentials: {answer}", code="store-refused")
        if answer.status == 404:
            return ObjectMissingError(f"`{name}` is missing from {self.location}")
        hint = "is AWS_REGION the bucket's region?" if answer.status in (301, 307, 308, 400) else ""
        return FailedError(f"{self.location} failed: {answer}", hint=hint, code="store-failed")


@frozen(kw_only=True)
class _Answer:
    """What is known of an answer that was no success. `status` None: there was none."""

    status: int | None
    code: str
    no_credentials: bool

    @classmethod
    def of(cls, error: Exception) -> _Answer:
        """Read out of the text: obstore tells no more of it in fields than a few kinds."""
        text = str(error).partition("\n\nDebug source:")[0]
        status, code = _STATUS.search(text), _CODE.search(text)
        if status:
            number: int | None = int(status[1])
        elif isinstance(error, FileNotFoundError):
            number = 404
        else:
            number = 301 if _REDIRECT in text else None
        return cls(status=number, code=code[1] if code else "", no_credentials=bool(_MACHINE_CREDENTIALS.search(text)))

    @property
    def is_passing(self) -> bool:
        """Whether another attempt may fare better."""
        if self.no_credentials:
            return False
        if self.status is None:
            return True
        return (self.status >= 500 and self.status != 501) or self.status in _AGAIN or self.code == "RequestTimeout"

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


def _open(address: BucketAddress, endpoint: str, timeout: timedelta) -> S3Store | GCSStore | AzureStore:
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timeout,
        "connect_timeout": _CONNECT_TIMEOUT,
    }
    retry: RetryConfig = {"max_retries": 0}
    prefix = address.prefix or None
    match address.scheme:
        case "gs":
            return GCSStore(address.bucket, prefix=prefix, client_options=client, retry_config=retry)
        case "az":
            return AzureStore(address.bucket, prefix=prefix, client_options=client, retry_config=retry)
        case _:
            config: S3Config = {"conditional_put": "etag", "disable_bulk_delete": True}
            if endpoint:
                config["endpoint"] = endpoint
            if "AWS_CHECKSUM_ALGORITHM" not in os.environ:
                # Buckets with object lock take nothing without one.
                config["checksum_algorithm"] = "SHA256"
            return S3Store(address.bucket, prefix=prefix, config=config, client_options=client, retry_config=retry)
