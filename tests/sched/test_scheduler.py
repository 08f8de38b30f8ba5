"""Single stories, told step by step. Random ones are in test_scheduler_machine.py."""

import pytest

from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.policy import SYSTEMS
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from tests.sched.drive import make_request, make_scheduler


def add(scheduler: Scheduler, name: str, num_tokens: int, **sampling: int) -> Request:
    request = make_request(name, num_tokens, **sampling)
    scheduler.add(request)
    return request


def rows(plan: StepPlan) -> list[tuple[str, int, int]]:
    """Request, first position and number of tokens of everything in a plan."""
    chunks = [(chunk.request_id, chunk.start, len(chunk.token_ids)) for chunk in plan.prefills]
    return chunks + [(decode.request_id, decode.position, 1) for decode in plan.decodes]


def samples(plan: StepPlan, token_id: int = 7) -> StepResult:
    asked = [chunk.request_id for chunk in plan.prefills if chunk.sample] + [decode.request_id for decode in plan.decodes]
    return StepResult(plan.step_id, dict.fromkeys(asked, token_id))


def turn(scheduler: Scheduler, token_id: int = 7) -> StepPlan:
    """One step whose samples are known before the next."""
    plan = scheduler.schedule(0.0)
    scheduler.check()
    scheduler.update(samples(plan, token_id), 0.0)
    scheduler.check()
    return plan


# What may come in.


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="empty"):
        add(make_scheduler(), "a", 0)


@pytest.mark.parametrize("num_tokens", [32, 33])
def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_with_both_lengths(num_tokens: int):
    with pytest.raises(ValueError, match=f"{num_tokens} tokens.*32"):
        add(make_scheduler(max_model_len=32), "a", num_tokens)


def test_a_prompt_that_leaves_room_for_one_token_is_served():
    scheduler = make_scheduler(max_model_len=32)
    request = add(scheduler, "a", 31)
    for _ in range(4):
        turn(scheduler)
    assert len(request.token_ids) == 32


def test_an_id_in_use_is_refused_and_a_finished_one_may_be_used_again():
    scheduler = make_scheduler()
    add(scheduler, "a", 3)
    with pytest.raises(ValueError, match="'a' is in use"):
        add(scheduler, "a", 3)
    scheduler.abort("a")
    add(scheduler, "a", 3)


def test_a_refused_request_leaves_no_trace():
    scheduler = make_scheduler()
    for num_tokens in (0, 99):
        with pytest.raises(ValueError, match="prompt"):
            add(scheduler, "a", num_tokens)
    assert scheduler.requests() == []
    assert not scheduler.schedule(0.0)


def test_a_pool_smaller_than_one_request_is_refused():
    with pytest.raises(ValueError, match=r"28 tokens.*32"):
        make_scheduler(num_blocks=8, block_size=4, max_model_len=32)
    make_scheduler(num_blocks=9, block_size=4, max_model_len=32)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="unknown policy"):
        make_scheduler(policy="random")


# Prefill and decode.


def test_prompts_are_served_in_order_of_arrival_under_the_token_budget():
    scheduler = make_scheduler(token_budget=16, max_chunk_tokens=16)
    for name in "abc":
        add(scheduler, name, 10)
    assert rows(turn(scheduler)) == [("a", 0, 10), ("b", 0, 6)]
    assert rows(turn(scheduler)) == [("b", 6, 4), ("c", 0, 10), ("a", 10, 1)]


def test_a_long_prompt_is_computed_in_chunks_and_sampled_only_at_its_end():
    scheduler = make_scheduler(token_budget=16, max_chunk_tokens=8)
    add(scheduler, "a", 19)
    chunks = [turn(scheduler).prefills[0] for _ in range(3)]
    assert [(chunk.start, len(chunk.token_ids), chunk.sample) for chunk in chunks] == [
        (0, 8, False),
        (8, 8, False),
        (16, 3, True),
    ]
    assert [token for chunk in chunks for token in chunk.token_ids] == list(range(100, 119))


def test_a_last_chunk_of_one_token_is_a_decode_of_a_known_token():
    scheduler = make_scheduler(max_chunk_tokens=8)
    add(scheduler, "a", 9)
    turn(scheduler)
    (decode,) = turn(scheduler).decodes
    assert (decode.token_id, decode.position) == (108, 8)


