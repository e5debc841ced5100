"""An encrypted vault tells nobody without a key what it holds, and a host without one can do all that it has to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from light import lightly_locked
from needle import files_of, found_in, worth
from night import FIRST_NIGHT, Town
from sealed import PUBLIC, SECRET, back_up, host, make, other_secret, reading, writing
from stage import DAILY, MAIL, Stage, bound_block, call_block, document, text_block

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import Fault, Status
from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.store import LocalStore

PLANTED = 200
NAMES = ("Lönekörning", "Ledger close", "Region sync", "Budget alert")


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from texts_in(one)
        case list():
            for one in value:
                yield from texts_in(one)


def town_texts(town: Town) -> list[str]:
    """What a town's backups hold of names, ids, tokens and workspace texts."""
    head = town.head()
    found = [head.tenant.id, head.tenant.name, head.tenant.host, "owner-1", "Mail 1", "withheld", "lastRunAt"]
    # Times are no secret.
    return [text for text in worth([*found, *texts_in(list(town.values.values()))]) if not text.startswith("2026-")]


def tell(vault_of: Callable[[], Vault], town: Town, clock: ManualClock) -> set[str]:
    """Nights with edits, an unreadable automation, evidence, a repack and prunes; all texts that were ever in it."""
    seen = set(town_texts(town))
    withheld: tuple[str, ...] = ()
    for number in range(5):
        info, _ = back_up(vault_of(), town, unreadable=withheld, complete=number != 3)
        if number == 2:
            withheld = (sorted(town.values)[0],)
            del town.values[withheld[0]]
        clock.advance(86_400)
        town.pass_night()
        seen |= set(town_texts(town))
    vault_of().file_drill(info.id, json.dumps({"host": town.head().tenant.host, "ids": withheld}).encode(), clock.now())
    return seen


def test_nothing_is_in_it_in_clear(tmp_path: Path) -> None:
    """Of hundreds of texts of a tenant none stands in what is stored, or in what the host remembers, in any form."""
    place, state = tmp_path / "vault", tmp_path / "state"
    clock, store = ManualClock(FIRST_NIGHT), LocalStore(place)
    town = Town(tenant="Zq8" * 10 + "x1", automations=30)
    with host(state):
        make(store, clock)
        seen = tell(lambda: writing(store, clock), town, clock)
        vault = reading(store, clock)
        with vault.lock() as lock:
            repack(vault, lock)
            during = files_of(place)
        back_up(writing(store, clock), town, unreadable=("not there",))
        half, can_be_read = files_of(place), everything(reading(store))
        for _ in range(2):
            clock.advance((MARGIN.days + 1) * 86_400)
            tidy = writing(store, clock)
            plan = plan_prune(tidy, Policy(last=3))
            with tidy.lock() as lock:
                prune(tidy, lock, plan)
    files = {
        f"{number} {name}": data
        for number, one in enumerate((during, half, files_of(place)))
        for name, data in one.items()
    }
    assert {"locks", "moves", "marks", "gone", "drills", "checks", "packs"} <= {
        name.split()[1].split("/")[0] for name in files
    }
    memory = files_of(state)
    assert len(memory) == 2
    assert len(seen) >= 4 * PLANTED
    assert found_in(files | memory, seen) == set()
    # The same search finds them all where they can be read.
    # But for tokens, which no backup holds.
    assert found_in(can_be_read, seen) == {text for text in seen if not text.startswith("token-")}


def everything(vault: Vault) -> dict[str, bytes]:
    """The content of every piece of a vault, of its drills, and their indexes."""
    refs = [
        (Ref(one, number), piece)
        for one in vault.shelf.packs
        for number, piece in enumerate(vault.shelf.pack(one).pieces)
    ]
    contents = {f"{ref} {piece.id}": vault.shelf.content(ref) for ref, piece in refs}
    return contents | dict(vault.drills())


