"""From the timestamps of a request to latencies: one formula each. All times are in seconds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Timestamps:
    """When things happened to a request, on the engine's clock.

    Attributes:
        scheduled_s: When the first step that computes something of it was planned.
        api_s: Time spent in API calls, summed.
    """

    arrival_s: float
    first_token_s: float | None = None
    last_token_s: float | None = None
    finished_s: float | None = None
    api_s: float = 0.0
    scheduled_s: float | None = None


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of a finished request; None where it yielded too few tokens to have one.

    Attributes:
        ttft_s: Arrival to first sampled token.
        tpot_s: Mean gap between tokens after the first, calls included.
        e2e_s: Arrival to end, calls included.
        service_s: The same without the time in calls.
        api_s: Time in calls.
    """

    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float
    service_s: float
    api_s: float

    def as_dict(self) -> dict[str, float | None]:
        """The latencies by name, to the microsecond."""
        return {name: None if value is None else round(value, 6) for name, value in asdict(self).items()}


def latencies(times: Timestamps, num_tokens: int) -> Latencies:
    """The latencies of a finished request that sampled `num_tokens` tokens.

    Raises:
        ValueError: If the request has not finished.
    """
    if times.finished_s is None:
        raise ValueError("the request has not finished")
    e2e_s = times.finished_s - times.arrival_s
    ttft_s = tpot_s = None
    if times.first_token_s is not None and times.last_token_s is not None:
        ttft_s = times.first_token_s - times.arrival_s
        tpot_s = (times.last_token_s - times.first_token_s) / (num_tokens - 1) if num_tokens > 1 else None
    return Latencies(ttft_s, tpot_s, e2e_s, e2e_s - times.api_s, times.api_s)


@dataclass(frozen=True, slots=True)
class Objectives:
    """Most seconds that each latency of a request may take; None for any. Requests that meet all, per second, are the goodput."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None

    def __post_init__(self) -> None:
        for name, most in asdict(self).items():
            if most is not None and not 0.0 < most < math.inf:
                raise ValueError(f"the objective {name} must be a positive number of seconds, got {most}")

    def __bool__(self) -> bool:
        return self != Objectives()

    def met_by(self, latencies: Latencies) -> bool:
        """Whether a request keeps within all of them; one of a single token has no gap that could be too long."""
        limits = ((self.ttft_s, latencies.ttft_s), (self.tpot_s, latencies.tpot_s), (self.e2e_s, latencies.e2e_s))
        return all(most is None or took is None or took <= most for most, took in limits)


def percentiles(values: Sequence[float], shares: Sequence[float]) -> list[float]:
    """For each share the least value that so many of all values do not exceed (nearest rank).

    Raises:
        ValueError: If there are no values, or a share is not between 0 and 1.
    """
    if not values:
        raise ValueError("of no values there are no percentiles")
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"shares must be between 0 and 1, got {list(shares)}")
    ordered = sorted(values)
    return [ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in shares]
