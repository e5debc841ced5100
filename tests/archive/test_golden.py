"""Archives of every format version ever released stay readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from stock import capture, documents, manifest

from qlikmigrate.archive import open_archive, verify
from qlikmigrate.archive.layout import FORMAT_VERSION
from qlikmigrate.model.document import Part, received
from qlikmigrate.model.kind import Kind

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = {"v1.0.qma": "88b03ae5d7f253812f3c89ded0692771b44d530562e5a6f7e529fb3760d60b5d"}


def test_every_version_has_one() -> None:
    """No format version is released without its golden archive."""
    assert {path.name for path in GOLDEN.glob("*.qma")} == set(DIGESTS)
    assert f"v{FORMAT_VERSION}.qma" in DIGESTS


@pytest.mark.parametrize("name", DIGESTS)
def test_golden(name: str) -> None:
    """It verifies, and gives what was put into it."""
    made = documents(24)
    assert verify(GOLDEN / name).ok
    with open_archive(GOLDEN / name) as archive:
        assert archive.digest == DIGESTS[name]
        assert archive.manifest == manifest()
        assert archive.capture == capture()
        for one in made:
            if one.part is Part.DETAIL:
                assert received(archive.detail(one.kind, one.id)) == received(one)
        for kind in Kind:
            rows = [one for one in made if one.part is Part.ROW and one.kind is kind]
            assert list(archive.rows(kind)) == rows
