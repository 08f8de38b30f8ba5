import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from lamps_jax.models.opt import OPTConfig
from lamps_jax.sched.estimates import HistoryPredictor, SeenSegment
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.train_predictor import live
from lamps_jax.train_predictor.live import LivePredictor
from lamps_jax.train_predictor.model import begin
from lamps_jax.train_predictor.predict import Description, LengthPredictor
from tests.sched.drive import make_scheduler

SHAPE = OPTConfig(
    vocab_size=50, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_position=64, embedding_size=16
)


class FirstToken(LengthPredictor):
    """Says that an output will be as long as the first token's number, once it is let."""

    def __init__(self) -> None:
        super().__init__(SHAPE, begin(SHAPE, 50, seed=0), Description(10, 50, 64))
        self.may_answer, self.batches = threading.Event(), list[int]()
        self.may_answer.set()

    def probabilities(self, rows: Sequence[Sequence[int]]) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.may_answer.wait()
        if any(row[0] == 13 for row in rows):
            raise RuntimeError("an unlucky request")
        self.batches.append(len(rows))
        return np.eye(50, dtype=np.float32)[[row[0] for row in rows]]


def request(name: str, first: int, **options: object) -> Request:
    return Request(name, 0.0, [first, 1, 2], SamplingParams(max_tokens=400), **options)  # pyright: ignore[reportArgumentType]


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def lengths() -> FirstToken:
    return FirstToken()


@pytest.fixture
def reports() -> list[tuple[float, int]]:
    return []


@pytest.fixture
def predictor(lengths: FirstToken, reports: list[tuple[float, int]]) -> Iterator[LivePredictor]:
    made = LivePredictor(lengths, HistoryPredictor(), report=lambda predicted, actual: reports.append((predicted, actual)))
    yield made
    lengths.may_answer.set()
    made.stop()


def arrived(predictor: LivePredictor, count: int) -> list[str]:
    names: list[str] = []
    until(lambda: names.extend(predictor.arrived()) or len(names) >= count)
    return names


def test_a_request_has_what_its_type_does_until_its_own_estimate_is_there(predictor: LivePredictor, lengths: FirstToken) -> None:
    lengths.may_answer.clear()
    asked = request("a", 7)
    begun = time.monotonic()
    assert predictor.predict(asked)[0].output_tokens == 128
    assert time.monotonic() - begun < 1
    assert predictor.arrived() == []
    lengths.may_answer.set()
    assert arrived(predictor, 1) == ["a"]
    assert predictor.predict(asked)[0].output_tokens == 75


def test_calls_are_what_the_type_does(predictor: LivePredictor) -> None:
    for _ in range(5):
        predictor.observe(request("other", 1, request_type="x"), SeenSegment(0, 30, 2.0, 11))
    asked = request("a", 7, request_type="x")
    predictor.predict(asked)
    arrived(predictor, 1)
    first, *_ = predictor.predict(asked)
    assert (first.output_tokens, first.api_duration_s, first.returned_tokens) == (75, 2.0, 11)


def test_no_estimate_is_longer_than_the_request_may_be(predictor: LivePredictor) -> None:
    asked = Request("a", 0.0, [9, 1], SamplingParams(max_tokens=20))
    predictor.predict(asked)
    arrived(predictor, 1)
    assert predictor.predict(asked)[0].output_tokens == 20


def test_each_resumed_segment_is_predicted_anew_from_all_its_tokens(predictor: LivePredictor) -> None:
    asked = request("a", 7)
    predictor.predict(asked)
    arrived(predictor, 1)
    predictor.observe(asked, SeenSegment(0, 60, 1.0, 3))
    asked.num_calls, asked.token_ids[0] = 1, 3
    predictor.predict(asked)
    assert arrived(predictor, 1) == ["a"]
    assert predictor.predict(asked)[0].output_tokens == 35


def test_what_was_predicted_is_reported_with_what_came(predictor: LivePredictor, reports: list[tuple[float, int]]) -> None:
    asked = request("a", 7)
    predictor.predict(asked)
    arrived(predictor, 1)
    predictor.observe(asked, SeenSegment(0, 71))
    predictor.observe(request("unpredicted", 7), SeenSegment(0, 50))
    assert reports == [(75.0, 71)]


def test_requests_that_come_meanwhile_are_predicted_together(predictor: LivePredictor, lengths: FirstToken) -> None:
    lengths.may_answer.clear()
    predictor.predict(request("first", 1))
    until(lambda: not predictor._asked)
    for number in range(40):
        predictor.predict(request(str(number), 2))
    lengths.may_answer.set()
    arrived(predictor, 41)
    assert lengths.batches == [1, 32, 8]


def test_an_estimate_that_fails_leaves_the_others_alone(predictor: LivePredictor, caplog: pytest.LogCaptureFixture) -> None:
    predictor.predict(request("unlucky", 13))
    until(lambda: "no lengths could be predicted" in caplog.text)
    predictor.predict(request("a", 7))
    assert arrived(predictor, 1) == ["a"]


def test_those_that_have_waited_longest_go_without_when_too_many_wait(
    predictor: LivePredictor, lengths: FirstToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths.may_answer.clear()
    predictor.predict(request("taken", 1))
    until(lambda: not predictor._asked)
    for number in range(live.MOST_WAITING + 10):
        predictor.predict(request(str(number), 2))
    lengths.may_answer.set()
    names = arrived(predictor, live.MOST_WAITING + 1)
    assert names[:2] == ["taken", "10"]


def test_an_estimate_that_comes_late_moves_a_waiting_request(predictor: LivePredictor, lengths: FirstToken) -> None:
    scheduler = make_scheduler(policy="sjf", predictor=predictor, max_num_seqs=1, starvation_threshold=0)
    lengths.may_answer.clear()
    for name, first in (("runs", 4), ("long", 9), ("short", 1)):
        scheduler.add(request(name, first))
    scheduler.schedule(0.0)
    lengths.may_answer.set()
    for name in arrived(predictor, 3):
        assert scheduler.predict_anew(name, 0.0)
    scheduler.check()
    scheduler.finish("runs", FinishReason.STOP, 0.0)
    plan = scheduler.schedule(1.0)
    assert [chunk.request_id for chunk in plan.prefills] == ["short"]
    assert not scheduler.predict_anew("runs", 1.0)


def test_nothing_is_kept_of_requests_that_have_ended(predictor: LivePredictor) -> None:
    asked = request("a", 7)
    predictor.predict(asked)
    arrived(predictor, 1)
    predictor.forget("a")
    assert predictor._known == {}


def test_an_estimate_that_nobody_knows_is_refused(lengths: FirstToken) -> None:
    with pytest.raises(ValueError, match="no estimate 'best'; known are mode, mean, median, tail-inflated"):
        LivePredictor(lengths, HistoryPredictor(), estimate="best")
