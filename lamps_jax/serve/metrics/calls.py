"""What calls did: how long they took, what became of the KV meanwhile, and how right the predictions were."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from lamps_jax.engine.events import ApiCall, Event, RequestOutput
from lamps_jax.sched.request import Handling
from lamps_jax.serve.metrics import buckets
from lamps_jax.serve.metrics.tool_names import ToolNames


class CallMetrics:
    """Counts calls; for the engine's thread.

    Attributes:
        tool_names: How tools are called in labels.
    """

    def __init__(self, registry: CollectorRegistry):
        def histogram(name: str, what: str, limits: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"lamps:{name}", what, labels, buckets=limits, registry=registry)

        self.tool_names = ToolNames()
        predicted, actual = "What was predicted, of what is over.", "What came of it, where something had been predicted."
        self._tokens = [
            histogram("predicted_output_tokens", f"Tokens up to a call or the end. {predicted}", buckets.TOKENS),
            histogram("actual_output_tokens", f"Tokens up to a call or the end. {actual}", buckets.TOKENS),
            histogram("output_tokens_error", "Difference of the two, either way.", buckets.TOKENS),
        ]
        self._seconds = [
            histogram("predicted_api_call_seconds", f"Duration of calls. {predicted}", buckets.SECONDS),
            histogram("actual_api_call_seconds", f"Duration of calls. {actual}", buckets.SECONDS),
            histogram("api_call_seconds_error", "Difference of the two, either way.", buckets.SECONDS),
        ]
        self._durations = histogram("api_call_seconds", "Duration of the calls that the server ran.", buckets.SECONDS, "tool")
        self._resumes = histogram(
            "resume_time_to_first_token_seconds",
            "From a call's return to the next token.",
            buckets.FIRST_TOKEN_SECONDS,
            "handling",
        )
        self._decisions = Counter(
            "lamps:handling_decisions",
            "What was decided to become of the KV during a call.",
            ["action", "tool"],
            registry=registry,
        )
        self._demotions = Counter(
            "lamps:handling_demotions", "Calls during which that changed for want of memory.", ["action", "to"], registry=registry
        )
        self._failures = Counter("lamps:failed_api_calls", "Calls whose result tells of an error.", ["tool"], registry=registry)
        self._chosen: dict[str, Handling] = {}  # of calls that run

    def segment_over(self, predicted_tokens: float, actual_tokens: int) -> None:
        """Counts a segment of whose length something was predicted."""
        _observe(self._tokens, predicted_tokens, actual_tokens)

    def heard(self, event: Event) -> None:
        """Counts what has become of a call."""
        call = event.call
        if event.kind == "call" and call is not None and call.handling is not None:
            self._decide(call)
            self._chosen[call.call_id] = call.handling
        elif event.kind == "result" and call is not None:
            self._count_return(call)
        elif event.kind == "finished":
            self._count_end(event.output.calls, event.output)

    def _decide(self, call: ApiCall) -> None:
        assert call.handling is not None
        self._decisions.labels(call.handling.value, self.tool_names.label(call.name)).inc()

    def _count_return(self, call: ApiCall) -> None:
        assert call.duration_s is not None
        tool = self.tool_names.label(call.name)
        self._durations.labels(tool).observe(call.duration_s)
        if call.failed:
            self._failures.labels(tool).inc()
        chosen = self._chosen.pop(call.call_id, call.handling)
        if chosen is not None and call.handling is not None and chosen is not call.handling:
            self._demotions.labels(chosen.value, call.handling.value).inc()

    def _count_end(self, calls: Iterable[ApiCall], output: RequestOutput) -> None:
        for call in calls:
            if call.returned_s is None:
                if self._chosen.pop(call.call_id, None) is None and call.handling is not None:
                    self._decide(call)  # what is kept for a call of the client's is decided as the request ends
                continue
            if call.resumed_s is not None and call.handling is not None:
                self._resumes.labels(call.handling.value).observe(call.resumed_s - call.returned_s)
            if call.expected_s is not None and call.duration_s is not None:
                _observe(self._seconds, call.expected_s, call.duration_s)


def _observe(histograms: list[Histogram], predicted: float, actual: float) -> None:
    for histogram, value in zip(histograms, (predicted, actual, abs(predicted - actual)), strict=True):
        histogram.observe(value)
