import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.serve import deadline
from lamps_jax.serve.app import create_app
from lamps_jax.serve.deadline import seconds_of, shortest, timely_body
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until
from tests.serve.live_server import connect, request_bytes, serving
from tests.serve.test_app import chat, error_of, send

PATH = "/v1/chat/completions"


@pytest.fixture
def slow(start) -> Callable[..., tuple[ServerState, Engine]]:
    """A server whose steps take a while, with a tool that hangs."""
    release = threading.Event()
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: str(release.wait(20.0)))

    def build(*, policy: str = "preserve", step_s: float = 0.01, **options: Any) -> tuple[ServerState, Engine]:
        engine = make_engine(ScriptedExecutor(step_s=step_s), tools=[tool], max_num_seqs=1, policy=policy, num_host_blocks=16)
        return ServerState(start(engine), config=ServerConfig(**options)), engine

    yield build  # pyright: ignore[reportReturnType]
    release.set()


def app_of(state: ServerState) -> Any:
    return create_app(state, model_name="toy")


@pytest.mark.parametrize("policy", ["preserve", "vllm", "swap"])
@pytest.mark.parametrize("question", ["Count", "Hang"])
def test_a_request_that_does_not_end_in_time_is_given_up_wherever_it_is(slow, question, policy):
    state, engine = slow(policy=policy)
    response = send(app_of(state), "POST", PATH, json=chat(question, timeout_s=0.3))
    error = error_of(response, 504)
    assert error["code"] == "deadline_exceeded" and "0.3 s" in error["message"]
    wait_until(lambda: engine.num_unfinished == 0, timeout_s=1.0)


@pytest.mark.parametrize(
    ("options", "headers", "body"),
    [
        ({"request_timeout_s": 0.2}, {}, {}),
        ({"request_timeout_s": 0.2}, {"X-Request-Timeout-S": "60"}, {"timeout_s": 50.0}),
        ({"request_timeout_s": 60.0}, {"X-Request-Timeout-S": "0.2"}, {}),
        ({}, {"X-Request-Timeout-S": "0.2"}, {"timeout_s": 50}),
        ({}, {"X-Request-Timeout-S": "50"}, {"timeout_s": 0.2}),
    ],
)
def test_the_shortest_of_what_the_server_the_header_and_the_body_say_counts(slow, options, headers, body):
    state, _ = slow(**options)
    began = time.monotonic()
    error = error_of(send(app_of(state), "POST", PATH, json=chat("Count", **body), headers=headers), 504)
    assert "0.2 s" in error["message"] and time.monotonic() - began < 3.0


def test_a_stream_that_has_begun_ends_with_the_error(slow):
    state, _ = slow()
    response = send(app_of(state), "POST", PATH, json=chat("Count", stream=True, timeout_s=0.4))
    assert response.status_code == 200
    events = response.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert json.loads(events[-3].removeprefix("data: "))["error"]["code"] == "deadline_exceeded"
    assert all(json.loads(event[6:])["choices"][0]["finish_reason"] is None for event in events[:-3])


def test_a_stream_that_has_not_begun_gets_the_status(slow):
    state, _ = slow()
    assert error_of(send(app_of(state), "POST", PATH, json=chat("Hang", timeout_s=0.1, stream=True)), 504)


def test_a_request_in_the_queue_is_given_up_too(slow):
    state, engine = slow()
    with serving(app_of(state)) as port:
        first = connect(port)
        first.sendall(request_bytes(PATH, chat("Count")))
        wait_until(lambda: engine.scheduler.num_running == 1)
        url = f"http://127.0.0.1:{port}{PATH}"
        error_of(httpx.post(url, json=chat("Hello", timeout_s=0.2)), 504)
        assert engine.scheduler.num_running == 1
        first.close()


def test_a_request_that_is_not_begun_in_time_is_told_to_come_again(slow):
    state, engine = slow(queue_timeout_s=0.3)
    with serving(app_of(state)) as port:
        first = connect(port)
        first.sendall(request_bytes(PATH, chat("Count")))
        wait_until(lambda: engine.scheduler.num_running == 1)
        response = httpx.post(f"http://127.0.0.1:{port}{PATH}", json=chat("Hello"))
        assert error_of(response, 408)["code"] == "queue_timeout" and int(response.headers["retry-after"]) >= 1
        assert engine.scheduler.num_running == 1  # the first has been begun, and may take its time
        first.close()
        wait_until(lambda: engine.num_unfinished == 0)


def test_a_request_that_was_begun_in_time_may_take_longer(slow):
    state, _ = slow(queue_timeout_s=0.2, step_s=0.02)
    assert send(app_of(state), "POST", PATH, json=chat("Hello")).status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_header_that_is_no_time_is_refused(slow, value):
    state, _ = slow()
    error = error_of(send(app_of(state), "POST", PATH, json=chat("Hello"), headers={"X-Request-Timeout-S": value}), 400)
    assert error["code"] == "invalid_timeout" and "positive number of seconds" in error["message"]


@pytest.mark.parametrize("value", [0, -1, "5"])
def test_a_field_that_is_no_time_is_refused(slow, value):
    state, _ = slow()
    assert error_of(send(app_of(state), "POST", PATH, json=chat("Hello", timeout_s=value)), 400)["param"] == "timeout_s"


@pytest.mark.parametrize(("timeout_s", "status"), [(0.3, b" 504 "), (None, b" 408 ")])
def test_a_body_that_does_not_come_is_not_waited_for(slow, monkeypatch, timeout_s, status):
    monkeypatch.setattr(deadline, "BODY_TIMEOUT_S", 0.5)
    state, _ = slow(request_timeout_s=timeout_s)
    with serving(app_of(state)) as port, connect(port) as connection:
        connection.sendall(request_bytes(PATH, chat("Hello"))[:-3])
        assert status in connection.recv(4096)


def test_a_request_that_is_given_up_does_not_wait_for_its_body(slow):
    state, _ = slow()
    with serving(app_of(state)) as port, connect(port) as connection:
        connection.sendall(request_bytes(PATH, chat("Hello"))[:-3])
        wait_until(lambda: len(state.traffic.under_way) == 1)
        time.sleep(0.05)  # it has begun to read
        began = time.perf_counter()
        (under_way,) = state.traffic.under_way
        under_way._loop.call_soon_threadsafe(state.traffic.stop_all, RequestError("enough", status=503, code="shutting_down"))
        answer = connection.recv(4096)
        assert b" 503 " in answer and b"shutting_down" in answer and time.perf_counter() - began < 5


def test_behind_the_body_there_is_no_limit_but_the_engines():
    told = [
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def scenario() -> list[str]:
        async def receive() -> dict[str, Any]:
            if len(told) == 1:
                await asyncio.sleep(0.1)
            return told.pop(0)

        timely = timely_body(receive, lambda: 0.05)
        return [(await timely())["type"] for _ in range(3)]

    assert asyncio.run(scenario()) == ["http.request", "http.request", "http.disconnect"]


def test_seconds_are_read_and_the_shortest_taken():
    assert seconds_of(None) is None and seconds_of("2.5") == 2.5
    assert shortest(None, None) is None and shortest(None, 3.0, 2.0) == 2.0
    with pytest.raises(RequestError, match="positive"):
        seconds_of("1e999")