def test_every_token_of_the_budget_is_used_while_prompts_wait():
    scheduler = make_scheduler(token_budget=16, max_chunk_tokens=16, max_num_seqs=8)
    for number in range(6):
        add(scheduler, f"r{number}", 7)
    assert [turn(scheduler).num_tokens for _ in range(2)] == [16, 16]


def test_running_requests_decode_before_new_ones_start():
    scheduler = make_scheduler(token_budget=4, max_chunk_tokens=4, max_num_seqs=4)
    add(scheduler, "a", 2)
    turn(scheduler)
    add(scheduler, "b", 9)
    assert rows(turn(scheduler)) == [("b", 0, 3), ("a", 2, 1)]


def test_no_more_than_max_num_seqs_run_and_the_next_takes_the_slot_that_becomes_free():
    scheduler = make_scheduler(max_num_seqs=2)
    for name in "abc":
        add(scheduler, name, 3)
    plan = turn(scheduler)
    assert [chunk.request_id for chunk in plan.prefills] == ["a", "b"]
    assert (scheduler.num_running, scheduler.num_waiting) == (2, 1)
    scheduler.finish("a", FinishReason.STOP, 0.0)
    (chunk,) = turn(scheduler).prefills
    assert (chunk.request_id, chunk.slot) == ("c", plan.prefills[0].slot)


def test_an_input_that_is_still_being_sampled_is_left_on_the_device():
    scheduler = make_scheduler()
    add(scheduler, "a", 3)
    first = scheduler.schedule(0.0)
    second = scheduler.schedule(0.0)
    assert second.decodes[0].token_id is None
    scheduler.update(samples(first, 7), 0.0)
    scheduler.update(samples(second, 8), 0.0)
    assert scheduler.schedule(0.0).decodes[0].token_id == 8


def test_a_request_whose_last_allowed_token_is_under_way_is_not_planned_again():
    scheduler = make_scheduler()
    request = add(scheduler, "a", 3, max_tokens=2)
    first, second, third = (scheduler.schedule(0.0) for _ in range(3))
    assert (bool(first), bool(second), bool(third)) == (True, True, False)
    for plan in (first, second):
        scheduler.update(samples(plan), 0.0)
    assert request.num_sampled_tokens == 2


def test_a_request_whose_context_is_full_with_the_token_under_way_is_not_planned_again():
    scheduler = make_scheduler(max_model_len=8, max_chunk_tokens=8, num_blocks=9)
    request = add(scheduler, "a", 6)
    plans = [scheduler.schedule(0.0) for _ in range(3)]
    assert [bool(plan) for plan in plans] == [True, True, False]
    for plan in plans[:2]:
        scheduler.update(samples(plan), 0.0)
    assert len(request.token_ids) == 8


def test_end_of_text_is_banned_for_exactly_min_tokens_samples():
    scheduler = make_scheduler()
    scheduler.add(Request("a", 0.0, [1, 2], SamplingParams(min_tokens=3)))
    bans = [turn(scheduler).prefills[0].ban_eos] + [turn(scheduler).decodes[0].ban_eos for _ in range(4)]
    assert bans == [True, True, True, False, False]


def test_step_ids_count_up():
    scheduler = make_scheduler()
    add(scheduler, "a", 3)
    assert [scheduler.schedule(0.0).step_id for _ in range(3)] == [0, 1, 2]


# Want of memory.


def test_preemption_takes_the_one_served_last_and_the_oldest_always_goes_on():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, token_budget=12, max_chunk_tokens=9)
    oldest, middle, youngest = (add(scheduler, name, 2) for name in "abc")
    turn(scheduler)  # all hold 2 of the 9 blocks
    turn(scheduler)  # and now 3
    plan = turn(scheduler)
    assert rows(plan) == [("a", 3, 1), ("b", 3, 1)]
    assert (youngest.state, youngest.num_preemptions, youngest.block_ids) == (RequestState.WAITING, 1, [])
    for _ in range(4):
        assert rows(turn(scheduler))[0] == ("a", len(oldest.token_ids) - 2, 1)
    assert len(oldest.token_ids) == 9
    assert middle.num_preemptions == 1


def test_nobody_is_admitted_in_the_step_that_preempts():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    for name in "abc":
        add(scheduler, name, 2)
    turn(scheduler)
    turn(scheduler)
    add(scheduler, "d", 1)
    assert turn(scheduler).prefills == ()


