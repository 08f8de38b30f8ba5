"""What is seen of each step: how long it took, how much it computed, the gaps between tokens, and what memory was wasted."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from lamps_jax.engine.events import Event
from lamps_jax.sched.plan import StepPlan
from lamps_jax.sched.request import Handling
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sched.waste_account import Waste, WasteAccount
from lamps_jax.serve.metrics import buckets
from lamps_jax.serve.metrics.weighted import WeightedHistogram

THROUGHPUT_WINDOW_S = 10
"""The throughput is that of so many last seconds."""


class _Step(NamedTuple):
    """The step that is under way."""

    num_tokens: int
    num_copied_blocks: int
    num_recomputed: int


class StepMetrics(Collector):
    """Follows the steps of one engine; everything but `collect` and `throughput` is for its thread.

    Args:
        clock: The engine's.
    """

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic):
        def histogram(name: str, what: str, limits: tuple[float, ...]) -> WeightedHistogram:
            return WeightedHistogram(f"lamps:{name}", what, buckets=limits, registry=registry)

        self.durations = histogram(
            "step_seconds", "From one step to the next, while there was always something to do.", buckets.STEP_SECONDS
        )
        self.sizes = histogram("iteration_tokens", "Tokens computed in a step.", buckets.TOKENS)
        self.gaps = histogram(
            "inter_token_latency_seconds", "Between two tokens of a request, without calls.", buckets.GAP_SECONDS
        )
        self._clock, self._scheduler, self._memory = clock, None, None
        self._last_s: dict[str, float] = {}  # of requests that decode: when the last step that they sampled in was over
        self._sampling: dict[str, None] = {}  # who samples in the step that is under way
        self._step_s, self._step = float("-inf"), _Step(0, 0, 0)
        self._recent = [(0, 0)] * (THROUGHPUT_WINDOW_S + 1)  # by second: which, and the tokens sampled in it
        registry.register(self)

    def attach(self, scheduler: Scheduler) -> None:
        """It is this scheduler's steps that are followed."""
        self._scheduler, self._memory = scheduler, WasteAccount(scheduler)

    def stepped(self, plan: StepPlan, seconds: float) -> None:
        """Takes in a step that begins; the one before took so long, or there was none under way if that is 0."""
        assert self._scheduler is not None and self._memory is not None
        if seconds > 0:
            self.durations.observe(seconds)
            self._memory.stepped(seconds, seconds, *self._step)
            self._take_gaps()
        num_tokens = plan.num_tokens
        self.sizes.observe(num_tokens)
        self._step = _Step(num_tokens, len(plan.swap_outs) + len(plan.swap_ins), self._scheduler.num_recomputed_tokens)
        self._sampling = dict.fromkeys(decode.request_id for decode in plan.decodes)
        self._sampling |= dict.fromkeys(chunk.request_id for chunk in plan.prefills if chunk.sample)
        self._count_samples(len(self._sampling))

    def heard(self, event: Event) -> None:
        """Takes in that a request calls a tool, has come back from it, or has ended."""
        if event.kind in ("call", "finished"):  # what comes next is no gap between tokens
            self._last_s.pop(event.output.request_id, None)
            self._sampling.pop(event.output.request_id, None)
        call = event.call
        if event.kind == "result" and call is not None and call.handling is Handling.PRESERVE and self._memory is not None:
            assert self._scheduler is not None and call.duration_s is not None
            if (request := self._scheduler.get(event.output.request_id)) is not None:
                self._memory.elapsed(0.0, call.duration_s, len(request.block_ids) * self._scheduler.blocks.block_size)

    def throughput(self) -> float:
        """Tokens sampled per second of late."""
        now = int(self._clock())
        return sum(count for second, count in self._recent if 0 < now - second <= THROUGHPUT_WINDOW_S) / THROUGHPUT_WINDOW_S

    def collect(self) -> Iterable[Metric]:
        """The waste; the histograms collect themselves."""
        waste = Waste() if self._memory is None else self._memory.waste
        family = CounterMetricFamily(
            "lamps:waste_token_seconds", "Token-seconds of KV held without computing (InferCept), by cause.", labels=["cause"]
        )
        for cause in ("preserved", "recomputed", "swapped"):
            family.add_metric([cause], getattr(waste, cause))
        yield family

    def _take_gaps(self) -> None:
        """A request that samples in the step that is over and did in an earlier one shows a gap; of most it is that one step."""
        now, before_s, last_s, num_steady = self._clock(), self._step_s, self._last_s, 0
        for request_id in self._sampling:
            last = last_s.get(request_id)
            if last == before_s:
                num_steady += 1
            elif last is not None:
                self.gaps.observe(now - last)
            last_s[request_id] = now
        if num_steady:
            self.gaps.observe(now - before_s, num_steady)
        self._step_s = now

    def _count_samples(self, count: int) -> None:
        second = int(self._clock())
        place = second % len(self._recent)
        before = self._recent[place][1] if self._recent[place][0] == second else 0
        self._recent[place] = second, before + count
