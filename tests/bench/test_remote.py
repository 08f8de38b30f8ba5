"""Clients of a server that runs already, on a real port."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lamps_jax.bench.remote import RemoteServer, ServerError, run_remote
from lamps_jax.metrics import Objectives
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.sim.spec import Record
from lamps_jax.sim.workload import Call, Script, Segment, Span, Workload
from tests.fakes import ScriptedExecutor, make_engine
from tests.serve.test_openai_client import served

TWO_SEGMENTS = Workload("two", (Script("two", (Span(12),), (Segment(4, Call("sleep", 0.1, 3)), Segment(6))),))
ENDS_IN_A_CALL = Workload("ends", (Script("ends", (Span(12),), (Segment(4, Call("sleep", 0.1, 3)),)),))


def run(server: RemoteServer, workload: Workload, **options: Any) -> dict[str, Any]:
    chosen = {"rate_rps": 8.0, "seed": 0, "window_s": 1.0, "drain": True} | options
    return run_remote(server, workload, objectives=Objectives(e2e_s=5.0), record=Record(latencies=True), **chosen)


@pytest.fixture
def server() -> Iterator[RemoteServer]:
    engine = make_engine(ScriptedExecutor(step_s=0.0005))
    with served(AsyncEngine(engine)) as url:
        yield RemoteServer.connect(f"{url}/v1/")
    engine.scheduler.check()
    assert engine.num_unfinished == 0


@pytest.mark.parametrize(("workload", "num_tokens"), [(TWO_SEGMENTS, 10), (ENDS_IN_A_CALL, 5)])
def test_clients_get_just_the_tokens_of_their_scripts_and_wait_for_their_calls(server, workload: Workload, num_tokens: int):
    result = run(server, workload)
    assert server.model == "toy"
    assert result["finished"] == result["arrived"] > 2
    assert result["tokens_per_s"] * result["simulated_s"] == pytest.approx(num_tokens * result["arrived"])
    assert result["e2e_s"]["mean"] >= 0.1 > result["ttft_s"]["mean"]
    assert result["goodput_rps"] == result["throughput_rps"] > 0
    assert len(result["latencies"]["e2e_s"]) == result["finished"]


def test_clients_who_are_not_served_in_the_window_leave_and_count_as_unfinished(server):
    slow = Workload("slow", (Script("slow", (Span(12),), (Segment(4, Call("sleep", 30.0, 3)), Segment(6))),))
    result = run(server, slow, drain=False)
    assert result["finished"] == 0 < result["unfinished"] == result["arrived"]
    assert result["all_arrivals"]["ttft_s"]["mean"] < 0.5


def test_what_the_server_refuses_is_counted_and_said(server, capsys):
    too_long = Workload("long", (Script("long", (Span(100_000),), (Segment(4),)),))
    result = run(server, too_long)
    assert result["refused"] == result["arrived"] > 0
    assert "were refused or failed: status 400" in capsys.readouterr().err


def test_nobody_at_the_address_is_an_error_that_says_what_to_do():
    with pytest.raises(ServerError, match=r"nothing answers at http://127.0.0.1:9 .*lamps-jax serve"):
        RemoteServer.connect("http://127.0.0.1:9")


@contextmanager
def answering(status: int, body: object) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, {"hello": "world"}, "does not answer as the OpenAI API does"),
        (200, [1], "does not answer as the OpenAI API does"),
        (401, {"error": "no key"}, "answers with 401: "),
    ],
)
def test_a_server_of_something_else_is_an_error(status: int, body: object, says: str):
    with answering(status, body) as url, pytest.raises(ServerError, match=says):
        RemoteServer.connect(url)
