"""Qlik's own npm client works on the sandbox, so the sandbox is no mirror of our own client's beliefs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from filelock import FileLock

pytestmark = pytest.mark.node

_NODE_FILES = Path(__file__).parent / "node"
_PACKAGE = "@qlik/api"
_NODE_MAJOR = 20
# What npm says when there is no way to the registry, as opposed to a package that is wrong.
_NO_WAY = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|E40[37]|E50[234]"
)
_KEY = re.compile(r'^# api_key = "([^"]+)"$', re.MULTILINE)


@pytest.fixture(scope="session")
def node_folder(request: pytest.FixtureRequest) -> Path:
    """A folder with the script and the package it needs, kept between runs."""
    npm = shutil.which("npm")
    if not shutil.which("node") or npm is None:
        pytest.skip("no node and npm on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < _NODE_MAJOR:
        pytest.skip(f"{_PACKAGE} needs node {_NODE_MAJOR}, this is {version.strip()}")
    cache = request.config.cache
    if cache is None:
        pytest.skip("pytest's cache is off, so there is no place for the package")
    folder = cache.mkdir("qlik-api")
    with FileLock(folder / "install.lock"):
        lock = _NODE_FILES / "package-lock.json"
        done = folder / "installed.json"
        if not done.exists() or done.read_bytes() != lock.read_bytes():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_NODE_FILES / name, folder)
            _install(npm, folder)
            shutil.copy(lock, done)
        shutil.copy(_NODE_FILES / "story.mjs", folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if done.returncode != 0 and _NO_WAY.search(done.stderr):
        pytest.skip("no way to the npm registry")
    assert done.returncode == 0, done.stderr


@frozen
class _Served:
    """What a user who started `qlikmigrate sandbox` knows: the tenants file's target and its administrator's key."""

    url: str
    key: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[_Served]:
    """The real command, serving until it gets Ctrl-C."""
    command = [sys.executable, "-m", "qlikmigrate", "sandbox", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            toml = json.loads(process.stdout.readline())["toml"]
            url = tomllib.loads(toml)["tenants"]["source"]["url"]
            yield _Served(url, _KEY.findall(toml)[0])
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def _story(folder: Path, served: _Served, family: str) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        ["node", "story.mjs", served.url, family],
        cwd=folder,
        env=environment | {"QLIK_API_KEY": served.key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *notices, line = done.stdout.splitlines()
    # The client understands the headers that the sandbox sends for what Qlik is going to remove.
    assert bool(notices) == (family == "v1"), notices
    assert all("deprecation notice" in notice and "/api/v1/automation" in notice for notice in notices)
    story: dict[str, Any] = json.loads(line)
    return story


@pytest.mark.parametrize("family", ["v1", "workflows"])
def test_an_automation_lives_its_life_through_qliks_own_client(node_folder: Path, served: _Served, family: str) -> None:
    """`@qlik/api` lists in pages, creates, reads, updates, disables, enables, finds and deletes under both families."""
    told = _story(node_folder, served, family)
    ident = told["created"]["data"]["id"]

    assert told["me"]["name"]
    assert told["me"]["id"] == told["created"]["data"]["ownerId"], "the redirect of `/users/me` was followed"
    assert told["tenant"]["id"] == told["me"]["tenantId"], "the redirect of `/tenants/me` was followed"
    assert told["spaces"]
    assert told["connections"] > 0
    assert told["connectors"] > 0

    before, after, end = (list(chain(*told[name])) for name in ("pagesBefore", "pagesAfter", "pagesEnd"))
    assert len(told["pagesBefore"]) > 2, "the list has pages to follow"
    assert [len(page) for page in told["pagesBefore"][:-1]] == [4] * (len(told["pagesBefore"]) - 1)
    assert len(set(before)) == len(before)
    assert set(after) - set(before) == {ident}
    assert end == before

    assert told["created"]["status"] == 201
    assert told["read"]["name"] == "Made by another client"
    assert [block["type"] for block in told["read"]["workspace"]["blocks"]] == ["StartBlock"]
    assert told["updated"] == {"status": 200, "name": "Made by another client, renamed"}
    assert (told["disabled"], told["stateDisabled"]) == (204, "disabled")
    assert (told["enabled"], told["stateEnabled"]) == (204, "available")
    assert told["found"] == [ident]
    if family == "workflows":
        assert "maxConcurrentRunsPerAutomation" in told["settings"]
    assert told["deleted"] == 204
    assert told["afterDelete"] == 404
