"""Stories of memory in two tiers, told step by step. Random ones are in test_scheduler_machine.py."""

from typing import Any

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import BlockCopy, StepPlan, StepResult
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from tests.sched.drive import make_request, make_scheduler

TWO_BLOCKS_A_STEP = CostModel(1.0, 0.0, 0.0, 0.0, 0.5)
"""A step of a second, in which two blocks move."""


def scheduler_with_host(**options: Any) -> Scheduler:
    """Blocks of one token, so that stories can count."""
    usual: dict[str, Any] = {
        "num_blocks": 13, "block_size": 1, "num_host_blocks": 12, "max_model_len": 12, "max_chunk_tokens": 12, "token_budget": 12,
    }  # fmt: skip
    return make_scheduler(**(usual | options))


def add(scheduler: Scheduler, name: str, num_tokens: int) -> Request:
    request = make_request(name, num_tokens)
    scheduler.add(request)
    return request


def turn(scheduler: Scheduler, now: float = 0.0, token_id: int = 7, **lost: frozenset[int]) -> StepPlan:
    """One step whose result is known before the next."""
    plan = scheduler.schedule(now)
    scheduler.check()
    asked = [chunk.request_id for chunk in plan.prefills if chunk.sample] + [decode.request_id for decode in plan.decodes]
    scheduler.update(StepResult(plan.step_id, dict.fromkeys(asked, token_id), **lost), now)
    scheduler.check()
    return plan


def calling(scheduler: Scheduler, name: str, num_tokens: int, *, now: float = 0.0, expected_s: float | None = None) -> Request:
    """A request that has sampled one token and called a tool with it."""
    request = add(scheduler, name, num_tokens)
    turn(scheduler, now)
    scheduler.api_called(name, now, expected_s)
    return request


def rows(plan: StepPlan) -> list[tuple[str, int, int]]:
    """Request, first position and number of tokens of every chunk."""
    return [(chunk.request_id, chunk.start, len(chunk.token_ids)) for chunk in plan.prefills]


def copies(pairs: tuple[BlockCopy, ...]) -> list[tuple[int, int]]:
    return [(copy.device_block, copy.host_block) for copy in pairs]


# A call that is swapped.


def test_a_swapped_request_leaves_from_its_end_and_comes_back_from_its_beginning_before_it_resumes():
    scheduler = scheduler_with_host(policy="swap")
    request = calling(scheduler, "a", 3)
    held = list(request.block_ids)
    plan = turn(scheduler)
    assert [device for device, _ in copies(plan.swap_outs)] == held[::-1]
    assert (request.block_ids, len(request.host_block_ids), request.handling) == ([], 3, Handling.SWAP)
    assert scheduler.blocks.num_free_blocks == 12
    on_host = list(request.host_block_ids)
    scheduler.api_returned("a", [8, 9], 1.0)
    plan = turn(scheduler)
    assert [host for _, host in copies(plan.swap_ins)] == on_host
    assert (plan.prefills, plan.decodes) == ((), ())
    (chunk,) = turn(scheduler).prefills
    assert (chunk.start, list(chunk.token_ids)) == (3, [7, 8, 9])
    assert request.num_recomputed_tokens == 0
    assert scheduler.blocks.host.num_free == 12


def test_copies_of_a_step_are_no_more_than_it_hides():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    request = calling(scheduler, "a", 5)
    assert [len(turn(scheduler).swap_outs) for _ in range(4)] == [2, 2, 1, 0]
    scheduler.api_returned("a", [8], 1.0)
    plans = [turn(scheduler) for _ in range(8)]
    assert sum(len(plan.swap_ins) for plan in plans) == 5
    assert all(len(plan.swap_ins) <= 2 for plan in plans)
    assert request.num_sampled_tokens >= 1


def test_a_tiny_budget_still_moves_something():
    slow = CostModel(0.001, 0.0, 0.0, 0.0, 10.0)
    scheduler = scheduler_with_host(policy="swap", cost_model=slow)
    calling(scheduler, "a", 3)
    assert len(turn(scheduler).swap_outs) > 0


def test_a_full_host_leaves_a_call_on_the_device_until_others_need_the_place():
    scheduler = scheduler_with_host(policy="swap", num_host_blocks=2)
    request = calling(scheduler, "a", 5)
    turn(scheduler)
    assert (len(request.block_ids), len(request.host_block_ids)) == (3, 2)
    add(scheduler, "b", 11)
    turn(scheduler)
    assert (request.block_ids, request.host_block_ids, request.handling) == ([], [], Handling.DISCARD)
    scheduler.api_returned("a", [8], 1.0)
    scheduler.finish("b", FinishReason.STOP, 1.0)
    (chunk,) = turn(scheduler).prefills
    assert (chunk.request_id, chunk.start) == ("a", 0)


