"""Fixtures that every suite may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyrage
import pytest
from light import lightly_locked
from oem_stage import OemStage, oem_staged
from stage import Stage, staged

from qlikmigrate.sandbox.oem import OemSwitches


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material beside the checkout."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside the checkout")
    return folder


@pytest.fixture
def anyio_backend() -> str:
    """Everything runs on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or leaves anything in the home of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(home))
    for name in (
        "QLIKMIGRATE_CONFIG",
        "QLIKMIGRATE_IDENTITY",
        "QLIKMIGRATE_RECIPIENTS",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "QLIK_CLI_USER_HOME_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def light_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sealed with a passphrase in this process costs next to nothing to seal and to open."""
    monkeypatch.setattr(pyrage.passphrase, "encrypt", lightly_locked)


@pytest.fixture
def make_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Stage]]:
    """Makes a stage whose tenants answer as the given switches say."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def make(**switches: Any) -> Stage:
            return stack.enter_context(staged(tmp_path, capsys, **switches))

        yield make


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """A stage with the default answers."""
    return make_stage()


@pytest.fixture
def make_oem_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., OemStage]]:
    """Makes a stage of OEM accounts whose provider answers as the given switches say."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield lambda switches=None: stack.enter_context(oem_staged(tmp_path, capsys, switches))


@pytest.fixture(params=["documented", "hostile"])
def oem_stage(request: pytest.FixtureRequest, make_oem_stage: Callable[..., OemStage]) -> OemStage:
    """A stage of OEM accounts, once as the vendor's pages have it and once otherwise."""
    switches: OemSwitches = getattr(OemSwitches, request.param)()
    return make_oem_stage(switches)
