"""A real S3 protocol server on loopback (moto), which can be told to fail.

moto looks for an object and then writes it, in threads; a service does both at once. So requests go in one by one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

SLOW_S = 1.5
KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMIsecret", "us-east-1"
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class QuietHandler(MotoRequestHandler):
    """Says nothing of its requests."""

    def log_request(self, *words: object) -> None:
        pass


class S3Server:
    """`faults`: for the next request of a method, in order. `seen`: method and path of each request.

    lost: carried out, but the connection ends without an answer. cut: half of the answer's body. `500-after`: carried
    out, but answered with 500. slow: the answer comes when nobody waits for it any more. Empty: none. Anything else, as
    `403 AccessDenied`, is answered without carrying it out.
    """

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []
        self.seen: list[tuple[str, str]] = []
        self.ignores_conditions = False
        self._app = DomainDispatcherApplication(create_backend_app)
        self._one_by_one = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION
        )

    def close(self) -> None:
        """Serve no more."""
        self.client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def calm(self) -> None:
        """No faults any more, and nothing seen."""
        self.faults, self.seen, self.ignores_conditions = [], [], False

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Let an object be there, without a request."""
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)

    def _answer(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        with self._one_by_one:
            method = environ["REQUEST_METHOD"]
            self.seen.append((method, environ["PATH_INFO"]))
            fault = self._fault(method)
            if fault[:1].isdigit() and not fault.endswith("-after"):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return _refusal(fault, environ, start)
            # The service takes the checksum alone under object lock; moto also asks for the name of its algorithm.
            if "HTTP_X_AMZ_CHECKSUM_SHA256" in environ:
                environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = "SHA256"
            if self.ignores_conditions:
                environ.pop("HTTP_IF_NONE_MATCH", None)
            if fault.endswith("-after"):
                b"".join(self._app(environ, lambda *words: None))
                return _refusal(fault.removesuffix("-after"), environ, start)
            body = b"".join(self._app(environ, start))
        if fault == "slow":
            time.sleep(SLOW_S)
        if fault in ("lost", "cut"):
            return _torn(environ, body[: len(body) // 2] if fault == "cut" else b"")
        return [body]

    def _fault(self, method: str) -> str:
        for number, (of, fault) in enumerate(self.faults):
            if of == method:
                del self.faults[number]
                return fault
        return ""


def _torn(environ: Environ, body: bytes) -> Iterator[bytes]:
    if body:
        yield body
    environ["werkzeug.socket"].shutdown(2)
    raise ConnectionResetError


def _refusal(fault: str, environ: Environ, start: StartResponse) -> Iterable[bytes]:
    status, _, code = fault.partition(" ")
    body = f"<Error><Code>{code}</Code><Message>{SECRET} was sent</Message></Error>".encode()
    start(f"{status} Refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body if environ["REQUEST_METHOD"] != "HEAD" else b""]


@contextmanager
def serving() -> Iterator[S3Server]:
    """A server, for as long as it is needed."""
    server = S3Server()
    try:
        yield server
    finally:
        server.close()
