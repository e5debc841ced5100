"""`clone partner/MODEL --table`: a model account to many customers' accounts, with faults, kills and timed windows."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from stage import Ended, set_clock

from qlikmigrate.cli.app import run
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import Delay, Fault, HtmlOk, ResetAfterCommit, ResetBefore, Server, Status, Truncate
from qlikmigrate.sandbox.oem import OemService, OemSwitches, Partner, seed_model

SECRET = "planted-{n}-password"
# What needs no person's consent: a bundle of two, one that runs every 30 seconds, one by hand, two with connections.
CHOSEN = ("Stock feed North", "Daily digest", "Price export summer", "Status board", "Invoicing")
PARTS = 2
MODES = {"documented": OemSwitches.documented(), "hostile": OemSwitches.hostile()}


@define
class Dock:
    """A provider on loopback with a model account, and the files of a clone of it."""

    folder: Path
    service: OemService
    partner: Partner
    capture: Any
    many: int
    chosen: tuple[str, ...] = CHOSEN

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def accounts(self) -> list[str]:
        return [f"customer-{number:02}" for number in range(1, self.many + 1)]

    def write(self, *, shared: bool = False) -> None:
        """The tenants file, secrets and table. `shared`: accounts are named by a column, for one table of the file."""
        app_id, key = self.service.key_pair()
        config = self.folder / "tenants.toml"
        config.write_text(
            f'[tenants.partner]\nkind = "oem"\nurl = "{self.service.base_url}"\napp_id = "{app_id}"\n'
            f'api_key = "{key}"\naccess = "write"\n'
            + ('account = "{code}"\n' if shared else "")
            + "limits = { per_minute = 60000, timeout_seconds = 1, concurrency = 8 }\n"
        )
        config.chmod(0o600)
        secrets = self.folder / "secrets.toml"
        secrets.write_text(
            '[connections.Warehouse]\n"Base URL" = "https://{no}.example"\n"API Key" = { env = "WAREHOUSE_KEY" }\n'
            '[connections."Company mail"]\nSender = "a@{no}.example"\nHost = "smtp"\nPort = "587"\nUsername = "bi"\n'
            'Password = "{pass}"\n'
        )
        secrets.chmod(0o600)
        lines = ["target,code,no,name,pass"]
        lines += [
            f'partner{"" if shared else "/" + one},{one},{number},"Customer, {number}",{SECRET}{number}'
            for number, one in enumerate(self.accounts, start=1)
        ]
        (self.folder / "customers.csv").write_text("\n".join(lines) + "\n")

    def words(self, *more: str) -> list[str]:
        """The command line."""
        words = ["clone", "partner/model", "--table", str(self.folder / "customers.csv")]
        words += ["--config", str(self.folder / "tenants.toml"), "--create-account"]
        words += [] if "--run" in more else ["--run", str(self.runs)]
        words += ["--account-name", "{name}", "--connections", "create"]
        words += ["--secrets", str(self.folder / "secrets.toml"), *more]
        return [*words, *(word for name in self.chosen for word in ("--include", f"name={name}"))]

    def clone(self, *more: str) -> Ended:
        """Clone in this process."""
        self.capture.readouterr()
        code = run([*self.words("--allow", "oem-starts-on-install", *more), "--json", "--no-progress"])
        ended = Ended(code, [json.loads(line) for line in self.capture.readouterr().out.splitlines()])
        assert ended.summary["exit_code"] == code
        return ended

    def grid(self) -> Counter[str]:
        value = json.loads((self.runs / "grid.json").read_text())
        return Counter(one["standing"] for one in value["targets"].values())

    def check(self) -> str:
        """Every account holds everything once, off but for what is by hand, with its own secret; nothing ran."""
        service = self.service
        assert len(service.accounts) == len(self.partner.accounts) + self.many
        for number, name in enumerate(self.accounts, start=1):
            account = service.account(name)
            assert account.name == f"Customer, {number}"
            names = Counter(one.name for one in account.blends.values() if one.parent is None)
            assert names == dict.fromkeys(self.chosen, 1), (name, names)
            assert len(account.blends) == len(self.chosen) + PARTS * ("Invoicing" in self.chosen)
            for one in account.blends.values():
                assert one.is_bundle or one.state == "disabled" or not one.is_scheduled, (name, one.name)
            links = Counter(one.name for one in account.datasources.values())
            assert links == dict.fromkeys(("Warehouse", "Company mail", "Dealer base", "velo-repos"), 1)
            params = {one.name: one.params for one in account.datasources.values()}
            assert params["Company mail"]["Password"] == f"{SECRET}{number}"
        assert service.undocumented == []
        return self.check_windows()

    def check_windows(self) -> str:
        """No window is open, nothing ran within one, and what we say of them is no less than what the service saw."""
        service = self.service
        seen = {one.blend: one.seconds for one in service.windows}
        assert all(one is not None for one in seen.values())
        assert service.runs_in_windows == []
        said: dict[str, float] = {}
        for journal in self.runs.glob("targets/*/journal.jsonl"):
            report = json.loads((journal.parent / "report.json").read_text())
            said |= report["install_windows"]["seconds"]
        longest = max(one or 0.0 for one in seen.values())
        # Of two clocks: the service's window lies within ours.
        short = {blend: (one, said.get(blend)) for blend, one in seen.items() if said.get(blend, -1.0) < (one or 0.0)}
        assert not short, short
        return f"{len(seen)} install windows, the longest {longest:.3f} s, reported {max(said.values()):.3f} s"


@contextmanager
def docked(folder: Path, capture: Any, many: int, switches: OemSwitches, chosen: tuple[str, ...]) -> Iterator[Dock]:
    """A provider that is being served."""
    service = OemService("partner", seed=1)
    server = Server(service.handle).start()
    service.base_url = f"{server.url}/v1"
    dock = Dock(folder, service, seed_model(service), capture, many, chosen)
    service.switches = evolve(switches, per_minute=None)
    dock.write()
    try:
        yield dock
    finally:
        server.stop()


@pytest.fixture
def make_dock(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[
    Callable[..., Dock]
]:  # fmt: skip
    """Makes a provider with a table of so many customers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAREHOUSE_KEY", "planted-warehouse-key")
    with ExitStack() as stack:

        def make(many: int, mode: str = "documented", *, chosen: tuple[str, ...] = CHOSEN) -> Dock:
            return stack.enter_context(docked(tmp_path, capsys, many, MODES[mode], chosen))

        yield make