def test_a_preempted_request_keeps_its_sample_under_way_and_computes_all_its_tokens_again():
    scheduler = make_scheduler(num_blocks=7, block_size=1, max_model_len=6, max_chunk_tokens=6, max_num_seqs=2)
    add(scheduler, "a", 2)
    second = add(scheduler, "b", 2)
    first_plan = scheduler.schedule(0.0)
    second_plan = scheduler.schedule(0.0)  # 3 and 3 blocks of 6
    scheduler.update(samples(first_plan, 7), 0.0)
    third_plan = scheduler.schedule(0.0)
    assert rows(third_plan) == [("a", 3, 1)]
    assert second.num_pending_samples == 1
    scheduler.update(samples(second_plan, 8), 0.0)
    assert second.token_ids[2:] == [7, 8]
    scheduler.abort("a")
    (chunk,) = scheduler.schedule(0.0).prefills
    assert (chunk.start, list(chunk.token_ids)) == (0, second.token_ids)
    assert second.num_recomputed_tokens == 3


@pytest.mark.parametrize("policy", [name for name, system in SYSTEMS.items() if system.first_come])
def test_a_preempted_request_resumes_before_a_younger_one_starts(policy: str):
    scheduler = make_scheduler(policy=policy, num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    for name in "abc":
        add(scheduler, name, 2)
    turn(scheduler)
    turn(scheduler)
    add(scheduler, "d", 1)
    turn(scheduler)  # preempts c
    scheduler.finish("a", FinishReason.STOP, 0.0)
    assert turn(scheduler).prefills[0].request_id == "c"


def test_a_request_starts_only_when_its_whole_prompt_fits():
    scheduler = make_scheduler(num_blocks=9, block_size=4, max_chunk_tokens=4)
    add(scheduler, "a", 20)
    add(scheduler, "b", 13)
    assert rows(turn(scheduler)) == [("a", 0, 4), ("b", 0, 4)]
    assert scheduler.blocks.num_free_blocks == 6
    add(scheduler, "c", 28)
    assert "c" not in [name for name, _, _ in rows(turn(scheduler))]


# Calls.


def calling(scheduler: Scheduler, *names: str, num_tokens: int = 3) -> list[Request]:
    """Requests that have sampled one token and called a tool with it."""
    requests = [add(scheduler, name, num_tokens) for name in names]
    turn(scheduler)
    for name in names:
        scheduler.api_called(name, 0.0)
    scheduler.check()
    return requests


@pytest.mark.parametrize("policy", SYSTEMS)
def test_a_request_in_a_call_holds_no_slot_and_is_not_planned(policy: str):
    scheduler = make_scheduler(policy=policy)
    (request,) = calling(scheduler, "a")
    assert request.state is RequestState.IN_API_CALL
    assert (scheduler.num_running, scheduler.num_waiting, scheduler.num_in_api_call) == (0, 0, 1)
    assert not scheduler.schedule(0.0)


def test_preserved_blocks_are_kept_and_only_the_rest_is_computed_after_the_call():
    scheduler = make_scheduler(policy="preserve")
    (request,) = calling(scheduler, "a")
    held = list(request.block_ids)
    scheduler.api_returned("a", [8, 9], 0.0)
    (chunk,) = turn(scheduler).prefills
    assert (chunk.start, list(chunk.token_ids)) == (3, [7, 8, 9])
    assert list(chunk.block_ids)[: len(held)] == held
    assert request.num_recomputed_tokens == 0


@pytest.mark.parametrize("policy", ["vllm", "vllm-head"])
def test_discarded_blocks_are_free_at_once_and_all_is_computed_after_the_call(policy: str):
    scheduler = make_scheduler(policy=policy)
    (request,) = calling(scheduler, "a")
    assert scheduler.blocks.num_free_blocks == scheduler.blocks.num_blocks - 1
    assert request.handling is Handling.DISCARD
    scheduler.api_returned("a", [8, 9], 0.0)
    (chunk,) = turn(scheduler).prefills
    assert (chunk.start, list(chunk.token_ids)) == (0, [100, 101, 102, 7, 8, 9])
    assert request.num_recomputed_tokens == 3


def order_after_a_call(policy: str) -> list[str]:
    scheduler = make_scheduler(policy=policy, max_num_seqs=1)
    add(scheduler, "returns", 3)
    turn(scheduler)
    add(scheduler, "newcomer", 3)
    scheduler.api_called("returns", 0.0)
    scheduler.api_returned("returns", [8], 0.0)
    order = [rows(turn(scheduler))[0][0]]
    scheduler.finish(order[0], FinishReason.STOP, 0.0)
    return [*order, rows(turn(scheduler))[0][0]]


@pytest.mark.parametrize("policy", ["preserve", "vllm-head"])
def test_a_request_resumes_at_its_old_place(policy: str):
    assert order_after_a_call(policy) == ["returns", "newcomer"]


def test_under_vllm_a_request_resumes_at_the_tail():
    assert order_after_a_call("vllm") == ["newcomer", "returns"]


def test_the_sample_that_ran_on_past_a_call_is_dropped_when_it_comes_in():
    scheduler = make_scheduler()
    request = add(scheduler, "a", 3)
    first = scheduler.schedule(0.0)
    ran_on = scheduler.schedule(0.0)
    scheduler.update(samples(first, 7), 0.0)
    scheduler.api_called("a", 0.0)
    scheduler.api_returned("a", [8, 9], 0.0)
    resumed = scheduler.schedule(0.0)
    assert scheduler.update(samples(ran_on, 55), 0.0) == []
    assert scheduler.update(samples(resumed, 10), 0.0) == [(request, 10)]
    assert request.token_ids[3:] == [7, 8, 9, 10]


def test_samples_of_a_request_that_ended_are_dropped():
    scheduler = make_scheduler()
    add(scheduler, "a", 3)
    plan = scheduler.schedule(0.0)
    scheduler.abort("a")
    assert scheduler.update(samples(plan), 0.0) == []


def test_a_rewritten_last_token_is_computed_although_the_old_one_was():
    scheduler = make_scheduler(policy="preserve")
    request = add(scheduler, "a", 3)
    first = scheduler.schedule(0.0)
    scheduler.schedule(0.0)  # computes position 3 already
    scheduler.update(samples(first, 7), 0.0)
    scheduler.api_called("a", 0.0)
    scheduler.replace_last_token("a", [20, 21])
    assert request.token_ids == [100, 101, 102, 20, 21]
    scheduler.api_returned("a", [8], 0.0)
    (chunk,) = scheduler.schedule(0.0).prefills
    assert (chunk.start, list(chunk.token_ids)) == (3, [20, 21, 8])


def test_a_request_that_was_preempted_before_its_call_was_known_goes_into_the_call_all_the_same():
    scheduler = make_scheduler(num_blocks=7, block_size=1, max_model_len=6, max_chunk_tokens=6, max_num_seqs=2)
    add(scheduler, "a", 2)
    second = add(scheduler, "b", 2)
    plans = [scheduler.schedule(0.0) for _ in range(2)]
    scheduler.update(samples(plans[0], 7), 0.0)
    scheduler.schedule(0.0)  # preempts b, whose second sample is under way
    scheduler.update(samples(plans[1], 8), 0.0)
    assert second.state is RequestState.WAITING
    scheduler.api_called("b", 0.0)
    scheduler.check()
    assert second.state is RequestState.IN_API_CALL
    scheduler.abort("a")
    assert not scheduler.schedule(0.0), "its old place in the queue still counts"
    scheduler.api_returned("b", [9], 0.0)
    assert rows(scheduler.schedule(0.0)) == [("b", 0, 5)]


def test_the_place_in_the_queue_from_before_a_call_is_lost_under_vllm_also_after_a_preemption():
    scheduler = make_scheduler(policy="vllm", num_blocks=7, block_size=1, max_model_len=6, max_chunk_tokens=6, max_num_seqs=2)
    add(scheduler, "a", 2)
    add(scheduler, "b", 2)
    plans = [scheduler.schedule(0.0) for _ in range(2)]
    scheduler.update(samples(plans[0], 7), 0.0)
    scheduler.schedule(0.0)  # preempts b, whose second sample is under way
    scheduler.update(samples(plans[1], 8), 0.0)
    scheduler.api_called("b", 0.0)
    add(scheduler, "c", 5)
    scheduler.api_returned("b", [9], 0.0)
    scheduler.abort("a")
    assert rows(scheduler.schedule(0.0)) == [("c", 0, 5)]


def test_paused_requests_give_way_to_a_running_one_youngest_first():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    first, second = calling(scheduler, "p", "q")
    add(scheduler, "r", 3)
    turn(scheduler)
    assert scheduler.blocks.num_free_blocks == 0
    turn(scheduler)
    assert (len(first.block_ids), second.block_ids, second.handling) == (3, [], Handling.DISCARD)


def test_paused_requests_give_way_to_an_otherwise_idle_device():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    first, second = calling(scheduler, "p", "q")
    add(scheduler, "r", 6)
    assert rows(turn(scheduler)) == [("r", 0, 6)]
    assert (len(first.block_ids), second.block_ids) == (3, [])


def test_paused_requests_keep_their_blocks_from_one_that_waits_while_the_device_is_busy():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    first, second = calling(scheduler, "p", "q")
    add(scheduler, "r", 1)
    turn(scheduler)
    add(scheduler, "s", 6)
    assert rows(turn(scheduler)) == [("r", 1, 1)]
    assert (len(first.block_ids), len(second.block_ids)) == (3, 3)


def test_requests_that_wait_with_blocks_give_way_to_the_first_in_the_queue_when_nothing_runs():
    scheduler = make_scheduler(num_blocks=10, block_size=1, max_model_len=9, max_chunk_tokens=9)
    first, second = calling(scheduler, "p", "q")
    scheduler.api_returned("p", [8, 8, 8, 8], 0.0)  # 8 tokens: 5 more blocks, and 3 are free
    scheduler.api_returned("q", [9, 9, 9, 9], 0.0)
    assert rows(turn(scheduler)) == [("p", 3, 5)]
    assert (len(first.block_ids), second.block_ids) == (8, [])


def test_a_result_is_cut_so_that_one_more_token_can_be_generated():
    scheduler = make_scheduler(max_model_len=8, num_blocks=9)
    (request,) = calling(scheduler, "a")
    assert scheduler.room_tokens(request) == 3
    scheduler.api_returned("a", [9] * 10, 0.0)
    assert len(request.token_ids) == 7
    assert scheduler.room_tokens(request) == 0
    turn(scheduler)
    assert (len(request.token_ids), scheduler.room_tokens(request)) == (8, -1)


def test_a_request_whose_call_returns_nothing_goes_on_where_it_was():
    scheduler = make_scheduler()
    calling(scheduler, "a")
    known = list(scheduler.requests()[0].token_ids)
    scheduler.api_returned("a", [], 0.0)
    (chunk,) = scheduler.schedule(0.0).prefills
    assert (list(chunk.token_ids), chunk.sample) == (known[chunk.start :], True)


def test_a_result_without_room_is_refused():
    scheduler = make_scheduler(max_model_len=5, num_blocks=9)
    calling(scheduler, "a")
    scheduler.replace_last_token("a", [7, 7])
    with pytest.raises(ValueError, match="no room"):
        scheduler.api_returned("a", [8], 0.0)
    scheduler.finish("a", FinishReason.LENGTH, 0.0)
    scheduler.check()


# Ends.


@pytest.mark.parametrize("policy", SYSTEMS)
@pytest.mark.parametrize("state", RequestState)
def test_an_abort_in_any_state_frees_everything(policy: str, state: RequestState):
    scheduler = make_scheduler(policy=policy)
    request = add(scheduler, "a", 20)
    if state is not RequestState.WAITING:
        turn(scheduler)
    if state is RequestState.IN_API_CALL:
        turn(scheduler)
        turn(scheduler)
        scheduler.api_called("a", 0.0)
    if state is RequestState.FINISHED:
        scheduler.finish("a", FinishReason.STOP, 0.0)
    assert request.state is state
    assert scheduler.abort("a") is (state is not RequestState.FINISHED)
    scheduler.check()
    assert scheduler.blocks.num_free_blocks == scheduler.blocks.num_blocks - 1
    assert scheduler.get("a") is None
    assert not scheduler.schedule(0.0)
    expected = FinishReason.STOP if state is RequestState.FINISHED else FinishReason.ABORT
    assert request.finish_reason is expected


def test_aborting_a_stranger_is_no_error():
    assert make_scheduler().abort("nobody") is False


def test_requests_are_listed_in_order_of_arrival_until_they_end():
    scheduler = make_scheduler()
    for name in "abc":
        add(scheduler, name, 2)
    scheduler.abort("b")
    assert [request.request_id for request in scheduler.requests()] == ["a", "c"]
