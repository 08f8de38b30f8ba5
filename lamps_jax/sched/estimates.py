"""What is expected of a request: by somebody who knows, or learned from those before it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from lamps_jax.sched.quantities import check_quantities
from lamps_jax.sched.request import Request
from lamps_jax.sched.segments import PredictedSegment

DEFAULT_TOKENS = 128
"""Output of a request of which nothing is known."""

MAX_SEGMENTS = 16
"""Most segments that are foreseen of a request whose type never seems to end."""

UNLIKELY = 0.01
"""What is less likely is not foreseen."""


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


@runtime_checkable
class LatePredictor(Predictor, Protocol):
    """A predictor that may know more of a request some time after it was asked."""

    def arrived(self) -> Sequence[str]:
        """The requests of which more is known since this was last asked: `predict` says it now."""
        ...

    def forget(self, request_id: str) -> None:
        """Drops what is known of a request that has ended."""
        ...


class RememberedSegments(NamedTuple):
    """What is remembered of the segments at one position of the requests of one type, in values that a file can hold.

    Attributes:
        request_type: None: of all types.
        num_segments: Segments that `output_tokens` and `call_share` stand for.
        call_share: Share of them that ended in a call.
        num_calls: Calls that `api_duration_s` and `returned_tokens` stand for.
    """

    request_type: str | None
    position: int
    num_segments: int
    output_tokens: float
    call_share: float
    num_calls: int
    api_duration_s: float
    returned_tokens: float


class Mean:
    """A running mean of what was seen of late, older values fading."""

    __slots__ = ("count", "value")

    def __init__(self, count: int = 0, value: float = 0.0):
        self.count, self.value = count, value

    def add(self, value: float, memory: int) -> None:
        """Takes in one more."""
        self.count = min(self.count + 1, memory)
        self.value += (value - self.value) / self.count


class _Segments:
    """What was seen of the segments at one position of the requests of one type."""

    __slots__ = ("calls", "duration_s", "output_tokens", "returned_tokens")

    def __init__(self) -> None:
        self.output_tokens, self.calls, self.duration_s, self.returned_tokens = Mean(), Mean(), Mean(), Mean()


class HistoryPredictor:
    """Predicts that a request does what those of its type did at the same point, on the average: learned while it serves.

    How likely a segment is to end in a call is the share of those that did. What was never seen is taken from requests of all
    types, and else from nothing: `default_tokens` of output and no call.

    Args:
        memory: Requests over which means are taken, about.
        default_tokens: Output of a request of which nothing is known.
        max_positions: From this segment on a request's segments are taken for alike.
    """

    def __init__(self, *, memory: int = 200, default_tokens: int = DEFAULT_TOKENS, max_positions: int = 8):
        self._memory, self._default_tokens, self._last = memory, default_tokens, max_positions - 1
        self._seen: dict[tuple[str | None, int], _Segments] = {}

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """Segments as long as one more is likelier than `UNLIKELY`, `MAX_SEGMENTS` of them at most."""
        at = self._at(request.request_type, request.num_calls)
        if at is None:
            return (PredictedSegment(self._bounded(request, self._default_tokens)),)
        segments, reached, output = list[PredictedSegment](), 1.0, self._bounded(request, at.output_tokens.value)
        for position in range(request.num_calls + 1, request.num_calls + MAX_SEGMENTS):
            share = at.calls.value
            reached *= share
            if reached < UNLIKELY or not at.duration_s.count:
                break
            segments.append(PredictedSegment(output, at.duration_s.value, at.returned_tokens.value, call_share=share))
            after = self._at(request.request_type, position)
            if after is None:
                return *segments, PredictedSegment(1.0)
            at, output = after, after.output_tokens.value
        return *segments, PredictedSegment(output)

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """Takes in a segment, for the request's type and for all."""
        position, memory = min(segment.position, self._last), self._memory
        for key in ((request.request_type, position), (None, position)):
            seen = self._seen.setdefault(key, _Segments())
            seen.output_tokens.add(segment.output_tokens, memory)
            seen.calls.add(segment.api_duration_s is not None, memory)
            if segment.api_duration_s is not None:
                seen.duration_s.add(segment.api_duration_s, memory)
                seen.returned_tokens.add(segment.returned_tokens, memory)

    def remembered(self) -> list[RememberedSegments]:
        """All that was learned; `restore` takes it."""
        return [
            RememberedSegments(
                *key,
                seen.output_tokens.count,
                seen.output_tokens.value,
                seen.calls.value,
                seen.duration_s.count,
                seen.duration_s.value,
                seen.returned_tokens.value,
            )
            for key, seen in self._seen.items()
        ]

    def restore(self, remembered: Iterable[RememberedSegments]) -> None:
        """Begins with what another predictor learned; what is known of the same types and positions is replaced.

        Raises:
            ValueError: If a number in it is negative or not finite.
        """
        for row in remembered:
            request_type, position, *numbers = row
            check_quantities(position=position, **dict(zip(row._fields[2:], numbers, strict=True)))
            if position > self._last:
                continue
            seen = self._seen[request_type, position] = _Segments()
            num_segments, num_calls = min(row.num_segments, self._memory), min(row.num_calls, self._memory)
            seen.output_tokens, seen.calls = Mean(num_segments, row.output_tokens), Mean(num_segments, row.call_share)
            seen.duration_s, seen.returned_tokens = Mean(num_calls, row.api_duration_s), Mean(num_calls, row.returned_tokens)

    def _at(self, request_type: str, position: int) -> _Segments | None:
        position = min(position, self._last)
        return self._seen.get((request_type, position)) or self._seen.get((None, position))

    @staticmethod
    def _bounded(request: Request, output_tokens: float) -> float:
        return min(output_tokens, max(0, request.max_tokens_left))


class HintedPredictor(HistoryPredictor):
    """Believes what requests were said to do when they were added, and knows of the others what `HistoryPredictor` knows."""

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """What is left of the request's hints; once it has done more than they say, what its type does."""
        return request.hints[request.num_calls :] or super().predict(request)


class NoPredictor:
    """Takes all requests for alike: so many tokens, and no call. It learns nothing.

    Args:
        output_tokens: The length of every output.
    """

    def __init__(self, output_tokens: float = DEFAULT_TOKENS):
        self._segments = (PredictedSegment(output_tokens),)

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """The same for all."""
        return self._segments

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """Does nothing."""
