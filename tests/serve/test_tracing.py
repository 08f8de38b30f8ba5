import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from lamps_jax.engine.events import ApiCall, RequestOutput
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import FinishReason, Handling
from lamps_jax.serve.app import create_app
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from lamps_jax.serve.tracing import Tracer, spans_of, tracer_for
from tests.fakes import make_engine
from tests.serve.test_app import WEATHER, chat, send

PATH = "/v1/chat/completions"
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def traced(start, body: dict[str, Any], headers: dict[str, str] | None = None, **options: Any) -> list[ReadableSpan]:
    """The spans of one request, the whole of it first and then in the order of their starts."""
    exporter = InMemorySpanExporter()
    tracer = Tracer(SimpleSpanProcessor(exporter), model_name="toy")
    state = ServerState(start(make_engine()), config=ServerConfig(**options), tracer=tracer)
    send(create_app(state, model_name="toy"), "POST", PATH, json=body, headers=headers or {})
    tracer.stop()
    return sorted(exporter.get_finished_spans(), key=lambda span: (span.kind is not SpanKind.SERVER, span.start_time))


def test_a_request_is_traced_from_its_queue_to_its_end(start):
    whole, *parts = traced(start, chat("Twice, please"))
    names = ["queue", "prefill", "decode", "tool", "resume", "decode", "tool", "resume", "decode"]
    assert [span.name for span in parts] == names
    assert whole.name == f"POST {PATH}" and whole.kind is SpanKind.SERVER and whole.status.status_code is StatusCode.UNSET
    assert all(span.parent.span_id == whole.context.span_id for span in parts)
    for before, after in pairwise(parts):
        assert before.end_time == after.start_time
    assert whole.start_time <= parts[0].start_time and parts[-1].end_time <= whole.end_time
    tools = [dict(span.attributes) for span in parts if span.name == "tool"]
    assert [(tool["gen_ai.tool.name"], tool["lamps.handling"], tool["lamps.failed"]) for tool in tools] == [
        ("Calculator", "preserve", False)
    ] * 2
    attributes = dict(whole.attributes)
    assert attributes["gen_ai.request.model"] == "toy" and attributes["http.response.status_code"] == 200
    assert attributes["gen_ai.usage.input_tokens"] == len("Q: Twice, please\nA:")
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)


def test_nothing_that_was_said_is_in_a_trace(start):
    spans = traced(start, chat("What is 48*37?", session_id="alices-session"))
    text = " ".join(span.to_json() for span in spans)
    assert "48*37" not in text and "1776" not in text and "alices" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_the_trace_of_the_client_goes_on(start, stream):
    headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "vendor=value"}
    spans = traced(start, chat("Hello", stream=stream), headers)
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE_ID}
    assert f"{spans[0].parent.span_id:016x}" == PARENT_ID
    assert spans[0].context.trace_state["vendor"] == "value"


@pytest.mark.parametrize("given", ["", "00-xyz", f"00-{'0' * 32}-{PARENT_ID}-01"])
def test_a_header_that_names_no_trace_begins_a_new_one(start, given):
    spans = traced(start, chat("Hello"), {"traceparent": given})
    assert spans[0].parent is None and len(spans) == 4


def test_a_trace_that_nobody_samples_is_not_sent(start):
    assert traced(start, chat("Hello"), {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00"}) == []


def test_errors_are_marked(start):
    spans = traced(start, chat("Hello"), {"X-Request-Timeout-S": "0.000001"})
    assert spans[0].status.status_code is StatusCode.ERROR and spans[0].attributes["error.type"] == "deadline_exceeded"
    (refused,) = traced(start, chat("Hello"), api_keys=("sk-a-secret-key",))
    assert refused.attributes["http.response.status_code"] == 401


def test_a_call_that_the_client_runs_is_not_part_of_the_request(start):
    _, *parts = traced(start, chat("Weather in Oslo?", tools=[WEATHER]))
    assert [span.name for span in parts] == ["queue", "prefill", "decode"]


def output_with(times: Timestamps, *calls: ApiCall, reason: FinishReason = FinishReason.ABORT) -> RequestOutput:
    return RequestOutput("r", 3, times, calls=list(calls), finish_reason=reason)


def test_requests_that_ended_early_have_the_stretches_that_they_got_to():
    assert spans_of(output_with(Timestamps(1.0, finished_s=4.0))) == [("queue", 1.0, 4.0, {})]
    begun = Timestamps(1.0, finished_s=4.0, scheduled_s=2.0)
    assert [span[:3] for span in spans_of(output_with(begun))] == [("queue", 1.0, 2.0), ("prefill", 2.0, 4.0)]
    called = Timestamps(1.0, first_token_s=3.0, last_token_s=5.0, finished_s=9.0, scheduled_s=2.0)
    in_call = ApiCall("id", "Slow", {}, "", handling=Handling.SWAP, called_s=6.0)
    spans = spans_of(output_with(called, in_call))
    assert [span[:3] for span in spans[2:]] == [("decode", 3.0, 6.0), ("tool", 6.0, 9.0)]
    assert spans[-1][3]["lamps.handling"] == "swap"


def test_without_an_endpoint_there_are_no_traces(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    assert tracer_for(None, model_name="toy") is None


def test_without_opentelemetry_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ValueError, match=r"pip install 'lamps-jax\[otel\]'"):
        tracer_for("http://127.0.0.1:4318", model_name="toy")


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, bytes]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("by_environment", [False, True])
def test_traces_are_sent_to_the_collector_at_the_latest_when_the_server_ends(start, monkeypatch, by_environment):
    Collector.received.clear()
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{collector.server_port}"
        if by_environment:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        tracer = tracer_for(None if by_environment else url + "/", model_name="toy")
        assert tracer is not None
        state = ServerState(start(make_engine()), tracer=tracer)
        send(create_app(state, model_name="toy"), "POST", PATH, json=chat("Hello"))
        tracer.stop()
        collector.shutdown()
        thread.join()
    ((path, body),) = Collector.received
    assert path == "/v1/traces" and len(body) > 100
