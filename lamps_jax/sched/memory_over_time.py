"""Memory over time of a request: the area under its curve of KV tokens against time, which LAMPS serves in ascending order.

Figure 3 of the paper (NeurIPS 2025, section 3) draws the curve for each handling and prints no formula. Read here as follows,
with p the prompt, o1 and o2 the outputs before and after a call that takes T and returns k tokens, C = p + o1, F(x) the time to
compute x tokens and tau that of a decode (token-seconds; memory rises evenly within every step):

- until the call: p F(p) / 2 + tau (p o1 + o1^2 / 2);
- during it, preserve C T; discard 0; swap C T_swap(C) / 2 going out and again coming in;
- on return, preserve and swap C F(k) + k F(k) / 2; discard (C + k) F(C + k) / 2;
- then tau ((C + k) o2 + o2^2 / 2).

A request without a call has the first line alone, and with more of them the sum goes on. Everything is counted from where a
request is now: the abstract of the paper says "remaining". Departures: steps also take the time to read the context, so that F
and tau grow with it; a prompt longer than a step's chunk takes several steps; both vanish with their constants, and the lines
above are left exactly. Memory is counted in tokens, blocks only where they are moved. Time spent waiting for others is not
foreseen.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.footprint import Footprint
from lamps_jax.sched.quantities import check_counts, check_quantities
from lamps_jax.sched.segments import Handling, PredictedSegment
from lamps_jax.sched.waste import chunks_of, recompute_s


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a request is.

    Attributes:
        context_tokens: Known now: prompt, outputs, returns.
        computed_tokens: Of those, the leading ones whose KV is on the device.
        host_tokens: The next ones, whose KV is on the host.
        once_computed_tokens: Leading tokens that were computed before, on the device now or not.
        call_elapsed_s: How long its call has run; None: it is in none. What is predicted first is then the segment of that call,
            and its output no longer counts.
    """

    context_tokens: float
    computed_tokens: float = 0
    host_tokens: float = 0
    once_computed_tokens: float = 0
    call_elapsed_s: float | None = None

    def __post_init__(self) -> None:
        check_quantities(
            context_tokens=self.context_tokens,
            computed_tokens=self.computed_tokens,
            host_tokens=self.host_tokens,
            once_computed_tokens=self.once_computed_tokens,
            call_elapsed_s=self.call_elapsed_s or 0.0,
        )
        if self.computed_tokens + self.host_tokens > self.context_tokens:
            raise ValueError(
                f"computed_tokens and host_tokens must be part of context_tokens ({self.context_tokens}), "
                f"got {self.computed_tokens} and {self.host_tokens}"
            )


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a request gets on: the machine, and what else each of its steps does.

    Attributes:
        cost_model: Of the machine.
        block_size: Tokens of a block, in which copies are made.
        other_tokens: Tokens of other requests that each step computes.
        other_context_tokens: Their contexts; C_other in InferCept's equations.
        chunk_tokens: Most tokens of the request in a step.
    """

    cost_model: CostModel
    block_size: int = 1
    other_tokens: float = 0
    other_context_tokens: float = 0
    chunk_tokens: float = math.inf

    def __post_init__(self) -> None:
        check_quantities(other_tokens=self.other_tokens, other_context_tokens=self.other_context_tokens)
        check_counts(block_size=self.block_size)
        if not self.chunk_tokens >= 1:
            raise ValueError(f"chunk_tokens must be at least 1, got {self.chunk_tokens}")


def remaining_footprint(pace: Pace, progress: Progress, segments: Sequence[PredictedSegment]) -> Footprint:
    """What a request is expected to take from now on, until the end of the last of `segments`.

    A call that has lasted longer than predicted is expected to return now.

    Raises:
        ValueError: If there is no segment, one that ends the request comes before others, or a request in a call has none
            predicted.

    Source: LAMPS, Figure 3, read as the module says.
    """
    total = Footprint()
    for stretch, call in _stretches(pace, progress, segments):
        total = total.then(stretch).then(call)
    return total


def gittins_footprint(pace: Pace, progress: Progress, segments: Sequence[PredictedSegment]) -> Footprint:
    """What a request is expected to take for each chance that it ends: the least of that over how far one looks ahead.

    With segments that may or may not end in a call, E_k what is expected to be taken up to the end of the k-th, and P_k how
    likely the request is to end by then: E_k / P_k for the k that makes its memory over time least. Where all is certain that is
    `remaining_footprint`. A request that is likely to end soon is cheap, though it may turn out to be long.

    Raises:
        ValueError: As `remaining_footprint`.

    Source: the Gittins index (Gittins, 1979; Aalto, Ayesta and Righter, 2009, for queues), with the ends of segments for stages
    and memory over time for cost.
    """
    expected, best = Footprint(), Footprint()
    reached, ended = 1.0, 0.0
    for segment, (stretch, call) in zip(segments, _stretches(pace, progress, segments), strict=False):
        calls = 0.0 if segment.api_duration_s is None else segment.call_share
        expected = expected.then(stretch.times(reached))
        ended += reached * (1.0 - calls)
        if ended > 0.0 and (not best.num_steps or expected.charged_token_s / ended < best.charged_token_s):
            best = expected.times(1.0 / ended)
        reached *= calls
        expected = expected.then(call.times(reached))
    return best if best.num_steps else expected


def likeliest(segments: Sequence[PredictedSegment]) -> tuple[PredictedSegment, ...]:
    """The segments up to the first that is likelier to end the request than to call: what there is if all goes as expected."""
    for at, segment in enumerate(segments):
        if segment.call_share < 0.5:
            return (*segments[:at], replace(segment, api_duration_s=None, returned_tokens=0, call_share=1.0))
    return tuple(segments)


def until_next_return(segments: Sequence[PredictedSegment]) -> tuple[PredictedSegment, ...]:
    """What the paper's score looks ahead to: the next call, and what follows it up to another call, which is left out.

    Source: LAMPS, section 3, multi-API requests: each call makes a request of its own; "cumulative memory" over those still to
    come is not modelled. Without this, all segments together describe the whole program.
    """
    return (segments[0], *(replace(segment, api_duration_s=None, returned_tokens=0) for segment in segments[1:2]))


def prefill_footprint(pace: Pace, held_tokens: float, new_tokens: float) -> Footprint:
    """Computes `new_tokens` that are known, in equal chunks, behind `held_tokens` that are computed already."""
    if new_tokens == 0:
        return Footprint(peak_tokens=held_tokens)
    num_chunks = chunks_of(new_tokens, pace.chunk_tokens)
    return _climb(pace, held_tokens, new_tokens / num_chunks, num_chunks)


def decode_footprint(pace: Pace, context_tokens: float, output_tokens: float) -> Footprint:
    """Decodes `output_tokens` behind a context on the device, one in each step; expected tokens may be a fraction."""
    return _climb(pace, context_tokens, 1.0, output_tokens)


def call_footprint(pace: Pace, device_tokens: float, handling: Handling, left_s: float) -> Footprint:
    """Waits for a call that has `left_s` to go, with `device_tokens` on the device; a swap lasts as long as its copy at least."""
    if handling is Handling.PRESERVE:
        return Footprint(device_tokens * left_s, left_s, device_tokens)
    if handling is Handling.DISCARD:
        return Footprint(0.0, left_s, 0.0)
    copy_s = _copy_s(pace, device_tokens)
    return Footprint(device_tokens * copy_s / 2, max(left_s, copy_s), device_tokens)


def _stretches(pace: Pace, progress: Progress, segments: Sequence[PredictedSegment]) -> Iterator[tuple[Footprint, Footprint]]:
    """Of each segment what its output takes, and what its call does; behind a last call, what the return takes."""
    _check_order(progress, segments)
    context, device, host = progress.context_tokens, progress.computed_tokens, progress.host_tokens
    elapsed_s, once_computed = progress.call_elapsed_s, progress.once_computed_tokens
    for segment in segments:
        stretch = Footprint()
        if elapsed_s is None:
            stretch = _resumption(pace, context, device, host, once_computed)
            stretch = stretch.then(decode_footprint(pace, context, segment.output_tokens))
            context += segment.output_tokens
            device, host = context, 0.0
        if segment.api_duration_s is None:
            yield stretch, Footprint()
            return
        left_s = max(segment.api_duration_s - (elapsed_s or 0.0), 0.0)
        yield stretch, call_footprint(pace, device, segment.handling, left_s)
        elapsed_s = None
        if segment.handling is Handling.SWAP:
            device, host = 0.0, device + host
        elif segment.handling is Handling.DISCARD:
            device, host = 0.0, 0.0
        once_computed = context
        context += segment.returned_tokens
    yield _resumption(pace, context, device, host, once_computed), Footprint()


def _resumption(pace: Pace, context: float, device: float, host: float, once_computed: float) -> Footprint:
    """Brings back what is on the host, then computes what is missing; others pay for the part that was computed before."""
    held = device + host
    resumed = prefill_footprint(pace, held, context - held)
    if host:
        copy_s = _copy_s(pace, host)
        resumed = Footprint((device + host / 2) * copy_s, copy_s, held).then(resumed)
    if (lost := min(once_computed, context) - held) > 0:
        again_s = recompute_s(pace.cost_model, lost, num_chunks=chunks_of(lost, pace.chunk_tokens), held_tokens=held)
        resumed = resumed._replace(imposed_token_s=again_s * pace.other_context_tokens, recompute_s=again_s)
    return resumed


def _copy_s(pace: Pace, tokens: float) -> float:
    return pace.cost_model.swap_s(math.ceil(tokens / pace.block_size))


def _climb(pace: Pace, held: float, size: float, steps: float) -> Footprint:
    """So many steps of `size` tokens each behind `held` tokens, n steps of time t + e (h + j s), memory rising from step to step.

    The area is the sum over j = 1..n of (h + (j - 1/2) s) (t + e (h + j s)): in each step a trapezoid, whose length grows with
    the context read. It is a polynomial in n, which is thus also defined for an expected, fractional number of decodes behind a
    context of at least a token.
    """
    h, s, n = held, size, steps
    e = pace.cost_model.forward_per_context_token_s
    t = pace.cost_model.forward_s(s + pace.other_tokens, pace.other_context_tokens)
    tokens = n * h + s * n * n / 2
    read = n * h + s * n * (n + 1) / 2
    tokens_read = n * h * h + h * s * (n * n + n / 2) + s * s * n * (n + 1) * (4 * n - 1) / 12
    return Footprint(t * tokens + e * tokens_read, t * n + e * read, h + s * n, token_steps=tokens, num_steps=n)


def _check_order(progress: Progress, segments: Sequence[PredictedSegment]) -> None:
    if not segments:
        raise ValueError("segments must be at least one: the output up to the end")
    for at, segment in enumerate(segments[:-1]):
        if segment.api_duration_s is None:
            raise ValueError(f"segments must end with a call, all but the last, got none in number {at + 1} of {len(segments)}")
    if progress.call_elapsed_s is not None and segments[0].api_duration_s is None:
        raise ValueError(
            f"the first segment must have the call that has run for {progress.call_elapsed_s} s, got one without a call"
        )
