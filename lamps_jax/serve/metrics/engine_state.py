"""The engine's own account, read whenever somebody looks."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.sched.request import Handling
from lamps_jax.serve.metrics.compilations import CompilationCounter

State = Callable[[], Mapping[str, int] | None]
"""What the engine's memory holds and has been through, by name; None while there is no engine."""

GAUGES = {
    "running_requests": "Requests in the batch.",
    "waiting_requests": "Requests that wait to run or to resume.",
    "requests_in_api_call": "Requests whose tool runs.",
    "device_blocks": "KV blocks of the device's pool.",
    "free_device_blocks": "KV blocks there that nobody holds.",
    "cached_device_blocks": "Of those that nobody holds, the ones that can be found by their content.",
    "host_blocks": "KV blocks of the host's pool.",
    "free_host_blocks": "KV blocks there that nobody holds.",
}
COUNTERS = {
    "preemptions": "Times that a running request gave way for want of memory.",
    "swapped_out_blocks": "KV blocks copied to the host.",
    "swapped_in_blocks": "KV blocks copied back.",
    "lost_blocks": "KV blocks whose copy failed.",
    "evicted_blocks": "Cached KV blocks that gave way.",
    "found_tokens": "Tokens that were not computed because their KV was found.",
    "recomputed_tokens": "Tokens that were computed before, and again since.",
    "steps": "Steps of the engine.",
}


class EngineState(Collector):
    """The state of the engine.

    Attributes:
        block_size: Tokens of a KV block; 0 where that is not known.
        prefix_cache: Whether KV blocks are found again.
    """

    def __init__(self, state: State):
        self._state = state
        self.block_size, self.prefix_cache = 0, False
        self._block_bytes, self._attention = 0, ""
        self._compilations: CompilationCounter | None = None

    def attach(self, engine: Engine, compilations: CompilationCounter | None) -> None:
        """Takes in what does not change of an engine, and who counts what is compiled for it."""
        self.block_size, self.prefix_cache = engine.scheduler.blocks.block_size, engine.scheduler.memory.prefix_cache
        self._compilations = compilations
        if isinstance(engine.executor, JaxExecutor):
            self._block_bytes, self._attention = engine.executor.block_bytes, engine.executor.attention.name

    def now(self) -> Mapping[str, int] | None:
        """The state; None while there is no engine."""
        return self._state()

    def collect(self) -> Iterable[Metric]:
        """Everything, by our own names."""
        state = self._state()
        if state is None:
            return
        for name, what in GAUGES.items():
            yield GaugeMetricFamily(f"lamps:{name}", what, value=state[name])
        for name, what in COUNTERS.items():
            yield CounterMetricFamily(f"lamps:{name}", what, value=state[name])
        yield CounterMetricFamily("lamps:generation_tokens", "Tokens sampled.", value=state["sampled_tokens"])
        boosts = "Requests that had starved and were let go first."
        yield CounterMetricFamily("lamps:starvation_boosts", boosts, value=state["promoted_requests"])
        paused = GaugeMetricFamily("lamps:paused_requests", "Requests in calls, by what became of their KV.", labels=["handling"])
        for handling in Handling:
            paused.add_metric([handling.value], state[f"paused_{handling.value}"])
        yield paused
        if self._compilations is not None:
            what = "Programs compiled, or loaded as such; grows no more once the server is ready."
            yield CounterMetricFamily("lamps:programs_compiled", what, value=self._compilations.count)
        if self._block_bytes:
            copied = CounterMetricFamily(
                "lamps:swapped_bytes", "Bytes of KV copied between device and host.", labels=["direction"]
            )
            for direction in ("out", "in"):
                copied.add_metric([direction], state[f"swapped_{direction}_blocks"] * self._block_bytes)
            yield copied
        if self._attention:
            info = GaugeMetricFamily("lamps:attention_info", "1 for the attention backend that is used.", labels=["backend"])
            info.add_metric([self._attention], 1)
            yield info
