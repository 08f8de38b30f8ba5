"""Closed forms against a walk through every step of a request's life, and as functions of what is predicted."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.footprint import Crowd, Footprint
from lamps_jax.sched.memory_over_time import (
    Pace,
    Progress,
    call_footprint,
    decode_footprint,
    gittins_footprint,
    likeliest,
    prefill_footprint,
    remaining_footprint,
    until_next_return,
)
from lamps_jax.sched.request import Handling
from lamps_jax.sched.segments import PredictedSegment

P, D, S = Handling.PRESERVE, Handling.DISCARD, Handling.SWAP
GPTJ = CostModel(10e-3, 46.3e-6, 0.0, 1e-4, 2.9e-3)

small = st.floats(0, 0.1)
cost_models = st.builds(CostModel, small, small, st.floats(0, 1e-3), small, small)
paces = st.builds(
    Pace,
    cost_models,
    block_size=st.integers(1, 8),
    other_tokens=st.integers(0, 10),
    other_context_tokens=st.integers(0, 100),
    chunk_tokens=st.one_of(st.integers(1, 40), st.just(math.inf)),
)
lengths = st.integers(0, 30)
calls = st.builds(PredictedSegment, lengths, st.floats(0, 10), lengths, st.sampled_from(Handling))
ends = st.builds(PredictedSegment, lengths)
lives = st.builds(lambda calls, end: (*calls, end), st.lists(calls, max_size=3), ends)

Piece = tuple[float, float, float]
"""A straight piece of the curve: how long it lasts, memory at its beginning, memory at its end."""


def compute(pace: Pace, held: int, new: int) -> Iterator[Piece]:
    """Steps of equal chunks."""
    chunks = max(math.ceil(new / pace.chunk_tokens), 1) if new else 0
    for number in range(chunks):
        start, end = held + new * number / chunks, held + new * (number + 1) / chunks
        yield pace.cost_model.forward_s(new / chunks + pace.other_tokens, end + pace.other_context_tokens), start, end


def copy(pace: Pace, held: int, moved: int, *, rising: bool) -> Iterator[Piece]:
    """A hundred slivers of a copy, each with the memory of its middle."""
    time = pace.cost_model.swap_s(math.ceil(moved / pace.block_size))
    for sliver in range(100):
        there = held + moved * (sliver + 0.5) / 100
        yield time / 100, there, there
    yield 0.0, held + moved * rising, held + moved * rising


def curve(pace: Pace, prompt: int, segments: tuple[PredictedSegment, ...]) -> Iterator[Piece]:
    """The life of one request, token by token."""
    context = device = host = 0
    context = prompt
    for segment in segments:
        yield from copy(pace, device, host, rising=True)
        device, host = device + host, 0
        yield from compute(pace, device, context - device)
        for _ in range(int(segment.output_tokens)):
            context += 1
            step_s = pace.cost_model.forward_s(1 + pace.other_tokens, context + pace.other_context_tokens)
            yield step_s, context - 1, context
        device = context
        if segment.api_duration_s is None:
            return
        if segment.handling is S:
            yield from copy(pace, 0, device, rising=False)
            host = device
        elif segment.handling is P:
            yield segment.api_duration_s, device, device
        device = device if segment.handling is P else 0
        context += int(segment.returned_tokens)


def area(pieces: Iterator[Piece]) -> float:
    return math.fsum(time * (start + end) / 2 for time, start, end in pieces)


@given(paces, lengths, lives)
def test_the_closed_form_is_the_area_under_the_curve_token_by_token(
    pace: Pace, prompt: int, segments: tuple[PredictedSegment, ...]
):
    footprint = remaining_footprint(pace, Progress(prompt), segments)
    assert footprint.token_s == pytest.approx(area(curve(pace, prompt, segments)), rel=1e-9, abs=1e-9)
    assert footprint.peak_tokens == max((max(start, end) for _, start, end in curve(pace, prompt, segments)), default=0)


@pytest.mark.parametrize("handling", Handling)
def test_without_reading_and_chunks_the_lines_of_the_paper_are_left(handling: Handling):
    p, o1, call_s, k, o2 = 539, 98, 12.6, 26, 72
    context, tau = p + o1, GPTJ.forward_s(1)

    def computing_s(tokens: int) -> float:
        return GPTJ.forward_s(tokens)

    before = p * computing_s(p) / 2 + tau * (p * o1 + o1**2 / 2)
    returned = context * computing_s(k) + k * computing_s(k) / 2
    after = tau * ((context + k) * o2 + o2**2 / 2)
    written = {
        P: before + context * call_s + returned + after,
        D: before + (context + k) * computing_s(context + k) / 2 + after,
        S: before + context * GPTJ.swap_s(math.ceil(context / 64)) + returned + after,
    }[handling]
    segments = (PredictedSegment(o1, call_s, k, handling), PredictedSegment(o2))
    assert remaining_footprint(Pace(GPTJ, block_size=64), Progress(p), segments).token_s == pytest.approx(written, rel=1e-12)


def test_a_request_without_a_call_is_ranked_by_its_prompt_and_output():
    pace = Pace(GPTJ)
    sizes = [(prompt, output) for prompt in (10, 100, 1000) for output in (10, 100, 1000)]
    areas = [remaining_footprint(pace, Progress(prompt), [PredictedSegment(output)]).token_s for prompt, output in sizes]
    for (prompt, output), its in zip(sizes, areas, strict=True):
        for (no_longer, no_more), other in zip(sizes, areas, strict=True):
            if no_longer <= prompt and no_more <= output:
                assert other <= its


@given(paces, st.integers(1, 30), lengths, lengths, st.data())
def test_what_is_past_and_what_remains_are_the_whole(pace: Pace, prompt: int, past: int, left: int, data: st.DataObject):
    """Cut in the middle of decoding, and in the middle of a call for each handling."""
    call = PredictedSegment(0, data.draw(st.floats(0, 10)), data.draw(lengths), data.draw(st.sampled_from(Handling)))
    rest = (PredictedSegment(data.draw(lengths)),)
    whole = remaining_footprint(pace, Progress(prompt), (replace(call, output_tokens=past + left), *rest))

    decoded = prompt + past
    first = prefill_footprint(pace, 0, prompt).then(decode_footprint(pace, prompt, past))
    decoding = Progress(decoded, computed_tokens=decoded)
    assert first.then(remaining_footprint(pace, decoding, (replace(call, output_tokens=left), *rest))) == near(whole)

    context = decoded + left
    until_call = first.then(decode_footprint(pace, decoded, left))
    elapsed = data.draw(st.floats(0, 1)) * call.api_duration_s
    if call.handling is P:
        in_call = Progress(context, computed_tokens=context, call_elapsed_s=elapsed)
        until_now = until_call.then(call_footprint(pace, context, P, elapsed))
    else:
        assume(call.handling is D or call.api_duration_s >= elapsed + pace.cost_model.swap_s(context))
        moved = context if call.handling is S else 0
        in_call = Progress(context, host_tokens=moved, call_elapsed_s=elapsed)
        copied = call_footprint(pace, context, call.handling, 0.0)
        until_now = until_call.then(copied._replace(duration_s=elapsed))
    assert until_now.then(remaining_footprint(pace, in_call, (call, *rest))) == near(whole)

    returned = context + call.returned_tokens
    device = context if call.handling is P else 0
    host = context if call.handling is S else 0
    back = Progress(returned, computed_tokens=device, host_tokens=host, once_computed_tokens=context)
    after = until_call.then(call_footprint(pace, context, call.handling, call.api_duration_s))
    assert after.then(remaining_footprint(pace, back, rest)) == near(whole)


def near(footprint: Footprint) -> object:
    return pytest.approx(footprint, rel=1e-9, abs=1e-9)


@given(paces, lengths, lives)
def test_a_footprint_alone_says_what_it_would_be_among_others(pace: Pace, prompt: int, segments: tuple[PredictedSegment, ...]):
    alone = remaining_footprint(replace(pace, other_tokens=0, other_context_tokens=0), Progress(prompt), segments)
    among = remaining_footprint(pace, Progress(prompt), segments)
    others_s = pace.cost_model.forward_s(pace.other_tokens, pace.other_context_tokens) - pace.cost_model.forward_base_s
    crowd = Crowd(others_s, pace.other_context_tokens)
    assert alone.charged_among(crowd) == pytest.approx(among.charged_token_s, rel=1e-9, abs=1e-9)
    assert alone.duration_among(crowd) == pytest.approx(among.duration_s, rel=1e-9, abs=1e-9)


@given(pace=paces, prompt=lengths, segments=lives, more=st.integers(1, 20), data=st.data())
def test_nothing_that_is_longer_makes_the_area_smaller(
    pace: Pace, prompt: int, segments: tuple[PredictedSegment, ...], more: int, data: st.DataObject
):
    its = remaining_footprint(pace, Progress(prompt), segments)
    at = data.draw(st.integers(0, len(segments) - 1))
    name = data.draw(st.sampled_from(["output_tokens", "returned_tokens", "api_duration_s"]))
    assume(name == "output_tokens" or segments[at].api_duration_s is not None)
    longer = (*segments[:at], replace(segments[at], **{name: getattr(segments[at], name) + more}), *segments[at + 1 :])
    for other in (
        remaining_footprint(pace, Progress(prompt), longer),
        remaining_footprint(pace, Progress(prompt + more), segments),
        remaining_footprint(replace(pace, other_tokens=pace.other_tokens + more), Progress(prompt), segments),
        remaining_footprint(replace(pace, other_context_tokens=pace.other_context_tokens + more), Progress(prompt), segments),
    ):
        for theirs, own in zip(other, its, strict=True):
            assert theirs >= own * (1 - 1e-9) - 1e-9


@given(pace=paces, prompt=st.integers(1, 30), output=lengths, returned=lengths, after=lengths)
def test_preserving_takes_more_than_discarding_in_a_long_enough_call(
    pace: Pace, prompt: int, output: int, returned: int, after: int
):
    """Long enough: as long as it takes to compute the whole context again."""
    long_s = prefill_footprint(pace, 0, prompt + output + returned).duration_s * (returned + 1)

    def total(handling: Handling) -> float:
        segments = (PredictedSegment(output, long_s, returned, handling), PredictedSegment(after))
        return remaining_footprint(pace, Progress(prompt), segments).token_s

    assert total(P) >= total(D) * (1 - 1e-9)


def test_each_handling_takes_least_somewhere():
    """The link of InferCept's constants, and one of eight times its rate."""

    def best(per_block_s: float, call_s: float) -> Handling:
        pace = Pace(replace(GPTJ, swap_per_block_s=per_block_s), block_size=64)

        def total(handling: Handling) -> float:
            segments = (PredictedSegment(10, call_s, 10, handling), PredictedSegment(10))
            return remaining_footprint(pace, Progress(1000), segments).token_s

        return min(Handling, key=total)

    assert best(2.9e-3, 1e-3) is P
    assert best(2.9e-3, 10.0) is D
    assert best(2.9e-3 / 8, 10.0) is S


