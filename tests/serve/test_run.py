import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from lamps_jax.config import EngineConfig
from lamps_jax.engine.history_file import HistoryFile
from lamps_jax.models.weights import CheckpointError
from lamps_jax.serve import run
from lamps_jax.serve.logs import JsonFormatter
from lamps_jax.serve.record import RecordConfig
from lamps_jax.serve.server_config import ServerConfig
from tests.fakes import make_engine, wait_until


def serve(port: int = 0, **options: Any) -> None:
    run.serve(Path("nowhere"), EngineConfig(), (), model_name="toy", host="127.0.0.1", port=port, **options)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_error():
    with pytest.raises(CheckpointError, match="nowhere"):
        serve()


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="choose another host or port"):
        serve(taken.getsockname()[1])


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_whatever_is_logged_the_address_is_told_in_the_form_of_the_log(level: str):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(CheckpointError):
            serve(server=ServerConfig(log_level=level))
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger("lamps_jax").setLevel(logging.NOTSET)
    told = [json.loads(line)["message"] for line in written.getvalue().splitlines()]
    (announced,) = [message for message in told if "http://" in message]
    assert re.search(r"http://127\.0\.0\.1:[1-9]\d+/health", announced)


def test_the_port_answers_while_the_model_loads_and_a_signal_ends_it(monkeypatch, caplog):
    loaded, engine, port = threading.Event(), make_engine(), free_port()
    seen: list[int] = []

    def build_engine(directory, config, tools, *, predictor, progress):
        progress("compiling", 1, 2)
        assert loaded.wait(5.0)
        return engine

    def visit() -> None:
        def status() -> int:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5.0).status_code
            except httpx.ConnectError:
                return 0

        try:
            wait_until(lambda: status() != 0)
            seen.append(status())
            loaded.set()
            wait_until(lambda: status() == 200)
            seen.append(status())
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run, "build_engine", build_engine)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    visitor = threading.Thread(target=visit)
    visitor.start()
    with pytest.raises(KeyboardInterrupt):
        serve(port)
    visitor.join()
    signal.signal(signal.SIGINT, before)
    assert seen == [503, 200] and f"toy is ready at http://127.0.0.1:{port}" in caplog.text
    assert not any(thread.name in ("engine", "loader") for thread in threading.enumerate())


SERVER = """
import sys
from pathlib import Path
from lamps_jax.config import EngineConfig
from lamps_jax.serve import run
from lamps_jax.serve.record import RecordConfig
from tests.fakes import make_engine
port, folder = int(sys.argv[1]), Path(sys.argv[2])
run.build_engine = lambda directory, config, tools, *, predictor, progress: make_engine()
record = RecordConfig(folder / "record", with_prompts=True)
run.serve(
    folder, EngineConfig(), (), model_name="toy", host="127.0.0.1", port=port, history=folder / "history", record=record
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_server_told_to_end_has_kept_what_it_learned_and_recorded(sign: signal.Signals, tmp_path: Path):
    for round_ in (1, 2):
        port = free_port()
        arguments = [sys.executable, "-c", SERVER, str(port), str(tmp_path)]
        with subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda port=port: is_ready(port), timeout_s=60)
                for _ in range(2):
                    body = {"messages": [{"role": "user", "content": "What is 48*37?"}]}
                    assert httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body).status_code == 200
            finally:
                process.send_signal(sign)
        (calls,) = HistoryFile(tmp_path / "history").read().calls
        assert (calls.tool, calls.num_calls) == ("Calculator", 2 * round_)
        records = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
        assert [each["segments"][1]["text"] for each in records] == [" It is 1776."] * 2 * round_


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5.0).status_code == 200
    except httpx.ConnectError:
        return False


def test_files_that_should_be_left_alone_are_refused_before_the_port_is_opened(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(run, "_listen", lambda host, port: pytest.fail("the port was opened"))
    (tmp_path / "notes").write_text("no newline")
    with pytest.raises(ValueError, match="does not end in a record"):
        run.serve(tmp_path, EngineConfig(), (), model_name="toy", host="", port=0, record=RecordConfig(tmp_path / "notes"))
    with pytest.raises(OSError, match="cannot use the history file"):
        run.serve(tmp_path, EngineConfig(), (), model_name="toy", host="", port=0, history=tmp_path)


def test_a_record_is_given_back_when_the_server_ends(tmp_path: Path):
    for _ in range(2):
        with pytest.raises(CheckpointError):
            run.serve(
                Path("nowhere"),
                EngineConfig(),
                (),
                model_name="toy",
                host="127.0.0.1",
                port=0,
                record=RecordConfig(tmp_path / "r"),
            )
