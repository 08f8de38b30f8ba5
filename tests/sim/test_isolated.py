"""How long scripts take alone: against sums done by hand, and against the simulator."""

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.hardware import HARDWARE, Hardware
from lamps_jax.sim.isolated import isolated_s
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Segment, Workload
from lamps_jax.sim.workloads import load_workload
from tests.sim.scripts import client_call, script, server_call

SIMPLE = Hardware("simple", "toy", CostModel(1.0, 0.1, 0.0, 0.0, 0.5), 4, 64, 64, 8, 8, 64)
"""A step of at most eight tokens takes a second, and a tenth for each of them."""


def test_a_script_without_calls_takes_its_prompt_and_a_decode_for_each_token_but_the_first():
    assert isolated_s(script(Segment(3), prompt=6), SIMPLE) == pytest.approx(1.6 + 2 * 1.1)


def test_a_prompt_longer_than_a_step_takes_several():
    assert isolated_s(script(Segment(1), prompt=16), SIMPLE) == pytest.approx(2 * 1.8)


def test_a_call_takes_its_time_and_what_it_returns_is_computed():
    with_call = script(Segment(3, server_call(50.0, 2)), Segment(2), prompt=6)
    assert isolated_s(with_call, SIMPLE) == pytest.approx((1.6 + 2 * 1.1) + 50.0 + (1.2 + 1.1))


def test_a_call_that_returns_nothing_is_followed_by_a_decode_for_each_token():
    with_call = script(Segment(3, server_call(50.0, 0)), Segment(2), prompt=6)
    assert isolated_s(with_call, SIMPLE) == pytest.approx((1.6 + 2 * 1.1) + 50.0 + 2 * 1.1)


def test_a_client_that_runs_its_calls_is_waited_for_and_finds_what_it_keeps():
    session = script(Segment(3, client_call(7.0, 2, num_kept_tokens=9)), Segment(2), prompt=6)
    assert isolated_s(session, SIMPLE) == pytest.approx((1.6 + 2 * 1.1) + 7.0 + (1.2 + 1.1))


def test_the_simulator_takes_as_long_for_a_script_that_comes_alone():
    machine = HARDWARE["a100-40gb-gptj-6b"]
    for alone in load_workload("multi-api", num_scripts=12).scripts:
        workload = Workload("alone", (alone,), (0.0,))
        spec = RunSpec(workload, machine, machine.scheduler_config("preserve"), None, arrivals="trace", drain=True)
        assert isolated_s(alone, machine) == pytest.approx(simulate(spec)["e2e_s"]["mean"], rel=0.015)
