"""What a reply that ends in its client's calls has computed is kept for a while, and goes to who brings the results."""

from typing import Any

import pytest

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.client_calls import KEPT_SLACK, LONGEST_S, ClientCall, ClientCalls, num_common
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import StepResult
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState, SamplingParams
from lamps_jax.sched.scheduler import Scheduler

CALL = ClientCall(("call_1",), ("look",))
PROMPT = list(range(100, 112))


def scheduler(**options: Any) -> Scheduler:
    limits = {"token_budget": 16, "max_chunk_tokens": 16, "max_num_seqs": 4, "max_model_len": 64} | options
    num_host_blocks, cost_model = limits.pop("num_host_blocks", 0), limits.pop("cost_model", None)
    blocks = BlockManager(limits.pop("num_blocks", 33), 4, num_host_blocks=num_host_blocks)
    return Scheduler(SchedulerConfig(**limits), blocks, cost_model)


def serve_to_call(
    scheduler: Scheduler, request_id: str = "first", *, now: float = 0.0, call: ClientCall = CALL, **fields: Any
) -> Request:
    """A request whose reply, three tokens, ends in a call of the client's."""
    request = Request(request_id, now, list(PROMPT), SamplingParams(), **fields)
    scheduler.add(request)
    for token_id in (1, 2, 3):
        plan = scheduler.schedule(now)
        rows = [*(chunk for chunk in plan.prefills if chunk.sample), *plan.decodes]
        scheduler.update(StepResult(plan.step_id, {row.request_id: token_id for row in rows}), now)
    scheduler.client_called(request_id, now, call)
    scheduler.check()
    return request


def follow_up(request_id: str = "second", *, now: float = 5.0, added: int = 6, **fields: Any) -> Request:
    return Request(request_id, now, [*PROMPT, 1, 2, 3, *range(200, 200 + added)], SamplingParams(), **fields)


def test_a_kept_request_holds_its_blocks_like_one_whose_tool_runs() -> None:
    ours = scheduler()
    request = serve_to_call(ours)
    assert (request.state, request.finish_reason) == (RequestState.IN_API_CALL, FinishReason.TOOL_CALLS)
    assert (ours.num_kept, ours.num_in_api_call, len(request.block_ids)) == (1, 1, 4)
    assert not ours.abort("first")  # to its client it has ended


@pytest.mark.parametrize("answered", [["call_1"], ()], ids=["by the id of its call", "by its beginning"])
@pytest.mark.parametrize("prefix_cache", [True, False])
def test_who_brings_the_result_takes_the_blocks_over(answered: list[str], prefix_cache: bool) -> None:
    ours = scheduler(prefix_cache=prefix_cache)
    kept = serve_to_call(ours)
    blocks = list(kept.block_ids)
    second = follow_up()
    ours.add(second, answered_calls=answered)
    ours.check()
    assert (second.block_ids, second.num_computed_tokens, second.num_cached_prompt_tokens) == (blocks[:3], 12, 12)
    assert (ours.num_kept, ours.num_in_api_call) == (0, 0)
    (chunk,) = ours.schedule(5.0).prefills
    assert (chunk.request_id, chunk.start) == ("second", 12)


def test_an_id_says_it_where_the_text_was_written_anew() -> None:
    ours = scheduler()
    serve_to_call(ours)
    rewritten = Request("second", 5.0, [*PROMPT[:9], *range(50)], SamplingParams())
    ours.add(rewritten, answered_calls=["call_1"])
    ours.check()
    assert (ours.num_kept, rewritten.num_computed_tokens) == (0, 8)  # the two full blocks that are the same


def test_another_answer_to_the_same_question_is_not_taken_for_the_one_that_comes_back() -> None:
    ours = scheduler()
    serve_to_call(ours)
    ours.add(Request("again", 5.0, list(PROMPT), SamplingParams()))
    assert ours.num_kept == 1


def test_a_tenant_does_not_get_what_is_kept_for_another() -> None:
    ours = scheduler()
    serve_to_call(ours, cache_salt="a")
    for answered in (["call_1"], ()):
        second = follow_up(f"second {answered}", cache_salt="b")
        ours.add(second, answered_calls=answered)
        assert (ours.num_kept, second.block_ids) == (1, [])


