"""The dense decode that paging is measured against computes what the paged one does."""

import jax.numpy as jnp
import numpy as np

from benchmarks.dense import allocate_dense, make_dense_decode
from tests.factories import ProgramRunner, engine_config, gptj_config, lively_model

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
