"""What is expected of a request follows what those before it did."""

import pytest

from lamps_jax.sched.estimates import MAX_SEGMENTS, HistoryPredictor, SeenSegment
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment


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
    segments = predictor.predict(request_of("agent", num_calls=50))
    assert len(segments) == MAX_SEGMENTS  # of a type that never ends, so far
    assert [segment.output_tokens for segment in segments] == pytest.approx([(10 + 20 + 90) / 3] * MAX_SEGMENTS)


def test_a_predictor_begins_with_what_another_has_learned() -> None:
    teacher, pupil = HistoryPredictor(), HistoryPredictor()
    for output, duration_s in ((10, 1.0), (30, 3.0), (20, None)):
        teacher.observe(request_of("math"), SeenSegment(0, output, duration_s, 8 if duration_s else 0))
        teacher.observe(request_of("chat"), SeenSegment(3, output))
    pupil.restore(teacher.remembered())
    for predictor in (teacher, pupil):
        predictor.observe(request_of("math"), SeenSegment(0, 70, 9.0, 1))
    for request in (request_of("math"), request_of("chat", num_calls=3), request_of("new")):
        assert pupil.predict(request) == teacher.predict(request)
    assert pupil.remembered() == teacher.remembered()


def test_what_was_learned_counts_no_more_than_a_predictor_of_a_shorter_memory_remembers() -> None:
    teacher, pupil = HistoryPredictor(), HistoryPredictor(memory=2)
    for _ in range(100):
        teacher.observe(request_of("math"), SeenSegment(0, 10))
    pupil.restore(teacher.remembered())
    pupil.observe(request_of("math"), SeenSegment(0, 30))
    assert pupil.predict(request_of("math")) == (PredictedSegment(20),)


def test_a_predictor_takes_no_nonsense_for_knowledge() -> None:
    predictor = HistoryPredictor()
    predictor.observe(request_of("math"), SeenSegment(0, 10))
    (row, _) = predictor.remembered()
    with pytest.raises(ValueError, match="output_tokens"):
        predictor.restore([row._replace(output_tokens=float("nan"))])


def test_how_likely_a_request_is_to_call_again_is_the_share_of_those_that_did() -> None:
    predictor = HistoryPredictor()
    for calls in (True, True, True, False):
        predictor.observe(request_of("chat"), SeenSegment(0, 10, 2.0 if calls else None, 5 if calls else 0))
    predictor.observe(request_of("chat"), SeenSegment(1, 40))
    call, end = predictor.predict(request_of("chat"))
    assert (call.call_share, call.api_duration_s, call.returned_tokens) == (0.75, 2.0, 5)
    assert (end.output_tokens, end.api_duration_s) == (40, None)
