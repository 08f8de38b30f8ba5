"""What is expected of a tool follows what it did."""

import pytest

from lamps_jax.sched.estimates import MIN_CALLS, CallDurations, HistoryPredictor, SeenSegment
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment


def test_nothing_is_expected_of_a_tool_before_it_has_been_seen_a_few_times() -> None:
    durations = CallDurations()
    for _ in range(MIN_CALLS - 1):
        durations.observe("search", 2.0)
    assert durations.expected_s("search") is None
    durations.observe("search", 5.0)
    assert durations.expected_s("search") == pytest.approx(3.0)
    assert durations.expected_s("calculator") is None


def test_a_tool_that_has_become_slower_is_soon_expected_to_be_slow() -> None:
    durations = CallDurations(memory=10)
    for _ in range(1000):
        durations.observe("search", 1.0)
    for _ in range(30):
        durations.observe("search", 9.0)
    assert durations.expected_s("search") > 8.0


def test_the_durations_of_a_tool_are_remembered_in_ascending_order_and_the_oldest_forgotten() -> None:
    durations = CallDurations(memory=4)
    for duration_s in (9.0, 1.0, 5.0, 3.0, 2.0, 2.0):
        durations.observe("search", duration_s)
    assert list(durations.past_s("search")) == [2.0, 2.0, 3.0, 5.0]
    assert not durations.past_s("calculator")


def request_of(request_type: str, *, num_calls: int = 0, max_tokens: int | None = None) -> Request:
    request = Request("r", 0.0, [1], SamplingParams(max_tokens=max_tokens), request_type=request_type)
    request.num_calls = num_calls
    return request


def test_a_request_is_predicted_to_do_what_those_of_its_type_did_on_the_average() -> None:
    predictor = HistoryPredictor()
    for output, duration_s, returned in ((10, 1.0, 4), (30, 3.0, 8)):
        predictor.observe(request_of("math"), SeenSegment(0, output, duration_s, returned))
        predictor.observe(request_of("math"), SeenSegment(1, output + 10))
    predictor.observe(request_of("chat"), SeenSegment(0, 500))
    assert predictor.predict(request_of("math")) == (PredictedSegment(20, 2.0, 6), PredictedSegment(30))
    assert predictor.predict(request_of("math", num_calls=1)) == (PredictedSegment(30),)
    assert predictor.predict(request_of("chat")) == (PredictedSegment(500),)


def test_a_type_that_was_never_seen_is_taken_for_the_average_of_all_and_nothing_for_a_number_of_tokens() -> None:
    predictor = HistoryPredictor(default_tokens=77)
    assert predictor.predict(request_of("new")) == (PredictedSegment(77),)
    predictor.observe(request_of("math"), SeenSegment(0, 10))
    predictor.observe(request_of("chat"), SeenSegment(0, 30))
    assert predictor.predict(request_of("new")) == (PredictedSegment(20),)


def test_nothing_is_predicted_beyond_what_the_request_allows() -> None:
    assert HistoryPredictor().predict(request_of("", max_tokens=5)) == (PredictedSegment(5),)


def test_segments_far_into_a_request_are_taken_for_alike() -> None:
    predictor = HistoryPredictor(max_positions=2)
    for position in (1, 2, 9):
        predictor.observe(request_of("agent"), SeenSegment(position, 10 * position, 1.0, 0))
    (first, _) = predictor.predict(request_of("agent", num_calls=50))
    assert first.output_tokens == pytest.approx((10 + 20 + 90) / 3)
