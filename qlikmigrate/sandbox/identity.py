"""Who calls, and the tokens that prove it. What an identity may do is decided where the objects live."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Credential(StrEnum):
    """What the caller showed."""

    NONE = "none"
    API_KEY = "api-key"
    BOT = "bot"
    IMPERSONATION = "impersonation"


@frozen
class Identity:
    """A caller. `scopes` is None where the credential has none (API keys)."""

    user_id: str
    credential: Credential
    scopes: frozenset[str] | None = None
    client_id: str = ""

    def has_scope(self, *names: str) -> bool:
        """Whether any of the scopes was granted."""
        return self.scopes is not None and not self.scopes.isdisjoint(names)

    @property
    def is_bot(self) -> bool:
        """Whether it is the bot of a machine-to-machine client."""
        return self.credential is Credential.BOT


ANONYMOUS = Identity("", Credential.NONE)
