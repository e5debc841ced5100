"""A place that a vault can lie in, as tests see it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from qlikmigrate.vault.store import Store


@frozen(kw_only=True)
class Place:
    """Somewhere a vault can lie. `open`: another handle on it. `put`: writes anything there, past the store.

    `another`: an empty place of the same kind.
    """

    location: str
    open: Callable[[], Store]
    put: Callable[[str, bytes], None]
    another: Callable[[], Place]
