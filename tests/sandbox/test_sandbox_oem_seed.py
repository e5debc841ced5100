"""The seeded partner, as the API shows it."""

from __future__ import annotations

from oem_world import OemWorld

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox.oem import OemService, OemSwitches, seed_model


def _seeded(**switches: object) -> tuple[OemWorld, OemService]:
    clock = ManualClock()
    service = OemService("velo", clock=clock, switches=OemSwitches(**switches), seed=3)  # type: ignore[arg-type]
    partner = seed_model(service)
    return OemWorld(clock, service, partner.model, partner.templates["Order sync"]), service


def test_seed_is_what_it_says() -> None:
    """The model account: twenty automations of every start, a bundle, two built by hand; six connections."""
    world, service = _seeded(state_in_list=True)
    rows = world.rows(f"{world.a}/blends")
    assert len(rows) == 20
    assert {row["run_mode"] for row in rows} == {"manual", "scheduled", "triggered", "webhook"}
    assert {row["state"] for row in rows} == {"available", "disabled"}
    assert [len(row["sub_blends"]) for row in rows if row["isbundle"]] == [2]
    assert sum(row["template_guid"] is None for row in rows) == 2
    assert len(world.rows("/templates")) == 8
    sources = world.rows(f"{world.a}/datasources")
    assert len(sources) == 6
    assert len({row["connector"]["guid"] for row in sources}) == 5
    assert [row["name"] for row in sources if not row["is_used"]] == ["Velo CRM"]
    assert all(row["is_connected"] for row in sources)
    assert len(world.rows("/accounts")) == 3
    assert not service.undocumented
    assert not service.refusals


def test_same_seed_same_answers() -> None:
    """The same seed and clock give the same guids and bytes."""
    (one, _), (two, _) = _seeded(), _seeded()
    for path in (f"{one.a}/blends", "/templates", f"{one.a}/datasources"):
        assert one("GET", path).body == two("GET", path).body