def test_without_a_host_the_swap_system_keeps_blocks_and_gives_them_up_only_under_pressure():
    scheduler = scheduler_with_host(policy="swap", num_host_blocks=0)
    request = calling(scheduler, "a", 3)
    assert not turn(scheduler)
    assert len(request.block_ids) == 3


def test_a_request_whose_blocks_the_device_still_has_resumes_at_once():
    scheduler = scheduler_with_host(policy="swap", prefix_cache=True, max_num_seqs=1)
    calling(scheduler, "a", 4)
    turn(scheduler)
    add(scheduler, "b", 2)
    turn(scheduler)
    scheduler.api_returned("a", [8], 1.0)
    turn(scheduler)
    scheduler.finish("b", FinishReason.STOP, 1.0)
    plan = scheduler.schedule(1.0)
    assert (plan.swap_ins, rows(plan)) == ((), [("a", 4, 2)])


# Changes on the fly.


def test_a_preserved_call_gives_the_host_just_what_another_needs():
    scheduler = scheduler_with_host(policy="preserve")
    paused = calling(scheduler, "a", 6)
    add(scheduler, "b", 6)
    turn(scheduler)
    plan = turn(scheduler)  # b decodes: one block is wanting
    assert len(plan.swap_outs) == 1
    assert (len(paused.block_ids), len(paused.host_block_ids), paused.handling) == (5, 1, Handling.PRESERVE)


def test_a_call_that_takes_too_long_is_swapped_out_and_until_then_kept():
    scheduler = scheduler_with_host(policy="preserve", preserve_limit_s=5.0)
    request = calling(scheduler, "a", 3, now=1.0)
    assert scheduler.next_wake_s() == 6.0
    assert not turn(scheduler, 5.9)
    assert len(turn(scheduler, 6.0).swap_outs) == 3
    assert (request.block_ids, request.handling) == ([], Handling.SWAP)
    assert scheduler.next_wake_s() is None


def test_a_call_that_takes_too_long_is_discarded_where_there_is_no_host():
    scheduler = scheduler_with_host(policy="preserve", preserve_limit_s=5.0, num_host_blocks=0)
    request = calling(scheduler, "a", 3)
    turn(scheduler, 5.0)
    assert (request.block_ids, request.handling) == ([], Handling.DISCARD)


def test_a_running_request_is_preempted_by_swapping_and_computes_nothing_twice():
    scheduler = scheduler_with_host(policy="swap", max_num_seqs=2)
    first, second = add(scheduler, "a", 5), add(scheduler, "b", 5)
    while not second.num_preemptions:
        turn(scheduler)
    assert second.state is RequestState.WAITING
    assert second.host_block_ids
    while len(first.token_ids) < 11:
        turn(scheduler)
    scheduler.finish("a", FinishReason.STOP, 0.0)
    sampled = second.num_sampled_tokens
    for _ in range(4):
        turn(scheduler)
    assert second.num_sampled_tokens > sampled
    assert second.num_recomputed_tokens == 0


# Prefetching.


def test_blocks_come_back_before_the_call_is_expected_to_return():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    request = calling(scheduler, "a", 2, expected_s=100.0)
    turn(scheduler, 1.0)
    assert len(request.host_block_ids) == 2
    wake_s = scheduler.next_wake_s()
    assert wake_s is not None
    assert 90.0 < wake_s < 100.0
    assert not turn(scheduler, wake_s - 0.1)
    moved = [len(turn(scheduler, wake_s + step).swap_ins) for step in range(3)]
    assert sum(moved) == 2
    scheduler.api_returned("a", [8], 100.0)
    (chunk,) = turn(scheduler, 100.0).prefills
    assert chunk.start == 2


def test_what_is_brought_back_stays_although_the_rest_is_still_coming():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    calling(scheduler, "a", 8, expected_s=100.0)
    plans = [turn(scheduler, second) for second in range(6)]
    assert sum(len(plan.swap_outs) for plan in plans) == 8
    plans = [turn(scheduler, 80.0 + second) for second in range(20)]
    assert sum(len(plan.swap_ins) for plan in plans) == 8
    assert not any(plan.swap_outs for plan in plans)


def test_a_moment_between_a_plan_and_the_question_when_to_wake_is_not_missed():
    scheduler = scheduler_with_host(policy="preserve", preserve_limit_s=5.0)
    calling(scheduler, "a", 3, now=1.0)
    turn(scheduler, 5.9999)
    assert scheduler.next_wake_s() == 6.0


def test_an_overdue_call_wakes_an_idle_engine():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    calling(scheduler, "a", 2, expected_s=10.0)
    for second in range(12):
        turn(scheduler, float(second))
    assert scheduler.next_wake_s() == 20.0


