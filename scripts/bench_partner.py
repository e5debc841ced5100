"""Serve a made-up OEM provider to the benchmarks from a process of its own, so that the measured one has its core.

    python scripts/bench_partner.py ROUNDS CONNECTIONS

The model account holds ten automations a round, one of each of eight kinds, of which one is a bundle of two. Prints one
JSON line with the facts. Then each line read from stdin is answered by one JSON line: the requests seen since the last,
the install windows in seconds, and how many runs began within one. The end of stdin is its own end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.clock import Clock
from qlikmigrate.sandbox import Server
from qlikmigrate.sandbox.oem import OemService, OemSwitches, seed_templates

AUTOMATIONS_A_ROUND, PARTS_A_ROUND = 10, 2
_MAIL = {"Sender": "bi@velo.example", "Host": "smtp.velo.example", "Port": "587", "Username": "bi", "Password": "p"}
# None of them takes a person's consent.
_CONNECTORS = (
    ("Mail", _MAIL),
    ("API Key", {"Base URL": "https://wms.velo.example", "API Key": "k"}),
    ("Velo CRM", {"environment": "production", "api_key": "k"}),
    ("Mail", _MAIL),
)
_DAILY = {
    "schedule_start_at": "2027-01-05 07:30:00",
    "schedule_stop_at": "",
    "schedule_interval": "86400",
    "schedule_timezone": "Europe/Amsterdam",
    "state": "available",
}


@frozen(kw_only=True)
class Kind:
    """One of each in a round. `steps`: the writes after install and switching off, by the order of a restore.

    `at_install`: values that the install itself takes, since the template requires them; `inputs`: others.
    """

    template: str
    steps: tuple[str, ...]
    at_install: dict[str, str] = field(factory=dict)
    inputs: dict[str, str] = field(factory=dict)
    connectors: tuple[str, ...] = ()
    state: str = "available"
    schedule: dict[str, str] | None = None


# On paper: every one has a name of its own; only what is by hand and known to be on is switched on; a schedule is
# written where somebody said it.
KINDS = {
    "manual": Kind(
        template="Price export",
        steps=("inputs", "name", "on"),
        inputs={"currency": "SEK"},
        connectors=("Velo CRM",),
    ),
    "off": Kind(template="Price export", steps=("name",), connectors=("Velo CRM",), state="disabled"),
    "triggered": Kind(template="New dealer", steps=("name",), connectors=("Mail",)),
    "setup": Kind(
        template="Stock feed",
        steps=("inputs", "name"),
        at_install={"warehouse": "north"},
        inputs={"feed_token": "north-1"},
        connectors=("API Key",),
    ),
    "scheduled": Kind(
        template="Daily digest",
        steps=("name", "schedule"),
        at_install={"recipient": "dealers@velo.example"},
        connectors=("Mail",),
        schedule=_DAILY,
    ),
    "every half minute": Kind(template="Status board", steps=("inputs", "name"), inputs={"board": "hall 3"}),
    "import": Kind(template="Invoice import", steps=("name",), at_install={"ledger": "2027"}, connectors=("API Key",)),
    "bundle": Kind(
        template="Invoicing", steps=("name",), at_install={"ledger": "2027"}, connectors=("API Key", "Mail")
    ),
}


def made_up(rounds: int, connections: int, *, clock: Clock | None = None, per_minute: int | None = None) -> Any:
    """A provider with a model account, and its facts."""
    service = OemService("velo", clock=clock, switches=OemSwitches(per_minute=per_minute), seed=1)
    model = service.add_account("Velo model", "model")
    templates = seed_templates(service)
    made: dict[str, list[tuple[str, str]]] = {}
    secrets = {}
    for number in range(connections):
        connector, params = _CONNECTORS[number % len(_CONNECTORS)]
        name = f"{connector} {number}"
        made.setdefault(connector, []).append((name, service.add_datasource(model, connector, name, params)))
        secrets[name] = {"connector": service.connector(connector), "params": params}
    automations = []
    for number in range(rounds):
        for word, kind in KINDS.items():
            name = f"{kind.template} {word} {number:03}"
            used = [made[connector][number % len(made[connector])] for connector in kind.connectors]
            guid = service.add_blend(
                model,
                name,
                template=templates[kind.template],
                values=kind.at_install | kind.inputs,
                datasources=[guid for _, guid in used],
                state=kind.state,
            )
            automations.append(
                {
                    "guid": guid,
                    "name": name,
                    "kind": word,
                    "template": templates[kind.template],
                    "connections": [one for one, _ in used],
                }
            )
    return service, {
        "key_pair": service.key_pair(),
        "connections": secrets,
        "automations": automations,
        "templates": len(templates),
        "used_templates": len(set(_templates(service, model))),
        "connectors": len({one["connector"] for one in secrets.values()}),
    }


def _templates(service: OemService, account: str) -> Iterator[str | None]:
    return (one.template for one in service.account(account).blends.values())


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int)
    parser.add_argument("connections", type=int)
    given = parser.parse_args()
    service, facts = made_up(given.rounds, given.connections)
    with Server(service.handle) as server:
        service.base_url = f"{server.url}/v1"
        _tell({"url": service.base_url, **facts})
        seen = windows = 0
        for _ in sys.stdin:
            news = [[one.method, one.path, one.query.get("page", "1")] for one in service.seen[seen:]]
            opened = [one.seconds for one in service.windows[windows:]]
            seen, windows = seen + len(news), windows + len(opened)
            _tell(
                {
                    "seen": news,
                    "windows": opened,
                    "ran": len(service.runs_in_windows),
                    "unknown": len(service.undocumented),
                    "held": {one.externalid: len(one.blends) for one in service.accounts.values()},
                }
            )
    return 0


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
