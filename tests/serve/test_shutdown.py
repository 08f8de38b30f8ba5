"""A real process that is told to end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import wait_until
from tests.serve.live_server import connect, request_bytes
from tests.serve.test_app import chat, error_of
from tests.serve.test_run import free_port, is_ready

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"

SERVER = """
import json, sys, time
from pathlib import Path
from lamps_jax.config import EngineConfig
from lamps_jax.serve import run
from lamps_jax.serve.logs import configure_logging
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine

options = json.loads(sys.argv[2])
executor = ScriptedExecutor(step_s=0.01)
def slow(text):
    time.sleep(2.0)
    return "done"
def broken(text):
    executor.failure = RuntimeError("device lost")
    return "well"
tools = [Tool(name, "", one_string("text", ""), function) for name, function in (("Slow", slow), ("Broken", broken))]
run.build_engine = lambda *arguments, **more: make_engine(executor, tools=tools)
if options.pop("never_ready", False):
    def build_engine(directory, config, tools, *, predictor, progress):
        for done in range(6000):
            progress("compiling", done, 6000)
            time.sleep(0.01)
    run.build_engine = build_engine
if "api_key_file" in options:
    options["api_key_file"] = Path(options["api_key_file"])
server = ServerConfig(**options)
configure_logging(server)
run.serve(Path("nowhere"), EngineConfig(), (), model_name="toy", host="127.0.0.1", port=int(sys.argv[1]), server=server)
"""


class Process:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str], port: int):
        self.process, self.port, self.url = process, port, f"http://127.0.0.1:{port}"

    def signal(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    def ask(self, question: str, **fields: Any) -> socket.socket:
        """A connection on which a question has been sent."""
        connection = connect(self.port)
        connection.sendall(request_bytes(PATH, chat(question, **fields)))
        return connection

    def has_under_way(self, count: int) -> None:
        """Waits until so many requests are under way."""
        wait_until(lambda: self.metric("lamps:http_requests_under_way") == count)

    def metric(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def end(self, timeout_s: float = 20.0) -> tuple[int, str]:
        """Exit status and log, once it has ended."""
        _, log = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, log


@contextmanager
def running(**options: Any) -> Iterator[Process]:
    port = free_port()
    arguments = [sys.executable, "-c", SERVER, str(port), json.dumps(options)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with subprocess.Popen(
        arguments, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            if options.get("never_ready"):
                wait_until(lambda: answers(port), timeout_s=60)
            else:
                wait_until(lambda: is_ready(port), timeout_s=60)
            yield Process(process, port)
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        return bool(httpx.get(f"http://127.0.0.1:{port}/health", timeout=5.0).status_code)
    except httpx.ConnectError:
        return False


def whole(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    with connection:
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    ("sign", "status"), [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, -signal.SIGINT, marks=pytest.mark.long)]
)
def test_what_is_under_way_ends_and_nothing_new_begins(sign, status):
    with running(shutdown_timeout_s=20.0) as server:
        decoding, streamed = (server.ask("Count", stream=stream, max_tokens=300) for stream in (False, True))
        in_call = server.ask("Hang")
        server.has_under_way(3)
        server.signal(sign)
        wait_until(lambda: httpx.get(f"{server.url}/health").status_code == 503)
        health = httpx.get(f"{server.url}/health")
        assert error_of(health, 503)["code"] == "draining" and int(health.headers["retry-after"]) >= 1
        assert health.headers["connection"] == "close"
        refused = httpx.post(f"{server.url}{PATH}", json=chat("Hello"))
        assert error_of(refused, 503)["code"] == "draining" and "retry-after" in refused.headers
        assert httpx.get(f"{server.url}/metrics").status_code == 200
        assert b'"finish_reason":"length"' in whole(decoding)
        assert whole(streamed).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b"The tool said: done." in whole(in_call)
        code, log = server.end()
        assert code == status, log
        assert "told to end" in log and "Traceback" not in log.replace("KeyboardInterrupt", "").partition("Traceback")[0]


def test_what_has_not_ended_in_time_is_told_so():
    with running(shutdown_timeout_s=0.5) as server:
        in_call, decoding = server.ask("Hang"), server.ask("Count", stream=True)
        server.has_under_way(2)
        wait_until(lambda: server.metric("lamps:generation_tokens_total") > 20)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        answer = whole(in_call)
        assert b" 503 " in answer and b"shutting_down" in answer
        stream = whole(decoding)
        assert b"shutting_down" in stream and b"data: [DONE]" in stream and b'"finish_reason": "length"' not in stream
        code, log = server.end()
        assert code == 0 and 0.4 < time.monotonic() - began < 10.0
        assert "2 requests have not ended within 0.5 s and are given up" in log


@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_second_signal_ends_it_at_once(sign):
    with running(shutdown_timeout_s=600.0) as server:
        decoding = server.ask("Count")
        server.has_under_way(1)
        server.signal(sign)
        wait_until(lambda: httpx.get(f"{server.url}/health").status_code == 503)
        server.signal(sign)
        began = time.monotonic()
        assert b"shutting_down" in whole(decoding)
        server.end()
        assert time.monotonic() - began < 10.0


def test_an_idle_server_ends_at_once_and_closes_the_connections_that_it_kept():
    with running(shutdown_timeout_s=600.0) as server:
        kept = connect(server.port)
        kept.sendall(b"GET /version HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += kept.recv(4096)
        watching = connect(server.port)
        watching.sendall(b"GET /live HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200 OK" in watching.recv(4096)
        server.signal(signal.SIGTERM)
        assert whole(kept) == b""
        whole(watching)
        code, log = server.end()
        assert code == 0 and "Cancel" not in log, log


def test_a_server_that_loads_ends_at_the_first_signal():
    with running(never_ready=True) as server:
        server.signal(signal.SIGTERM)
        code, _ = server.end()
        assert code == 0


@pytest.mark.parametrize("exit_on_failure", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_failed_engine_is_told_of_and_ends_the_process_if_that_is_wanted(exit_on_failure):
    with running(exit_on_failure=exit_on_failure) as server:
        other = server.ask("Count")
        server.has_under_way(1)
        response = httpx.post(f"{server.url}{PATH}", json=chat("Break"))
        assert "device lost" in error_of(response, 500)["message"]
        assert b"device lost" in other.recv(65536)
        other.close()
        if exit_on_failure:
            code, log = server.end()
            assert code == 1
        else:
            time.sleep(0.3)
            assert "device lost" in error_of(httpx.get(f"{server.url}/health"), 503)["message"]
            assert error_of(httpx.post(f"{server.url}{PATH}", json=chat("Hello")), 503)["code"] == "engine_unavailable"
            server.signal(signal.SIGTERM)
            code, log = server.end()
            assert code == 0
        assert "CRITICAL" in log and "device lost" in log


def test_keys_are_read_again_at_sighup(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("sk-the-first-key\n")
    with running(api_key_file=str(file)) as server:

        def status(key: str) -> int:
            return httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status("sk-the-first-key"), status("sk-the-second-key")) == (200, 401)
        file.write_text("sk-the-second-key\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: status("sk-the-second-key") == 200)
        assert status("sk-the-first-key") == 401
        server.signal(signal.SIGTERM)
        _, log = server.end()
        assert "1 API keys are known" in log and "sk-the" not in log
