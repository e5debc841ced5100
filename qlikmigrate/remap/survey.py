"""What a migration will meet in documents, found by a rewrite without a target: nothing has a counterpart then."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.inventory import Inventory, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.workspace import BlockUse, blocks, connectors_used
from qlikmigrate.remap import mapping as id_mapping
from qlikmigrate.remap.finding import Finding
from qlikmigrate.remap.name_reference import NameIndex, find_names, name_index
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting
from qlikmigrate.remap.secret import with_secrets


@frozen
class Surveyor:
    """Looks at the documents of one snapshot. `held`: lower-case ids of the automations that it holds."""

    source: Inventory
    held: Collection[str]
    token_hashes: Collection[str] = ()
    _rewriting: Rewriting = field(init=False, repr=False)
    _names: NameIndex = field(init=False, repr=False)

    @_rewriting.default
    def _prepare(self) -> Rewriting:
        nowhere = Inventory(tenant=TenantFacts(id=""))
        return Rewriting(source=self.source, target=nowhere, mapping=id_mapping.Mapping())

    @_names.default
    def _index(self) -> NameIndex:
        return name_index(self.source)

    def findings(self, raw: bytes) -> tuple[Finding, ...]:
        """Everything in an automation's document that a migration will have to do with, in document order by code.

        Raises:
            ValueError: `raw` is no JSON object in UTF-8.
        """
        found = [self._told(one) for one in rewrite(raw, self._rewriting).findings]
        found += find_names(raw, self._names)
        found += _unbound(raw)
        return with_secrets(found, raw, self.token_hashes)

    def _told(self, one: Finding) -> Finding:
        """The finding of a rewrite that had no target, as news of what there is."""
        name = self._name_of(one)
        match one.code:
            case "source-id-left":
                return evolve(one, severity=Severity.INFO, message=f"id of {one.kind}{name}", hint="")
            case "connection-unbound" if self.source.get(Kind.CONNECTION, one.source_id):
                message = f"bound to connection{name}"
                return evolve(one, code="source-id-left", severity=Severity.INFO, message=message, hint="")
            case "connection-unbound":
                message = f"bound to a connection that the tenant does not list: `{one.source_id}`"
                return evolve(one, message=message, hint="bind the block in the editor, or map the id")
            case "call-unresolved" if one.source_id.lower() in self.held:
                message = f"calls automation{name}"
                return evolve(one, code="source-id-left", severity=Severity.INFO, message=message, hint="")
            case "call-unresolved":
                callee = name or f" `{one.source_id}`"
                return evolve(one, message=f"calls an automation that the archive does not hold:{callee}")
            case "source-host-left":
                return evolve(one, severity=Severity.INFO, message=f"host of this tenant: {one.source_id}", hint="")
            case "value-missing":
                return evolve(one, severity=Severity.TODO, message=f"wants a value: `@@{one.source_id}@@`")
            case _:
                return one

    def _name_of(self, one: Finding) -> str:
        known = self.source.get(one.kind, one.source_id) if one.kind else None
        return f" `{known.name}`" if known and known.name else ""


def connectors_of(raw: bytes) -> Iterator[BlockUse]:
    """The connectors that a document uses, block by block."""
    yield from connectors_used(_envelope(raw)[0])


def _envelope(raw: bytes) -> tuple[Mapping[str, Any], str]:
    """The document as the API gives one, and where its workspace stands in what was given."""
    try:
        value = json.loads(raw)
    except RecursionError:
        # Nested deeper than a parser goes: its text is still searched.
        return {}, ""
    return (value, "workspace.") if "workspace" in value else ({"workspace": value}, "")


def _unbound(raw: bytes) -> Iterator[Finding]:
    """Blocks whose connector wants a connection and has none."""
    document, top = _envelope(raw)
    for index, block in blocks(document):
        settings = block.get("settings")
        for place, one in enumerate(settings if isinstance(settings, list) else ()):
            if isinstance(one, Mapping) and one.get("id") == "datasource" and not one.get("value"):
                yield Finding(
                    code="connection-unbound",
                    severity=Severity.INFO,
                    kind=Kind.CONNECTION,
                    path=f"{top}blocks[{index}].settings[{place}].value",
                    block_name=str(block.get("name") or ""),
                    message="not bound to a connection at the source",
                )
