"""`clone --table`: one source to many targets, what stops it, how it goes on, and what a row's cells reach."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from harbour import Harbour, harbour
from stage import MAIL, bound_block, document, text_block

from qlikmigrate.cli.app import run
from qlikmigrate.importer.lock import folder_lock, target_lock
from qlikmigrate.sandbox import Fault, HtmlOk, ResetAfterCommit, Status

Make = Callable[[int], Harbour]
REFUSE = Fault(effect=Status(code=403), method="POST", path="*/automations", times=None)


@pytest.fixture
def make_harbour(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a source and so many targets."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield lambda many: stack.enter_context(harbour(tmp_path, capsys, many))


def lose_owner(scene: Harbour, name: str) -> None:
    """The owner of everything cannot work there."""
    directory = scene.targets[name].tenant._directory
    directory.users[scene.targets[name].users["ben"]]["status"] = "disabled"


def find_owner(scene: Harbour, name: str) -> None:
    directory = scene.targets[name].tenant._directory
    directory.users[scene.targets[name].users["ben"]]["status"] = "active"


def test_one_archive_to_twelve_tenants(make_harbour: Make) -> None:
    """Lost answers, one target that is refused, one that fails: the others are done; going on takes those two alone."""
    scene = make_harbour(12)
    scene.fill(4)
    scene.targets["t03"].tenant.faults.append(Fault(effect=ResetAfterCommit(), method="POST", path="*/automations"))
    scene.targets["t04"].tenant.faults.append(Fault(effect=HtmlOk(), method="PUT", path="*/automations/*"))
    scene.targets["t07"].tenant.faults.append(REFUSE)
    lose_owner(scene, "t05")
    archive = scene.folder / "a.qma"
    assert run(["backup", "source", "-o", str(archive), "--config", str(scene.config)]) == 0
    read = len(scene.source.tenant.seen)
    ended = scene.clone(source=str(archive))
    assert (ended.code, ended.error["code"]) == (3, "targets-failed")
    assert len(scene.source.tenant.seen) == read
    rows = {one["target"]: one for one in ended.of("item")}
    assert len(ended.of("item")) == len(rows) == 12
    assert {one["kind"] for one in rows.values()} == {"target"}
    assert {name: one["status"] for name, one in rows.items()} == scene.grid() == {
        name: {"t05": "refused", "t07": "failed"}.get(name, "done") for name in scene.targets
    }  # fmt: skip
    assert (rows["t05"]["code"], rows["t05"]["run"]) == ("refused", None)
    assert rows["t07"]["counts"]["automations"]["failed"] == 4
    assert scene.made() == {name: 0 if name in ("t05", "t07") else 4 for name in scene.targets}
    assert ended.summary["counts"]["targets"] == {
        "selected": 12, "done": 10, "failed": 1, "refused": 1, "stopped": 0, "not_started": 0,
    }  # fmt: skip
    assert ended.summary["counts"]["automations"]["created"] == 40
    assert "| t07 | failed | `partial` |" in (scene.runs / "grid.md").read_text()
    # Every line about a target says so.
    assert {one["target"] for one in ended.of("outcome")} == set(scene.targets) - {"t05"}
    assert {one["target"] for one in ended.of("problem") if one["code"] == "owner-missing"} == {"t05"}
    asked = scene.asked()
    scene.targets["t07"].tenant.faults.clear()
    find_owner(scene, "t05")
    assert scene.clone(source=str(archive)).code == 2  # begun, and nobody said to go on
    ended = scene.clone("--resume", source=str(archive))
    assert ended.code == 0
    assert {one["target"] for one in ended.of("item")} == {"t05", "t07"}
    assert {name for name, many in scene.asked().items() if many != asked[name]} == {"t05", "t07"}
    assert set(scene.made().values()) == {4}
    assert set(scene.grid().values()) == {"done"}


def test_run_again_doubles_nothing(make_harbour: Make) -> None:
    """A second clone brings over what changed at the source, which is read once for all."""
    scene = make_harbour(3)
    scene.fill(3)
    before = len(scene.source.tenant.seen)
    assert scene.clone().code == 0
    once = len(scene.source.tenant.seen) - before
    owner = scene.source.users["ben"]
    scene.source.tenant.add_automation(document("new"), owner)
    ended = scene.clone("--run", scene.folder / "again")
    assert (ended.code, ended.automations) == (0, {"selected": 12, "created": 3, "unchanged": 9})
    assert scene.made() == dict.fromkeys(scene.targets, 4)
    assert len(scene.source.tenant.seen) - before - once <= once + 1
    # Finished: there is nothing to go on with, and nobody is asked.
    asked = scene.asked()
    assert scene.clone("--run", scene.folder / "again", "--resume").code == 0
    assert scene.asked() == asked


@pytest.mark.parametrize(
    ("words", "bad", "begun", "why"),
    [
        (["--canary", "2", "--parallel", "4"], {"t02"}, {"t01", "t02"}, "canary"),
        (["--canary", "2"], {"t03"}, {"t01", "t02", "t03", "t04"}, ""),
        (["--stop-above", "30%", "--parallel", "1"], {"t02"}, {"t01", "t02"}, "--stop-above"),
        (["--stop-above", "50", "--parallel", "1"], {"t02", "t03"}, {"t01", "t02", "t03"}, "--stop-above"),
        (["--on-error", "abort", "--parallel", "1"], {"t03"}, {"t01", "t02", "t03"}, "after a failure"),
    ],
)
def test_what_stops_the_rest(make_harbour: Make, words: list[str], bad: set[str], begun: set[str], why: str) -> None:
    """Nothing new is begun after a canary that fails, too many failures, or the first one with `abort`."""
    scene = make_harbour(4)
    scene.fill(1)
    for name in bad:
        scene.targets[name].tenant.faults.append(REFUSE)
    ended = scene.clone(*words)
    assert ended.code == 3
    assert {name for name, many in scene.asked().items() if many} == begun
    assert {name for name, one in scene.grid().items() if one == "not-started"} == set(scene.targets) - begun
    assert why in ended.error["message"]
    for name in bad:
        scene.targets[name].tenant.faults.clear()
    assert scene.clone(*words, "--resume").code == 0
    assert set(scene.made().values()) == {1}


def test_all_refused(make_harbour: Make) -> None:
    """Nothing was written anywhere: 6, in earnest and dry; then 0 when what was wrong is mended."""
    scene = make_harbour(2)
    scene.fill(1)
    for name in scene.targets:
        lose_owner(scene, name)
    assert scene.clone("--dry-run").code == 6
    ended = scene.clone()
    assert (ended.code, ended.error["code"], set(scene.grid().values())) == (6, "refused", {"refused"})
    assert not any(side.tenant.writes for side in scene.targets.values())
    for name in scene.targets:
        find_owner(scene, name)
    assert scene.clone("--resume").code == 0


def test_dry_run(make_harbour: Make) -> None:
    """All are planned, whatever canaries and limits say; GETs only, and no file stays."""
    scene = make_harbour(3)
    scene.fill(3)
    lose_owner(scene, "t01")
    ended = scene.clone("--dry-run", "--canary", "1")
    assert ended.code == 3
    assert {one["target"]: one["status"] for one in ended.of("item")} == {
        "t01": "refused", "t02": "planned", "t03": "planned",
    }  # fmt: skip
    assert not any(side.tenant.writes for side in scene.targets.values())
    assert not scene.runs.exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("target,who\nt01,a\nt01,b\n", "line 3 of {} leads to the same target as line 2 of"),
        ("target,x\nt01\n", "has 1 cells"),
        ("name\nt01\n", "no column `target`"),
        ("target,who\nt01,ben\nt02,\n", "needs column `who`, which is empty in line 3"),
        ("target\nt01\n", "no such column of the table: `who`"),
        ("target,who\nt01,a\nnobody,b\n", "line 3 of "),
    ],
)
def test_odd_tables(make_harbour: Make, table: str, said: str) -> None:
    """Exit 2 before anything is sent or made."""
    scene = make_harbour(2)
    scene.table.write_text(table)
    ended = scene.clone("--fallback-owner", "{who}")
    assert ended.code == 2
    assert said.format(scene.table) in ended.error["message"]
    assert not any(side.tenant.seen for side in (scene.source, *scene.targets.values()))
    assert not scene.runs.exists()


def test_flags_that_do_not_go_together(make_harbour: Make) -> None:
    """A table or a target; flags of a table without one; too little access; a ledger for one pair."""
    scene = make_harbour(2)
    scene.capture.readouterr()
    assert run(["clone", "source", "--config", str(scene.config)]) == 2
    assert run(["clone", "source", "t01", "--canary", "1", "--config", str(scene.config)]) == 2
    assert run(["clone", "source", "t01", *scene.words()[2:]]) == 2
    assert scene.clone("--ledger", "x").code == scene.clone("--stop-above", "101%").code == 2
    scene.config.write_text(scene.config.read_text().replace('access = "write"', 'access = "read"'))
    assert scene.clone().error["code"] == "not-enough-access"
    assert not any(side.tenant.seen for side in (scene.source, *scene.targets.values()))


def test_what_a_clone_goes_on_with(make_harbour: Make) -> None:
    """Another table, source or mapping than it was begun with: 2; a part of it is no run of its own: 2."""
    scene = make_harbour(2)
    scene.fill(1)
    scene.targets["t02"].tenant.faults.append(REFUSE)
    assert scene.clone().code == 3
    table = scene.table.read_text()
    scene.table.write_text(table + "\n")
    assert "the table changed" in scene.clone("--resume").error["message"]
    scene.table.write_text(table)
    assert "another source" in scene.clone("--resume", source="t01").error["message"]
    mapping = scene.folder / "m.toml"
    mapping.write_text('[values]\nA = "b"\n')
    assert "another mapping" in scene.clone("--resume", "--mapping", mapping).error["message"]
    archive = scene.runs / "source.qma"
    words = ["restore", str(archive), "t02", "--run", str(scene.runs / "targets" / "t02"), "--resume"]
    assert run([*words, "--config", str(scene.config)]) == 2
    with folder_lock(scene.runs):
        assert scene.clone("--resume").code == 11
    assert set(scene.grid().values()) == {"done", "failed"}
    scene.targets["t02"].tenant.faults.clear()
    assert scene.clone("--resume").code == 0


def test_a_target_in_use(make_harbour: Make) -> None:
    """Another run holds one of them: that one fails, the others do not."""
    scene = make_harbour(2)
    scene.fill(1)
    with target_lock(scene.targets["t01"].tenant.id):
        ended = scene.clone()
    assert (ended.code, scene.grid()) == (3, {"t01": "failed", "t02": "done"})
    assert [one["code"] for one in ended.of("item") if one["target"] == "t01"] == ["locked"]
    assert scene.clone("--resume").code == 0


SECRET = "plum-{7}-gallows"


def templated(scene: Harbour, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One table of the tenants file for all, whose cells come from the rows; a mail connection with a password each."""
    for number, side in enumerate(scene.targets.values()):
        monkeypatch.setenv(f"SECRET_{number}", side.bot[1])
        monkeypatch.setenv(f"WEB_{number}", side.web[1])
        monkeypatch.setenv(f"VALUE_{number}", f"from the environment {number}")
    source = scene.config.read_text().split("\n\n")[0]
    scene.config.write_text(
        source
        + '\n\n[tenants.customer]\nurl = "http://127.0.0.1:{port}"\naccess = "write"\n'
        + 'oauth = { client_id = "{bot}", client_secret = { env = "SECRET_{no}" } }\n'
        + 'impersonation = { client_id = "{web}", client_secret = { env = "WEB_{no}" } }\n'
    )
    lines = ["target,no,port,bot,web,pass,who"]
    for number, side in enumerate(scene.targets.values()):
        port = side.tenant.base_url.rsplit(":", 1)[1]
        lines.append(f"customer,{number},{port},{side.bot[0]},{side.web[0]},{SECRET}{number},cleo@example.com")
    scene.table.write_text("\n".join(lines) + "\n")
    ben = scene.source.users["ben"]
    mail = scene.source.tenant.add_connection(MAIL, "Post", ben, params={"Host": "x"})
    text = text_block(2, "@@NAME@@ @@FIXED@@")
    scene.source.tenant.add_automation(document("mailer", bound_block(1, mail, MAIL), text), ben)
    mapping = scene.folder / "m.toml"
    mapping.write_text('[values]\nNAME = { env = "VALUE_{no}" }\nFIXED = "{{number}} {no}"\n')
    secrets = scene.folder / "secrets.toml"
    secrets.write_text(
        '[connections.Post]\nSender = "a@example.com"\nHost = "smtp{no}.example.com"\nPort = "587"\n'
        'Encryption = "tls"\nUsername = "post"\nPassword = "{pass}"\n'
    )
    secrets.chmod(0o600)
    return secrets