def faults(chance: random.Random, calls: int) -> list[Fault]:
    """A lot of what can go wrong, spread over the calls to come: lost and broken answers, refusals, delays."""
    effects = (
        ResetAfterCommit(), ResetBefore(), HtmlOk(), Truncate(), Status(code=500, commit=True), Status(code=503),
        Status(code=429, retry_after=0), Delay(0.2),
    )  # fmt: skip
    kinds = [("POST", "*/install"), ("POST", "*/datasources"), ("POST", "/v1/accounts"), ("PUT", "*/blends/*"),
             ("POST", "*/set-persisted-inputs"), ("GET", "*/blends"), ("GET", "*")]  # fmt: skip
    return [
        Fault(effect=chance.choice(effects), method=method, path=path, nth=chance.randint(1, calls))
        for method, path in kinds * 6
    ]


def get_through(dock: Dock, *more: str, tries: int = 6) -> int:
    """Clone, and go on until all is done; how often it took."""
    ended = dock.clone(*more)
    for number in range(1, tries):
        if ended.code == 0:
            return number
        assert ended.code == 3, ended.error
        ended = dock.clone(*more, "--resume")
    assert ended.code == 0, dock.grid()
    return tries


FIFTY = [("documented", ("Daily digest", "Invoicing")), ("hostile", ("Daily digest",))]


