"""Nothing passes that the access asked for does not cover: planning, backups and dry runs cannot write."""

from __future__ import annotations

from attrs import frozen

from qlikmigrate.api.endpoint import Access, Place
from qlikmigrate.api.operation import TOKEN
from qlikmigrate.api.transport.exchange import Call, Transport
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.message import Response


def access_error(place: Place, have: Access, need: Access, what: str) -> UsageError:
    """The refusal that names the line to add."""
    return UsageError(
        f"{what} needs `{need}` access to `{place.name}`, it is opened with `{have}`",
        hint=f'add `access = "{need}"` under [tenants.{place.table}]',
        code="not-enough-access",
    )


@frozen
class Guard:
    """Lets GET pass, the token request, with STATE also enable and disable, with WRITE all."""

    inner: Transport
    access: Access
    place: Place

    async def send(self, call: Call) -> Response:
        if not self._covers(call):
            need = max(call.operation.access, Access.STATE, key=lambda access: access.rank)
            raise access_error(self.place, self.access, need, f"`{call.operation.name}`")
        return await self.inner.send(call)

    def _covers(self, call: Call) -> bool:
        if call.request.method == "GET" or call.operation is TOKEN:
            return True
        # The method decides, not the declared access alone: a wrong row in the table must not open the door.
        return call.operation.access is not Access.READ and self.access.rank >= call.operation.access.rank