def test_a_call_that_is_overdue_is_swapped_out_again():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    request = calling(scheduler, "a", 2, expected_s=10.0)
    for second in range(12):
        turn(scheduler, float(second))
    assert not request.host_block_ids
    for second in range(20, 24):
        turn(scheduler, float(second))
    assert not request.block_ids


def test_nothing_is_fetched_ahead_at_the_expense_of_those_that_run():
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    request = calling(scheduler, "a", 4, expected_s=10.0)
    for second in range(4):
        turn(scheduler, float(second))
    add(scheduler, "b", 10)
    turn(scheduler, 5.0)
    assert not turn(scheduler, 9.0).swap_ins
    assert len(request.host_block_ids) == 4


# What is found again.


def test_a_discarded_request_takes_up_what_nobody_needed_meanwhile():
    scheduler = scheduler_with_host(policy="vllm-head", prefix_cache=True, num_host_blocks=0)
    request = calling(scheduler, "a", 5)
    assert request.block_ids == []
    assert scheduler.blocks.num_free_blocks == 12
    scheduler.api_returned("a", [8, 9], 1.0)
    (chunk,) = turn(scheduler).prefills
    assert (chunk.start, list(chunk.token_ids)) == (5, [7, 8, 9])
    assert (request.num_found_tokens, request.num_recomputed_tokens) == (5, 0)


def test_a_second_request_with_the_same_beginning_shares_its_blocks_but_one_of_another_tenant_does_not():
    scheduler = scheduler_with_host(prefix_cache=True)
    first = add(scheduler, "a", 4)
    turn(scheduler)
    second, stranger = make_request("b", 4), make_request("c", 4)
    stranger.cache_salt = "tenant"
    scheduler.add(second)
    scheduler.add(stranger)
    plan = turn(scheduler)
    starts = {chunk.request_id: chunk.start for chunk in plan.prefills}
    assert starts == {"b": 3, "c": 0}
    assert second.block_ids[:3] == first.block_ids[:3]
    assert not set(stranger.block_ids) & set(first.block_ids)


@pytest.mark.parametrize("prefix_cache", [False, True])
def test_several_answers_to_one_prompt_compute_it_once_and_do_not_write_into_each_other(prefix_cache: bool):
    scheduler = scheduler_with_host(
        num_blocks=33, block_size=4, max_model_len=32, max_chunk_tokens=4, token_budget=32, prefix_cache=prefix_cache
    )
    first = add(scheduler, "a", 10)
    others = [make_request(name, 10) for name in "bc"]
    for other in others:
        scheduler.add(other, fork_of="a")
    plans = [turn(scheduler) for _ in range(5)]
    computed = sum(len(chunk.token_ids) for plan in plans for chunk in plan.prefills)
    assert computed == 10 + 2 * 2  # of the others only what does not fill a block
    for other in others:
        assert other.block_ids[:2] == first.block_ids[:2]
    assert len({request.block_ids[2] for request in (first, *others)}) == 3


def test_a_fork_waits_for_what_its_parent_is_bringing_back():
    scheduler = scheduler_with_host(policy="swap", max_num_seqs=2, num_blocks=40, num_host_blocks=40)
    calling(scheduler, "parent", 4)
    turn(scheduler)
    scheduler.add(make_request("child", 4), fork_of="parent")
    scheduler.api_returned("parent", [8], 1.0)
    plan = scheduler.schedule(2.0)
    assert (len(plan.swap_ins), rows(plan)) == (4, [])
    assert ("child", 3, 1) in rows(scheduler.schedule(3.0))


def test_a_fork_of_a_request_that_has_ended_computes_its_prompt_itself_and_one_with_another_prompt_is_refused():
    scheduler = scheduler_with_host()
    add(scheduler, "a", 5)
    with pytest.raises(ValueError, match="'b' is no fork of 'a': their prompts differ"):
        scheduler.add(make_request("b", 6), fork_of="a")
    scheduler.add(make_request("b", 5), fork_of="a")
    scheduler.abort("a")
    (chunk,) = turn(scheduler).prefills
    assert (chunk.request_id, chunk.start) == ("b", 0)


def test_what_only_the_host_still_has_is_brought_back_instead_of_computed():
    scheduler = scheduler_with_host(policy="swap", prefix_cache=True)
    request = calling(scheduler, "a", 6)
    turn(scheduler)
    other = Request("b", 0.0, list(range(200, 211)), SamplingParams())  # takes the place of what was cached on the device
    scheduler.add(other)
    turn(scheduler)
    scheduler.abort("a")
    scheduler.finish("b", FinishReason.STOP, 0.0)
    assert scheduler.blocks.host.num_cached == 6
    again = add(scheduler, "again", 6)
    plan = turn(scheduler)
    assert len(plan.swap_ins) == 4  # the first block survived on the device
    (chunk,) = turn(scheduler).prefills
    assert (chunk.request_id, chunk.start) == ("again", 5)
    assert again.num_found_tokens == 5
    assert request.state is RequestState.FINISHED


