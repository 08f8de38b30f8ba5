"""What requests are going to do, and what follows for them: their rank, and the handling of their calls."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.admission import predicted_peak_fits
from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.estimates import Predictor, SeenSegment
from lamps_jax.sched.handling import Call, Choice, Decides, recompute_terms
from lamps_jax.sched.memory_over_time import Progress, gittins_footprint, likeliest, remaining_footprint, until_next_return
from lamps_jax.sched.policy import System
from lamps_jax.sched.rank import aged
from lamps_jax.sched.request import Handling, Request
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sched.surroundings import Surroundings

RESUMES, PROMOTED, IN_TURN = 0, 1, 2
"""First component of a rank."""

Foreseen = Callable[[tuple[PredictedSegment, ...]], tuple[PredictedSegment, ...]]

FORESEEN: dict[str, Foreseen] = {
    "next-call": lambda segments: until_next_return(likeliest(segments)),
    "program": likeliest,
    "gittins": lambda segments: segments,
}
"""What is taken in of a prediction, by how far a system looks ahead."""


def asks_predictor(system: System, config: SchedulerConfig) -> bool:
    """Whether anything that a predictor says would be heard."""
    knows_calls = system.decides is Decides.EACH_STEP and config.call_duration == "expected"
    return system.predicts or knows_calls or system.admits is predicted_peak_fits


class Forecaster:
    """Ranks requests when they are queued, and chooses what becomes of their blocks.

    Args:
        predictor: Asked if the system wants to know.
        call_history: What is known of how long calls take.
    """

    def __init__(self, system: System, config: SchedulerConfig, predictor: Predictor, call_history: CallHistory):
        self._system, self._predictor, self._call_history = system, predictor, call_history
        self._predicts = asks_predictor(system, config)
        self._footprint = gittins_footprint if system.looks_ahead == "gittins" else remaining_footprint
        self._foreseen = FORESEEN[system.looks_ahead]

    def predict(self, request: Request, around: Surroundings) -> None:
        """Takes in what is predicted of a request that arrives or returns, and chooses the handling of its calls."""
        if not self._predicts:
            return
        estimate = self._predictor.predict(request)
        if request.expected_output_tokens is not None and not request.num_calls:
            estimate = (replace(estimate[0], output_tokens=request.expected_output_tokens), *estimate[1:])
        request.estimate = self._foreseen(estimate)
        if self._system.decides in (Decides.AHEAD, Decides.ON_DEMAND):
            self._choose_ahead(request, around)

    def rank(self, request: Request, around: Surroundings) -> tuple[float, ...]:
        """The place of a request that is queued, as far as it has come; ties go to the one that arrived first."""
        if self._system.predicts:
            first, *rest = request.estimate
            left = max(0.0, first.output_tokens - request.num_segment_tokens)
            segments = (replace(first, output_tokens=left), *rest)
            request.footprint = self._footprint(around.pace, progress_of(request, around.block_size), segments)
        return self.rank_again(request, around)

    def rank_again(self, request: Request, around: Surroundings) -> tuple[float, ...]:
        """The rank of a request that has not got on since, among what runs now."""
        before = request.rank
        stage = RESUMES if before and before[0] == RESUMES else PROMOTED if request.is_promoted else IN_TURN
        system = self._system
        rank = system.rank(request, around)
        if system.aging:
            rank = aged(rank, max(0.0, around.now - request.arrival_s), system.aging, system.aging_s)
        return (stage, -request.priority, *rank, request.order)

    def resumes_first(self, request: Request) -> bool:
        """Whether a request that returns from a call goes ahead of all that wait, starving ones too: if it has device blocks.

        They would be held for nothing while it waits.
        """
        returns = request.num_calls > 0 or request.goes_on
        return self._system.resumes_first and returns and bool(request.block_ids)

    def at_call(
        self,
        request: Request,
        expected_s: float | None,
        past_s: Sequence[float],
        around: Surroundings,
        *,
        foreseen: bool = True,
    ) -> Handling:
        """What becomes of a request's blocks as it calls a tool.

        Args:
            past_s: Durations of earlier calls of the tool, ascending.
            foreseen: Whether it is a call that predictions speak of; not one that the client runs, with which the request ends.
        """
        system, context = self._system, len(request.token_ids)
        if system.decides is Decides.EACH_STEP:
            request.recompute_terms = recompute_terms(context, around)
            return Handling.PRESERVE
        if system.decides is Decides.ON_DEMAND:
            return Handling.PRESERVE
        ahead = request.estimate[0] if foreseen and request.estimate else None
        if system.decides is Decides.AHEAD and ahead is not None and ahead.api_duration_s is not None:
            return Handling.PRESERVE if system.lazily else ahead.handling
        choice = system.handling(request, Call(context, expected_s, past_s), around)
        request.waste_token_s = choice.waste_token_s
        if choice.keep_s is not None:
            request.keep_until_s = around.now + choice.keep_s
        return choice.handling

    def in_call(self, request: Request, around: Surroundings) -> Choice:
        """What wastes least of a call that is under way."""
        expected = request.expected_return_s
        left_s = None if expected is None else max(0.0, expected - around.now)
        if expected is not None and self._system.decides is Decides.ON_DEMAND:
            left_s = abs(expected - around.now)
        choice = self._system.handling(request, Call(len(request.token_ids), left_s), around)
        request.waste_token_s = choice.waste_token_s
        return choice

    def seen(self, request: Request, api_duration_s: float | None = None, returned_tokens: int = 0) -> None:
        """Takes in a segment that is over."""
        segment = SeenSegment(request.num_calls, request.num_segment_tokens, api_duration_s, returned_tokens)
        self._predictor.observe(request, segment)

    def client_returned(self, request: Request) -> None:
        """Takes in how long the client has taken from the end of its program's last request to this one, if that has ended."""
        program = request.program
        if program is None or program.last_end is None:
            return
        ended_s, reason, num_tokens = program.last_end
        program.last_end = None
        added_tokens = max(0, request.num_prompt_tokens - num_tokens)
        self._call_history.observe("", max(0.0, request.arrival_s - ended_s), added_tokens, finish_reason=reason)

    def _choose_ahead(self, request: Request, around: Surroundings) -> None:
        chosen, context = deque[PredictedSegment](), float(len(request.token_ids))
        for segment in request.estimate:
            context += segment.output_tokens
            if segment.api_duration_s is not None:
                choice = self._system.handling(request, Call(context, segment.api_duration_s), around)
                if not chosen:
                    request.waste_token_s = choice.waste_token_s
                segment = replace(segment, handling=choice.handling)
            context += segment.returned_tokens
            chosen.append(segment)
        request.estimate = tuple(chosen)


def progress_of(request: Request, block_size: int) -> Progress:
    """Where a queued request is."""
    known = len(request.token_ids)
    on_device = min(request.num_computed_tokens, len(request.block_ids) * block_size, known)
    on_host = min(request.num_computed_tokens, known) - on_device
    return Progress(known, on_device, on_host, min(request.num_tokens_once_computed, known))