def test_a_discarded_context_imposes_on_others_what_infercept_says():
    pace = Pace(GPTJ, other_context_tokens=1000)
    segments = (PredictedSegment(100, 5.0, 20, D), PredictedSegment(7))
    assert remaining_footprint(pace, Progress(400), segments).imposed_token_s == pytest.approx(GPTJ.forward_s(500) * 1000)
    for handling in (P, S):
        kept = (replace(segments[0], handling=handling), segments[1])
        assert remaining_footprint(pace, Progress(400), kept).imposed_token_s == 0.0


def test_a_preempted_request_imposes_what_it_computes_again_and_no_first_computation():
    pace = Pace(GPTJ, other_context_tokens=1000)
    preempted = Progress(500, computed_tokens=0, once_computed_tokens=300)
    assert remaining_footprint(pace, preempted, [PredictedSegment(1)]).imposed_token_s == pytest.approx(
        GPTJ.forward_s(300) * 1000
    )


def test_the_paper_looks_one_call_ahead_and_the_option_at_the_whole_program():
    first, second, last = PredictedSegment(10, 1.0, 5, P), PredictedSegment(20, 9.0, 5, P), PredictedSegment(30)
    assert until_next_return((first, second, last)) == (first, PredictedSegment(20))
    assert until_next_return((first, last)) == (first, last)
    assert until_next_return((last,)) == (last,)
    assert until_next_return((first,)) == (first,)
    pace = Pace(GPTJ)
    one_ahead = remaining_footprint(pace, Progress(50), until_next_return((first, second, last)))
    assert one_ahead.token_s < remaining_footprint(pace, Progress(50), (first, second, last)).token_s


