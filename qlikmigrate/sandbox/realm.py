"""What all rooms of one tenant share: its name, clock, ids, switches, and a count that moves with every change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, field

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox.identity import Credential, Identity
from qlikmigrate.sandbox.mint import Mint
from qlikmigrate.sandbox.switches import Switches
from qlikmigrate.sandbox.wire import ApiError, forbidden, not_found

ADMIN_ROLES = frozenset({"TenantAdmin", "AnalyticsAdmin"})
_AUTOMATION_SCOPES = ("automations", "automations.private", "automations.shared", "admin.automations", "user_default")
_READ_SCOPES = (*_AUTOMATION_SCOPES, "automations:read", "admin.automations:read", "admin.automations:strict")


@define(eq=False)
class Realm:
    """The shared ground. `roles_of` gives a user's role names; `member_of` whether a user has a part in a space."""

    name: str
    id: str
    hostnames: tuple[str, ...]
    clock: Clock
    mint: Mint
    switches: Switches
    revision: int = 0
    roles_of: Callable[[str], frozenset[str]] = field(default=lambda user_id: frozenset())
    member_of: Callable[[str, str], bool] = field(default=lambda user_id, space_id: False)

    def now(self) -> datetime:
        """The tenant's time."""
        return self.clock.now()

    def changed(self) -> None:
        """Something changed: cached lists are no longer true."""
        self.revision += 1

    def is_admin(self, who: Identity) -> bool:
        """Whether the caller sees the whole tenant in lists."""
        if who.is_bot and who.has_scope("admin.automations", "admin.automations:read", "admin.automations:strict"):
            return True
        if who.credential is Credential.IMPERSONATION and not who.has_scope("admin_classic", "admin.automations"):
            return False
        return not who.is_bot and not self.roles_of(who.user_id).isdisjoint(ADMIN_ROLES)

    def bot_may(self, who: Identity, *, write: bool) -> bool:
        """Whether the bot's scopes let it at anybody's automation.

        Source: Qlik's changelog 241 and the help page on managing automations programmatically.
        """
        if not who.is_bot:
            return False
        names = ("admin.automations", "admin.automations:strict")
        return who.has_scope(*names) or (not write and who.has_scope("admin.automations:read"))

    def check_scope(self, who: Identity, *, write: bool) -> None:
        """Refuse a token whose scopes do not reach automations.

        Raises:
            ApiError: 403.
        """
        if who.scopes is not None and not who.has_scope(*(_AUTOMATION_SCOPES if write else _READ_SCOPES)):
            raise forbidden("The token lacks the scope for automations")

    def foreign(self, what: str) -> ApiError:
        """The refusal for somebody else's object: 403 or 404 by switch."""
        if self.switches.foreign_status == 404:
            return not_found(f"{what} not found")
        return forbidden(f"Insufficient permissions for this {what}")
