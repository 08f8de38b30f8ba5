"""Handling on demand: nothing is given up before somebody waits, and then what costs least beside steps that are taken anyway."""

from typing import Any

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.handling import Call, least_marginal_waste
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.request import Handling, Request
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sched.surroundings import Surroundings
from lamps_jax.sched.waste import discard_waste, marginal_discard_waste
from tests.sched.drive import make_request, make_scheduler

CHEAP_COPIES = CostModel(1.0, 0.1, 0.0, 0.0, 0.01)
"""A step of a second and a tenth a token; a hundred blocks move in a second."""


def scheduler_on_demand(**options: Any) -> Scheduler:
    usual: dict[str, Any] = {
        "policy": "lamps-plus", "num_blocks": 13, "block_size": 1, "num_host_blocks": 12, "max_model_len": 12,
        "max_chunk_tokens": 12, "token_budget": 12, "cost_model": CHEAP_COPIES, "prefix_cache": False,
    }  # fmt: skip
    return make_scheduler(**(usual | options))


def turn(scheduler: Scheduler, now: float) -> StepPlan:
    plan = scheduler.schedule(now)
    scheduler.check()
    asked = [chunk.request_id for chunk in plan.prefills if chunk.sample] + [decode.request_id for decode in plan.decodes]
    scheduler.update(StepResult(plan.step_id, dict.fromkeys(asked, 7)), now)
    scheduler.check()
    return plan


def calling(scheduler: Scheduler, name: str, num_tokens: int, *, now: float, expected_s: float) -> Request:
    request = make_request(name, num_tokens)
    scheduler.add(request)
    turn(scheduler, now)
    scheduler.api_called(name, now, expected_s)
    return request


def test_blocks_stay_during_a_call_as_long_as_nobody_waits() -> None:
    scheduler = scheduler_on_demand()
    request = calling(scheduler, "a", 6, now=0.0, expected_s=1000.0)
    for now in (1.0, 10.0, 100.0):
        turn(scheduler, now)
    assert len(request.block_ids) == 6 and not request.host_block_ids


def test_an_idle_device_takes_no_more_from_a_call_than_the_next_request_lacks() -> None:
    scheduler = scheduler_on_demand()
    paused = calling(scheduler, "a", 6, now=0.0, expected_s=1000.0)
    scheduler.add(make_request("b", 9))
    plan = turn(scheduler, 1.0)
    assert len(plan.swap_outs) == len(paused.host_block_ids) == 3 and len(paused.block_ids) == 3
    assert [chunk.request_id for chunk in plan.prefills] == ["b"]


def test_while_others_run_the_blocks_of_a_long_call_go_to_the_host_for_one_that_waits() -> None:
    scheduler = scheduler_on_demand(num_blocks=17)
    scheduler.add(make_request("runs", 2))
    paused = calling(scheduler, "a", 6, now=0.0, expected_s=1000.0)
    turn(scheduler, 1.0)
    assert len(paused.block_ids) == 6
    scheduler.add(make_request("b", 9))
    plans = [turn(scheduler, now) for now in (2.0, 3.0)]
    assert len(plans[0].swap_outs) == 6 and len(paused.host_block_ids) == 6
    assert [[chunk.request_id for chunk in plan.prefills] for plan in plans] == [[], ["b"]]


def test_of_two_calls_the_one_that_returns_last_gets_what_room_the_host_has() -> None:
    scheduler = scheduler_on_demand(num_host_blocks=4)
    soon = calling(scheduler, "soon", 4, now=0.0, expected_s=30.0)
    late = calling(scheduler, "late", 4, now=0.0, expected_s=1000.0)
    scheduler.add(make_request("b", 9))
    turn(scheduler, 1.0)
    assert len(late.host_block_ids) == 4 and not soon.host_block_ids


def test_with_a_full_host_the_blocks_of_a_long_call_are_discarded_and_those_of_a_short_one_stay() -> None:
    scheduler = scheduler_on_demand(num_host_blocks=0)
    short = calling(scheduler, "short", 4, now=0.0, expected_s=1.001)
    long = calling(scheduler, "long", 4, now=0.0, expected_s=1000.0)
    scheduler.add(make_request("b", 8))
    turn(scheduler, 1.0)
    assert short.handling is Handling.PRESERVE and len(short.block_ids) == 4
    assert long.handling is Handling.DISCARD and not long.block_ids


def test_a_call_that_is_late_is_expected_to_be_as_late_again() -> None:
    scheduler = scheduler_on_demand(num_blocks=17)
    scheduler.add(make_request("runs", 2))
    paused = calling(scheduler, "a", 6, now=0.0, expected_s=1.0)
    scheduler.add(make_request("b", 9))
    turn(scheduler, 1.0)
    assert paused.handling is Handling.PRESERVE and len(paused.block_ids) == 6, "it should be back by now"
    turn(scheduler, 50.0)
    assert paused.handling is Handling.SWAP and not paused.block_ids


def test_a_context_computed_again_costs_no_step_of_its_own() -> None:
    base = CostModel(5.0, 0.1, 0.0, 0.0, 0.01)
    cheap = CostModel(0.0, 0.1, 0.0, 0.0, 0.01)
    arguments = {"other_tokens": 30.0}
    assert marginal_discard_waste(base, 40, chunk_tokens=8, **arguments) == marginal_discard_waste(
        cheap, 40, chunk_tokens=8, **arguments
    )
    assert marginal_discard_waste(cheap, 40, chunk_tokens=40, **arguments) == pytest.approx(0.1 * 40 * (20 + 30))
    assert marginal_discard_waste(base, 40, chunk_tokens=8, **arguments) < discard_waste(base, 40, **arguments)


@pytest.mark.parametrize(
    ("left_s", "can_swap", "chosen"),
    [
        (0.001, True, Handling.PRESERVE),
        (60.0, True, Handling.SWAP),
        (60.0, False, Handling.DISCARD),
        (0.1, False, Handling.PRESERVE),
    ],
)
def test_the_handling_of_least_marginal_waste_depends_on_what_is_left_of_a_call(
    left_s: float, can_swap: bool, chosen: Handling
) -> None:
    around = Surroundings(0.0, CHEAP_COPIES, 1, 12, 12, context_tokens=50, can_swap=can_swap)
    assert least_marginal_waste(make_request("a", 4), Call(10.0, left_s), around).handling is chosen
