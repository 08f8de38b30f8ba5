"""Scripts cut, thinned and scaled stay scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sim.reshape import Shape, capped, scaled, single_api, without_calls, without_trailing_call
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload
from tests.sim.published import read_published
from tests.sim.scripts import any_script, client_call, script, server_call


def test_single_api_keeps_the_first_call_and_one_segment_behind_it() -> None:
    made = script(Segment(1, server_call()), Segment(2, server_call()), Segment(3))
    assert single_api(made) == script(Segment(1, server_call()), Segment(2))


def test_single_api_leaves_a_request_of_one_segment() -> None:
    assert single_api(script(Segment(1))) == script(Segment(1))


def test_single_api_of_the_published_mixture_is_the_published_single_api() -> None:
    multi, single = (read_published(f"infercept_{kind}_api.jsonl") for kind in ("multi", "single"))
    derived = [single_api(made) for made in multi.scripts]
    for ours, theirs in zip(derived, single.scripts, strict=True):
        assert (ours.request_type, ours.prompt, ours.segments) == (theirs.request_type, theirs.prompt, theirs.segments)


def test_trailing_calls_go_and_others_stay() -> None:
    made = script(Segment(1, server_call()), Segment(2, server_call()))
    assert without_trailing_call(made) == script(Segment(1, server_call()), Segment(2))
    assert without_trailing_call(script(Segment(1, server_call()), Segment(2))).calls == (server_call(),)


def test_a_request_without_calls_generates_as_much_as_with_them() -> None:
    assert without_calls(script(Segment(1, server_call()), Segment(2, server_call()), Segment(3))) == script(Segment(6))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (40, [Segment(10, server_call(num_returned_tokens=5)), Segment(7, server_call(num_returned_tokens=7))]),
        (33, [Segment(10, server_call(num_returned_tokens=5)), Segment(7, server_call(num_returned_tokens=0))]),
        (32, [Segment(10, server_call(num_returned_tokens=5)), Segment(7)]),
        (28, [Segment(10, server_call(num_returned_tokens=5)), Segment(3)]),
        (22, [Segment(10, server_call(num_returned_tokens=1)), Segment(1)]),
        (15, [Segment(5)]),
    ],
)
def test_a_context_that_is_full_ends_the_request(limit: int, expected: list[Segment]) -> None:
    first, second = server_call(num_returned_tokens=5), server_call(num_returned_tokens=9)
    assert list(capped(script(Segment(10, first), Segment(7, second)), limit).segments) == expected


def test_a_prompt_that_is_too_long_leaves_room_for_one_token() -> None:
    made = Script("test", (Span(6, "tools"), Span(9)), (Segment(5),))
    assert capped(made, 8) == Script("test", (Span(6, "tools"), Span(1)), (Segment(1),))


def test_a_session_ends_before_the_turn_that_does_not_fit() -> None:
    made = script(Segment(5, client_call(num_returned_tokens=100)), Segment(5))
    assert capped(made, 50) == script(Segment(5))


def test_a_compacted_session_goes_on() -> None:
    compaction = Call("user", 1.0, 5, RunBy.CLIENT, 2)
    made = script(Segment(15, compaction), Segment(5, client_call(num_returned_tokens=100)), Segment(5))
    assert capped(made, 30) == script(Segment(15, compaction), Segment(5))


@given(any_script(), st.integers(2, 200))
def test_no_context_passes_the_limit(made: Script, limit: int) -> None:
    cut = capped(made, limit)
    assert cut.max_context_tokens <= limit
    assert cut == made or made.max_context_tokens > limit
    assert cut.num_generated_tokens <= made.num_generated_tokens and len(cut.calls) <= len(made.calls)


def test_a_limit_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="room for a prompt and a token, so 2 or more, got 1"):
        capped(script(Segment(1)), 1)


def test_scaled_lengths_and_durations_are_multiplied() -> None:
    made = script(Segment(20, server_call(duration_s=8.0, num_returned_tokens=30)), Segment(2), prompt=100)
    smaller = script(Segment(2, server_call(duration_s=4.0, num_returned_tokens=3)), Segment(1), prompt=10)
    assert scaled(made, tokens=0.1, durations=0.5) == smaller


def test_a_prompt_that_keeps_a_token_keeps_one_when_scaled() -> None:
    compaction = Call("user", 0.0, 0, RunBy.CLIENT, 1)
    assert scaled(script(Segment(1, compaction), Segment(1)), tokens=0.5).calls == (compaction,)


@given(any_script(), st.floats(0.01, 3))
def test_scaling_keeps_the_segments_and_their_order(made: Script, factor: float) -> None:
    changed = scaled(made, tokens=factor)
    assert len(changed.turns()) == len(made.turns())
    assert [call.duration_s for call in changed.calls] == [call.duration_s for call in made.calls]


@pytest.mark.parametrize(("tokens", "durations"), [(0.0, 1.0), (1.0, -1.0)])
def test_a_factor_that_is_not_positive_is_an_error(tokens: float, durations: float) -> None:
    with pytest.raises(ValueError, match="factors must be positive"):
        scaled(script(Segment(1)), tokens=tokens, durations=durations)


def test_a_shape_does_all_of_it_in_its_order() -> None:
    made = script(Segment(100, server_call(2.0, 100)), Segment(200, server_call()), prompt=100)
    shape = Shape(single_api=True, token_scale=0.1, duration_scale=0.5, max_context_tokens=35)
    (changed,) = shape.apply(Workload("w", (made,))).scripts
    assert changed == script(Segment(10, server_call(1.0, 10)), Segment(5), prompt=10)


def test_a_shape_drops_trailing_calls_and_keeps_arrival_times() -> None:
    workload = Workload("w", (script(Segment(1, server_call())),), (0.0,))
    assert Shape(trailing_calls=False).apply(workload) == Workload("w", (script(Segment(1)),), (0.0,))
    assert Shape().apply(workload) == workload
