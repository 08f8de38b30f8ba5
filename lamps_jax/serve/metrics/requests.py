"""What requests of the model came to: their lengths and times, and how they ended."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.sched.request import FinishReason
from lamps_jax.serve.metrics import buckets


class RequestMetrics:
    """Counts requests; everything but `prompts_over` is for the engine's thread."""

    def __init__(self, registry: CollectorRegistry):
        def histogram(name: str, what: str, limits: tuple[float, ...]) -> Histogram:
            return Histogram(f"lamps:{name}", what, buckets=limits, registry=registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"lamps:{name}", what, labels, registry=registry)

        stretch = buckets.REQUEST_SECONDS
        self.ttft = histogram("time_to_first_token_seconds", "Arrival to first token.", buckets.FIRST_TOKEN_SECONDS)
        self.e2e = histogram("e2e_request_latency_seconds", "Arrival to end, calls included.", stretch)
        self.service = histogram("request_service_seconds", "Arrival to end, without the time in calls.", stretch)
        self.queue = histogram("request_queue_time_seconds", "Arrival to the first step.", stretch)
        self.prefill = histogram("request_prefill_time_seconds", "First step to first token.", stretch)
        self.decode = histogram("request_decode_time_seconds", "First token to last, without the time in calls.", stretch)
        self.inference = histogram(
            "request_inference_time_seconds", "First step to last token, without the time in calls.", stretch
        )
        self.prompt_lengths = histogram("request_prompt_tokens", "Tokens of prompts.", buckets.CONTEXT_TOKENS)
        self.lengths = histogram("request_generation_tokens", "Tokens sampled.", buckets.TOKENS)
        self.longest = histogram(
            "request_max_num_generation_tokens", "Of the outputs to one HTTP request the longest.", buckets.TOKENS
        )
        self.prompt_tokens = counter("prompt_tokens", "Tokens of the prompts that were begun.")
        self.cached_tokens = counter("cached_prompt_tokens", "Of those, tokens whose KV was there already.")
        self.finished = counter("finished_requests", "Requests that have ended.", "finished_reason")
        for reason in FinishReason:
            self.finished.labels(reason.value)

    def heard(self, event: Event) -> None:
        """Counts what has become of a request."""
        output, times = event.output, event.output.timestamps
        if event.kind == "started":
            assert times.scheduled_s is not None
            self.prompt_tokens.inc(output.num_prompt_tokens)
            self.queue.observe(times.scheduled_s - times.arrival_s)
        elif event.kind == "finished":
            self._count_end(output)

    def prompts_over(self, outputs: list[RequestOutput]) -> None:
        """Counts all that one HTTP request has yielded."""
        if outputs:
            self.longest.observe(max(len(output.token_ids) for output in outputs))

    def _count_end(self, output: RequestOutput) -> None:
        times, reason = output.timestamps, output.finish_reason
        assert reason is not None and times.finished_s is not None
        self.finished.labels(reason.value).inc()
        self.cached_tokens.inc(output.num_cached_prompt_tokens)
        if times.first_token_s is not None:
            self.ttft.observe(times.first_token_s - times.arrival_s)
        if reason in (FinishReason.ABORT, FinishReason.ERROR):
            return  # its length and times say when it was given up, not how much there was to do
        self.prompt_lengths.observe(output.num_prompt_tokens)
        self.lengths.observe(len(output.token_ids))
        self.e2e.observe(times.finished_s - times.arrival_s)
        self.service.observe(times.finished_s - times.arrival_s - times.api_s)
        if times.scheduled_s is not None and times.first_token_s is not None and times.last_token_s is not None:
            self.prefill.observe(times.first_token_s - times.scheduled_s)
            self.decode.observe(max(0.0, times.last_token_s - times.first_token_s - times.api_s))
            self.inference.observe(max(0.0, times.last_token_s - times.scheduled_s - times.api_s))
