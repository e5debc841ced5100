"""What a backup of OEM accounts is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from qlikmigrate.exporter.oem.supply import Supply
from qlikmigrate.model.kind import OEM_FACTS, Kind, KindFacts
from qlikmigrate.model.selection import Selectors


@frozen(kw_only=True)
class OemExportOptions:
    """What a backup is asked for. `account`: the guid or externalid of the only one; empty: all of the provider's.

    `accept_unreadable`: guids of automations and accounts that are known to be so. `supply`: what people hand in.
    `runs`: as many of the newest runs of each. `input_values`: keep what customers stored in inputs.
    """

    account: str = ""
    selectors: Selectors = field(factory=Selectors)
    accept_unreadable: frozenset[str] = frozenset()
    abort_on_error: bool = False
    supply: Supply = field(factory=Supply)
    runs: int = 0
    input_values: bool = True

    def facts(self) -> Mapping[Kind, KindFacts]:
        """What is cut out of each kind."""
        if self.input_values:
            return OEM_FACTS
        cut = {kind: (*one.deep_secrets, "persisted_value") for kind, one in OEM_FACTS.items()}
        return {kind: evolve(one, deep_secrets=cut[kind]) for kind, one in OEM_FACTS.items()}
