"""The stored inputs of an OEM account's automations in words, for whoever enters them again: secrets stay masked."""

from __future__ import annotations

from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import Input
from qlikmigrate.model.oem_view import OemView
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.remap.input_value import shown_text

# More than that is looked up in the archive.
_SHOWN_CHARS = 200


def stored_inputs(snapshot: Snapshot) -> dict[str, str]:
    """Automation → its stored inputs with their values.

    Raises:
        CorruptError: what is stored is damaged.
    """
    if not isinstance(snapshot, OemView):
        return {}
    found = {ident: snapshot.inputs(ident) for ident in snapshot.ids(Kind.AUTOMATION)}
    return {ident: "; ".join(map(_shown, inputs)) for ident, inputs in found.items() if inputs}


def _shown(one: Input) -> str:
    text = shown_text(one)
    return f"`{one.name}`: {text}" if len(text) <= _SHOWN_CHARS else f"`{one.name}`: {text[:_SHOWN_CHARS]}…"
