"""Archives of every format version ever released stay readable."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from stock import capture, documents, manifest, opener_with

from qlikmigrate.archive import open_archive, verify
from qlikmigrate.archive.layout import FORMAT_VERSION
from qlikmigrate.model.document import Part, received
from qlikmigrate.model.kind import Kind

GOLDEN = Path(__file__).parent / "golden"
# A sealed one holds the same archive, hence the same digest.
DIGESTS = dict.fromkeys(
    ("v1.0.qma", "v1.0-sealed.qma"),
    "88b03ae5d7f253812f3c89ded0692771b44d530562e5a6f7e529fb3760d60b5d",
)


def test_every_version_has_one() -> None:
    """No format version is released without its golden archive."""
    assert {path.name for path in GOLDEN.glob("*.qma")} == set(DIGESTS)
    assert {f"v{FORMAT_VERSION}.qma", f"v{FORMAT_VERSION}-sealed.qma"} <= set(DIGESTS)


@pytest.mark.parametrize("name", DIGESTS)
def test_golden(name: str) -> None:
    """It verifies, and gives what was put into it."""
    made = documents(24)
    key = (GOLDEN / name).with_suffix(".key")
    opener = opener_with(key.read_text()) if key.exists() else None
    assert verify(GOLDEN / name, opener).ok
    with open_archive(GOLDEN / name, opener) as archive:
        assert archive.digest == DIGESTS[name]
        assert archive.manifest == manifest()
        assert archive.capture == capture()
        for one in made:
            if one.part is Part.DETAIL:
                assert received(archive.detail(one.kind, one.id)) == received(one)
        for kind in Kind:
            rows = [one for one in made if one.part is Part.ROW and one.kind is kind]
            assert list(archive.rows(kind)) == rows


def test_standard_tools_open_the_sealed_one(tmp_path: Path) -> None:
    """`age` gives the plain archive, byte for byte, of which `unzip` and `zstd` give a document."""
    for tool in ("age", "unzip", "zstd"):
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed")
    sealed, plain = GOLDEN / "v1.0-sealed.qma", tmp_path / "plain.qma"
    subprocess.run(["age", "-d", "-i", sealed.with_suffix(".key"), "-o", plain, sealed], check=True)
    assert plain.read_bytes() == (GOLDEN / "v1.0.qma").read_bytes()
    subprocess.run(["unzip", "-q", plain, "-d", tmp_path], check=True)
    frame = tmp_path / "lists" / "automations-0001.json.zst"
    listed = subprocess.run(["zstd", "-q", "-d", "-c", frame], check=True, capture_output=True).stdout
    assert b'"Automation 7"' in listed