# Failures.


def test_a_request_whose_blocks_did_not_arrive_computes_them_again_and_its_junk_sample_is_dropped():
    scheduler = scheduler_with_host(policy="swap")
    request = calling(scheduler, "a", 3)
    turn(scheduler)
    scheduler.api_returned("a", [8], 1.0)
    arriving = frozenset(copy.device_block for copy in turn(scheduler).swap_ins)
    turn(scheduler, token_id=99, lost_blocks=arriving)
    assert 99 not in request.token_ids
    (chunk,) = turn(scheduler).prefills
    assert (chunk.start, list(chunk.token_ids)) == (0, [100, 101, 102, 7, 8])


def test_a_request_that_lost_a_host_block_keeps_what_is_before_it():
    scheduler = scheduler_with_host(policy="swap")
    request = calling(scheduler, "a", 4)
    turn(scheduler)
    lost = frozenset({request.host_block_ids[2]})
    plan = scheduler.schedule(0.0)
    scheduler.update(StepResult(plan.step_id, {}, lost_host_blocks=lost), 0.0)
    scheduler.check()
    assert (len(request.host_block_ids), request.num_computed_tokens) == (2, 2)
    scheduler.api_returned("a", [8], 1.0)
    turn(scheduler)
    (chunk,) = turn(scheduler).prefills
    assert chunk.start == 2


def test_a_sample_drawn_before_a_loss_was_known_is_dropped_although_its_request_was_preempted_meanwhile():
    scheduler = scheduler_with_host(policy="swap")
    add(scheduler, "a", 2)
    turn(scheduler)
    second = calling(scheduler, "b", 4)
    turn(scheduler)
    scheduler.api_returned("b", [8], 1.0)
    plan = scheduler.schedule(1.0)
    lost = frozenset(copy.device_block for copy in plan.swap_ins)
    scheduler.update(StepResult(plan.step_id, {"a": 7}), 1.0)
    junk, _ = scheduler.schedule(1.0), scheduler.schedule(1.0)  # b computes from junk, and a preempts it
    scheduler.update(StepResult(junk.step_id, {"a": 9, "b": 99}, lost_blocks=lost), 1.0)
    scheduler.check()
    assert second.token_ids == [100, 101, 102, 103, 7, 8]


def test_a_block_that_may_not_have_arrived_does_not_go_to_the_host_again():
    scheduler = scheduler_with_host(policy="swap", cost_model=CostModel(1.0, 0.0, 0.0, 0.0, 0.01))
    request = calling(scheduler, "a", 6, expected_s=10.0)
    turn(scheduler, 1.0)
    arriving = {copy.device_block for copy in scheduler.schedule(9.5).swap_ins}
    assert len(arriving) == 6
    add(scheduler, "b", 11)
    plan = scheduler.schedule(9.6)
    assert not arriving & {copy.device_block for copy in plan.swap_outs}
    assert (request.block_ids, request.num_computed_tokens) == ([], 0)


@pytest.mark.parametrize("when", ["going out", "on the host", "coming in"])
def test_an_abort_in_mid_swap_leaves_nothing_behind(when: str):
    scheduler = scheduler_with_host(policy="swap", cost_model=TWO_BLOCKS_A_STEP)
    request = calling(scheduler, "a", 6)
    turn(scheduler)
    if when != "going out":
        for _ in range(3):
            turn(scheduler)
        assert not request.block_ids
    if when == "coming in":
        scheduler.api_returned("a", [8], 1.0)
        turn(scheduler)
        assert request.block_ids
        assert request.host_block_ids
    assert scheduler.abort("a")
    scheduler.check()
    for _ in range(2):
        turn(scheduler)
    assert scheduler.blocks.num_free_blocks == 12
    assert scheduler.blocks.host.num_free == 12
    add(scheduler, "b", 11)
    assert len(turn(scheduler).prefills) == 1


def test_a_device_full_of_paused_requests_and_a_full_host_still_serve_a_new_one():
    scheduler = scheduler_with_host(policy="preserve", num_host_blocks=3)
    paused = [calling(scheduler, name, 3) for name in "abcd"]
    assert scheduler.blocks.num_free_blocks == 0
    add(scheduler, "e", 10)
    (chunk,) = turn(scheduler).prefills
    assert chunk.request_id == "e"
    for request in paused:
        scheduler.api_returned(request.request_id, [8], 1.0)
    scheduler.finish("e", FinishReason.STOP, 1.0)
    for _ in range(12):
        turn(scheduler)
        for request in paused:
            if request.num_sampled_tokens >= 2 and request.state is RequestState.RUNNING:
                scheduler.finish(request.request_id, FinishReason.STOP, 1.0)
    assert all(request.state is RequestState.FINISHED for request in paused)
