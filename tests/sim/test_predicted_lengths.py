from dataclasses import replace

import pytest

from lamps_jax.sched.estimates import HistoryPredictor, SeenSegment
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.predictors import LengthsPredictor, ServedPredictor
from lamps_jax.sim.reshape import scaled
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Call, Script, Segment, Span, Workload

SEGMENTS = (Segment(40, Call("tool", 2.0, 7), 55.0), Segment(9, None, 3.0))
SCRIPT = Script("type", (Span(20),), SEGMENTS)


def request(num_calls: int = 0) -> Request:
    made = Request("a", 0.0, [1, 2], SamplingParams(), request_type="type")
    made.num_calls = num_calls
    return made


def test_lengths_are_the_predicted_ones_and_all_else_is_true() -> None:
    predictor = LengthsPredictor()
    predictor.tell("a", SEGMENTS)
    assert predictor.predict(request()) == (PredictedSegment(55, 2.0, 7), PredictedSegment(3))
    assert predictor.predict(request(1)) == (PredictedSegment(3),)


def test_served_lengths_are_the_predicted_ones_and_all_else_is_learned() -> None:
    predictor, history = ServedPredictor(), HistoryPredictor()
    predictor.tell("a", SEGMENTS)
    assert predictor.predict(request()) == (PredictedSegment(55),)
    for learner in (predictor, history):
        for _ in range(4):
            learner.observe(request(), SeenSegment(0, 30, 1.5, 4))
    learned = history.predict(request())
    assert predictor.predict(request()) == (PredictedSegment(55, 1.5, 4), learned[1])


def test_scripts_without_predictions_cannot_be_served_by_them() -> None:
    with pytest.raises(ValueError, match="without predicted lengths"):
        ServedPredictor().tell("a", (Segment(3),))


def test_a_scaled_script_has_scaled_predictions() -> None:
    assert [segment.predicted_tokens for segment in scaled(SCRIPT, tokens=2.0).segments] == [110.0, 6.0]


@pytest.mark.parametrize("prediction", ["lengths", "served", "none"])
def test_predictions_of_lengths_change_the_order_of_service_alone(prediction: str) -> None:
    scripts = tuple(
        Script("type", (Span(100 + 10 * at),), (Segment(60 + at, Call("tool", 1.0, 20), 50.0 + at % 7), Segment(30, None, 20.0)))
        for at in range(40)
    )
    machine = HARDWARE["a100-40gb-vicuna-13b"]
    spec = RunSpec(Workload("w", scripts), machine, machine.scheduler_config("lamps"), 20.0, window_s=20.0, drain=True)
    results = [simulate(replace(spec, prediction=name)) for name in ("oracle", prediction)]  # pyright: ignore[reportArgumentType]
    assert results[0]["finished"] == results[1]["finished"] == results[1]["arrived"]
    assert results[0]["e2e_s"] != results[1]["e2e_s"]
