"""The server with the model that ships with the package, from ready on."""

from collections.abc import Iterator

import jax
import pytest
from starlette.testclient import TestClient

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL, build_engine
from lamps_jax.engine.engine import Engine
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.tools.builtin import BUILTIN_TOOLS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimised", "compiled_before")]


@pytest.fixture(scope="module")
def engine() -> Engine:
    config = EngineConfig(SchedulerConfig(max_num_seqs=4, max_chunk_tokens=64, max_model_len=512))
    return build_engine(EMBEDDED_MODEL, config, BUILTIN_TOOLS)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_app(ServerState(AsyncEngine(engine)), model_name="embedded")) as client:
        yield client


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    counted: list[str] = []

    def listen(event: str, duration_s: float, **_: object) -> None:
        if "backend_compile" in event:
            counted.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counted
    jax.monitoring.unregister_event_duration_listener(listen)


def test_no_program_is_compiled_once_the_server_is_ready(client: TestClient, compilations: list[str]) -> None:
    assert client.get("/health").status_code == 200
    for size in (1, 5, 17, 40, 90, 200):
        for temperature in (0, 1):
            body = {"prompt": [[5] * size] * 5, "max_tokens": 20, "temperature": temperature, "top_p": 0.9, "top_k": 7, "seed": 3}
            assert client.post("/v1/completions", json=body).status_code == 200
    question = {"messages": [{"role": "user", "content": "How old was Albert Einstein when he died?"}]}
    assert client.post("/v1/chat/completions", json=question).json()["lamps"]["calls"]
    assert compilations == []


def test_the_compilation_counter_counts(compilations: list[str]) -> None:
    jax.jit(lambda x: x * 3 + 12345)(7.0)
    assert compilations


def test_a_request_without_temperature_is_answered_greedily_as_the_model_wants(client: TestClient) -> None:
    question = {"messages": [{"role": "user", "content": "What is 48*37?"}]}
    replies = [client.post("/v1/chat/completions", json=question).json() for _ in range(3)]
    assert {reply["choices"][0]["message"]["content"] for reply in replies} == {"1776"}


def test_everything_is_free_after_the_requests_above(client: TestClient, engine: Engine) -> None:
    assert engine.num_unfinished == 0
    engine.scheduler.check()
    assert engine.scheduler.blocks.num_free_blocks == engine.scheduler.blocks.num_blocks - 1
