"""What a simulated run looks like from outside: latencies, memory over time, waste by cause."""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from lamps_jax.engine.events import RequestOutput
from lamps_jax.metrics import Latencies, Timestamps, latencies, percentiles
from lamps_jax.sched.request import Request, RequestState
from lamps_jax.sched.waste_account import WasteAccount
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
class MemoryObserver(WasteAccount):
    """Integrates what memory is held for, and samples how full it is.

    Args:
        sample_every_s: Between two samples of the occupancy; 0 for none.
    """

    sample_every_s: float = 0.0
    samples: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in ("time_s", "computing", "preserved", "cached", "free", "host")}
    )
    _next_sample_s: float = 0.0

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
