"""The same measurements under the names of other engines, for dashboards and autoscalers that know those.

Source: vLLM, vllm/v1/metrics/loggers.py; SGLang, "Production Metrics" of its documentation. Each has the type that it
has there, and the label ``model_name``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from lamps_jax.serve.metrics.blocks import BlockMetrics
from lamps_jax.serve.metrics.engine_state import EngineState
from lamps_jax.serve.metrics.requests import RequestMetrics
from lamps_jax.serve.metrics.steps import StepMetrics

_VLLM_REASONS = {"tool_calls": "stop", "error": "abort"}
"""Reasons to end that vLLM has no word for."""


class Counted(NamedTuple):
    """Where the measurements come from."""

    requests: RequestMetrics
    steps: StepMetrics
    blocks: BlockMetrics
    state: EngineState


class Aliases(Collector, ABC):
    """What was counted, as ``vllm:`` or ``sglang:`` metrics.

    Args:
        model_name: What the label of that name says.
    """

    def __init__(self, counted: Counted, *, model_name: Callable[[], str]):
        self._requests, self._steps, self._blocks, self._state = counted
        self._model_name = model_name

    def collect(self) -> Iterable[Metric]:
        """Everything that is counted from the beginning, and of the engine once there is one."""
        for name, source in self._copied().items():
            yield from self._renamed(name, source)
        if (state := self._state.now()) is not None:
            yield from self._of_state(state)

    @abstractmethod
    def _copied(self) -> Mapping[str, Collector]:
        """By their names there, what is counted here in the same way."""

    @abstractmethod
    def _of_state(self, state: Mapping[str, int]) -> Iterable[Metric]:
        """What the engine's own account says."""

    def _renamed(self, name: str, source: Collector) -> Iterable[Metric]:
        for metric in source.collect():
            renamed = Metric(name, metric.documentation, metric.type)
            for sample in metric.samples:
                if sample.name.endswith("_created"):
                    continue
                labels = {**sample.labels, "model_name": self._model_name()}
                renamed.samples.append(Sample(name + sample.name.removeprefix(metric.name), labels, sample.value))
            yield renamed

    def _gauge(self, name: str, what: str, value: float, **labels: str) -> Metric:
        labels = {"model_name": self._model_name(), **labels}
        family = GaugeMetricFamily(name, what, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family

    def _counter(self, name: str, what: str, value: float) -> Metric:
        family = CounterMetricFamily(name, what, labels=["model_name"])
        family.add_metric([self._model_name()], value)
        return family


class VllmAliases(Aliases):
    """Names of vLLM."""

    def collect(self) -> Iterable[Metric]:
        """Also the requests that have ended, by vLLM's reasons."""
        yield from super().collect()
        ended = CounterMetricFamily("vllm:request_success", "Requests that have ended.", labels=["model_name", "finished_reason"])
        counts: dict[str, float] = {}
        for metric in self._requests.finished.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    reason = sample.labels["finished_reason"]
                    reason = _VLLM_REASONS.get(reason, reason)
                    counts[reason] = counts.get(reason, 0.0) + sample.value
        for reason, count in counts.items():
            ended.add_metric([self._model_name(), reason], count)
        yield ended

    def _copied(self) -> Mapping[str, Collector]:
        requests, steps, blocks = self._requests, self._steps, self._blocks
        return {
            "vllm:prompt_tokens": requests.prompt_tokens,
            "vllm:prefix_cache_queries": requests.prompt_tokens,
            "vllm:prefix_cache_hits": requests.cached_tokens,
            "vllm:iteration_tokens_total": steps.sizes,
            "vllm:time_to_first_token_seconds": requests.ttft,
            "vllm:inter_token_latency_seconds": steps.gaps,
            "vllm:time_per_output_token_seconds": steps.gaps,
            "vllm:e2e_request_latency_seconds": requests.e2e,
            "vllm:request_queue_time_seconds": requests.queue,
            "vllm:request_prefill_time_seconds": requests.prefill,
            "vllm:request_decode_time_seconds": requests.decode,
            "vllm:request_inference_time_seconds": requests.inference,
            "vllm:request_prompt_tokens": requests.prompt_lengths,
            "vllm:request_generation_tokens": requests.lengths,
            "vllm:request_max_num_generation_tokens": requests.longest,
            "vllm:kv_block_lifetime_seconds": blocks.lifetimes,
            "vllm:kv_block_idle_before_evict_seconds": blocks.idle,
            "vllm:kv_block_reuse_gap_seconds": blocks.gaps,
        }

    def _of_state(self, state: Mapping[str, int]) -> Iterable[Metric]:
        yield self._gauge("vllm:num_requests_running", "Requests in the batch.", state["running_requests"])
        yield self._gauge("vllm:num_requests_waiting", "Requests that wait.", state["waiting_requests"])
        yield self._gauge("vllm:kv_cache_usage_perc", "Share of KV blocks that are held, 0 to 1.", _usage(state))
        yield self._counter("vllm:num_preemptions", "Times that a running request gave way.", state["preemptions"])
        yield self._counter("vllm:generation_tokens", "Tokens sampled.", state["sampled_tokens"])
        sizes = {
            "block_size": str(self._state.block_size),
            "num_gpu_blocks": str(state["device_blocks"]),
            "num_cpu_blocks": str(state["host_blocks"]),
            "enable_prefix_caching": str(self._state.prefix_cache),
        }
        yield self._gauge("vllm:cache_config_info", "Of what size the KV cache is.", 1, **sizes)


class SglangAliases(Aliases):
    """Names of SGLang, older and newer."""

    def _copied(self) -> Mapping[str, Collector]:
        requests, steps = self._requests, self._steps
        return {
            "sglang:prompt_tokens": requests.prompt_tokens,
            "sglang:time_to_first_token_seconds": requests.ttft,
            "sglang:time_per_output_token_seconds": steps.gaps,
            "sglang:inter_token_latency_seconds": steps.gaps,
            "sglang:e2e_request_latency_seconds": requests.e2e,
        }

    def _of_state(self, state: Mapping[str, int]) -> Iterable[Metric]:
        held = state["device_blocks"] - state["free_device_blocks"]
        asked, cached = _total(self._requests.prompt_tokens), _total(self._requests.cached_tokens)
        yield self._gauge("sglang:num_running_reqs", "Requests in the batch.", state["running_requests"])
        yield self._gauge("sglang:num_queue_reqs", "Requests that wait.", state["waiting_requests"])
        yield self._gauge("sglang:num_used_tokens", "Tokens for which there is KV memory in use.", held * self._state.block_size)
        yield self._gauge("sglang:token_usage", "Share of KV blocks that are held, 0 to 1.", _usage(state))
        yield self._gauge("sglang:cache_hit_rate", "Share of prompt tokens whose KV was there.", cached / asked if asked else 0.0)
        yield self._gauge("sglang:gen_throughput", "Tokens sampled a second, of late.", self._steps.throughput())
        yield self._counter("sglang:generation_tokens", "Tokens sampled.", state["sampled_tokens"])


ALIASES: Mapping[str, type[Aliases]] = {"vllm": VllmAliases, "sglang": SglangAliases}


def _usage(state: Mapping[str, int]) -> float:
    return 1.0 - state["free_device_blocks"] / state["device_blocks"] if state["device_blocks"] else 0.0


def _total(counter: Collector) -> float:
    return sum(sample.value for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total"))
