"""What an answer other than a success means on the OEM API, which documents 400 and hardly a word beside it."""

from __future__ import annotations

from qlikmigrate.api.endpoint import Place
from qlikmigrate.api.error import ApiError, ConflictError, MissingError, QueueFullError, UnauthorizedError, passing_kind
from qlikmigrate.api.oem.operation import RUN
from qlikmigrate.api.operation import Operation, Shape
from qlikmigrate.kernel.message import Response

_BLANK = frozenset({b"", b"{}", b"[]", b"null"})


def says_nothing(response: Response) -> bool:
    """Whether it is a 400 without a word. Source: nearly all pages: 400 with the body `{}`."""
    return response.status == 400 and b"".join(response.body.split()) in _BLANK


def is_gone(response: Response) -> bool:
    """Whether the answer to a DELETE that is sent again says that nothing is left.

    Assumed: one that is not there is answered 404, or 400 without a word; one that is in use, 400 with words.
    """
    return response.status == 404 or says_nothing(response)


def oem_kind(operation: Operation, response: Response, place: Place) -> tuple[type[ApiError], str]:
    """What a status means, and what to do about it."""
    status = response.status
    if status in (401, 403):
        return UnauthorizedError, f"check `app_id` and `api_key` of `[tenants.{place.table}]`"
    if status == 400 and operation is RUN and b"queue" in response.body.lower():
        return QueueFullError, "wait until jobs of the account have ended"
    one = operation.method == "GET" and operation.shape is not Shape.LIST
    if status == 404 or (one and says_nothing(response)):
        # Every provider has these lists.
        always = operation.shape is Shape.LIST and not operation.id_names
        return MissingError, f"is `url` of `[tenants.{place.table}]` {place.service}?" if always else ""
    if status == 409:
        return ConflictError, ""
    return passing_kind(response, place)