def test_of_several_kept_beginnings_the_longest_is_the_one() -> None:
    ours = scheduler()
    serve_to_call(ours, "short", call=ClientCall(("call_s",), ("look",)))
    ours.schedule(1.0)
    long = Request("long", 1.0, [*PROMPT, 1, 2, 3, 200, 201], SamplingParams())
    ours.add(long)  # goes on from the first, and calls in its turn
    assert ours.num_kept == 0
    for token_id in (7, 8):
        plan = ours.schedule(1.0)
        rows = [*(chunk for chunk in plan.prefills if chunk.sample), *plan.decodes]
        ours.update(StepResult(plan.step_id, {row.request_id: token_id for row in rows}), 1.0)
    ours.client_called("long", 1.0, ClientCall(("call_l",), ("look",)))
    serve_to_call(ours, "other", now=2.0, call=ClientCall(("call_o",), ("look",)))
    third = Request("third", 3.0, [*PROMPT, 1, 2, 3, 200, 201, 7, 8, 300, 301], SamplingParams())
    ours.add(third)
    assert ours.num_kept == 1  # the other is still there
    assert ours.get("long") is None and ours.get("other") is not None


def test_further_answers_share_the_prompt_of_the_first_and_take_over_nothing_themselves() -> None:
    ours = scheduler()
    serve_to_call(ours)
    serve_to_call(ours, "alike", call=ClientCall(("call_2",), ("look",)))
    first, further = follow_up(), follow_up("further")
    ours.add(first, answered_calls=["call_1"])
    ours.add(further, answered_calls=["call_1"], fork_of="second")
    assert (first.goes_on, further.goes_on, further.block_ids, ours.num_kept) == (True, False, [], 1)
    for now in (5.0, 6.0, 7.0):
        plan = ours.schedule(now)
        rows = [*(chunk for chunk in plan.prefills if chunk.sample), *plan.decodes]
        ours.update(StepResult(plan.step_id, {row.request_id: 5 for row in rows}), now)
        ours.check()
    assert further.block_ids[:5] == first.block_ids[:5]


def test_clients_that_come_back_long_before_they_said_leave_nothing_behind() -> None:
    ours = scheduler()
    for turn in range(200):
        serve_to_call(ours, f"first {turn}", call=ClientCall((f"call_{turn}",), ("look",), expected_s=1e6))
        ours.add(follow_up(f"second {turn}"), answered_calls=[f"call_{turn}"])
        ours.abort(f"second {turn}")
    assert len(ours._swapper._expected) < 100


def test_nothing_more_is_predicted_of_a_kept_request() -> None:
    ours = scheduler()
    serve_to_call(ours)
    assert not ours.predict_anew("first", 1.0)


def test_nobody_comes_and_the_blocks_are_let_go_in_time() -> None:
    ours = scheduler(client_keep_s=30.0)
    serve_to_call(ours)
    ours.schedule(29.9)
    assert (ours.num_kept, ours.next_wake_s()) == (1, 30.0)
    ours.schedule(30.0)
    assert (ours.num_kept, ours.blocks.num_free_blocks, ours.get("first")) == (0, 32, None)
    late = follow_up(now=31.0)
    ours.add(late, answered_calls=["call_1"])
    ours.schedule(31.0)
    assert late.num_cached_prompt_tokens == 12  # they can still be found


def test_nothing_is_kept_where_that_is_wished() -> None:
    ours = scheduler(client_keep_s=0.0)
    serve_to_call(ours)
    assert (ours.num_kept, ours.blocks.num_free_blocks, ours.get("first")) == (0, 32, None)


def test_how_long_clients_take_is_learned_and_kept_to() -> None:
    history = CallHistory()
    ours = ClientCalls(history, block_size=4, limit_s=60.0)
    assert ours.keep_s(CALL) == 60.0
    for duration_s in (1.0, 2.0, 3.0, 4.0):
        history.observe("look", duration_s, 5, finish_reason=FinishReason.TOOL_CALLS)
    assert ours.keep_s(CALL) == 4.0 * KEPT_SLACK
    assert ours.expected_s(CALL) == 2.5
    assert ours.keep_s(ClientCall(("x",), ("other",))) == 60.0
    assert ours.keep_s(ClientCall(("x",), ("look",), expected_s=100.0)) == 100.0 * KEPT_SLACK
    assert ours.keep_s(ClientCall(("x",), ("look",), keep_s=(10.0, None))) == 10.0
    assert ours.keep_s(ClientCall(("x",), ("look",), expected_s=100.0, keep_s=(None, 20.0))) == 20.0
    assert ours.keep_s(ClientCall(("x",), ("look",), expected_s=1e6, keep_s=(1e6, None))) == LONGEST_S


