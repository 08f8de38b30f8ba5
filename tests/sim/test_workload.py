"""A script adds up, and its turns are the same tokens seen from the server."""

from typing import Any

import pytest
from hypothesis import given

from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload
from tests.sim.scripts import any_script, client_call, script, server_call


def test_calls_of_the_server_leave_one_turn_with_all_segments() -> None:
    (turn,) = script(Segment(3, server_call()), Segment(4)).turns()
    assert (turn.num_prompt_tokens, turn.wait_s, turn.client_call) == (10, 0.0, None)
    assert [segment.num_generated_tokens for segment in turn.segments] == [3, 4]
    assert turn.segments[0].call == server_call()


def test_a_call_of_the_client_ends_the_turn_and_the_next_prompt_begins_with_all_of_it() -> None:
    call = client_call(duration_s=7.0, num_returned_tokens=5)
    first, second = script(Segment(3, call), Segment(4)).turns()
    assert first.client_call == call and first.segments == (Segment(3),)
    assert (second.wait_s, second.num_kept_tokens, second.added) == (7.0, 13, (Span(5),))
    assert second.num_prompt_tokens == 18


def test_a_client_may_keep_less_of_the_context() -> None:
    _, second = script(Segment(3, client_call(num_kept_tokens=6)), Segment(4)).turns()
    assert (second.num_kept_tokens, second.num_prompt_tokens) == (6, 11)


def test_both_kinds_of_calls_may_follow_each_other_within_a_script() -> None:
    turns = script(Segment(1, server_call()), Segment(2, client_call()), Segment(3, server_call()), Segment(4)).turns()
    assert [[segment.num_generated_tokens for segment in turn.segments] for turn in turns] == [[1, 2], [3, 4]]
    assert turns[1].num_kept_tokens == 10 + 1 + 5 + 2


def test_a_script_that_ends_in_a_call_generates_one_token_more() -> None:
    (turn,) = script(Segment(3, server_call(num_returned_tokens=5))).turns()
    assert turn.segments[-1] == Segment(1)
    assert script(Segment(3, server_call(num_returned_tokens=5))).max_context_tokens == 10 + 3 + 5 + 1


def test_contexts_are_counted_with_what_calls_return() -> None:
    made = script(Segment(3, server_call(num_returned_tokens=5)), Segment(4, server_call(num_returned_tokens=6)), Segment(7))
    assert [context for context, _ in made.contexts_at_calls()] == [13, 22]
    assert made.num_final_tokens == 35


def test_the_longest_context_may_lie_before_a_compaction() -> None:
    assert script(Segment(90, client_call(num_kept_tokens=1)), Segment(1)).max_context_tokens == 100


@given(any_script())
def test_turns_and_script_agree_on_every_context(made: Script) -> None:
    turns, contexts = made.turns(), []
    for turn in turns:
        context = turn.num_prompt_tokens
        for segment in turn.segments:
            context += segment.num_generated_tokens
            contexts.append(context)
            context += segment.call.num_returned_tokens if segment.call else 0
    ends_in_call = made.segments[-1].call is not None
    assert contexts[: len(made.calls)] == [context for context, _ in made.contexts_at_calls()]
    assert sum(turn.num_generated_tokens for turn in turns) == made.num_generated_tokens + ends_in_call
    assert max(contexts) == made.max_context_tokens
    assert contexts[-1] == made.num_final_tokens + ends_in_call


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Span(0), "num_tokens must be at least 1, got 0"),
        (lambda: Segment(0), "num_generated_tokens must be at least 1, got 0"),
        (lambda: Call("a", -1.0, 0), "duration_s must be a finite number of seconds, 0 or more, got -1"),
        (lambda: Call("a", float("inf"), 0), "duration_s must be a finite number"),
        (lambda: Call("a", 0.0, -2), "num_returned_tokens must be at least 0, got -2"),
        (lambda: Call("a", 0.0, 0, RunBy.SERVER, 3), "only a call that the client runs may drop context, got num_kept_tokens=3"),
        (lambda: Script("a", (), (Segment(1),)), "needs a prompt"),
        (lambda: script(), "needs at least one segment"),
        (lambda: script(Segment(1), Segment(1)), "only the last of 2 segments may lack a call, segment 0 has none"),
        (lambda: script(Segment(1, client_call(num_kept_tokens=12)), Segment(1)), "cannot keep 12 tokens of a context of 11"),
        (lambda: script(Segment(1, client_call(1.0, 0, 0)), Segment(1)), "must keep or add a token"),
        (lambda: Workload("w", ()), "workload 'w' has no script"),
        (lambda: Workload("w", (script(Segment(1)),), (0.0, 1.0)), "has 1 scripts and 2 arrival times"),
        (lambda: Workload("w", (script(Segment(1)),) * 2, (2.0, 1.0)), "must ascend from 0"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_so(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
