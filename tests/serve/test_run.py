import signal
import socket
import threading
from pathlib import Path

import httpx
import pytest

from lamps_jax.config import EngineConfig
from lamps_jax.models.weights import CheckpointError
from lamps_jax.serve import run
from tests.fakes import make_engine, wait_until


def serve(port: int = 0) -> None:
    run.serve(Path("nowhere"), EngineConfig(), (), model_name="toy", host="127.0.0.1", port=port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_error():
    with pytest.raises(CheckpointError, match="nowhere"):
        serve()


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="choose another host or port"):
        serve(taken.getsockname()[1])


def test_the_port_answers_while_the_model_loads_and_a_signal_ends_it(monkeypatch, caplog):
    loaded, engine, port = threading.Event(), make_engine(), free_port()
    seen: list[int] = []

    def build_engine(directory, config, tools, *, progress):
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
