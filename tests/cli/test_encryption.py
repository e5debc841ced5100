"""Encrypted archives from the command line: who has the key uses them like any other, nobody else gets anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from stage import DAILY, Stage, document, text_block

from qlikmigrate.cli.app import COMMANDS, app, run
from qlikmigrate.sandbox import Fault, Status

IDENTITY = pyrage.x25519.Identity.generate()
SECRET, PUBLIC = str(IDENTITY), str(IDENTITY.to_public())
WORD = "correct horse battery"
PLANTED = 200


@pytest.fixture
def key(stage: Stage) -> Path:
    """The identity file."""
    path = stage.folder / "key.txt"
    path.write_text(f"# public key: {PUBLIC}\n{SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def archive(stage: Stage) -> Path:
    """An encrypted archive of three automations."""
    for name in ("Nightly", "Hourly", "Single"):
        stage.source.tenant.add_automation(
            document(name, text_block(1, "1.50"), mode="scheduled", schedules=[DAILY]), stage.source.users["ben"]
        )
    assert stage.backup("a.qma", "--recipient", PUBLIC).code == 0
    return stage.folder / "a.qma"


READING: dict[str, Callable[[Path], list[str]]] = {
    "list": lambda path: ["list", str(path)],
    "show": lambda path: ["show", str(path)],
    "show one": lambda path: ["show", str(path), "Single"],
    "cat": lambda path: ["cat", str(path), "Single"],
    "scan": lambda path: ["scan", str(path)],
    "verify": lambda path: ["verify", str(path)],
    "diff": lambda path: ["diff", str(path), "tenant:source"],
    "mapping": lambda path: ["mapping", str(path), "target", "-o", "m.toml"],
    "plan": lambda path: ["plan", str(path), "target", "-o", "p.json"],
    "export": lambda path: ["export", str(path), "-o", "e.qma"],
    "drill": lambda path: ["drill", str(path)],
    "restore": lambda path: ["restore", str(path), "target", "--run", "run-x"],
}


@pytest.mark.parametrize("case", READING)
def test_reading(case: str, archive: Path, stage: Stage, key: Path) -> None:
    """The same with the key as without encryption; 12 without one, or with another."""
    words = READING[case](archive)
    missing = stage.cli(*words)
    assert (missing.code, missing.error["code"]) == (12, "no-key")
    assert "--identity" in missing.error["hint"]
    key.write_text(str(pyrage.x25519.Identity.generate()))
    wrong = stage.cli(*words, "--identity", str(key))
    assert (wrong.code, wrong.error["code"]) == (12, "wrong-key")
    key.write_text(SECRET)
    assert stage.cli(*words, "--identity", str(key)).code == 0


def test_the_whole_way(archive: Path, stage: Stage, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan, apply, resume, activate, cutover and reassign open it again by the plan, with the keys given to them."""
    plan, folder = stage.folder / "p.json", stage.folder / "r"
    flags = ("--identity", str(key))
    assert stage.cli("plan", archive, "target", "-o", plan, *flags).code == 0
    assert stage.cli("apply", plan, "--run", folder).code == 12
    assert not stage.target.tenant.automations
    assert stage.cli("apply", plan, "--dry-run").code == 12
    assert stage.cli("apply", plan, "--run", folder, *flags).code == 0
    assert len(stage.target.tenant.automations) == 3
    assert stage.cli("apply", plan, "--run", folder, "--resume", *flags).code == 0
    assert stage.cli("status", folder).code == 4
    held = ("--source", "source", "--dry-run")
    for command in ("activate", "cutover"):
        assert stage.cli(command, folder, *held).code == 12
        assert stage.cli(command, folder, *held, *flags).code in (0, 6), command
    assert stage.cli("reassign", folder).code == 12
    monkeypatch.setenv("QLIKMIGRATE_IDENTITY", str(key))
    assert stage.cli("reassign", folder).code == 0
    assert stage.restore().code == 0