def test_a_request_that_ends_with_a_return_still_computes_what_it_returned():
    pace = Pace(GPTJ)
    ended = remaining_footprint(pace, Progress(50), (PredictedSegment(10, 1.0, 5, P),))
    assert ended == near(remaining_footprint(pace, Progress(50), (PredictedSegment(10, 1.0, 5, P), PredictedSegment(0))))
    assert ended.peak_tokens == 65


def test_a_call_that_lasts_longer_than_predicted_returns_now():
    pace = Pace(GPTJ)
    late = Progress(50, computed_tokens=50, call_elapsed_s=7.0)
    due = Progress(50, computed_tokens=50, call_elapsed_s=3.0)
    segments = (PredictedSegment(99, 3.0, 5, P), PredictedSegment(10))
    assert remaining_footprint(pace, late, segments) == remaining_footprint(pace, due, segments)


@pytest.mark.parametrize("name", ["output_tokens", "api_duration_s", "returned_tokens"])
def test_a_negative_prediction_is_an_error_that_names_it(name: str):
    with pytest.raises(ValueError, match=f"{name} must be a finite number and not negative, got -1"):
        replace(PredictedSegment(1, 1.0, 1), **{name: -1})


@pytest.mark.parametrize("name", ["context_tokens", "computed_tokens", "host_tokens", "once_computed_tokens", "call_elapsed_s"])
def test_a_negative_place_is_an_error_that_names_it(name: str):
    with pytest.raises(ValueError, match=f"{name} must be a finite number and not negative, got -1"):
        replace(Progress(5, 1, 1, 1, 1.0), **{name: -1})


