"""Backups of OEM accounts, through the command line, against the embedded service on both sets of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from oem_stage import OemStage, oem_staged

from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox.oem import OemSwitches

MODES = {"documented": OemSwitches.documented, "hostile": OemSwitches.hostile}


@pytest.fixture
def make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., OemStage]]:
    """Makes a stage that answers as the given switches say."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield lambda switches=None: stack.enter_context(oem_staged(tmp_path, capsys, switches))


@pytest.fixture(params=list(MODES))
def stage(request: pytest.FixtureRequest, make: Callable[..., OemStage]) -> OemStage:
    """A stage in documented and in hostile mode."""
    return make(MODES[request.param]())


def test_everything_of_the_account_is_in_the_archive(stage: OemStage) -> None:
    """Each automation, children of bundles too, each connection, each connector and template that is referred to."""
    ended = stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True), ended.lines
    account = stage.service.account("model")
    assert stage.ids(Kind.ACCOUNT) == {account.guid}
    assert stage.ids(Kind.AUTOMATION) == set(account.blends)
    assert stage.ids(Kind.CONNECTION) == set(account.datasources)
