"""What a workload looks like in numbers, by type of request."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamps_jax.sim.workload import Script, Workload


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread; `std` is the deviation of the values themselves, not an estimate of a population's."""

    count: int
    mean: float
    std: float
    least: float
    median: float
    p90: float
    p99: float
    most: float


def spread_of(values: Iterable[float]) -> Spread | None:
    """The spread of some values; None if there are none. Percentiles lie linearly between values, as NumPy's do."""
    ordered = sorted(values)
    if not ordered:
        return None

    def percentile(percent: int) -> float:
        place, rest = divmod((len(ordered) - 1) * percent, 100)
        above = ordered[min(place + 1, len(ordered) - 1)]
        return ordered[place] + (above - ordered[place]) * rest / 100

    mean = statistics.fmean(ordered)
    return Spread(
        len(ordered),
        mean,
        statistics.pstdev(ordered, mean),
        ordered[0],
        statistics.median(ordered),
        percentile(90),
        percentile(99),
        ordered[-1],
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of some scripts; None where there is nothing to count.

    Attributes:
        num_scripts: So many.
        num_turns: Requests that a server sees.
        num_calls: Per script.
        prompt_tokens: Of first turns.
        generated_tokens: Per segment.
        first_generated_tokens: Of first segments.
        returned_tokens: Per call.
        call_s: Duration per call.
        call_context_tokens: Context when a call is made.
        final_tokens: Context at the end, what a last call returns included.
        total_generated_tokens: Per script.
        total_call_s: Durations of all calls of a script together.
        preserve_token_s: Context times duration over all calls of a script: what it costs to keep its memory through them.
    """

    num_scripts: int
    num_turns: int
    num_calls: Spread
    prompt_tokens: Spread
    generated_tokens: Spread
    first_generated_tokens: Spread
    returned_tokens: Spread | None
    call_s: Spread | None
    call_context_tokens: Spread | None
    final_tokens: Spread
    total_generated_tokens: Spread
    total_call_s: Spread
    preserve_token_s: Spread


def summarize(scripts: Sequence[Script]) -> Summary:
    """Numbers of at least one script.

    Raises:
        ValueError: If there is none.
    """
    if not scripts:
        raise ValueError("there is no script to summarize")

    def spread(values: Iterable[float]) -> Spread:
        found = spread_of(values)
        assert found is not None
        return found

    calls = [call for script in scripts for call in script.calls]
    return Summary(
        num_scripts=len(scripts),
        num_turns=sum(len(script.turns()) for script in scripts),
        num_calls=spread(len(script.calls) for script in scripts),
        prompt_tokens=spread(script.num_prompt_tokens for script in scripts),
        generated_tokens=spread(segment.num_generated_tokens for script in scripts for segment in script.segments),
        first_generated_tokens=spread(script.segments[0].num_generated_tokens for script in scripts),
        returned_tokens=spread_of(call.num_returned_tokens for call in calls),
        call_s=spread_of(call.duration_s for call in calls),
        call_context_tokens=spread_of(context for script in scripts for context, _ in script.contexts_at_calls()),
        final_tokens=spread(script.num_final_tokens for script in scripts),
        total_generated_tokens=spread(script.num_generated_tokens for script in scripts),
        total_call_s=spread(sum(call.duration_s for call in script.calls) for script in scripts),
        preserve_token_s=spread(
            sum(context * call.duration_s for context, call in script.contexts_at_calls()) for script in scripts
        ),
    )


def summarize_by_type(workload: Workload) -> dict[str, Summary]:
    """A summary for each type of request, in the order in which they first come."""
    by_type: dict[str, list[Script]] = {}
    for script in workload.scripts:
        by_type.setdefault(script.request_type, []).append(script)
    return {request_type: summarize(scripts) for request_type, scripts in by_type.items()}