@pytest.mark.parametrize(("mode", "chosen"), FIFTY)
def test_fifty_accounts_with_faults(make_dock: Callable[..., Dock], mode: str, chosen: tuple[str, ...]) -> None:
    """As often as it takes to get through, no double comes of it, nothing runs by itself, every window is measured."""
    dock = make_dock(50, mode, chosen=chosen)
    dock.service.faults.extend(faults(random.Random(mode), 60))
    tries = get_through(dock, "--parallel", "8")
    struck = sum(1 for one in dock.service.seen if one.status in (0, 429, 500, 503))
    assert struck > 15
    print(f"{mode}: {tries} tries, {len(dock.service.seen)} requests, {struck} of them struck; {dock.check()}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_fifty_accounts_in_calm(make_dock: Callable[..., Dock], mode: str) -> None:
    """Everything that needs no person, without faults: what the windows are then."""
    dock = make_dock(50, mode)
    assert get_through(dock) == 1
    print(f"{mode}: {len(dock.service.seen)} requests; {dock.check()}")


def test_nothing_is_installed_unless_allowed(make_dock: Callable[..., Dock]) -> None:
    """Without the word that waives it every account is refused: exit 6, and nothing but GETs was sent."""
    dock = make_dock(3)
    dock.capture.readouterr()
    assert run(dock.words()) == 6
    assert dock.grid() == {"refused": 3}
    assert {one.method for one in dock.service.seen} == {"GET"}
    ended = dock.clone("--resume")
    windows = [one["install_windows"] for one in ended.of("item")]
    assert [one["count"] for one in windows] == [5, 5, 5]
    longest = max(one["longest_s"] for one in windows)
    assert ended.summary["install_windows"] == {"count": 15, "longest_s": longest}
    assert f"on for at most {longest:.3f} s" in (dock.runs / "grid.md").read_text()
    dock.check()
    # Once more, as a clone of its own: everything is known.
    before = len(dock.service.writes)
    again = dock.clone("--run", str(dock.folder / "again"))
    assert (again.code, again.automations) == (0, {"selected": 21, "unchanged": 21})
    assert len(dock.service.writes) == before


def test_one_key_pair_has_one_rate(make_dock: Callable[..., Dock], monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight accounts at a time: in no minute do more calls go out than the share of one key pair allows."""
    dock = make_dock(8, chosen=("Price export summer",))
    config = dock.folder / "tenants.toml"
    config.write_text(config.read_text().replace("60000", "300"))
    clock = ManualClock()
    set_clock(monkeypatch, clock)
    dock.service._realm.clock = clock
    assert get_through(dock, "--parallel", "8") == 1
    at = [one.at for one in dock.service.seen]
    assert len(at) > 300
    assert max(sum(1 for other in at if one <= other < one + timedelta(seconds=60)) for one in at) <= 240


def test_secrets_stay_where_they_are(make_dock: Callable[..., Dock]) -> None:
    """No key, password, token or link in any file of the clone or in what is told."""
    dock = make_dock(2)
    dock.write(shared=True)
    ended = dock.clone()
    assert ended.code == 0
    assert {one["target"] for one in ended.of("item")} == {"partner/customer-01", "partner/customer-02"}
    dock.check()
    # A part of the clone is a run like any other: its account is found by the row.
    parts = [str(dock.runs / "targets" / one) for one in ("partner-customer-01", "partner-customer-02")]
    assert [run(["status", one, "--config", str(dock.folder / "tenants.toml")]) for one in parts] == [4, 4]
    texts = [path.read_bytes().decode(errors="replace") for path in dock.runs.rglob("*") if path.is_file()]
    told = "\n".join([*texts, json.dumps(ended.lines)])
    assert len(texts) > 15
    planted = {SECRET, "planted-warehouse-key", *dock.service.secrets()} - known_inputs(dock)
    assert len(planted) > 20
    assert [one for one in planted if one in told] == []


def known_inputs(dock: Dock) -> set[str]:
    """Values of inputs are part of an archive: a restore needs them."""
    model = dock.service.account("model")
    return {str(value) for one in model.blends.values() for value in one.values.values()}


def stopped(dock: Dock, after_calls: float = math.inf, number: int = signal.SIGKILL) -> int:
    """The clone in a process of its own, stopped as soon as so many calls have come in; how it ended."""
    words = dock.words("--allow", "oem-starts-on-install", "--resume", "--parallel", "4")
    before = len(dock.service.seen)
    process = subprocess.Popen(
        [sys.executable, "-m", "qlikmigrate", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(dock.service.seen) < before + after_calls:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
    process.send_signal(number)
    return process.wait()


def kill_often(dock: Dock, kills: int, seed: int, most_calls: int) -> int:
    """Kill, until it is done or has been killed often enough; how often it was."""
    chance, met = random.Random(seed), 0
    for _ in range(kills):
        met += stopped(dock, chance.randint(1, most_calls)) == -signal.SIGKILL
    code = stopped(dock)
    for _ in range(3):
        # What was halfway done when it was killed may need a look one timeout later.
        code = stopped(dock) if code == 3 else code
    assert code == 0, dock.grid()
    assert dock.grid() == {"done": dock.many}
    return met


def test_kills(make_dock: Callable[..., Dock]) -> None:
    """kill -9 and Ctrl-C: after the latter nothing is left on; the end is as if nothing had happened."""
    dock = make_dock(8, chosen=("Daily digest", "Invoicing"))
    assert stopped(dock, 60) == -signal.SIGKILL
    assert stopped(dock, 40, signal.SIGINT) == 130
    assert all(one.end is not None for one in dock.service.windows)
    kill_often(dock, 2, 20261126, 80)
    print(f"seed 20261126; {dock.check()}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_hundred_kills(make_dock: Callable[..., Dock], mode: str) -> None:
    """At random instants, in rounds of ten, each round to accounts that are new."""
    met = 0
    for number in range(10):
        dock = make_dock(10, mode)
        dock.folder = dock.folder / f"round-{number}"
        dock.folder.mkdir()
        dock.write()
        met += kill_often(dock, 10, number, 120)
        print(f"{mode}, round {number}: {met} kills; {dock.check()}")