def test_the_wait_for_a_client_is_observed_when_it_comes_back() -> None:
    ours = scheduler()
    for turn in range(3):
        serve_to_call(ours, f"first {turn}", now=10.0 * turn, call=ClientCall((f"call_{turn}",), ("look",)))
        second = follow_up(f"second {turn}", now=10.0 * turn + 4.0)
        ours.add(second, answered_calls=[f"call_{turn}"])
        ours.abort(f"second {turn}")
    assert ours.call_history.expected_s("look", finish_reason=FinishReason.TOOL_CALLS) == pytest.approx(4.0)
    assert ours.call_history.expected_returned_tokens("look", finish_reason=FinishReason.TOOL_CALLS) == pytest.approx(6.0)
    assert ours.call_history.expected_s("look") is None  # what the server runs is another matter


@pytest.mark.parametrize(
    ("policy", "handling"), [("preserve", Handling.PRESERVE), ("vllm", Handling.DISCARD), ("swap", Handling.SWAP)]
)
def test_the_policy_says_what_becomes_of_the_blocks(policy: str, handling: Handling) -> None:
    ours = scheduler(policy=policy, num_host_blocks=16, cost_model=CostModel(1.0, 0.1, 0.0, 0.0, 0.1))
    request = serve_to_call(ours)
    for now in (1.0, 2.0, 3.0):
        ours.schedule(now)
    assert request.handling is handling
    places = (len(request.block_ids), len(request.host_block_ids))
    assert places == {Handling.PRESERVE: (4, 0), Handling.DISCARD: (0, 0), Handling.SWAP: (0, 4)}[handling]


def test_swapped_blocks_are_handed_over_on_the_host_and_brought_back() -> None:
    ours = scheduler(policy="swap", prefix_cache=False, num_host_blocks=16, cost_model=CostModel(1.0, 0.1, 0.0, 0.0, 0.1))
    serve_to_call(ours)
    for now in (1.0, 2.0):
        ours.schedule(now)
    second = follow_up()
    ours.add(second, answered_calls=["call_1"])
    ours.check()
    assert (len(second.host_block_ids), second.num_computed_tokens) == (3, 12)
    plans = [ours.schedule(5.0 + step) for step in range(4)]
    ours.check()
    assert sum(len(plan.swap_ins) for plan in plans) == 3
    assert next(chunk for plan in plans for chunk in plan.prefills).start == 12


def test_lamps_weighs_what_a_client_is_expected_to_take() -> None:
    costs = CostModel(0.01, 0.001, 0.0, 0.0, 0.5)
    short, long = (
        serve_to_call(
            scheduler(policy="lamps", num_host_blocks=16, cost_model=costs),
            call=ClientCall(("c",), ("look",), expected_s=seconds),
        )
        for seconds in (0.001, 1000.0)
    )
    assert short.handling is Handling.PRESERVE
    assert long.handling is not Handling.PRESERVE


def test_a_full_pool_takes_what_is_kept_before_a_new_request_waits_in_vain() -> None:
    ours = scheduler(num_blocks=17)
    kept = serve_to_call(ours)
    for number in range(2):
        ours.add(Request(f"r{number}", 1.0, [1000 * number + at for at in range(26)], SamplingParams()))
    for now in range(2, 8):
        plan = ours.schedule(float(now))
        rows = [*(chunk for chunk in plan.prefills if chunk.sample), *plan.decodes]
        ours.update(StepResult(plan.step_id, {row.request_id: 5 for row in rows}), float(now))
        ours.check()
    assert all(ours.get(f"r{number}").num_sampled_tokens for number in range(2))  # type: ignore[union-attr]
    assert (kept.block_ids, ours.num_kept) == ([], 1)


def test_leading_tokens_in_common_are_counted() -> None:
    assert num_common([1, 2, 3], [1, 2, 3, 4]) == 3
    assert num_common([1, 2, 3], [1, 9, 3]) == 1
    assert num_common([], [1]) == 0


def test_a_higher_priority_goes_first_and_a_stated_length_is_believed() -> None:
    ours = scheduler(policy="sjf", max_num_seqs=1)
    for name, fields in (("plain", {}), ("short", {"expected_output_tokens": 1.0}), ("urgent", {"priority": 3})):
        ours.add(Request(name, 0.0, [ord(name[0])] * 5, SamplingParams(), **fields))
    order = []
    for _ in range(3):
        (chunk,) = ours.schedule(0.0).prefills
        order.append(chunk.request_id)
        ours.abort(chunk.request_id)
    assert order == ["urgent", "short", "plain"]
