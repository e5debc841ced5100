"""An OEM provider in a process of its own, as the benchmarks know it, and the fewest calls that its account takes.

The fewest are counted on paper, from what the account holds, without asking the planner.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_backup import CONCURRENCY, HERE, NO_LIMIT
from bench_partner import KINDS, PARTS_A_ROUND

# A list that comes without a word of pages is at its end only when a page is not full.
PAGE_ROWS = 100
# Every path by what it is for; the first that fits.
_PURPOSES = (
    ("GET", r"/accounts$", "accounts"),
    ("GET", r"/accounts/[^/]+$", "accounts"),
    ("POST", r"/accounts$", "new account"),
    ("GET", r"/templates$", "templates"),
    ("GET", r"/templates/[^/]+$", "templates"),
    ("GET", r"/connectors/[^/]+$", "connectors"),
    ("GET", r"/datasources$", "connection lists"),
    ("POST", r"/datasources$", "new connections"),
    ("GET", r"/datasources/[^/]+$", "connections"),
    ("GET", r"/blends$", "automation lists"),
    ("GET", r"/blends/[^/]+$", "automations"),
    ("GET", r"/lastrun$", "looks for runs"),
    ("POST", r"/install$", "installs"),
    ("PUT", r"/blends/[^/]+$", "state, name, schedule"),
    ("POST", r"/set-persisted-inputs$", "inputs"),
)


class Provider:
    """The served provider: `facts` as `bench_partner.py` prints them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.facts: dict[str, Any] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def news(self) -> dict[str, Any]:
        """What happened since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, Any] = self._read()
        if told["ran"] or told["unknown"] or None in told["windows"]:
            raise SystemExit(f"something ran, was left on, or was asked for that no page documents: {told}")
        return told

    @property
    def headers(self) -> dict[str, str]:
        """What signs a call."""
        app_id, key = self.facts["key_pair"]
        return {"X-App-Id": app_id, "X-Api-Key": key}

    def write_files(self, folder: Path, accounts: int) -> None:
        """What the commands are given: tenants file, schedules, secrets, and a table of new accounts."""
        write_supply(self.facts, folder)
        app_id, key = self.facts["key_pair"]
        config = folder / "tenants.toml"
        config.write_text(
            f'[tenants.partner]\nkind = "oem"\nurl = "{self.facts["url"]}"\naccess = "write"\n'
            f'app_id = "{app_id}"\napi_key = "{key}"\n'
            f"limits = {{ per_minute = {NO_LIMIT}, concurrency = {CONCURRENCY} }}\n"
        )
        config.chmod(0o600)
        rows = [f"partner/customer-{number:02},Customer {number}\n" for number in range(1, accounts + 1)]
        (folder / "customers.csv").write_text("target,name\n" + "".join(rows))


@contextmanager
def provider(rounds: int, connections: int) -> Iterator[Provider]:
    """A provider with a model account, in a process of its own."""
    command = [sys.executable, str(HERE / "bench_partner.py"), str(rounds), str(connections)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Provider(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def write_supply(facts: Mapping[str, Any], folder: Path) -> None:
    """The schedules that somebody says, and the values of connections."""
    said = [(one["guid"], plan) for one in facts["automations"] if (plan := KINDS[one["kind"]].schedule)]
    names = list(said[0][1])
    lines = [",".join([guid, *(plan[name] for name in names)]) for guid, plan in said]
    (folder / "schedules.csv").write_text("\n".join([",".join(["automation", *names]), *lines]) + "\n")
    secrets = folder / "secrets.toml"
    secrets.write_text(
        "".join(
            f'[connections."{name}"]\n' + "".join(f'"{key}" = "{value}"\n' for key, value in one["params"].items())
            for name, one in facts["connections"].items()
        )
    )
    secrets.chmod(0o600)


# The fewest calls, on paper


def pages(rows: int) -> int:
    """Calls to the end of a list that says nothing of pages."""
    return rows // PAGE_ROWS + 1


def least_backup(facts: Mapping[str, Any]) -> Counter[str]:
    """Of a complete snapshot of the model account: every list and document once, the automations listed again."""
    tops, bundles = len(facts["automations"]), _count(facts, "bundle")
    connections = len(facts["connections"])
    return Counter(
        {
            # One article alone knows an account's own answer; the snapshot holds it where there is one.
            "accounts": 2,
            "automation lists": 2 * pages(tops),
            "automations": tops + PARTS_A_ROUND * bundles,
            "connection lists": max(1, -(-connections // PAGE_ROWS)),
            "connections": connections,
            "connectors": facts["connectors"],
            "templates": 1 + facts["used_templates"],
        }
    )


def least_writes(facts: Mapping[str, Any]) -> Counter[str]:
    """Of making all of it in a new account, with what no write can be without.

    An install answers nothing, so the list is read after each, and what is there is read back once at the end.
    """
    tops, bundles = len(facts["automations"]), _count(facts, "bundle")
    steps: Counter[str] = Counter()
    for one in facts["automations"]:
        steps.update(KINDS[one["kind"]].steps)
    return Counter(
        {
            "new account": 1,
            "new connections": len(facts["connections"]),
            "installs": tops,
            "automation lists": sum(pages(number) for number in range(1, tops + 1)),
            "state, name, schedule": tops + PARTS_A_ROUND * bundles + steps["name"] + steps["schedule"] + steps["on"],
            "inputs": steps["inputs"],
            "automations": tops + PARTS_A_ROUND * bundles,
        }
    )


def least_restore(facts: Mapping[str, Any]) -> Counter[str]:
    """The same with what a plan must know: which accounts there are, and what templates and connectors ask for."""
    known = {"accounts": 1, "templates": 1 + facts["used_templates"], "connectors": facts["connectors"]}
    return least_writes(facts) + Counter(known)


def _count(facts: Mapping[str, Any], kind: str) -> int:
    return sum(one["kind"] == kind for one in facts["automations"])


def by_purpose(seen: list[list[str]]) -> Counter[str]:
    """Calls by what they are for."""
    found: Counter[str] = Counter()
    for method, path, _ in seen:
        purpose = next((name for verb, form, name in _PURPOSES if verb == method and re.search(form, path)), path)
        found[purpose] += 1
    return found
