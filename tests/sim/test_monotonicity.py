"""What nobody should have to regret: more memory, faster tools, a faster device."""

from dataclasses import replace
from statistics import fmean

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Workload
from lamps_jax.sim.workloads import load_workload

MACHINE = Hardware("small", "toy", CostModel(0.01, 1e-4, 1e-6, 0.0, 1e-3), 16, 2400, 3200, 128, 32, 2048)
MULTI = load_workload("multi-api", num_scripts=200)
SEEDS = range(3)

pytestmark = pytest.mark.slow


def mean_e2e_s(workload: Workload, machine: Hardware, policy: str = "oracle") -> float:
    """Over everything that arrived with each seed."""
    config = machine.scheduler_config(policy)
    specs = [RunSpec(workload, machine, config, 4.0, seed=seed, window_s=40.0, drain=True) for seed in SEEDS]
    return fmean(simulate(spec)["e2e_s"]["mean"] for spec in specs)


SOME = ["lamps", *(pytest.param(policy, marks=pytest.mark.long) for policy in ("oracle", "infercept"))]


@pytest.mark.parametrize("policy", SOME)
def test_more_memory_never_hurts_on_average(policy: str):
    means = [mean_e2e_s(MULTI, replace(MACHINE, kv_tokens=room), policy) for room in (2400, 3600, 7200, 19200)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 1.2 * means[-1]


@pytest.mark.long
@pytest.mark.parametrize("policy", ["lamps", "oracle", "infercept"])
def test_faster_tools_never_hurt_on_average(policy: str):
    means = [mean_e2e_s(Shape(duration_scale=scale).apply(MULTI), MACHINE, policy) for scale in (1.0, 0.5, 0.1)]
    assert means == sorted(means, reverse=True)


@pytest.mark.long
def test_a_faster_device_never_hurts_on_average():
    costs = [replace(MACHINE.cost_model, forward_base_s=base) for base in (0.02, 0.01, 0.005)]
    means = [mean_e2e_s(MULTI, replace(MACHINE, cost_model=cost)) for cost in costs]
    assert means == sorted(means, reverse=True)


@pytest.mark.long
def test_knowing_the_whole_program_never_hurts_on_average():
    for room in (2400, 4800):
        machine = replace(MACHINE, kv_tokens=room)
        assert mean_e2e_s(MULTI, machine, "oracle") <= mean_e2e_s(MULTI, machine, "lamps")
