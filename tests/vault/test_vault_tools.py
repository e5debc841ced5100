"""With `age`, `zstd` and a shell alone, by the words of the documentation, a vault gives back what it holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest
from hamlet import KEPT, Night

from qlikmigrate.archive import KeyFile, Opener
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.vault import Vault, VaultSnapshot
from qlikmigrate.vault.form import split_record
from qlikmigrate.vault.name import Ref
from qlikmigrate.vault.pack import What

GOLDEN = Path(__file__).parent / "golden"
PAGE = Path(__file__).parents[2] / "docs" / "vault-format.md"
TOOLS = ("age", "zstd", "od", "tail", "head", "cut", "mktemp", "sh")


def recipe() -> str:
    """The functions that the page defines."""
    section = PAGE.read_text().partition("## Open it with standard tools")[2]
    (found, *_) = re.findall(r"(?ms)^```sh\n(.*?)^```", section)
    return str(found)


@pytest.fixture(params=["v1.0", "v1.0-sealed"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    """A golden vault as a folder."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed")
    with tarfile.open(GOLDEN / f"{request.param}.tar.gz") as tar:
        tar.extractall(tmp_path / "vault", filter="data")
    key = GOLDEN / f"{request.param}.key"
    if not key.exists():
        return Vault.open(tmp_path / "vault")
    shutil.copy(key, tmp_path / "KEYFILE")
    return Vault.open(tmp_path / "vault", opening=Opener([KeyFile(content=Secret(key.read_text()), where="key")]))


def ran(tmp_path: Path, *commands: str) -> bytes:
    """What commands say after the recipe, in the folder of the vault."""
    script = recipe().replace("key=KEYFILE", f"key={tmp_path}/KEYFILE") + "\n".join(commands)
    assert f"key={tmp_path}" in script
    done = subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path / "vault", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout


def fetch(tmp_path: Path, ref: Ref) -> bytes:
    """A piece, through the shell."""
    pack, _, number = str(ref).partition(".")
    return ran(tmp_path, f"piece {pack} {number}")


def sorts(vault: Vault, snapshot: VaultSnapshot) -> dict[str, list[Ref]]:
    """The documents of a snapshot by how they are stored: what each builds on, and what that builds on."""
    found: dict[str, list[Ref]] = defaultdict(list)
    for line in snapshot.manifested.documents:
        way, ref = "", line.ref
        while (base := vault.shelf.piece(ref).base) is not None:
            way += " on dictionary" if vault.shelf.piece(base).what is What.DICTIONARY else " on version"
            ref = base
        found[way.strip() or "alone"].append(line.ref)
    return found


def test_every_way_of_storing(vault: Vault, tmp_path: Path) -> None:
    """Manifests, whole documents, those of a dictionary, and versions on versions on it come out as they went in."""
    seen = set()
    for info, number in zip(vault.snapshots(vault.tag("tenant-hamlet")), KEPT, strict=True):
        snapshot = vault.snapshot(info)
        assert fetch(tmp_path, info.manifest) == vault.shelf.content(info.manifest)
        ids = {line.ref: line.id for line in snapshot.manifested.documents if line.kind is Kind.AUTOMATION}
        state = Night(number).state()
        for way, refs in sorts(vault, snapshot).items():
            ref = next((one for one in refs if one in ids), refs[0])
            text = split_record(fetch(tmp_path, ref))[1]
            if ref in ids:
                assert text == state[Part.DETAIL, Kind.AUTOMATION, ids[ref]].raw
                seen.add(way)
        (rows, *_) = [line.ref for line in snapshot.manifested.rows if line.kind is Kind.AUTOMATION]
        assert fetch(tmp_path, rows) == vault.shelf.content(rows)
    assert {"on dictionary", "on version on dictionary"} <= seen


def test_from_the_head_to_a_document(vault: Vault, tmp_path: Path) -> None:
    """The way of the page: head, manifest, document, by what the shell alone has found."""
    info = vault.snapshots(vault.tag("tenant-hamlet"))[1]
    told = ran(tmp_path, f"cat snapshots/{info.taken_at:%Y%m%dT%H%M%SZ}-*").decode()
    found = re.search(r'"manifest":"([0-9a-f]+)\.([0-9a-f]+)"', told)
    assert found is not None
    lines = ran(tmp_path, f"piece {found[1]} {found[2]}").decode().splitlines()
    (line,) = (one.split("\t") for one in lines if one.startswith("document\tautomation\ta007\t"))
    pack, _, number = line[3].partition(".")
    text = ran(tmp_path, f"piece {pack} {number} | tail -n +2")
    assert text == Night(KEPT[1]).state()[Part.DETAIL, Kind.AUTOMATION, "a007"].raw


def test_the_index_is_a_table(vault: Vault, tmp_path: Path) -> None:
    """An index has a line of nine columns for each piece of its pack."""
    for sequence in vault.shelf.packs:
        lines = ran(tmp_path, f"index {sequence:x}").decode().splitlines()
        assert [len(line.split("\t")) for line in lines] == [9] * len(vault.shelf.pack(sequence).pieces)
