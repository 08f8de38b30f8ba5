"""Ranks that fall with age: nobody is passed for ever, and how long for is known."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import NoPredictor, SeenSegment
from lamps_jax.sched.plan import StepResult
from lamps_jax.sched.rank import aged
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sched.segments import PredictedSegment

COSTS = st.floats(1e-3, 1e6)
AGES = st.floats(0.0, 1e5)
AGING = st.floats(0.25, 8.0)
SCALE = st.floats(1.0, 1e4)


def passing_limit_s(age_s: float, ratio: float, aging: float, aging_s: float) -> float:
    """How much later than a request of that age another may have come that goes before it, at so many times less cost.

    docs/scheduling.md proves it: (1 - 1 / R) (aging_s + age) with R = ratio ** (1 / aging).
    """
    return (1.0 - ratio ** (-1.0 / aging)) * (aging_s + age_s)


@given(AGES, COSTS, COSTS, AGING, SCALE, st.floats(0.0, 1.0))
def test_who_came_later_than_the_bound_says_goes_behind(
    age_s: float, cost: float, other_cost: float, aging: float, aging_s: float, later: float
) -> None:
    limit_s = passing_limit_s(age_s, max(cost / other_cost, 1.0), aging, aging_s)
    delay_s = min(age_s, limit_s * (1 + 1e-6) + 1e-6 + later * age_s)
    if delay_s > limit_s * (1 + 1e-9) + 1e-9:  # beyond what rounding can hide
        assert aged((cost,), age_s, aging, aging_s) < aged((other_cost,), age_s - delay_s, aging, aging_s)


@given(AGES, COSTS, AGING, SCALE, st.floats(1.0, 1e4))
def test_of_two_that_cost_the_same_the_older_goes_first(
    age_s: float, cost: float, aging: float, aging_s: float, older_s: float
) -> None:
    assert aged((cost,), age_s + older_s, aging, aging_s) < aged((cost,), age_s, aging, aging_s)


@given(AGES, COSTS, COSTS, SCALE)
def test_without_aging_the_cheapest_goes_first_whatever_its_age(age_s: float, cost: float, other: float, aging_s: float) -> None:
    assert (aged((cost,), age_s, 0.0, aging_s) < aged((other,), 0.0, 0.0, aging_s)) == (cost < other)


class KnownLengths(NoPredictor):
    """Predicts that requests end after as many tokens as they may sample."""

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        return (PredictedSegment(request.max_tokens_left),)

    def observe(self, request: Request, segment: SeenSegment) -> None:
        pass


@pytest.mark.parametrize("aging", [1.0, 2.0, 4.0])
def test_a_long_request_among_a_stream_of_short_ones_is_served_within_the_bound(aging: float) -> None:
    aging_s, step_s, rng = 5.0, 0.1, random.Random(7)
    config = SchedulerConfig(
        policy="lamps-plus", token_budget=16, max_chunk_tokens=16, max_num_seqs=1, max_model_len=64, prefix_cache=False,
        rank_refresh_steps=1, aging=aging, aging_s=aging_s,
    )  # fmt: skip
    cost_model = CostModel(step_s, 0.0, 0.0, 0.0, 0.0)
    scheduler = Scheduler(config, BlockManager(17, 4), cost_model, KnownLengths())
    scheduler.add(Request("first", 0.0, [1] * 8, SamplingParams(max_tokens=6)))
    scheduler.add(Request("long", 0.0, [1] * 40, SamplingParams(max_tokens=16)))
    costs, arrived_s, begun_s, tokens = dict[str, float](), {"long": 0.0}, dict[str, float](), itertools.count()
    now = 0.0
    for step in range(3000):
        if step % 4 == 0 and "long" not in begun_s:  # more short ones than can be served
            name = f"short{step}"
            arrived_s[name] = now
            scheduler.add(Request(name, now, [1] * rng.randint(2, 8), SamplingParams(max_tokens=rng.randint(2, 6))))
        for name in arrived_s:
            request = scheduler.get(name)
            if request is not None and request.footprint is not None and name not in begun_s:
                costs[name] = request.footprint.charged_token_s
        plan = scheduler.schedule(now)
        began = [row.request_id for row in plan.prefills if row.request_id in arrived_s and row.request_id not in begun_s]
        begun_s |= dict.fromkeys(began, now)
        sampled = {row.request_id: next(tokens) for row in (*plan.prefills, *plan.decodes) if getattr(row, "sample", True)}
        now += step_s
        for request, _ in scheduler.update(StepResult(plan.step_id, sampled), now):
            if request.num_sampled_tokens >= request.max_sampled_tokens:
                scheduler.finish(request.request_id, FinishReason.LENGTH, now)
        if "long" in begun_s:
            break
    waited_s = begun_s["long"]
    assert waited_s > 0
    ratio = max(costs["long"] / cost for name, cost in costs.items() if name != "long")
    passing = [arrived_s[name] for name in begun_s if name != "long"]
    # Ranks are as old as the last step; one place in the batch, so that who begins last before it has passed it.
    assert max(passing) <= passing_limit_s(waited_s, ratio, aging, aging_s) + step_s
