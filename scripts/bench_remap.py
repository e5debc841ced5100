"""Measure rewriting speed against `json.loads` + `json.dumps` of the same documents, with small and large inventories.

    python scripts/bench_remap.py [FOLDER]

FOLDER holds automations as `*.json`; without one, documents of our own making are used. Prints two ratios: speed
against the round trip (aim: 0.5 or more), and time with 100,000 ids against time with 10 (aim: 1.3 or less).
"""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from qlikmigrate.model.inventory import Entity, Inventory, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Mapping, MappingRow
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

_DATASOURCE = re.compile(rb'"id": ?"datasource",\s*"value": ?"([0-9a-f-]{36})"')


def _made_up() -> list[bytes]:
    blocks = [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"b{n}")).upper(),
            "type": "EndpointBlock",
            "disabled": False,
            "name": f"block{n}",
            "inputs": [{"id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"i{n % 40}")), "value": f"text {n} " * 20}],
            "settings": [{"id": "datasource", "value": str(uuid.uuid5(uuid.NAMESPACE_OID, f"c{n % 5}"))}]
            if n % 10 == 0
            else [],
        }
        for n in range(700)
    ]
    return [json.dumps({"blocks": blocks, "variables": []}).encode()] * 10


def _rewriting(connections: set[str], size: int) -> Rewriting:
    """Tenants with the documents' connections and as many strangers as make up `size` ids."""
    mine = [Entity(kind=Kind.CONNECTION, id=ident, name="c") for ident in sorted(connections)]
    mine += [
        Entity(kind=Kind.ITEM, id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))), name=f"app {n}")
        for n in range(size - len(mine))
    ]
    rows = [
        MappingRow(kind=one.kind, source=one, target_id=str(uuid.uuid5(uuid.NAMESPACE_DNS, one.id)), rule="explicit")
        for one in mine
    ]
    theirs = [Entity(kind=row.kind, id=row.target_id or "", name="t") for row in rows]
    return Rewriting(
        source=Inventory(tenant=TenantFacts(id="source-tenant", host="a.eu.qlikcloud.com"), entities=tuple(mine)),
        target=Inventory(tenant=TenantFacts(id="target-tenant", host="b.eu.qlikcloud.com"), entities=tuple(theirs)),
        mapping=Mapping(rows=tuple(rows)),
    )


def _best_s(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The best processor time of each, taken in turns so that a busy moment of the machine meets all of them."""
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            start = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - start)
    return best


def main() -> None:
    """Measure and print."""
    documents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.json"))] if sys.argv[1:] else _made_up()
    size_mb = sum(map(len, documents)) / 1e6
    connections = {ident.decode() for raw in documents for ident in _DATASOURCE.findall(raw)}
    few, many = _rewriting(connections, 10), _rewriting(connections, 100_000)

    def rewrite_all(rewriting: Rewriting) -> list[bytes]:
        return [rewrite(raw, rewriting).raw for raw in documents]

    assert rewrite_all(few) == rewrite_all(many)
    round_trip, with_few, with_many = _best_s(
        15,
        lambda: [json.dumps(json.loads(raw)) for raw in documents],
        lambda: rewrite_all(few),
        lambda: rewrite_all(many),
    )
    print(f"documents: {len(documents)}, {size_mb:.1f} MB, {len(connections)} connections")
    print(f"json round trip: {size_mb / round_trip:.1f} MB/s")
    print(f"rewrite, 10 ids: {size_mb / with_few:.1f} MB/s; ratio {round_trip / with_few:.2f} (aim >= 0.5)")
    print(f"rewrite, 100,000 ids: {size_mb / with_many:.1f} MB/s; slower {with_many / with_few:.2f} (aim <= 1.3)")


if __name__ == "__main__":
    main()