def test_cells_reach_each_target(make_harbour: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, clients, values, connection secrets and owners of each row; no secret in any file or output."""
    scene = make_harbour(3)
    secrets = templated(scene, monkeypatch)
    for side in scene.targets.values():
        side.tenant._directory.users[side.users["ben"]]["status"] = "disabled"
    ended = scene.clone(
        "--connections", "create", "--secrets", secrets, "--mapping", scene.folder / "m.toml",
        "--fallback-owner", "{who}",
    )  # fmt: skip
    assert ended.code == 0, ended.lines
    for number, side in enumerate(scene.targets.values()):
        (made,) = [one for one in side.tenant.connections.values() if one["name"] == "Post"]
        params = {one["name"]: one["value"] for one in made["params"]}
        assert (params["Host"], params["Password"]) == (f"smtp{number}.example.com", f"{SECRET}{number}")
        mailer = side.one("mailer")
        assert mailer["ownerId"] == side.users["cleo"]
        assert mailer["workspace"]["blocks"][2]["inputs"][0]["value"] == (
            f"from the environment {number} {{number}} {number}"
        )
    texts = [path.read_bytes().decode(errors="replace") for path in scene.runs.rglob("*") if path.is_file()]
    assert len(texts) > 20
    told = "\n".join([*texts, json.dumps(ended.lines)])
    assert SECRET not in told
    assert "from the environment" not in told
    for side in scene.targets.values():
        assert side.bot[1] not in told
        assert side.web[1] not in told
    # A part of the clone is a run like any other: its target is found by the row.
    places = json.loads((scene.runs / "clone.json").read_text())["targets"]
    first = scene.runs / "targets" / places[0]["folder"]
    scene.capture.readouterr()
    assert run(["status", str(first), "--config", str(scene.config)]) in (0, 4)
    assert run(["rollback", str(first), "--yes", "--config", str(scene.config)]) == 0
    assert [len(side.tenant.automations) for side in scene.targets.values()] == [0, 1, 1]


def test_without_a_table_a_brace_is_a_brace(make_harbour: Make) -> None:
    """`{column}` of a mapping file comes out as it stands."""
    scene = make_harbour(1)
    ben = scene.source.users["ben"]
    scene.source.tenant.add_automation(document("texts", text_block(1, "@@NAME@@")), ben)
    mapping = scene.folder / "m.toml"
    mapping.write_text('[values]\nNAME = "{target} {{x}} {"\n')
    assert run(["clone", "source", "t01", "--mapping", str(mapping), "--config", str(scene.config)]) == 0
    block = scene.targets["t01"].one("texts")["workspace"]["blocks"][1]
    assert block["inputs"][0]["value"] == "{target} {{x}} {"


def test_what_people_see(make_harbour: Make) -> None:
    """A line for each target on stdout; errors with their target's name; the grid and how to go on at the end."""
    scene = make_harbour(3)
    scene.fill(1)
    lose_owner(scene, "t02")
    scene.capture.readouterr()
    assert run(scene.words("--no-progress")) == 3
    shown = scene.capture.readouterr()
    lines = sorted(shown.out.splitlines())
    assert [" ".join(line.split()) for line in lines] == [
        "done t01 1 created",
        "done t03 1 created",
        "refused t02 preflight refuses: 1 error; nothing was written [refused]",
    ]
    assert "t02: error: " in shown.err
    assert [line for line in shown.err.splitlines() if line in lines] == [lines[0], lines[2], lines[1]]
    assert shown.err.endswith(
        f"error: 1 of 3 targets did not end well\n  hint: --run {scene.runs} --resume tries them again\n"
    )


def killed(scene: Harbour, after_s: float, *more: str) -> int:
    """The clone in a process of its own, which is killed after some seconds; how it ended."""
    process = started(scene, *more)
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait()


def started(scene: Harbour, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "qlikmigrate", *scene.words("--resume", "--parallel", "3", *more)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def interrupted(scene: Harbour, after_calls: int, number: int = signal.SIGINT) -> int:
    """The same with Ctrl-C or another signal, as soon as so many calls have come in; how it ended."""
    before = sum(scene.asked().values())
    process = started(scene)
    while process.poll() is None and sum(scene.asked().values()) < before + after_calls:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
    process.send_signal(number)
    return process.wait()


def kill_often(scene: Harbour, kills: int, seed: int, longest_s: float) -> None:
    chance = random.Random(seed)
    print(f"seed: {seed}")
    for _ in range(kills):
        killed(scene, chance.uniform(0.4, longest_s))
    assert killed(scene, 300.0) == 0
    assert set(scene.grid().values()) == {"done"}
    assert set(scene.made().values()) == {len(scene.source.tenant.automations)}


def test_kills_and_signals(make_harbour: Make) -> None:
    """kill -9, Ctrl-C and a spent time budget, one after the other: it goes on to the undisturbed end."""
    scene = make_harbour(4)
    scene.fill(3)
    assert interrupted(scene, 30, signal.SIGKILL) == -signal.SIGKILL
    assert interrupted(scene, 20) == 130
    assert killed(scene, 60.0, "--time-budget", "1s") in (21, 0)
    kill_often(scene, 1, 20261126, 1.5)


@pytest.mark.slow
def test_many_kills(make_harbour: Make) -> None:
    """A hundred of them, in rounds."""
    for number in range(20):
        scene = make_harbour(8)
        scene.fill(6)
        kill_often(scene, 5, number, 3.0)
        scene.runs.rename(scene.folder / f"runs-{number}")