def test_every_command_that_opens_an_archive_takes_keys() -> None:
    """A command with ARCHIVE or a plan that leads to one has the flags, and the others do not."""
    taking = set()
    for name in COMMANDS:
        command = app.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        if any(one.name == "identity" for one in command.params):
            taking.add(name)
    package = Path(sys.modules["qlikmigrate"].__file__ or "").parent / "cli"
    opening = {
        name
        for name, module in COMMANDS.items()
        if re.search(
            r"open_snapshot|open_planned|opener_for|carry_out|find_source|open_vault",
            (package / f"{module}.py").read_text(),
        )
    }
    # `callers` and `status` need no archive; `clone` opens its source elsewhere.
    assert (opening | {"clone"}) - {"callers", "status"} == taking
    elsewhere = {module for module in COMMANDS.values() if "open_archive" in (package / f"{module}.py").read_text()}
    assert elsewhere == set()


@pytest.mark.usefixtures("light_passphrases")
def test_a_passphrase(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One passphrase for writing and reading, from the environment; another one is a wrong key."""
    monkeypatch.setenv("WORD", WORD)
    assert stage.backup("p.qma", "--passphrase", "env:WORD").code == 0
    assert stage.cli("verify", stage.folder / "p.qma", "--passphrase", "env:WORD").code == 0
    missing = stage.cli("verify", stage.folder / "p.qma")
    assert missing.code == 12
    assert "--passphrase" in missing.error["hint"]
    monkeypatch.setenv("WORD", "other")
    assert stage.cli("verify", stage.folder / "p.qma", "--passphrase", "env:WORD").code == 12


def test_defaults_from_the_environment(stage: Stage, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both variables set no flag is needed; a key that is missing matters only where it is needed."""
    assert stage.backup("plain.qma").code == 0
    monkeypatch.setenv("QLIKMIGRATE_RECIPIENTS", PUBLIC)
    monkeypatch.setenv("QLIKMIGRATE_IDENTITY", str(key))
    assert stage.backup("a.qma").code == 0
    assert (stage.folder / "a.qma").read_bytes().startswith(b"age-encryption.org/v1\n")
    assert stage.cli("verify", stage.folder / "a.qma").code == 0
    key.unlink()
    assert stage.cli("verify", stage.folder / "plain.qma").code == 0
    assert stage.cli("verify", stage.folder / "a.qma").code == 2


def test_nothing_planted_is_in_it(stage: Stage) -> None:
    """Of 200 names, ids and hosts of the tenant none is in the stored bytes; nor in any name beside it."""
    tenant = stage.source.tenant
    for number in range(100):
        tenant.add_automation(document(f"Payroll run {number:03d}"), stage.source.users["ada"])
    planted = [one["name"] for one in tenant.automations.values()] + list(tenant.automations)
    planted += [*stage.source.users.values(), *stage.source.spaces.values()]
    planted += [f"{first}@example.com" for first in stage.source.users] + [f"corp\\{one}" for one in stage.source.users]
    planted += [tenant.base_url.partition("://")[2], "127.0.0.1", "qlikcloud", "manifest.json", "automations/"]
    assert len(planted) >= PLANTED
    assert stage.backup("a.qma", "--recipient", PUBLIC).code == 0
    stored = (stage.folder / "a.qma").read_bytes()
    assert [one for one in planted if one.encode() in stored] == []
    assert sorted(path.name for path in stage.folder.iterdir()) == ["a.qma", "tenants.toml"]
    assert b"automations/" in pyrage.decrypt(stored, [IDENTITY])


def test_an_incomplete_one_replaces_no_encrypted_file(stage: Stage, archive: Path) -> None:
    """The host cannot see whether the old one is complete, so it stays."""
    old = archive.read_bytes()
    ident = stage.source.one("Single")["id"]
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{ident}", times=None))
    for more in (("--recipient", PUBLIC), ()):
        ended = stage.backup("a.qma", *more)
        assert (ended.code, ended.error["code"]) == (3, "incomplete-not-replacing")
        assert archive.read_bytes() == old


def test_an_export_is_encrypted_where_that_is_said(stage: Stage, archive: Path, key: Path) -> None:
    """The archive of an encrypted one is plain unless recipients say otherwise; plain files are never encrypted."""
    flags = ("--identity", key)
    assert stage.cli("export", archive, "-o", stage.folder / "plain.qma", *flags).code == 0
    assert stage.cli("verify", stage.folder / "plain.qma").code == 0
    assert stage.cli("export", archive, "-o", stage.folder / "b.qma", "--recipient", PUBLIC, *flags).code == 0
    assert stage.cli("verify", stage.folder / "b.qma").code == 12
    assert stage.cli("verify", stage.folder / "b.qma", *flags).code == 0
    refused = stage.cli("export", archive, "--plain", stage.folder / "p", "--recipient", PUBLIC, *flags)
    assert (refused.code, (stage.folder / "p").exists()) == (2, False)


REFUSED: dict[str, list[str]] = {
    "identity": ["list", "a.qma", "--identity", SECRET],
    "identity in small letters": ["list", "a.qma", f"--identity={SECRET.lower()}"],
    "identity as path": ["list", SECRET],
    "stray word": ["list", "a.qma", SECRET],
    "no command": [SECRET],
    "passphrase": ["verify", "a.qma", "--passphrase", SECRET],
    "recipient": ["backup", "source", "-o", "b.qma", "--recipient", SECRET],
    "unknown flag": ["status", "r", f"--identity={SECRET}"],
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("more", [[], ["--json"], ["--verbose"]])
def test_secrets_as_arguments_are_refused_and_not_repeated(
    case: str, more: list[str], archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A secret key on the command line ends with 2 (10 where a path is wanted) and is in no output."""
    code = run([*REFUSED[case], *more])
    told = capsys.readouterr()
    assert code == (10 if case == "identity as path" else 2)
    assert SECRET[15:40] not in (told.out + told.err).upper()


def test_secrets_are_in_no_output(stage: Stage, archive: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither key nor passphrase is in what a process says, at its most talkative, whether it works or fails."""
    monkeypatch.setenv("WORD", WORD)
    monkeypatch.setenv("KEY", SECRET)
    for words in (
        ["verify", str(archive), "--identity", "env:KEY"],
        ["verify", str(archive), "--identity", str(key), "--passphrase", "env:WORD"],
        ["verify", str(archive), "--identity", "env:WORD"],
        ["verify", str(archive), "--passphrase", "env:WORD"],
        ["list", str(key), "--identity", "env:KEY"],
        ["backup", "source", "-o", "w.qma", "--passphrase", "env:WORD", "--config", str(stage.config)],
    ):
        # A passphrase takes seconds.
        for more in ([], ["--json"]) if words[0] != "backup" else (["--json"],):
            done = subprocess.run(
                [sys.executable, "-m", "qlikmigrate", *words, "--verbose", *more],
                capture_output=True,
                text=True,
                check=False,
                cwd=stage.folder,
            )
            said = done.stdout + done.stderr
            assert done.returncode in (0, 2, 12, 13), said
            assert "Traceback" not in said
            assert SECRET[15:40] not in said.upper()
            assert WORD not in said


def test_damage(stage: Stage, archive: Path, key: Path) -> None:
    """A damaged one ends with 13, and `verify` says what is still whole."""
    raw = archive.read_bytes()
    archive.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert stage.cli("list", archive, "--identity", key).code == 13
    archive.write_bytes(raw[:40])
    for command in ("list", "verify"):
        assert stage.cli(command, archive, "--identity", key).code == 13


def test_a_folder_of_both(stage: Stage, archive: Path, key: Path) -> None:
    """A listing shows what it can open, and ends with 12 for the rest."""
    assert stage.backup("b.qma").code == 0
    ended = stage.cli("list", stage.folder)
    assert (ended.code, ["error" in row for row in ended.of("item")]) == (12, [True, False])
    assert stage.cli("list", stage.folder, "--identity", key).code == 0


def test_the_hint_of_a_backup_says_encrypted(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """People are told that the file is encrypted."""
    words = ["backup", "source", "-o", "a.qma", "--config", str(stage.config), "--recipient", PUBLIC]
    assert run(words) == 0
    assert "encrypted" in capsys.readouterr().err
