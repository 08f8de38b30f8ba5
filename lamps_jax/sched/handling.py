"""Handlings of API calls, as pure functions of a request, its call and what surrounds them."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from lamps_jax.sched.artifact import Running, artifact_wastes
from lamps_jax.sched.rank import artifact_segment
from lamps_jax.sched.request import Handling, Request
from lamps_jax.sched.surroundings import Surroundings
from lamps_jax.sched.waste import (
    Wastes,
    chunks_of,
    lamps_wastes,
    marginal_discard_waste,
    overlapped_swap_waste,
    preserve_waste,
    recompute_s,
)

SLACK = 1.05
"""How much longer than the duration worth waiting for blocks are kept, as calls of one tool differ a little."""


class Decides(enum.Enum):
    """When a handling is chosen.

    Attributes:
        AHEAD: When a request is queued, for each call that is predicted.
        AT_CALL: When it calls.
        EACH_STEP: Blocks stay at first; in every step of the call it is chosen anew, until they go.
        ON_DEMAND: Blocks stay until memory is wanted; then it is chosen anew in every step, until they go.
    """

    AHEAD = "ahead"
    AT_CALL = "at call"
    EACH_STEP = "each step"
    ON_DEMAND = "on demand"


class Call(NamedTuple):
    """A call that is predicted, made or under way.

    Attributes:
        context_tokens: Of its request when it is made.
        left_s: How long it is still expected to take; None if nothing is known.
        past_durations_s: Of earlier calls of the same tool, ascending.
    """

    context_tokens: float
    left_s: float | None = None
    past_durations_s: Sequence[float] = ()


class Choice(NamedTuple):
    """A handling.

    Attributes:
        waste_token_s: What is wasted under it, or under the best of those weighed.
        keep_s: How long blocks are kept at most; None for as long as the call takes.
    """

    handling: Handling
    waste_token_s: float = 0.0
    keep_s: float | None = None


HandlingRule = Callable[[Request, Call, Surroundings], Choice]


def preserve_always(request: Request, call: Call, around: Surroundings) -> Choice:
    """Blocks stay on the device during every call."""
    return Choice(Handling.PRESERVE)


def discard_always(request: Request, call: Call, around: Surroundings) -> Choice:
    """Blocks are let go and computed again, as far as they are not found any more."""
    return Choice(Handling.DISCARD)


def swap_always(request: Request, call: Call, around: Surroundings) -> Choice:
    """Blocks go to the host and come back."""
    return Choice(Handling.SWAP)


def least_waste(request: Request, call: Call, around: Surroundings) -> Choice:
    """The handling that is predicted to waste least; nothing known of the call, the blocks stay.

    Source: LAMPS, section 3. Without a host tier there is nothing to swap to.
    """
    if call.left_s is None:
        return Choice(Handling.PRESERVE)
    wastes = lamps_wastes(
        around.cost_model,
        call.context_tokens,
        api_duration_s=call.left_s,
        other_tokens=around.context_tokens,
        block_size=around.block_size,
    )
    return Choice(*(wastes if around.can_swap else replace(wastes, swap=float("inf"))).least())


def artifact_least_waste(request: Request, call: Call, around: Surroundings) -> Choice:
    """The choice of the code released with LAMPS, `classify`; of the request it looks at the estimate alone."""
    if not request.estimate or request.estimate[0].api_duration_s is None:
        return Choice(Handling.PRESERVE)
    size = around.block_size
    running = Running(around.batch_tokens, -(-around.context_tokens // size) * size)
    wastes = artifact_wastes(artifact_segment(request), running)
    return Choice(*(wastes if around.can_swap else replace(wastes, swap=float("inf"))).least())


def least_marginal_waste(request: Request, call: Call, around: Surroundings) -> Choice:
    """What wastes least from now on, each handling at what it adds to steps that are taken anyway.

    A recomputed context shares its steps with others' tokens, so that it costs no step of its own; copies hide behind steps. Of a
    call that is late it is expected that it will be as late again.
    """
    if call.left_s is None:
        return Choice(Handling.PRESERVE)
    context, others, cost_model = call.context_tokens, around.context_tokens, around.cost_model
    wastes = Wastes(
        preserve=preserve_waste(context, call.left_s),
        discard=marginal_discard_waste(cost_model, context, other_tokens=others, chunk_tokens=around.chunk_tokens),
        swap=overlapped_swap_waste(cost_model, context, other_tokens=others, block_size=around.block_size)
        if around.can_swap
        else float("inf"),
    )
    return Choice(*wastes.least())


def recompute_terms(context_tokens: float, around: Surroundings) -> tuple[float, float]:
    """Waste of computing a context again in chunks: token-seconds of its own, and for each token of others.

    Source: InferCept, equation 4, taken apart so that a step need not work it out anew for every call.
    """
    room = max(1, min(around.chunk_tokens, around.token_budget - around.batch_tokens))
    own = recompute_s(around.cost_model, context_tokens, num_chunks=1) * context_tokens / 2
    return own, recompute_s(around.cost_model, context_tokens, num_chunks=chunks_of(context_tokens, room))


def least_waste_now(request: Request, call: Call, around: Surroundings) -> Choice:
    """What wastes least from now on, of preserving and of computing again in chunks.

    How long a call will still take is what has elapsed of it, or what is expected.

    Source: InferCept, equation 5 and section 4.4.
    """
    left_s = call.left_s if around.expects_duration else None
    if left_s is None:
        left_s = around.now - request.paused_s
    own, per_token = request.recompute_terms
    wastes = Wastes(call.context_tokens * left_s, own + per_token * around.context_tokens)
    return Choice(*wastes.least())


def time_to_live(request: Request, call: Call, around: Surroundings) -> Choice:
    """Blocks stay for the time that makes the expected waste least, and are let go then.

    Kept for t, a call of duration T wastes context x min(T, t), and if it takes longer, what a discard does. Over the durations
    seen of the tool, the best t is 0, one of them, or no limit. Of a tool of which too little is known the blocks stay as
    long as it takes to waste as much as a discard: never more than twice the waste of whoever knows.

    Source: Continuum (2025), a time-to-live from the distribution of the tool's durations; the objective is InferCept's waste.
    """
    own, per_token = recompute_terms(call.context_tokens, around)
    discard, context = own + per_token * around.context_tokens, max(call.context_tokens, 1.0)
    past = call.past_durations_s
    if not past:
        return Choice(Handling.PRESERVE, discard, discard / context)
    best, best_s, total = discard, 0.0, 0.0
    for seen, duration_s in enumerate(past, 1):
        total += duration_s
        longer = len(past) - seen
        waste = (context * (total + longer * duration_s) + longer * discard) / len(past)
        if waste < best:
            best, best_s = waste, duration_s
    if best_s == 0.0 and best == discard:
        return Choice(Handling.DISCARD, best)
    return Choice(Handling.PRESERVE, best, best_s * SLACK)


def by_pause(request: Request) -> tuple[float, ...]:
    """The latest to call a tool gives way first."""
    return (request.paused_s, request.order)


def by_return(request: Request) -> tuple[float, ...]:
    """The call that is expected to return last gives way first."""
    expected_s = float("inf") if request.expected_return_s is None else request.expected_return_s
    return (expected_s, request.paused_s, request.order)


def by_waste(request: Request) -> tuple[float, ...]:
    """The call that wastes most gives way first."""
    return (request.waste_token_s, request.paused_s, request.order)
