import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lamps_jax.config import EngineConfig
from lamps_jax.serve.app import create_app
from lamps_jax.serve.logs import JsonFormatter, TextFormatter, configure_logging, log_configuration
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.test_app import WEATHER, chat, send

KEY = "sk-a-secret-key"
PATH = "/v1/chat/completions"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("lamps_jax")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield written
    log.removeHandler(handler)
    log.setLevel(before)


def access_lines(written: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in lines if line["logger"] == "lamps_jax.access"]


def app_with(start, **options: Any):
    return create_app(ServerState(start(make_engine()), config=ServerConfig(**options)), model_name="toy")


def test_each_request_has_one_line_that_says_how_long_and_how_much_but_not_what(start, lines):
    app = app_with(start, api_keys=(KEY,))
    headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "abc-1", "X-Session-Id": "alices-secret-session"}
    send(app, "POST", PATH, json=chat("What is 48*37?"), headers=headers)
    (line,) = access_lines(lines)
    assert (line["method"], line["path"], line["status"], line["request_id"]) == ("POST", PATH, 200, "abc-1")
    assert line["level"] == "info" and line["message"] == f"POST {PATH} 200" and line["key"] == "key-1"
    assert line["prompt_tokens"] == len("Q: What is 48*37?\nA:") and line["cached_tokens"] == 0
    assert line["completion_tokens"] > 20 and line["finish_reasons"] == ["stop"]
    (call,), (timings,) = line["calls"], line["timings"]
    assert call == {"name": "Calculator", "duration_s": call["duration_s"], "handling": "preserve", "failed": False}
    assert 0 <= timings["queue_s"] <= timings["ttft_s"] <= timings["e2e_s"] <= line["duration_s"]
    assert len(line["session"]) == 12
    for secret in ("48*37", "1776", KEY, "alices", "Q:"):
        assert secret not in lines.getvalue()


def test_what_a_client_calls_and_brings_back_is_not_logged_either(start, lines):
    app = app_with(start)
    send(app, "POST", PATH, json=chat("Weather in Oslo?", tools=[WEATHER], stream=True))
    (line,) = access_lines(lines)
    assert line["finish_reasons"] == ["tool_calls"] and line["calls"][0]["name"] == "get_weather"
    assert "Oslo" not in lines.getvalue()


def test_refused_requests_have_a_line_with_the_reason(start, lines):
    app = app_with(start, api_keys=(KEY,))
    send(app, "POST", PATH, json=chat("Hello"), headers={"Authorization": "Bearer wrong-wrong"})
    (line,) = access_lines(lines)
    assert (line["status"], line["error"]) == (401, "invalid_api_key") and "prompt_tokens" not in line
    assert "wrong-wrong" not in lines.getvalue()


def test_whoever_looks_all_the_time_is_logged_at_debug(start, lines):
    app = app_with(start)
    for path in ("/health", "/metrics", "/version"):
        send(app, "GET", path)
    assert [line["level"] for line in access_lines(lines)] == ["debug", "debug", "info"]


def test_a_path_cannot_write_lines_of_its_own(start, caplog):
    with caplog.at_level(logging.INFO, "lamps_jax.access"):
        send(app_with(start), "GET", "/v1/%0aINFO lamps_jax.access: GET / 200" + "x" * 1000)
    (record,) = [record for record in caplog.records if record.name == "lamps_jax.access"]
    text = TextFormatter().format(record)
    assert text.count("\n") == 0 and len(text) < 2000


def test_text_lines_have_the_fields_behind_the_message():
    record = logging.LogRecord("lamps_jax.access", logging.INFO, "", 0, "POST %s", ("/x",), None)
    record.fields = {"status": 200, "error": None, "calls": [], "timings": [{"e2e_s": 0.5}], "key": "alice"}
    text = TextFormatter().format(record)
    assert text.endswith('INFO lamps_jax.access: POST /x status=200 timings=[{"e2e_s":0.5}] key=alice')
    assert text[10] == "T" and text.partition(" ")[0].endswith("Z")


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_errors_are_logged_with_where_they_happened(formatter):
    try:
        raise RuntimeError("device lost")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", (), sys.exc_info())
    text = formatter.format(record)
    assert "device lost" in text and "test_logs.py" in text
    if isinstance(formatter, JsonFormatter):
        assert "\n" not in text and json.loads(text)["message"] == "it failed"


def test_the_configuration_is_logged_without_secrets(lines):
    log_configuration("models/toy", EngineConfig(), ServerConfig(api_keys=(KEY,), metrics_key=KEY, max_queue_len=9))
    line = json.loads(lines.getvalue())
    assert line["model"] == "models/toy" and line["engine"]["scheduler"]["policy"] == "preserve"
    assert line["server"]["max_queue_len"] == 9 and line["server"]["api_keys"] == "1 given" and KEY not in lines.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_is_logged_goes_to_standard_error(log_format, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    try:
        configure_logging(ServerConfig(log_format=log_format))
        logging.getLogger("elsewhere").info("unheard")
        logging.getLogger("elsewhere").warning("heard")
    finally:
        root.handlers = before
        root.setLevel(level)
    (line,) = written.getvalue().splitlines()
    assert "heard" in line and line.startswith("{") == (log_format == "json")


def test_a_line_of_an_unhandled_error_says_500(start, lines, monkeypatch):
    state = ServerState(start(make_engine()))
    app = create_app(state, model_name="toy")

    def fail() -> bytes:
        raise RuntimeError("no metrics today")

    monkeypatch.setattr(state.metrics, "text", fail)
    assert send(app, "GET", "/metrics").status_code == 500
    assert [line["status"] for line in access_lines(lines)] == [500]
