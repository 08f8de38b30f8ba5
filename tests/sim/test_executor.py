"""Time that is charged, by hand."""

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams
from lamps_jax.sim.clock import VirtualClock
from lamps_jax.sim.executor import SimExecutor, charge

COSTS = CostModel(1.0, 0.1, 0.01, 0.5, 2.0)
CHUNK = PrefillChunk("a", 0, [1, 2, 3], 7, [1], SamplingParams(), True, False)
DECODE = Decode("b", 1, 5, 19, [2], False)
COPY = BlockCopy(1, 1)


def test_a_step_is_charged_for_its_tokens_and_for_the_contexts_that_it_reads():
    plan = StepPlan(0, (CHUNK,), (DECODE,))
    assert charge(plan, COSTS).duration_s == pytest.approx(1.0 + 4 * 0.1 + (10 + 20) * 0.01)


@pytest.mark.parametrize(("blocking", "expected_s"), [(False, 2 * 2.5), (True, 2 * 2.5 + 1.7)])
def test_copies_hide_behind_the_step_unless_they_block(blocking: bool, expected_s: float):
    plan = StepPlan(0, (CHUNK,), (DECODE,), (COPY,), (COPY,))
    assert charge(plan, COSTS, blocking_swaps=blocking).duration_s == pytest.approx(expected_s)


def test_a_plan_of_copies_alone_takes_their_time():
    assert charge(StepPlan(0, swap_ins=(COPY, COPY)), COSTS).duration_s == pytest.approx(4.5)


def test_steps_run_one_after_the_other_and_not_before_they_are_submitted():
    clock = VirtualClock()
    executor = SimExecutor(clock, COSTS)
    plan = StepPlan(0, (CHUNK,), (DECODE,))
    first, second = executor.submit(plan), executor.submit(plan)
    sampled = executor.collect(first).sampled
    assert clock.now_s == pytest.approx(1.7)
    executor.collect(second)
    assert clock.now_s == pytest.approx(3.4)
    clock.advance_to(10.0)
    executor.collect(executor.submit(plan))
    assert clock.now_s == pytest.approx(11.7)
    assert set(sampled) == {"a", "b"}


def test_no_two_samples_are_alike_so_that_no_text_is_found_that_was_not_written():
    executor = SimExecutor(VirtualClock(), COSTS)
    plan = StepPlan(0, (CHUNK,), (DECODE,))
    results = [executor.collect(executor.submit(plan)) for _ in range(5)]
    assert len({token for result in results for token in result.sampled.values()}) == 10
