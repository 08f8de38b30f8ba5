"""What is expected of a request: by somebody who knows, or learned from those before it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lamps_jax.sched.quantities import check_quantities
from lamps_jax.sched.request import Handling, Request

MIN_CALLS = 3
"""Calls of a tool before its mean says anything."""


@dataclass(frozen=True, slots=True)
class PredictedSegment:
    """Output up to a call and the call, or output up to the end.

    Attributes:
        output_tokens: Still to be decoded.
        api_duration_s: From the call to its return; None: the segment ends the request.
        returned_tokens: What the call returns.
        handling: What becomes of the KV during the call.
    """

    output_tokens: float
    api_duration_s: float | None = None
    returned_tokens: float = 0
    handling: Handling = Handling.PRESERVE

    def __post_init__(self) -> None:
        check_quantities(
            output_tokens=self.output_tokens, api_duration_s=self.api_duration_s or 0.0, returned_tokens=self.returned_tokens
        )


class SeenSegment(NamedTuple):
    """A segment of a request that is over; a call of it has returned.

    Attributes:
        position: How many segments of the request were before it.
        api_duration_s: None: the segment ended the request.
    """

    position: int
    output_tokens: int
    api_duration_s: float | None = None
    returned_tokens: int = 0


class Predictor(Protocol):
    """Says what requests will do."""

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """What a request that is about to be queued will do from now on; at least one segment, and all but the last end in calls.

        It is asked on arrival and whenever a call has returned. The handlings that it names do not count.
        """
        ...

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """Takes in what a request has done."""
        ...


class CallDurations:
    """How long calls take, by tool: the running mean of those seen, the older ones fading.

    Args:
        memory: Calls over which the mean is taken, about.
    """

    def __init__(self, *, memory: int = 100):
        self._memory = memory
        self._means: dict[str, tuple[int, float]] = {}

    def observe(self, tool: str, duration_s: float) -> None:
        """Takes in how long a call took."""
        count, mean = self._means.get(tool, (0, 0.0))
        count = min(count + 1, self._memory)
        self._means[tool] = count, mean + (duration_s - mean) / count

    def expected_s(self, tool: str) -> float | None:
        """How long a call of `tool` is expected to take; None if too few were seen."""
        count, mean = self._means.get(tool, (0, 0.0))
        return mean if count >= MIN_CALLS else None
