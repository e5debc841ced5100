"""Which bindings an update leaves as the target's people chose them: those that its owner to be can use. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.hidden_connection import is_hidden
from qlikmigrate.importer.plan import Action
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse


def kept_bindings(action: Action, now: Mapping[str, str], before: bytes | None, inventory: Inventory) -> dict[str, str]:
    """Block id → connection id. `now`: what is bound; `before`: the document before it was moved, which may detach."""
    found = dict(now)
    if action.moves and before is not None:
        found = {**face_of(parse(before)).bindings, **found}
    return {block: one for block, one in found.items() if _is_usable(one, action, inventory)}


def _is_usable(connection: str, action: Action, inventory: Inventory) -> bool:
    """Whether a binding leads somewhere; where the owner's connections are hidden from us, it is taken to."""
    found = inventory.get(Kind.CONNECTION, connection)
    if action.new_owner is not None:
        # What the former owner chose cannot be used by the new one.
        return found is not None and found.owner_id == action.new_owner
    return found is not None or is_hidden(inventory, action.owner_id)
