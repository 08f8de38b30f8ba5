"""Several devices behind one queue, against one device and against counting."""

from dataclasses import replace

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.fleet import ROUTES, FleetSpec, simulate_fleet
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.sweep import simulate_all
from lamps_jax.sim.workloads import load_workload

MACHINE = Hardware("small", "toy", CostModel(0.01, 1e-4, 1e-6, 0.0, 1e-3), 16, 4800, 3200, 128, 32, 2048)
MULTI = load_workload("multi-api", num_scripts=60)


def spec_of(policy: str, rate_rps: float = 4.0) -> RunSpec:
    return RunSpec(MULTI, MACHINE, MACHINE.scheduler_config(policy), rate_rps, window_s=20.0, drain=True)


@pytest.mark.parametrize("policy", ["infercept", "lamps"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_fleet_of_one_device_is_that_device(policy: str, route: str):
    alone, fleet = simulate(spec_of(policy)), simulate_fleet(FleetSpec(spec_of(policy), (4800,), route))
    for name in ("arrived", "finished", "e2e_s", "ttft_s", "by_type", "preemptions", "recomputed_tokens", "promoted"):
        assert fleet[name] == alone[name], name


@pytest.mark.parametrize("policy", ["infercept", "lamps"])
@pytest.mark.parametrize("route", ROUTES)
def test_every_arrival_is_served_by_one_device(policy: str, route: str):
    run = simulate_fleet(FleetSpec(spec_of(policy), (4800, 2400), route))
    assert run["finished"] == run["arrived"] == sum(device["arrived"] for device in run["devices"])
    assert run["arrived"] == simulate(spec_of(policy))["arrived"]


def test_turns_do_not_look_at_memory_and_loads_do():
    counts = {}
    for route in ROUTES:
        run = simulate_fleet(FleetSpec(spec_of("lamps", 8.0), (9600, 2400), route))
        counts[route] = [device["arrived"] for device in run["devices"]]
    large, small = counts["in turn"]
    assert large - small in (0, 1)
    assert counts["tokens"][0] > 1.5 * counts["tokens"][1]
    assert counts["memory over time"][0] > 1.5 * counts["memory over time"][1]


def test_fleets_are_swept_like_runs_and_are_deterministic():
    fleet = FleetSpec(spec_of("lamps"), (4800, 2400), "tokens")
    one, two = simulate_all([fleet, replace(fleet)], jobs=1)
    assert one == two


@pytest.mark.parametrize(
    ("rooms", "route", "says"),
    [((), "tokens", "a fleet needs at least one device"), ((4800,), "luck", "unknown route 'luck'; use one of in turn, tokens")],
)
def test_a_fleet_that_cannot_be_is_an_error(rooms: tuple[int, ...], route: str, says: str):
    with pytest.raises(ValueError, match=says):
        FleetSpec(spec_of("lamps"), rooms, route)
