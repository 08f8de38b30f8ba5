import pytest

from tests.serve.metrics.scrape import families, samples, scraped
from tests.serve.metrics.test_server_metrics import PATH, served
from tests.serve.test_app import chat, send

VLLM = {
    "num_requests_running": "gauge",
    "num_requests_waiting": "gauge",
    "kv_cache_usage_perc": "gauge",
    "cache_config_info": "gauge",
    "prefix_cache_queries": "counter",
    "prefix_cache_hits": "counter",
    "prompt_tokens": "counter",
    "generation_tokens": "counter",
    "request_success": "counter",
    "num_preemptions": "counter",
    "iteration_tokens_total": "histogram",
    "time_to_first_token_seconds": "histogram",
    "inter_token_latency_seconds": "histogram",
    "time_per_output_token_seconds": "histogram",
    "e2e_request_latency_seconds": "histogram",
    "request_queue_time_seconds": "histogram",
    "request_prefill_time_seconds": "histogram",
    "request_decode_time_seconds": "histogram",
    "request_inference_time_seconds": "histogram",
    "request_prompt_tokens": "histogram",
    "request_generation_tokens": "histogram",
    "request_max_num_generation_tokens": "histogram",
    "kv_block_lifetime_seconds": "histogram",
    "kv_block_idle_before_evict_seconds": "histogram",
    "kv_block_reuse_gap_seconds": "histogram",
}
"""Names and types of vLLM's own metrics, from vllm/v1/metrics/loggers.py."""

SGLANG = {
    "num_running_reqs": "gauge",
    "num_queue_reqs": "gauge",
    "num_used_tokens": "gauge",
    "token_usage": "gauge",
    "cache_hit_rate": "gauge",
    "gen_throughput": "gauge",
    "prompt_tokens": "counter",
    "generation_tokens": "counter",
    "time_to_first_token_seconds": "histogram",
    "time_per_output_token_seconds": "histogram",
    "inter_token_latency_seconds": "histogram",
    "e2e_request_latency_seconds": "histogram",
}
"""Likewise of SGLang, from the production metrics of its documentation."""


@pytest.mark.parametrize(("prefix", "expected"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_each_name_has_the_type_that_it_has_there_and_the_label_of_the_model(start, prefix, expected):
    app, _ = served(start, metrics_aliases=("vllm", "sglang"))
    send(app, "POST", PATH, json=chat("What is 48*37?"))
    shown = {name: family for name, family in families(scraped(app)).items() if name.startswith(f"{prefix}:")}
    assert {name.partition(":")[2]: family.type for name, family in shown.items()} == expected
    for family in shown.values():
        assert family.samples and all(sample.labels["model_name"] == "toy" for sample in family.samples), family.name


def test_only_the_names_that_are_wanted_are_told(start):
    def prefixes(*aliases: str) -> set[str]:
        return {name.partition(":")[0] for name in families(scraped(served(start, metrics_aliases=aliases)[0]))}

    assert prefixes() == {"lamps"} and prefixes("vllm") == {"lamps", "vllm"} and prefixes("sglang") == {"lamps", "sglang"}


def test_counts_and_histograms_are_those_of_our_own_names(start):
    app, _ = served(start, metrics_aliases=("vllm", "sglang"))
    for question in ("Hello", "What is 48*37?", "Hello"):
        send(app, "POST", PATH, json=chat(question))
    seen = samples(scraped(app))
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds"):
        ours = {
            key.partition(":")[2]: value
            for key, value in seen.items()
            if key.startswith(f"lamps:{name}") and "_created" not in key
        }
        assert len(ours) > 10
        for prefix in ("vllm", "sglang"):
            assert {key.partition(":")[2]: value for key, value in seen.items() if key.startswith(f"{prefix}:{name}")} == ours
    assert seen["sglang:cache_hit_rate"] == seen["vllm:prefix_cache_hits_total"] / seen["vllm:prefix_cache_queries_total"]
    assert seen["sglang:gen_throughput"] >= 0
    used = seen["sglang:num_used_tokens"]
    assert used == (seen["lamps:device_blocks"] - seen["lamps:free_device_blocks"]) * 16
    assert (
        seen["sglang:token_usage"] == seen["vllm:kv_cache_usage_perc"] == pytest.approx(used / 16 / seen["lamps:device_blocks"])
    )
    (info,) = families(scraped(app))["vllm:cache_config_info"].samples
    sizes = {"block_size": "16", "num_gpu_blocks": "256", "num_cpu_blocks": "0", "enable_prefix_caching": "True"}
    assert info.labels == {"model_name": "toy", **sizes} and info.value == 1
