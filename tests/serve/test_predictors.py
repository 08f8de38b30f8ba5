from pathlib import Path

import pytest

from lamps_jax.config import SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.estimates import HintedPredictor, NoPredictor, Predictor
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.serve.predictors import EMBEDDED_PREDICTOR, check_predictor, predictor_named
from lamps_jax.train_predictor.live import LivePredictor
from tests.fakes import make_tokenizer, wait_until

LAMPS = SchedulerConfig(policy="lamps")


def made(name: str, model: Path = EMBEDDED_MODEL, tokenizer: Tokenizer | None = None) -> Predictor | None:
    factory = predictor_named(name, model, LAMPS)
    return None if factory is None else factory(tokenizer or make_tokenizer(), lambda: None)


def request(first: int = 7, **options: object) -> Request:
    return Request("a", 0.0, [first, 1, 2], SamplingParams(), **options)  # pyright: ignore[reportArgumentType]


def test_a_name_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path):
    with pytest.raises(ValueError, match=r"must be auto, history, oracle-hints, none or a directory .* got '.*nowhere'"):
        check_predictor(str(tmp_path / "nowhere"))


def test_history_is_what_the_scheduler_has_by_itself(tmp_path: Path):
    assert made("history") is None
    assert made("auto", model=tmp_path) is None


def test_nothing_is_loaded_for_a_policy_that_asks_nobody():
    assert predictor_named("auto", EMBEDDED_MODEL, SchedulerConfig(policy="vllm")) is None
    assert predictor_named(str(EMBEDDED_PREDICTOR), EMBEDDED_MODEL, SchedulerConfig(policy="preserve")) is None


def test_without_a_predictor_all_requests_are_alike():
    predictor = made("none")
    assert isinstance(predictor, NoPredictor)
    assert predictor.predict(request(1)) == predictor.predict(request(2)) == (PredictedSegment(128),)


def test_hints_are_believed_as_far_as_they_go():
    predictor, hints = made("oracle-hints"), (PredictedSegment(30, 0.5, 9), PredictedSegment(4))
    assert isinstance(predictor, HintedPredictor)
    asked = request(hints=hints)
    assert predictor.predict(asked) == hints
    asked.num_calls = 1
    assert predictor.predict(asked) == hints[1:]
    asked.num_calls = 2
    assert predictor.predict(asked) == predictor.predict(request()) == (PredictedSegment(128),)


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_the_embedded_model_has_a_predictor_of_its_own(same: bool):
    tokenizer = Tokenizer.from_directory(EMBEDDED_MODEL)
    if not same:
        tokenizer.hf.add_tokens(["<another>"])
    predictor = made("auto", tokenizer=tokenizer)
    assert isinstance(predictor, LivePredictor)
    try:
        lengths = {}
        for question in ("What is 48*37?", "Bring me the blunt key, please: it is in the garden room."):
            asked = Request(question, 0.0, tokenizer.encode_prompt(f"Q: {question}\nA:"), SamplingParams())
            predictor.predict(asked)
            wait_until(lambda: bool(predictor.arrived()), timeout_s=30)
            lengths[question] = predictor.predict(asked)[0].output_tokens
        assert all(2 < length < 40 for length in lengths.values())
    finally:
        predictor.stop()
