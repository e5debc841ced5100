"""One embedded source and many embedded targets on loopback, their tenants file, and tables of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from stage import DAILY, Ended, Side, call_block, document, make_side

from qlikmigrate.cli.app import run
from qlikmigrate.sandbox import Switches

LIMITS = "tier1_per_minute = 100000\ntier2_per_minute = 100000\ntimeout_seconds = 1"


@define
class Harbour:
    """The scene. `more`: further lines of each target's table."""

    folder: Path
    source: Side
    targets: dict[str, Side]
    capture: Any
    more: dict[str, str] = field(factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "tenants.toml"

    @property
    def table(self) -> Path:
        return self.folder / "targets.csv"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def write_config(self) -> None:
        """The tenants file, with everything that a restore needs."""
        text = ""
        for name, side in {"source": self.source, **self.targets}.items():
            text += (
                f'[tenants.{name}]\nurl = "{side.tenant.base_url}"\naccess = "write"\n'
                f'oauth = {{ client_id = "{side.bot[0]}", client_secret = "{side.bot[1]}" }}\n'
                f'impersonation = {{ client_id = "{side.web[0]}", client_secret = "{side.web[1]}" }}\n'
                f"{self.more.get(name, '')}\n[tenants.{name}.limits]\n{LIMITS}\n\n"
            )
        self.config.write_text(text)
        self.config.chmod(0o600)

    def write_table(self, names: Iterable[str] | None = None, **columns: str) -> None:
        """A table of the targets. `columns`: further ones; `{}` in a cell becomes the target's name."""
        lines = [",".join(["target", *columns])]
        lines += [",".join([name, *(text.format(name) for text in columns.values())]) for name in names or self.targets]
        self.table.write_text("\n".join(lines) + "\n")

    def fill(self, many: int = 4) -> None:
        """Automations at the source: a third can fire by itself, a third calls its neighbour."""
        owner, last = self.source.users["ben"], ""
        for number in range(many):
            name = f"automation {number:02}"
            given = [
                document(name, mode="scheduled", schedules=[DAILY]),
                document(name, call_block(1, last)),
                document(name),
            ][number % 3]
            last = self.source.tenant.add_automation(given, owner)

    def words(self, *more: str | Path, source: str = "source") -> list[str]:
        """The command line."""
        words = ["clone", source, "--table", str(self.table), "--config", str(self.config), *map(str, more)]
        return words if "--run" in words else [*words, "--run", str(self.runs)]

    def clone(self, *more: str | Path, source: str = "source") -> Ended:
        """Clone to the table's targets, in this process."""
        self.capture.readouterr()
        code = run([*self.words(*more, source=source), "--json", "--no-progress"])
        ended = Ended(code, [json.loads(line) for line in self.capture.readouterr().out.splitlines()])
        assert ended.summary["exit_code"] == code
        return ended

    def grid(self) -> dict[str, str]:
        """How each target stands, as the folder says."""
        value = json.loads((self.runs / "grid.json").read_text())
        return {name: one["standing"] for name, one in value["targets"].items()}

    def made(self) -> dict[str, int]:
        """How many automations each target holds; none of them is there twice, or was ever on and armed."""
        found = {}
        for name, side in self.targets.items():
            names = Counter(one["name"] for one in side.tenant.automations.values())
            assert set(names.values()) <= {1}, (name, names)
            assert not side.tenant.armed_while_enabled
            found[name] = len(names)
        return found

    def asked(self) -> dict[str, int]:
        """How many requests each target has seen."""
        return {name: len(side.tenant.seen) for name, side in self.targets.items()}


@contextmanager
def harbour(folder: Path, capture: Any, many: int) -> Iterator[Harbour]:
    """A source and `many` targets: t01, t02, …"""
    source = make_side("acme", 1, Switches())
    targets = {f"t{number:02}": make_side(f"acme-{number}", 100 + number, Switches()) for number in range(1, many + 1)}
    try:
        made = Harbour(folder, source, targets, capture)
        made.write_config()
        made.write_table()
        yield made
    finally:
        for side in (source, *targets.values()):
            side.server.stop()
