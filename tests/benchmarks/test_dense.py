"""The dense decode that paging is measured against computes what the paged one does."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.dense import allocate_dense, make_dense_decode
from tests.factories import ProgramRunner, engine_config, gptj_config, lively_model

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimised")]

PROMPT = np.random.default_rng(0).integers(1, 96, 20).tolist()


def test_dense_and_paged_decoding_yield_the_same_tokens() -> None:
    model = lively_model(gptj_config())
    runner = ProgramRunner(model, engine_config())
    expected = runner.generate(runner.row(0), PROMPT, 8, chunk=16)
    decode, cache = make_dense_decode(model), allocate_dense(model, "float32", batch=2, num_tokens=64)
    sampled, token = [], None
    for position in range(len(PROMPT) + 7):
        token = PROMPT[position] if position < len(PROMPT) else sampled[-1]
        cache, tokens = decode(model.weights, cache, jnp.full(2, token, jnp.int32), jnp.full(2, position, jnp.int32))
        assert tokens[0] == tokens[1]
        if position >= len(PROMPT) - 1:
            sampled.append(int(tokens[0]))
    assert sampled == expected


@pytest.mark.parametrize("batch", [1, 3])
def test_dense_cache_is_updated_in_place(batch: int) -> None:
    model = lively_model(gptj_config())
    cache = allocate_dense(model, "float32", batch=batch, num_tokens=2000)
    decode: Any = make_dense_decode(model)
    memory = decode.lower(model.weights, cache, *jnp.ones((2, batch), jnp.int32)).compile().memory_analysis()
    cache_bytes = sum(array.nbytes for layer in cache for array in layer)
    assert memory.alias_size_in_bytes >= cache_bytes
    assert memory.temp_size_in_bytes <= 0.2 * cache_bytes
