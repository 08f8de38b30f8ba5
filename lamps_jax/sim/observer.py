"""What a simulated run looks like from outside: latencies, memory over time, waste by cause."""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from lamps_jax.engine.events import RequestOutput
from lamps_jax.metrics import Latencies, Timestamps, latencies, percentiles
from lamps_jax.sched.request import Request, RequestState
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sim.workload import Arrival

MAX_SAMPLES = 600
"""Of the occupancy; as many as a picture shows."""


@dataclass(slots=True)
class ScriptOutcome:
    """What became of one arrival.

    Attributes:
        refused: Why it was not served at all; "" if it was.
    """

    arrival: Arrival
    first_token_s: float | None = None
    last_token_s: float | None = None
    finished_s: float | None = None
    api_s: float = 0.0
    num_tokens: int = 0
    refused: str = ""

    def finished_by(self, time_s: float) -> bool:
        """Whether the last turn had ended by then."""
        return self.finished_s is not None and self.finished_s <= time_s

    def latencies(self) -> Latencies:
        """Of all turns together, the client's calls included.

        Raises:
            ValueError: If the last turn has not ended.
        """
        times = Timestamps(self.arrival.time_s, self.first_token_s, self.last_token_s, self.finished_s, self.api_s)
        return latencies(times, self.num_tokens)

    def take(self, output: RequestOutput) -> None:
        """Takes in a turn that has ended."""
        times = output.timestamps
        if self.first_token_s is None:
            self.first_token_s = times.first_token_s
        self.last_token_s = times.last_token_s
        self.api_s += times.api_s
        self.num_tokens += len(output.token_ids)


@dataclass(slots=True)
class Waste:
    """Token-seconds of KV held without computing, by cause."""

    preserved: float = 0.0
    recomputed: float = 0.0
    swapped: float = 0.0


@dataclass(slots=True)
class MemoryObserver:
    """Integrates what memory is held for.

    Args:
        sample_every_s: Between two samples of the occupancy; 0 for none.
    """

    scheduler: Scheduler
    sample_every_s: float = 0.0
    waste: Waste = field(default_factory=Waste)
    samples: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in ("time_s", "computing", "preserved", "cached", "free", "host")}
    )
    _next_sample_s: float = 0.0
    _num_recomputed: int = 0

    def elapsed(self, start_s: float, end_s: float, preserved_tokens: int) -> None:
        """Time passed in which requests in calls held so many tokens on the device."""
        self.waste.preserved += preserved_tokens * (end_s - start_s)

    def stepped(self, forward_s: float, duration_s: float, num_tokens: int, num_copied_blocks: int, num_recomputed: int) -> None:
        """A step ended.

        Recomputed: the share of the step that computed tokens again, over all KV that was held meanwhile; swapped: blocks that
        were on their way, and what all others held while copies outlasted the step.

        Source: InferCept, section 2, GPU memory waste by cause.
        """
        blocks, size = self.scheduler.blocks, self.scheduler.blocks.block_size
        held = (len(blocks.device.ids) - blocks.num_free_blocks) * size
        again = num_recomputed - self._num_recomputed
        self._num_recomputed = num_recomputed
        if again:
            self.waste.recomputed += forward_s * min(1.0, again / max(num_tokens, 1)) * held
        if num_copied_blocks:
            self.waste.swapped += num_copied_blocks * size * duration_s + max(0.0, duration_s - forward_s) * held

    def sample(self, now: float) -> None:
        """Notes the occupancy, if it is time to."""
        if not self.sample_every_s or now < self._next_sample_s:
            return
        self._next_sample_s = now + self.sample_every_s
        blocks, size = self.scheduler.blocks, self.scheduler.blocks.block_size
        preserved = sum(len(request.block_ids) for request in self.scheduler.paused())
        held = len(blocks.device.ids) - blocks.num_free_blocks
        cached = blocks.device.num_cached
        host = len(blocks.host.ids) - blocks.host.num_free
        values = (held - preserved, preserved, cached, blocks.num_free_blocks - cached, host)
        self.samples["time_s"].append(now)
        for name, value in zip(("computing", "preserved", "cached", "free", "host"), values, strict=True):
            self.samples[name].append(value * size)


@dataclass(slots=True)
class TimelineObserver:
    """Follows the first requests through their states."""

    max_requests: int
    spans: dict[int, list[list[Any]]] = field(default_factory=dict)

    def note(self, index: int, request: Request, now: float) -> None:
        """Notes what a request is doing from `now` on."""
        if index >= self.max_requests:
            return
        spans, state = self.spans.setdefault(index, []), state_of(request)
        if spans and spans[-1][0] == state:
            spans[-1][2] = now
            return
        if spans:
            spans[-1][2] = now
        spans.append([state, now, now])

    def close(self, index: int, now: float) -> None:
        """Ends the last span of a request that has ended, or waits for its client."""
        if spans := self.spans.get(index):
            spans[-1][2] = now


def state_of(request: Request) -> str:
    """What a request is doing, in the words of the results document."""
    if request.state is RequestState.IN_API_CALL:
        return f"call-{request.handling.value}"
    if request.state is RequestState.WAITING:
        return "swapping in" if request.host_block_ids and request.block_ids else "waiting"
    return "decode" if request.num_pending_samples or request.num_computed_tokens >= len(request.token_ids) - 1 else "prefill"


def spread(values: list[float]) -> dict[str, float] | None:
    """Mean and percentiles, as the results document has them; None of nothing."""
    if not values:
        return None
    p50, p90, p99 = percentiles(values, (0.5, 0.9, 0.99))
    return {"mean": fmean(values), "p50": p50, "p90": p90, "p99": p99}
