"""Two tenants to migrate between, and the public workspaces that stand beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

_CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"


@pytest.fixture(scope="session")
def corpus() -> list[Path]:
    """Automations that people published; they are not ours to ship."""
    found = sorted(_CORPUS.glob("*.json"))
    if not found:
        pytest.skip("no corpus beside the checkout")
    return found


@pytest.fixture(scope="session")
def reference() -> Path:
    """The tables of where ids stand in public workspaces."""
    folder = _CORPUS.parent / "reference"
    if not folder.is_dir():
        pytest.skip("no reference tables beside the checkout")
    return folder
