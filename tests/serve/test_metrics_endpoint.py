from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from lamps_jax.engine.events import ApiCall, RequestOutput
from lamps_jax.metrics import Timestamps
from lamps_jax.serve.app import ServerState
from lamps_jax.serve.metrics_endpoint import ServerMetrics
from tests.fakes import make_engine
from tests.serve.test_app import app_on, chat, send


def samples(text: str) -> dict[str, float]:
    """Each sample by its name, and for buckets its limit."""
    return {
        sample.name + (f" {sample.labels['le']}" if "le" in sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(app: FastAPI) -> dict[str, float]:
    response = send(app, "GET", "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(response.text)


def test_lengths_are_counted_as_predicted_and_as_they_were():
    metrics = ServerMetrics()
    for predicted, actual in ((75.0, 71), (10.0, 30)):
        metrics.segment_over(predicted, actual)
    seen = samples(metrics.text().decode())
    assert seen["lamps:predicted_output_tokens_sum"] == 85
    assert seen["lamps:actual_output_tokens_sum"] == 101
    assert seen["lamps:output_tokens_error_sum"] == 24
    assert [seen[f"lamps:output_tokens_error_bucket {limit}"] for limit in ("2.0", "4.0", "16.0", "32.0")] == [0, 1, 1, 2]


def test_calls_are_counted_if_something_had_been_expected():
    metrics, output = ServerMetrics(), RequestOutput("a", 3, Timestamps(0.0))
    output.calls = [
        ApiCall("1", "tool", {}, "", expected_s=2.0, duration_s=2.5),
        ApiCall("2", "tool", {}, "", duration_s=7.0),
        ApiCall("3", "tool", {}, "", expected_s=2.0),
    ]
    metrics.request_over([1, 2, 3], output)
    seen = samples(metrics.text().decode())
    assert seen["lamps:actual_api_call_seconds_count"] == 1
    assert seen["lamps:api_call_seconds_error_sum"] == 0.5


def test_the_state_of_the_engine_is_shown_once_there_is_one(start):
    state = ServerState()
    app = app_on(state)
    assert "lamps:device_blocks" not in scraped(app)
    state.async_engine = start(make_engine())
    assert send(app, "POST", "/v1/chat/completions", json=chat("Hello")).status_code == 200
    seen = scraped(app)
    assert seen["lamps:device_blocks"] > 0
    assert seen["lamps:free_device_blocks"] <= seen["lamps:device_blocks"]
    assert seen["lamps:running_requests"] == seen["lamps:waiting_requests"] == 0
    assert seen["lamps:preemptions_total"] == 0