def test_the_search_finds(tmp_path: Path) -> None:
    """In a plain vault the same search finds most of them, compressed or not."""
    store, clock = LocalStore(tmp_path / "vault"), ManualClock(FIRST_NIGHT)
    Vault.create(store, clock=clock)
    town = Town(tenant="Zq8" * 10 + "x1", automations=18)
    seen = tell(lambda: Vault.open(store, clock=clock), town, clock)
    # What is stored as a delta is found only in part.
    assert len(found_in(files_of(tmp_path / "vault"), seen)) > 0.6 * len(seen)


def test_a_lock_names_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of an encrypted vault says which process, not on which host."""
    monkeypatch.setattr("socket.gethostname", lambda: "backup-host-7")
    monkeypatch.setattr("platform.node", lambda: "backup-host-7")
    for name, make_it, telling in (
        ("plain", lambda store, clock: Vault.create(store, clock=clock), True),
        ("sealed", make, False),
    ):
        vault = make_it(LocalStore(tmp_path / name), ManualClock())
        with vault.lock() as lock:
            assert ("backup-host-7" in lock.holder) is telling
            stored = b"".join(files_of(tmp_path / name).values())
            assert (b"backup-host-7" in stored) is telling


def test_the_tag_is_of_vault_and_tenant(tmp_path: Path) -> None:
    """One tenant has another tag in another vault, and whoever knows its id names it so."""
    clock = ManualClock(FIRST_NIGHT)
    town = Town(automations=2, tenant="Zq8" * 10 + "x1")
    with host(tmp_path):
        vaults = [make(LocalStore(tmp_path / name), clock) for name in "ab"]
        infos = [back_up(vault, town)[0] for vault in vaults]
    assert infos[0].tenant != infos[1].tenant
    for vault, info in zip(vaults, infos, strict=True):
        assert vault.find("latest", tenant=town.tenant) == info
        assert vault.snapshots(town.tenant) == vault.snapshots(info.tenant) == [info]
        assert vault.snapshots(town.tenant[:-1]) == []


# Through the front door


@pytest.fixture
def scene(make_stage: Callable[..., Stage], tmp_path: Path) -> Stage:
    """A tenant of forty automations that was left alone for an hour, and keys."""
    clock = ManualClock(datetime(2026, 3, 1, 2, tzinfo=UTC))
    stage = make_stage(clock=clock)
    here = stage.source
    mail = here.tenant.add_connection(MAIL, "Payroll mail", here.users["ada"], params={"Password": "hunter2-hunter2"})
    callee = here.tenant.add_automation(document("Callee of all"), here.users["ben"])
    for number in range(40):
        name = f"{NAMES[number % len(NAMES)]} {number:03d}"
        blocks = (text_block(1, f"Remark number {number} on {name}"), bound_block(2, mail), call_block(3, callee))
        here.tenant.add_automation(document(name, *blocks, mode="scheduled", schedules=[DAILY]), here.users["ben"])
    clock.advance(3600)
    for name, text in (("key.txt", SECRET), ("wrong.txt", other_secret())):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return stage


def tenant_texts(stage: Stage) -> list[str]:
    """Names, ids, mail addresses, hosts and workspace texts of the source."""
    side = stage.source
    found: list[str] = [side.tenant.id, side.tenant.base_url.partition("://")[2], *side.tenant.hostnames]
    for one in (*side.tenant.automations.values(), *side.tenant.connections.values(), *side.tenant.users.values()):
        found += [text for key, value in one.items() for text in texts_in(value) if key not in ("type", "state")]
    found += [*side.tenant.automations, *side.spaces.values(), *side.users.values()]
    found += [f"{first}@example.com" for first in side.users] + ["hunter2-hunter2", "Remark number"]
    # "Encryption" is how a parameter is called, and stands in the first line of what age writes; times are no secret.
    return [text for text in worth(found) if not text.startswith("20") and text != "Encryption"]


def words(*more: str | Path) -> list[str]:
    """A backup for a public key."""
    return ["backup", "source", "--vault", "v", "--recipient", PUBLIC, *map(str, more)]


def test_nothing_of_a_tenant_is_in_it(scene: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several nights through the command line: of all that a tenant holds nothing is stored in clear."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = ("--identity", "key.txt", "--recipient", PUBLIC)
    seen = set(tenant_texts(scene))
    assert scene.cli(*words("--init")).code == 0
    here = scene.source
    first, second = [here.one(f"{NAMES[0]} {number:03d}")["id"] for number in (0, 4)]
    here.tenant.replace_workspace(first, {"blocks": [text_block(1, "Edited in the night")], "variables": []})
    here.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{second}", times=None))
    ended = scene.cli(*words())
    assert (ended.code, ended.summary["requests"]["saved"] > 20) == (3, True)
    here.tenant.faults.clear()
    assert scene.cli(*words()).code == 0
    assert scene.cli("drill", "v@latest", *key).code == 0
    assert scene.cli("repack", "v", *key).code == 0
    assert scene.cli(*words()).summary["requests"]["saved"] > 20
    assert scene.cli("prune", "v", "--keep-last", "2", "--yes").code == 0
    assert scene.cli("verify", "v").code == 0
    seen |= {*tenant_texts(scene), "Edited in the night"}
    assert len(seen) >= PLANTED
    files = files_of(tmp_path / "v", tmp_path / "state")
    assert {"packs", "snapshots", "moves", "drills", "gone", "checks", "locks", "qlikmigrate"} <= {
        name.split("/")[0] for name in files
    }
    assert found_in(files, seen) == set()
    # All of it can be had with the key.
    assert scene.cli("verify", "v", "--identity", "key.txt").code == 0
    assert scene.cli("export", "v@latest", "-o", "plain.qma", "--identity", "key.txt").code == 0
    assert len(found_in(files_of(tmp_path), seen)) > 100


ITEM: dict[str, list[str]] = {
    "verify": ["verify", "v", "--level", "content"],
    "list": ["list", "v@latest"],
    "show": ["show", "v@latest"],
    "show one": ["show", "v@latest", "Callee of all"],
    "cat": ["cat", "v@latest", "Callee of all"],
    "scan": ["scan", "v@latest"],
    "diff": ["diff", "v@latest", "v@latest"],
    "drift": ["diff", "v", "source"],
    "drill": ["drill", "v@latest", "--recipient", PUBLIC],
    "restore": ["restore", "v@latest", "target", "--run", "run-x", "--include", "name=Callee of all"],
    "plan": ["plan", "v@latest", "target", "-o", "p.json"],
    "mapping": ["mapping", "v@latest", "target", "-o", "m.toml"],
    "log": ["log", "v", "Callee of all"],
    "export": ["export", "v@latest", "-o", "out.qma"],
    "export plain": ["export", "v@latest", "--plain", "out"],
    "repair": ["repair", "v", "--recipient", PUBLIC],
    "repack": ["repack", "v", "--recipient", PUBLIC],
}


def test_public_keys_suffice_and_do_not(scene: Stage, tmp_path: Path) -> None:
    """Without a key: backup, list, prune and verify by hash; everything else ends with 12, and so with a wrong key."""
    for more in (["--init"], [], []):
        assert scene.cli(*words(*more)).code == 0
    before = files_of(tmp_path / "v")
    for name, said in ITEM.items():
        missing = scene.cli(*said)
        assert (missing.code, missing.error["code"]) == (12, "no-key"), (name, missing.summary)
        assert "--identity" in missing.error["hint"], name
        wrong = scene.cli(*said, "--identity", "wrong.txt")
        assert (wrong.code, wrong.error["code"]) == (12, "wrong-key"), (name, wrong.summary)
    assert not scene.target.tenant.automations
    assert {path.name for path in tmp_path.iterdir()} == {"v", "key.txt", "wrong.txt", "tenants.toml", "home"} - {
        "home"
    }
    after = files_of(tmp_path / "v")
    assert {name for name in before.keys() ^ after.keys() if not name.startswith("locks/")} == set()
    # With the right one each of them works.
    for name, said in ITEM.items():
        ended = scene.cli(*said, "--identity", "key.txt")
        assert ended.code in ((0, 5) if name == "drift" else (0,)), (name, ended.summary)
    for said in (["list", "v"], ["verify", "v"], ["verify", "v", "--level", "hash"], ["verify", "v", "--days", "3"]):
        assert scene.cli(*said).code == 0, said
    listed = scene.cli("list", "v").of("item")
    assert len(listed) == 3
    assert all("acme" not in json.dumps(row) for row in listed)
    assert scene.cli("prune", "v", "--keep-last", "1", "--yes").code == 0
    assert len(scene.cli("list", "v").of("item")) == 1
    assert scene.cli(*words()).code == 0
    key = ("--identity", "key.txt")
    writing = (["backup", "source", "--vault", "v"], ["repair", "v", *key], ["repack", "v", *key])
    for said in (*writing, ["drill", "v@latest", *key]):
        no_recipient = scene.cli(*said)
        assert (no_recipient.code, no_recipient.error["code"]) == (2, "no-recipient"), said
        assert "--recipient" in no_recipient.error["hint"]


def test_a_prune_with_a_wrong_key(scene: Stage) -> None:
    """Is refused, too: a key that is given is meant to open it."""
    assert scene.cli(*words("--init")).code == 0
    ended = scene.cli("prune", "v", "--keep-last", "1", "--yes", "--identity", "wrong.txt")
    assert (ended.code, ended.error["code"]) == (12, "wrong-key")


def test_several_recipients_and_a_locked_key(scene: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several recipients reads alone; a key that is locked with a passphrase serves for many packs."""
    import pyrage

    second = other_secret()
    recipient = str(pyrage.x25519.Identity.from_str(second).to_public())
    (tmp_path / "recipients.txt").write_text(f"# two\n{PUBLIC}\n{recipient}\n")
    (tmp_path / "recipients.txt").chmod(0o600)
    (tmp_path / "second.age").write_bytes(lightly_locked(second.encode(), "correct horse"))
    (tmp_path / "second.age").chmod(0o600)
    monkeypatch.setenv("WORD", "correct horse")
    said = ["backup", "source", "--vault", "v", "--recipient", "@recipients.txt"]
    for more in (["--init"], [], []):
        assert scene.cli(*said, *more).code == 0
    assert scene.cli("verify", "v", "--identity", "key.txt").code == 0
    locked = scene.cli("verify", "v", "--identity", "second.age")
    assert (locked.code, locked.error["code"]) == (12, "no-key")
    assert "--passphrase" in locked.error["hint"]
    assert scene.cli("verify", "v", "--identity", "second.age", "--passphrase", "env:WORD").code == 0


@pytest.mark.usefixtures("light_passphrases")
def test_a_passphrase(make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    """It works, and whoever makes such a vault is told what it costs."""
    stage = make_stage()
    stage.source.tenant.add_automation(document("Single"), stage.source.users["ben"])
    monkeypatch.setenv("WORD", "correct horse")
    word = ("--passphrase", "env:WORD")
    made = stage.cli("backup", "source", "--vault", "v", "--init", *word)
    assert (made.code, made.summary["complete"]) == (0, True)
    assert "each pack" in made.of("log")[0]["message"]
    assert stage.cli("verify", "v", *word).code == 0
    assert stage.cli("show", "v@latest").error["code"] == "no-key"
    monkeypatch.setenv("WORD", "incorrect horse")
    assert stage.cli("show", "v@latest", *word).error["code"] == "wrong-key"
    assert stage.cli("backup", "source", "--vault", "v").error["code"] == "no-recipient"
