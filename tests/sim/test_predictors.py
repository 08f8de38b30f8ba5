"""What policies are told of scripts."""

from statistics import fmean, pstdev

import pytest

from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sim.predictors import NoisyPredictor, OraclePredictor, Unknown, class_means
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span

SEGMENTS = (Segment(10, Call("search", 2.0, 5)), Segment(20))


def request_of(name: str = "r", *, num_calls: int = 0, request_type: str = "") -> Request:
    request = Request(name, 0.0, [1], SamplingParams(), request_type=request_type)
    request.num_calls = num_calls
    return request


def test_an_oracle_tells_what_is_left():
    oracle = OraclePredictor()
    oracle.tell("r", SEGMENTS)
    assert oracle.predict(request_of()) == (PredictedSegment(10, 2.0, 5), PredictedSegment(20))
    assert oracle.predict(request_of(num_calls=1)) == (PredictedSegment(20),)


def test_noise_has_the_deviation_that_was_asked_for_and_is_the_same_for_the_same_request():
    noisy = NoisyPredictor(0.2, seed=3)
    for number in range(2000):
        noisy.tell(f"r{number}", SEGMENTS)
    first = [noisy.predict(request_of(f"r{number}"))[0] for number in range(2000)]
    durations, lengths = [segment.api_duration_s or 0.0 for segment in first], [segment.output_tokens for segment in first]
    assert fmean(durations) == pytest.approx(2.0, rel=0.02)
    assert pstdev(durations) == pytest.approx(0.4, rel=0.05)
    assert pstdev(lengths) == pytest.approx(2.0, rel=0.05)
    again = NoisyPredictor(0.2, seed=3)
    again.tell("r7", SEGMENTS)
    assert again.predict(request_of("r7"))[0] == first[7]


def test_noise_can_be_kept_to_durations_or_to_lengths_and_never_leaves_what_is_possible():
    durations, lengths = NoisyPredictor(9.0, lengths=False), NoisyPredictor(9.0, durations=False)
    for number in range(200):
        for noisy in (durations, lengths):
            noisy.tell(f"r{number}", SEGMENTS)
        (of_duration, _), (of_length, _) = durations.predict(request_of(f"r{number}")), lengths.predict(request_of(f"r{number}"))
        assert of_duration.output_tokens == 10
        assert (of_duration.api_duration_s or 0.0) >= 1e-9
        assert of_length.api_duration_s == 2.0
        assert of_length.output_tokens >= 1


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match=r"must not be negative, got -0\.1; 0\.1 is 10 %"):
        NoisyPredictor(-0.1)


def test_class_means_are_those_of_the_scripts_by_type_and_position_and_stay():
    scripts = [Script("math", (Span(5),), (Segment(output, Call("calculator", duration_s, 4)), Segment(output + 1)))
               for output, duration_s in ((10, 1.0), (30, 3.0))]  # fmt: skip
    means = class_means([*scripts, Script("chat", (Span(5),), (Segment(70),))])
    assert means.predict(request_of(request_type="math")) == (PredictedSegment(20, 2.0, 4), PredictedSegment(21))
    assert means.predict(request_of(request_type="chat")) == (PredictedSegment(70),)


def test_a_call_that_the_client_runs_ends_a_request():
    scripts = [Script("agent", (Span(5),), (Segment(10, Call("shell", 2.0, 5, RunBy.CLIENT)), Segment(20)))]
    assert class_means(scripts).predict(request_of(request_type="agent")) == (PredictedSegment(15),)


def test_durations_that_the_predictor_is_asked_for_are_told_by_nobody_else():
    durations = Unknown()
    for _ in range(9):
        durations.observe("search", 2.0)
    assert durations.expected_s("search") is None
    assert list(durations.past_s("search")) == [2.0] * 9
