"""Every OEM call against every fault: what may be repeated comes through, what must happen once is never sent twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from oem_calls import CALLS, route, sound
from wire_script import CUT, HTML, LOST, SLOW, Script, says

from qlikmigrate.api.error import (
    ApiError,
    BrokenAnswerError,
    InvalidError,
    MissingError,
    OutcomeUnknownError,
    ServerError,
)
from qlikmigrate.api.oem.operation import OPERATIONS
from qlikmigrate.api.operation import Retry, Shape

# What makes something new, or starts something.
ONCE = {"account.create", "blend.run", "template.install", "datasource.create"}
FAULTS = {
    "500": says(500), "502": says(502), "503": says(503), "504": says(504), "reset": LOST, "timeout": SLOW,
    "cut": CUT, "html": HTML, "empty": says(200, b""), "number": says(200, b"17"),
    "third shape": says(200, {"blends": [], "datasources": []}), "no json": says(200, b'{"data":'),
}  # fmt: skip
# What the shapes take: a list has rows, an object is one, of a run anything comes, of other writes nothing is needed.
HARMLESS = {
    Shape.LIST: set(), Shape.OBJECT: {"third shape"}, Shape.NOTHING: {"empty", "number", "third shape"},
    Shape.ANY: {"empty", "number", "third shape", "no json"},
}  # fmt: skip


def test_what_must_happen_once() -> None:
    """Creates, installs and runs; everything else does no harm when it is done twice."""
    assert {name for name, one in OPERATIONS.items() if one.retry is Retry.ONCE} == ONCE


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLS)
async def test_every_call_against_every_fault(reached: Any, script: Script, name: str, fault: str) -> None:
    """One fault: a second request mends it, or it is said that nobody knows what became of the first."""
    script.on(route(name), FAULTS[fault], sound(name))
    client = reached()
    if fault in HARMLESS[OPERATIONS[name].shape]:
        await client.call(name, **CALLS[name][0])
        assert len(script.seen) == 1
    elif name not in ONCE:
        await client.call(name, **CALLS[name][0])
        assert (len(script.seen), client.counts.retried) == (2, 1)
    else:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.call(name, **CALLS[name][0])
        assert (len(script.seen), client.counts.retried) == (1, 0)
        assert caught.value.operation == name


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLS)
async def test_every_call_against_a_fault_that_stays(reached: Any, script: Script, name: str, fault: str) -> None:
    """Retries end, with exit 1; a third envelope is never taken for an empty list."""
    if fault in HARMLESS[OPERATIONS[name].shape]:
        return
    script.on(route(name), FAULTS[fault])
    with pytest.raises(ApiError) as caught:
        await reached().call(name, **CALLS[name][0])
    assert caught.value.exit_code == 1
    assert len(script.seen) == (1 if name in ONCE else 5)
    if fault in ("third shape", "html", "no json") and name not in ONCE:
        assert isinstance(caught.value, BrokenAnswerError)
        assert caught.value.hint == "is `url` of `[tenants.partner]` the address of the OEM API?"


@pytest.mark.parametrize("name", CALLS)
async def test_429_with_a_time(reached: Any, script: Script, name: str) -> None:
    """A throttled request was not carried out: all go out again, after the time asked for."""
    script.on(route(name), says(429, retry_after="13"), sound(name))
    client = reached()
    await client.call(name, **CALLS[name][0])
    assert (client.counts.throttled, client.counts.retried) == (1, 1)
    assert script.times[1] - script.times[0] >= 13


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("second", [0, 17, 59.5])
async def test_429_without_a_time(reached: Any, script: Script, name: str, second: float) -> None:
    """Nothing says when the minute ends: it is waited for, and a little longer, so that not all come back at once."""
    script.clock.advance(second)
    script.on(route(name), says(429, {}), sound(name))
    await reached().call(name, **CALLS[name][0])
    waited = script.times[1] - script.times[0]
    assert 60 - second <= waited <= 60 - second + 2.001


async def test_429_that_stays(reached: Any, script: Script) -> None:
    """A dozen minutes, then the server's word is passed on: a create was not carried out, so it is not unknown."""
    script.on(route("account.create"), says(429, {}))
    with pytest.raises(ServerError, match="answered 429"):
        await reached().call("account.create", **CALLS["account.create"][0])
    assert len(script.seen) == 12
    gaps = [later - sooner for sooner, later in pairwise(script.times)]
    assert all(30 <= gap <= 63 for gap in gaps)
    assert len(set(gaps)) > 1


@pytest.mark.parametrize("gone", [says(404), says(400, {}), says(400)])
async def test_gone_on_a_retry_is_deleted(reached: Any, script: Script, gone: Any) -> None:
    """After a lost DELETE nothing left is done; at first, or after a mere 429, it is an error."""
    rest = CALLS["datasource.delete"][0]
    script.on(route("datasource.delete"), LOST, gone)
    assert (await reached().call("datasource.delete", **rest)).status == 204
    for answers in ((gone,), (says(429), gone)):
        script.on(route("datasource.delete"), *answers)
        with pytest.raises((MissingError, InvalidError)):
            await reached().call("datasource.delete", **rest)


async def test_in_use_on_a_retry_is_not_deleted(reached: Any, script: Script) -> None:
    """Words beside the 400 say that it is still there."""
    script.on(route("datasource.delete"), LOST, says(400, {"error": "Datasource is used", "blends": []}))
    with pytest.raises(InvalidError, match="is used"):
        await reached().call("datasource.delete", **CALLS["datasource.delete"][0])
