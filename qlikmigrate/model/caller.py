"""Who the configured identity is, as its own user document tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

# Roles that see every automation of a tenant. Source: openapi/workflows-automations.json, `listAll`.
_WIDE_ROLES = frozenset({"TenantAdmin", "AnalyticsAdmin"})


@frozen(kw_only=True)
class Caller:
    """An identity. `bot`: an OAuth client's own user, which may write anyone's automations. `roles`: by name."""

    user_id: str
    bot: bool
    roles: frozenset[str] = frozenset()

    @property
    def sees_all(self) -> bool:
        """Whether its lists hold the automations of the whole tenant."""
        return bool(self.roles & _WIDE_ROLES)

    @property
    def may_transfer(self) -> bool:
        """Whether it may give what it made to others, and change settings.

        Source: Qlik community 2548771: since May 2026 an AnalyticsAdmin can claim ownership for itself only.
        """
        return self.bot or "TenantAdmin" in self.roles


def caller_of(me: Mapping[str, Any]) -> Caller:
    """The identity that a user document describes.

    Source: openapi/users.json: `assignedRoles`; Qlik's tutorial on deploying an automation: the bot's subject, its
    `clientId`, its role. Some answers carry `roles` as plain names.
    """
    roles = {str(role.get("name")) for role in me.get("assignedRoles") or () if isinstance(role, Mapping)}
    roles |= {str(role) for role in me.get("roles") or () if isinstance(role, str)}
    subject = str(me.get("subject") or "")
    return Caller(
        user_id=str(me.get("id") or ""),
        bot=bool(me.get("clientId")) or subject.startswith("qlikbot\\"),
        roles=frozenset(roles),
    )
