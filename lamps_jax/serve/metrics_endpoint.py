"""What ``/metrics`` shows, in Prometheus's text format; names begin with ``lamps:``."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lamps_jax.engine.events import RequestOutput

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

TOKENS = tuple(2**power for power in range(13))
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

State = Callable[[], Mapping[str, int] | None]
"""What the engine's memory holds and has been through, by name; None while there is no engine."""

GAUGES = {
    "running_requests": "Requests in the batch.",
    "waiting_requests": "Requests that wait to run or to resume.",
    "requests_in_api_call": "Requests whose tool runs.",
    "device_blocks": "KV blocks of the device's pool.",
    "free_device_blocks": "KV blocks there that nobody holds.",
    "host_blocks": "KV blocks of the host's pool.",
    "free_host_blocks": "KV blocks there that nobody holds.",
}
COUNTERS = {
    "preemptions": "Times that a running request gave way for want of memory.",
    "swapped_out_blocks": "KV blocks copied to the host.",
    "swapped_in_blocks": "KV blocks copied back.",
    "evicted_blocks": "Cached KV blocks that gave way.",
    "found_tokens": "Tokens that were not computed because their KV was found.",
}


class ServerMetrics:
    """Counts what the server does.

    Args:
        state: Asked whenever somebody looks.
    """

    def __init__(self, state: State = lambda: None):
        self._registry = CollectorRegistry()
        self._registry.register(_Engine(state))
        predicted, actual = "What was predicted, of what is over.", "What came of it, where something had been predicted."
        self._tokens = [
            self._histogram("predicted_output_tokens", f"Tokens up to a call or the end. {predicted}", TOKENS),
            self._histogram("actual_output_tokens", f"Tokens up to a call or the end. {actual}", TOKENS),
            self._histogram("output_tokens_error", "Difference of the two, either way.", TOKENS),
        ]
        self._seconds = [
            self._histogram("predicted_api_call_seconds", f"Duration of calls. {predicted}", SECONDS),
            self._histogram("actual_api_call_seconds", f"Duration of calls. {actual}", SECONDS),
            self._histogram("api_call_seconds_error", "Difference of the two, either way.", SECONDS),
        ]

    def segment_over(self, predicted_tokens: float, actual_tokens: int) -> None:
        """Counts a segment of whose length something was predicted."""
        _observe(self._tokens, predicted_tokens, actual_tokens)

    def request_over(self, prompt: list[int], output: RequestOutput) -> None:
        """Counts the calls of a request that has ended."""
        for call in output.calls:
            if call.expected_s is not None and call.duration_s is not None:
                _observe(self._seconds, call.expected_s, call.duration_s)

    def text(self) -> bytes:
        """Everything, as ``/metrics`` shows it."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"lamps:{name}", what, buckets=buckets, registry=self._registry)


def _observe(histograms: list[Histogram], predicted: float, actual: float) -> None:
    for histogram, value in zip(histograms, (predicted, actual, abs(predicted - actual)), strict=True):
        histogram.observe(value)


class _Engine(Collector):
    """Reads the engine's state whenever it is asked."""

    def __init__(self, state: State):
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state()
        if state is None:
            return
        for name, what in GAUGES.items():
            yield GaugeMetricFamily(f"lamps:{name}", what, value=state[name])
        for name, what in COUNTERS.items():
            yield CounterMetricFamily(f"lamps:{name}", what, value=state[name])
