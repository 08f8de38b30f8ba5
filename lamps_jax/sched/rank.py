"""Orders of service: what is served first, as pure functions of a request and what surrounds it."""

import math
from collections.abc import Callable

from lamps_jax.sched.artifact import ArtifactSegment, Running, artifact_score
from lamps_jax.sched.request import Request
from lamps_jax.sched.surroundings import Surroundings

RankRule = Callable[[Request, Surroundings], tuple[float, ...]]
"""Ascending order of service."""

FIRST_LEVEL_TOKENS = 512
"""Service after which a request leaves the first of the levels, each of which lasts twice as long as the one before."""


def by_arrival(request: Request, around: Surroundings) -> tuple[float, ...]:
    """First come, first served; a request that returns from a call takes its old place."""
    return (request.order,)


def by_queueing(request: Request, around: Surroundings) -> tuple[float, ...]:
    """First come, first served; a request that returns from a call goes to the tail."""
    return (request.queued_order,)


def by_program_arrival(request: Request, around: Surroundings) -> tuple[float, ...]:
    """First come, first served, counted from the first request of the session or agent.

    Source: Continuum (2025), program-level first come, first served.
    """
    return (request.order if request.program is None else request.program.order,)


def by_memory_over_time(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Least predicted memory over time first, what is imposed on others included.

    Source: LAMPS, section 3; the reading of Figure 3 is that of `memory_over_time`.
    """
    assert request.footprint is not None
    return (request.footprint.charged_among(around.crowd),)


def aged(rank: tuple[float, ...], age_s: float, aging: float, aging_s: float) -> tuple[float, ...]:
    """A rank whose first component is a cost, divided by (1 + age / `aging_s`) ** `aging`.

    Without aging the cheapest is first, which lets costly requests starve; with a large one it is first come, first served.

    Source: the generalised c-mu rule (van Mieghem, 1995; Mandelbaum and Stolyar, 2004): where a delay of t costs C(t), serving
    the largest C'(t) / cost next is optimal in heavy traffic; here C'(t) = (1 + t / `aging_s`) ** `aging`.
    """
    cost, *rest = rank
    return (cost / (1.0 + age_s / aging_s) ** aging, *rest)


def by_output(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Fewest output tokens first, those after the next call included: LAMPS's "SJF by size"."""
    return (sum(segment.output_tokens for segment in request.estimate) - request.num_segment_tokens,)


def by_duration(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Shortest time first, calls included: LAMPS's "SJF by size and call"."""
    assert request.footprint is not None
    return (request.footprint.duration_among(around.crowd),)


def by_computation(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Shortest remaining time of computing first, what was lost and is computed again included; calls are not."""
    assert request.footprint is not None
    calls_s = sum(segment.api_duration_s or 0.0 for segment in request.estimate)
    return (round(request.footprint.duration_among(around.crowd) - calls_s, 9),)  # equal ones stay equal whatever their calls


def by_service(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Multi-level feedback queue: least service first, in levels; within one, first queued, first served.

    Source: FastServe (Wu et al., 2023), whose quanta double from level to level; service is counted in tokens here.
    """
    return (_level(request.num_serviced_tokens), request.queued_order)


def by_program_service(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Least service of the session or agent first, in levels as in `by_service`.

    Source: Autellix (Luo et al., 2025), program-level attained service.
    """
    earlier = 0 if request.program is None else request.program.num_serviced_tokens
    return (_level(earlier + request.num_serviced_tokens), request.queued_order)


def by_artifact_score(request: Request, around: Surroundings) -> tuple[float, ...]:
    """Lowest score of the code released with LAMPS first."""
    segment = request.estimate[0]
    running = Running(around.batch_tokens, _in_blocks(around))
    return (artifact_score(artifact_segment(request), segment.handling, running),)


def artifact_segment(request: Request) -> ArtifactSegment:
    """What the code released with LAMPS looks at of a request: its original prompt and the segment predicted."""
    segment = request.estimate[0]
    return ArtifactSegment(
        request.num_prompt_tokens,
        int(segment.output_tokens),
        int(segment.returned_tokens),
        segment.api_duration_s or 0.0,
        calls=segment.api_duration_s is not None,
    )


def _in_blocks(around: Surroundings) -> int:
    return -(-around.context_tokens // around.block_size) * around.block_size


def _level(num_serviced_tokens: int) -> int:
    return int(math.log2(1 + num_serviced_tokens / FIRST_LEVEL_TOKENS))
