"""What can go wrong on the wire, each with its exit code.

QlikmigrateError
└── ApiError
    ├── UnauthorizedError (20, also AuthError)   401; 403 on a list; a token or an impersonation was refused
    ├── ForbiddenError (20)                      403 on one object: for the caller to handle
    ├── MissingError (1)                         404 on one object: for the caller to handle
    ├── ConflictError (1)                        409
    ├── QueueFullError (1)                       400 to a run: the account has as many jobs waiting as it may
    ├── InvalidError (1)                         400, 422 and other 4xx: the request is not taken
    ├── ServerError (1)                          5xx or 429 after all retries
    ├── UnreachableError (1)                     no answer: name, connection, TLS, timeout
    ├── BrokenAnswerError (1)                    2xx that is not what the API answers
    ├── OutcomeUnknownError (1)                  a create whose answer was lost: it may have been carried out
    ├── UnsupportedError (1)                     exists under `/api/workflows` only
    ├── ForeignHostError (1)                     a link or redirect to a host that is not the tenant's
    └── ListUnstableError (3, also PartialError) a list that never came to its end

None of them holds a header or a body; a server's own words are shown on one line and cut short.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from qlikmigrate.api.endpoint import Place
from qlikmigrate.api.operation import Operation, Shape
from qlikmigrate.kernel.error import AuthError, PartialError, QlikmigrateError
from qlikmigrate.kernel.message import Response

_SHOWN_CHARS = 300
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class ApiError(QlikmigrateError):
    """Base of the wire's errors. `operation` as in the table; `status` and `trace_id` of the answer, if any."""

    default_code: ClassVar[str] = "api-error"

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        status: int | None = None,
        trace_id: str = "",
        hint: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.operation = operation
        self.status = status
        self.trace_id = trace_id


class UnauthorizedError(ApiError, AuthError):
    """The tenant does not know the identity, or does not let it read a list."""

    default_code = "not-authorized"


class ForbiddenError(ApiError):
    """403 on one object."""

    exit_code = 20
    default_code = "forbidden"


class MissingError(ApiError):
    """404 on one object."""

    default_code = "missing"


class ConflictError(ApiError):
    """409: another state than expected. Under a PUT the caller reads again and decides."""

    default_code = "conflict"


class QueueFullError(ApiError):
    """The account has as many jobs waiting as it may have: nothing was started."""

    default_code = "queue-full"


class InvalidError(ApiError):
    """The request is not taken as it is."""

    default_code = "invalid-request"


class ServerError(ApiError):
    """The server fails, or throttles without end."""

    default_code = "server-error"


class UnreachableError(ApiError):
    """No answer. The request was not carried out, or may be repeated without harm."""

    default_code = "unreachable"


class BrokenAnswerError(ApiError):
    """A success that does not hold what it should."""

    default_code = "broken-answer"


class OutcomeUnknownError(ApiError):
    """A request that must not be repeated, and whose answer was lost: look whether it was carried out."""

    default_code = "outcome-unknown"


class UnsupportedError(ApiError):
    """The operation does not exist under the path family in use."""

    default_code = "unsupported"


class ForeignHostError(ApiError):
    """A link or redirect leads to a host that is not the tenant's."""

    default_code = "foreign-host"


class ListUnstableError(ApiError, PartialError):
    """Pages repeat or cursors expire each time the list is read: it cannot be known to be whole."""

    default_code = "list-unstable"


def words(operation: Operation, response: Response) -> tuple[str, str]:
    """What the server says about a failure, on one line, and its trace id. Never raises."""
    from qlikmigrate.api.answer import parse

    try:
        value = parse(response.body)
    except ValueError:
        return "", ""
    if not isinstance(value, dict):
        return "", ""
    trace = value.get("traceId")
    errors = value.get("errors")
    said = [_one(error, operation) for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    if not said and not operation.secret_body:
        said = [str(value[key]) for key in ("error", "error_description", "message") if isinstance(value.get(key), str)]
    line = _BLANK.sub(" ", "; ".join(filter(None, said))).strip()
    if len(line) > _SHOWN_CHARS:
        line = line[: _SHOWN_CHARS - 1] + "…"
    return line, _BLANK.sub(" ", trace)[:64] if isinstance(trace, str) else ""


def _one(error: dict[str, Any], operation: Operation) -> str:
    names = ("code", "title") if operation.secret_body else ("code", "title", "detail")
    return " ".join(str(error[name]).rstrip(".") for name in names if isinstance(error.get(name), str | int))


Kind = Callable[[Operation, Response, Place], tuple[type[ApiError], str]]


def error_for(operation: Operation, response: Response, *, place: Place, kind: Kind | None = None) -> ApiError:
    """The error that an answer other than a success stands for. `kind`: which one, and its hint."""
    made, hint = (kind or cloud_kind)(operation, response, place)
    line, trace_id = words(operation, response)
    message = f"`{operation.name}` on `{place.name}` was answered {response.status}"
    message += f": {line}" if line else ""
    message += f" (trace {trace_id})" if trace_id else ""
    return made(message, operation=operation.name, status=response.status, trace_id=trace_id, hint=hint)


def cloud_kind(operation: Operation, response: Response, place: Place) -> tuple[type[ApiError], str]:
    """What a status means on Qlik Cloud."""
    status, table = response.status, place.table
    if status == 401:
        return UnauthorizedError, f"check the key or client of `[tenants.{table}]`: expired, revoked, another tenant's"
    if status == 403 and operation.shape is Shape.PAGE:
        return UnauthorizedError, f"`doctor {place.name}` says which rights are missing"
    if status == 403:
        return ForbiddenError, f"`doctor {place.name}` says which rights are missing"
    if status == 404:
        # Every tenant has its lists and knows itself.
        always = operation.shape is Shape.PAGE or operation.name in ("tenant.me", "user.me")
        return MissingError, f"is `url` of `[tenants.{table}]` {place.service}?" if always else ""
    if status == 409:
        return ConflictError, ""
    return passing_kind(response, place)


def passing_kind(response: Response, place: Place) -> tuple[type[ApiError], str]:
    """What a status means that no service gives a meaning of its own."""
    if response.status == 429 or response.status >= 500:
        return ServerError, "try again later"
    if 300 <= response.status < 400:
        return BrokenAnswerError, f"is `url` of `[tenants.{place.table}]` the tenant's own address?"
    return InvalidError, ""
