"""The loopback server over a real socket."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from tenant_world import World

from qlikmigrate.kernel.message import Reply, Request, Response
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Server, Truncate


def _client(world: World, server: Server) -> httpx.Client:
    headers = {"authorization": f"Bearer {world.client('ann').bearer}"}
    return httpx.Client(base_url=server.url, headers=headers, follow_redirects=True, timeout=10, trust_env=False)


def test_calls_on_kept_connections(world: World) -> None:
    """Reads, writes, redirects, empty answers and errors pass; links name the host that was asked."""
    with Server(world.tenant.handle) as server, _client(world, server) as client:
        ids = []
        for index in range(3):
            answer = client.post("/api/workflows/automations", json={"name": f"Ä{index}"})
            assert answer.status_code == 201
            ids.append(answer.json()["id"])
        assert client.get("/api/v1/users/me").json()["id"] == world.ann_id
        assert client.get("/api/v1/tenants/me").json()["id"] == world.tenant.id
        page = client.get("/api/workflows/automations", params={"limit": 2, "sort": "+name"}).json()
        assert page["links"]["next"]["href"].startswith(f"{server.url}/api/workflows/automations?")
        assert client.get(page["links"]["next"]["href"]).json()["data"][0]["name"] == "Ä2"
        assert client.delete(f"/api/workflows/automations/{ids[0]}").status_code == 204
        assert client.get(f"/api/workflows/automations/{ids[0]}").status_code == 404
        assert client.patch("/api/workflows/automations").status_code == 405
    assert len({one.identity for one in world.tenant.seen}) == 1


def test_large_bodies(world: World) -> None:
    """A megabyte goes in and comes out."""
    text = "x" * 1_000_000
    with Server(world.tenant.handle) as server, _client(world, server) as client:
        body = {"name": "A", "workspace": {"blocks": [{"id": "B", "comment": text}], "variables": []}}
        answer = client.post("/api/workflows/automations", json=body).json()
        assert (
            client.get(f"/api/workflows/automations/{answer['id']}").json()["workspace"]["blocks"][0]["comment"] == text
        )


@pytest.mark.parametrize(
    ("effect", "error", "stored"),
    [
        (ResetBefore(), httpx.NetworkError, 0),
        (ResetAfterCommit(), httpx.NetworkError, 1),
        (Truncate(0.3), httpx.RemoteProtocolError, 1),
    ],
)
def test_faults_on_the_wire(world: World, effect: object, error: type[Exception], stored: int) -> None:
    """A lost answer is a reset, a cut-off body ends early; the next call on a new connection is well."""
    world.tenant.faults.append(Fault(effect=effect, method="POST"))  # type: ignore[arg-type]
    with Server(world.tenant.handle) as server, _client(world, server) as client:
        with pytest.raises(error):
            client.post("/api/workflows/automations", json={"name": "A"})
        assert len(world.tenant.automations) == stored
        assert client.post("/api/workflows/automations", json={"name": "B"}).status_code == 201


def test_a_delay_holds_up_only_its_own_connection(world: World) -> None:
    """While one answer is late the others are not."""
    world.tenant.faults.append(Fault(effect=Delay(30), path="/api/v1/roles"))
    with Server(world.tenant.handle) as server, _client(world, server) as client, _client(world, server) as slow:
        with pytest.raises(httpx.ReadTimeout):
            slow.get("/api/v1/roles", timeout=0.05)
        started = time.monotonic()
        assert client.get("/api/v1/users").status_code == 200
        assert time.monotonic() - started < 5


def test_two_servers_and_a_taken_port() -> None:
    """Ports are free ones or the one asked for; a taken one is an error at once; stopping twice is fine."""

    def handle(request: Request) -> Reply:
        return Reply(response=Response(status=200, headers={"content-length": "2"}, body=b"ok"))

    first = Server(handle).start()
    with pytest.raises(OSError, match="in use"):
        Server(handle, first.port)
    with Server(handle) as second:
        assert httpx.get(second.url, trust_env=False).text == "ok"
        assert httpx.head(second.url, trust_env=False).headers["content-length"] == "2"
    first.stop()
    first.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(first.url, trust_env=False)


def test_many_at_once(world: World) -> None:
    """Several connections that write at once leave a whole state."""
    errors: list[BaseException] = []
    with Server(world.tenant.handle) as server:

        def work() -> None:
            try:
                with _client(world, server) as client:
                    for _ in range(10):
                        client.post("/api/workflows/automations", json={"name": "A"}).raise_for_status()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert len(world.tenant.automations) == 40
