"""What the simulator lets policies know of the scripts that it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from statistics import pstdev

from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.estimates import HistoryPredictor, NoPredictor, Predictor, SeenSegment
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sim.workload import RunBy, Script, Segment

MIN_DURATION_S, MIN_TOKENS = 1e-9, 1.0


class Told:
    """What a predictor is told of each request before it is added."""

    def __init__(self) -> None:
        self._scripts: dict[str, tuple[PredictedSegment, ...]] = {}

    def tell(self, request_id: str, segments: Sequence[Segment]) -> None:
        """What a request that is about to be added will do."""
        self._scripts[request_id] = self.altered(request_id, tuple(map(as_predicted, segments)))

    def forget(self, request_id: str) -> None:
        """Forgets a request that has ended."""
        self._scripts.pop(request_id, None)

    def altered(self, request_id: str, segments: tuple[PredictedSegment, ...]) -> tuple[PredictedSegment, ...]:
        """What is said of a request of which `segments` is true."""
        return segments


class OraclePredictor(Told):
    """Knows what each request will do.

    Source: both released codes are given the recorded lengths and durations of InferCept's mixture.
    """

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """The segments that are left."""
        return self._scripts[request.request_id][request.num_calls :]

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """There is nothing to learn."""


class NoisyPredictor(OraclePredictor):
    """Knows what each request will do but for normal noise with so many times the value as its deviation.

    Source: LAMPS, error injection: predicted = measured + N(0, p measured), at least 1e-9 s and 1 token.

    Args:
        deviation: p.
        durations: Whether durations of calls are noisy.
        lengths: Whether output lengths are.
    """

    def __init__(self, deviation: float, *, seed: int = 0, durations: bool = True, lengths: bool = True):
        if not deviation >= 0:
            raise ValueError(f"the noise of predictions must not be negative, got {deviation}; 0.1 is 10 %")
        super().__init__()
        self._deviation, self._seed, self._durations, self._lengths = deviation, seed, durations, lengths

    def altered(self, request_id: str, segments: tuple[PredictedSegment, ...]) -> tuple[PredictedSegment, ...]:
        """Each value with its own noise, the same for the same seed and request."""
        rng, noisy = Random(f"noise/{self._seed}/{request_id}"), []
        for segment in segments:
            by_duration, by_length = rng.gauss(0, self._deviation), rng.gauss(0, self._deviation)
            duration_s, output = segment.api_duration_s, segment.output_tokens
            if duration_s is not None and self._durations:
                duration_s = max(MIN_DURATION_S, duration_s * (1 + by_duration))
            if self._lengths:
                output = max(MIN_TOKENS, output * (1 + by_length))
            noisy.append(PredictedSegment(output, duration_s, segment.returned_tokens))
        return tuple(noisy)


class LengthsPredictor(OraclePredictor):
    """Knows everything but the lengths of outputs, of which it believes what a length predictor has said."""

    def tell(self, request_id: str, segments: Sequence[Segment]) -> None:
        """As for an oracle, with the predicted lengths."""
        self._scripts[request_id] = tuple(as_predicted(segment, segment.predicted_tokens) for segment in segments)


class ServedPredictor(Told):
    """What a server with a trained predictor knows: predicted lengths, and all else as requests of the type did it."""

    def __init__(self) -> None:
        super().__init__()
        self._history = HistoryPredictor()

    def tell(self, request_id: str, segments: Sequence[Segment]) -> None:
        """Takes the predicted lengths, and nothing else."""
        unpredicted = [segment for segment in segments if segment.predicted_tokens is None]
        if unpredicted:
            raise ValueError("scripts without predicted lengths have nothing to serve by; use another prediction")
        self._scripts[request_id] = tuple(PredictedSegment(segment.predicted_tokens or 0.0) for segment in segments)

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """What the type does, with the segment's own length."""
        first, *rest = self._history.predict(request)
        length = self._scripts[request.request_id][request.num_calls].output_tokens
        return PredictedSegment(length, first.api_duration_s, first.returned_tokens), *rest

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """Learns from what the request has done."""
        self._history.observe(request, segment)


PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "oracle": OraclePredictor,
    "history": HistoryPredictor,
    "none": NoPredictor,
    "lengths": LengthsPredictor,
    "served": ServedPredictor,
}
"""Those that need to know nothing of a run before it."""


class Unknown(CallHistory):
    """Durations of tools that are remembered and told to nobody who asks for a mean: the predictor says what is expected."""

    def expected_s(self, tool: str, *, finish_reason: FinishReason | None = None) -> float | None:
        """Nothing."""
        return None


def class_means(scripts: Sequence[Script], *, deviations: float = 0.0) -> Predictor:
    """Predicts for each type and each position the mean of these scripts, and learns nothing more.

    Args:
        deviations: Standard deviations of the lengths that are added to their means, so that a type of which some are long is
            taken for long: the "tail-inflated expectation" of TIE (2026), for two moments.
    """
    learned, lengths = HistoryPredictor(memory=10**9), dict[tuple[str, int], list[int]]()
    for script in scripts:
        request = Request("", 0.0, [0], SamplingParams(), request_type=script.request_type)
        for turn in script.turns():
            for position, segment in enumerate(turn.segments):
                call = segment.call
                duration_s, returned = (None, 0) if call is None else (call.duration_s, call.num_returned_tokens)
                learned.observe(request, SeenSegment(position, segment.num_generated_tokens, duration_s, returned))
                lengths.setdefault((script.request_type, position), []).append(segment.num_generated_tokens)
    return _Frozen(learned, {key: deviations * pstdev(values) for key, values in lengths.items()})


class _Frozen:
    def __init__(self, predictor: HistoryPredictor, longer_tokens: Mapping[tuple[str, int], float]):
        self._predictor, self._longer_tokens = predictor, longer_tokens

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        return tuple(
            replace(segment, output_tokens=segment.output_tokens + self._longer_tokens.get((request.request_type, position), 0.0))
            for position, segment in enumerate(self._predictor.predict(request), request.num_calls)
        )

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """There is nothing to learn."""


def as_predicted(segment: Segment, output_tokens: float | None = None) -> PredictedSegment:
    """A segment of a script, as a prediction that comes true; calls that the client runs end a request.

    Args:
        output_tokens: Its length as somebody predicts it; None for the true one.
    """
    call, length = segment.call, segment.num_generated_tokens if output_tokens is None else output_tokens
    if call is None or call.run_by is RunBy.CLIENT:
        return PredictedSegment(length)
    return PredictedSegment(length, call.duration_s, call.num_returned_tokens)
