"""Orders of service against the best of all orders, found by trying each."""

import random
from itertools import pairwise, permutations

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Call, Script, Segment, Span, Workload

ONE_SLOT = Hardware("one slot", "toy", CostModel(1.0, 0.1, 0.0, 0.0, 0.5), 4, 256, 0, 8, 1, 128)
"""Serves one request at a time, so that an order of service is an order of requests."""


def mean_e2e_s(scripts: tuple[Script, ...], policy: str) -> float:
    """Of scripts that all come at once, in this order."""
    workload = Workload("w", scripts, (0.0,) * len(scripts))
    spec = RunSpec(workload, ONE_SLOT, ONE_SLOT.scheduler_config(policy), None, arrivals="trace", drain=True)
    return simulate(spec)["e2e_s"]["mean"]


@pytest.mark.parametrize("seed", range(3))
def test_where_one_is_served_at_a_time_ranks_reach_the_best_of_all_orders(seed: int):
    lengths = random.Random(seed).sample(range(2, 40), 4)
    scripts = tuple(Script("test", (Span(6),), (Segment(length),)) for length in lengths)
    means = [mean_e2e_s(order, "preserve") for order in permutations(scripts)]
    assert max(means) > 1.1 * min(means)  # else any order would do
    for policy in ("sjf", "sjf-total", "srpt", "lamps", "oracle"):
        assert mean_e2e_s(scripts, policy) == pytest.approx(min(means)), policy


def test_a_longer_call_never_ends_sooner():
    """Under every way to handle it: what a call takes longer, its request takes longer at least as much."""
    for policy in ("preserve", "vllm", "infercept", "lamps"):
        times = [
            mean_e2e_s((Script("test", (Span(6),), (Segment(3, Call("search", wait_s, 2)), Segment(2))),), policy)
            for wait_s in (0.0, 1.0, 5.0, 25.0, 125.0)
        ]
        assert all(later - sooner >= -1e-9 for sooner, later in pairwise(times)), (policy, times)
