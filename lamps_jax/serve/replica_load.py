"""What an engine has to do, as a router of requests weighs it: memory over time, by the same prediction that ranks its queue."""

import time
from collections.abc import Callable
from dataclasses import replace

from lamps_jax.engine.engine import Engine
from lamps_jax.sched.estimates import Predictor
from lamps_jax.sched.forecast import progress_of
from lamps_jax.sched.memory_over_time import Pace, likeliest, remaining_footprint
from lamps_jax.sched.request import Request, RequestState
from lamps_jax.sched.scheduler import TOKENS_ALONE
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sched.surroundings import crowd_of
from lamps_jax.serve.routing import ReplicaLoad


def load_of(engine: Engine, *, clock: Callable[[], float] = time.time) -> ReplicaLoad:
    """The load of an engine at this moment; to be called on its thread.

    What a policy has predicted of a request counts; where it predicts nothing, the scheduler's predictor is asked, which learns
    under every policy.

    Args:
        clock: The clock on the wall.
    """
    scheduler, now = engine.scheduler, engine.clock()
    requests, blocks = scheduler.requests(), scheduler.blocks.device
    cost_model, size = scheduler.cost_model or TOKENS_ALONE, scheduler.blocks.block_size
    pace = Pace(cost_model, size, chunk_tokens=scheduler.config.max_chunk_tokens)
    held = {request.request_id: request.num_computed_tokens for request in requests if request.state is RequestState.RUNNING}
    num_held, token_s = sum(held.values()), 0.0
    for request in requests:
        progress, segments = progress_of(request, size), _left_of(request, scheduler.predictor)
        if request.state is RequestState.IN_API_CALL:
            progress = replace(progress, call_elapsed_s=max(0.0, now - request.paused_s))
        others = len(held) - (request.request_id in held), num_held - held.get(request.request_id, 0)
        token_s += remaining_footprint(pace, progress, segments).charged_among(crowd_of(cost_model, *others))
    return ReplicaLoad(
        clock(), token_s, len(requests), max(0, scheduler.num_waiting), 1.0 - blocks.num_free / max(1, len(blocks.ids))
    )


def _left_of(request: Request, predictor: Predictor) -> tuple[PredictedSegment, ...]:
    """What a request is still to do; one that is in a call has at least that call, and one whose reply has ended no more."""
    first, *rest = likeliest(request.estimate or predictor.predict(request))
    if request.state is RequestState.IN_API_CALL:
        expected = request.expected_return_s
        call_s = first.api_duration_s or 0.0 if expected is None else max(0.0, expected - request.paused_s)
        call = PredictedSegment(0.0, call_s, first.returned_tokens, request.handling)
        return (call,) if request.finish_reason is not None else (call, *(rest or [PredictedSegment(first.output_tokens)]))
    left = max(0.0, first.output_tokens - request.num_segment_tokens)
    if not request.estimate and first.output_tokens >= request.max_tokens_left:  # the limit, which is of what is still to come
        left = first.output_tokens
    return (replace(first, output_tokens=left), *rest)
