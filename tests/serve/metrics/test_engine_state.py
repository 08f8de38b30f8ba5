import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL, build_engine
from lamps_jax.serve.app import create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.metrics.compilations import CompilationCounter
from lamps_jax.serve.state import ServerState
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.tool import Tool
from tests.serve.metrics.scrape import families, samples

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimised", "compiled_before")]


def slow_calculator() -> Tool:
    """Slow enough for its request to be swapped out meanwhile."""

    def calculate(**arguments: str) -> str:
        time.sleep(0.3)
        return CALCULATOR.function(**arguments)

    return replace(CALCULATOR, function=calculate)


def test_a_real_engine_says_what_computes_how_much_it_copied_and_that_it_compiles_no_more():
    scheduler = SchedulerConfig(policy="swap", max_num_seqs=2, max_chunk_tokens=64, max_model_len=256)
    engine = build_engine(EMBEDDED_MODEL, EngineConfig(scheduler, host_kv_bytes=2**22), [slow_calculator()])
    compilations, state = CompilationCounter(), ServerState()
    state.companions.append(compilations)
    state.metrics.attach(engine, compilations)
    state.async_engine = AsyncEngine(engine)
    with TestClient(create_app(state, model_name="embedded")) as client:
        question = {"messages": [{"role": "user", "content": "What is 48*37?"}]}
        assert client.post("/v1/chat/completions", json=question).json()["choices"][0]["message"]["content"] == "1776"
        text = client.get("/metrics").text
    seen = samples(text)
    assert seen["lamps:programs_compiled_total"] == 0  # all were compiled before it began to count
    (attention,) = families(text)["lamps:attention_info"].samples
    assert attention.labels["backend"] and attention.value == 1
    assert seen["lamps:swapped_bytes_total out"] == seen["lamps:swapped_out_blocks_total"] * engine.executor.block_bytes > 0
    assert seen["lamps:step_seconds_count"] > 5 and seen["vllm:num_requests_running"] == 0