def test_a_pace_that_cannot_be_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="other_tokens must be a finite number and not negative, got -1"):
        Pace(GPTJ, other_tokens=-1)
    with pytest.raises(ValueError, match="block_size must be a finite number and at least 1, got 0"):
        Pace(GPTJ, block_size=0)
    with pytest.raises(ValueError, match="chunk_tokens must be at least 1, got 0"):
        Pace(GPTJ, chunk_tokens=0)


def test_more_kv_than_context_is_refused():
    with pytest.raises(ValueError, match=r"part of context_tokens \(10\), got 8 and 3"):
        Progress(10, computed_tokens=8, host_tokens=3)


def test_segments_in_a_wrong_order_are_refused():
    pace, end, call = Pace(GPTJ), PredictedSegment(1), PredictedSegment(1, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        remaining_footprint(pace, Progress(1), ())
    with pytest.raises(ValueError, match="all but the last, got none in number 1 of 2"):
        remaining_footprint(pace, Progress(1), (end, call))
    with pytest.raises(ValueError, match=r"has run for 2\.0 s, got one without a call"):
        remaining_footprint(pace, Progress(1, call_elapsed_s=2.0), (end,))


def test_the_gittins_index_of_what_is_certain_is_the_whole_program() -> None:
    pace, segments = (
        Pace(GPTJ, block_size=64),
        (PredictedSegment(50, 2.0, 30), PredictedSegment(70, 1.0, 10), PredictedSegment(20)),
    )
    whole = remaining_footprint(pace, Progress(100), segments)
    assert gittins_footprint(pace, Progress(100), segments).charged_token_s == pytest.approx(whole.charged_token_s)


def test_the_gittins_index_is_the_least_expected_cost_for_each_chance_to_end() -> None:
    pace = Pace(GPTJ, block_size=64)
    for share in (0.1, 0.5, 0.9):
        maybe = PredictedSegment(50, 2.0, 30, Handling.SWAP, share)
        segments = (maybe, maybe, PredictedSegment(70))
        ends_at = [
            remaining_footprint(pace, Progress(100), (*segments[:n], replace(segments[n], api_duration_s=None))) for n in range(3)
        ]
        costs, reached = [footprint.charged_token_s for footprint in ends_at], [1.0, share, share**2]
        chances = [1 - share, (1 - share) * share, share**2]
        # The expected cost of going on to the end of segment n: of those who end before it, and of all who get there.
        expected = [sum(chances[k] * costs[k] for k in range(n)) + reached[n] * costs[n] for n in range(3)]
        best = min(expected[n] / sum(chances[: n + 1]) for n in range(3))
        assert gittins_footprint(pace, Progress(100), segments).charged_token_s == pytest.approx(best)


def test_what_is_likelier_to_end_than_to_call_is_taken_to_end_where_only_one_future_counts() -> None:
    segments = (PredictedSegment(10, 2.0, 5, call_share=0.7), PredictedSegment(20, 2.0, 5, call_share=0.4), PredictedSegment(30))
    assert likeliest(segments) == (segments[0], PredictedSegment(20))
    assert likeliest(segments[2:]) == segments[2:]
