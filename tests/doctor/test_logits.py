"""Logits of chunks and decodes through the pool are those of the whole text at once, without any pool."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.doctor.logits import NUM_NEW_TOKENS, logit_positions, prompt_logits
from lamps_jax.doctor.seeded_models import PROMPT_LENGTHS, prompts, seeded_model
from lamps_jax.models.attention.reference import attend_within, causal_mask
from lamps_jax.models.weights import bind
from tests.doctor.conftest import TINY, Computed, tiny_models_only

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dense_logits() -> Callable[[list[int]], np.ndarray]:
    """Scores of the token behind each of a text, computed at once."""
    with tiny_models_only():
        model, length = seeded_model(TINY, dtype="float32"), max(PROMPT_LENGTHS) + NUM_NEW_TOKENS

    @jax.jit
    def logits(token_ids: jax.Array) -> jax.Array:
        bound: Any = bind(model.graph, dict(zip(model.parameter_names, model.weights, strict=True)))
        attend = attend_within(causal_mask(1, length))
        hidden, _ = bound(token_ids, jnp.arange(length)[None], [None] * model.config.num_layers, attend)
        return bound.logits(hidden)[0]

    return lambda text: np.asarray(logits(np.array([text + [0] * (length - len(text))], np.int32)))


def test_logits_are_those_of_the_whole_text_at_once(computed: Computed, dense_logits: Callable[[list[int]], np.ndarray]) -> None:
    for prompt, found in zip(prompts(), computed[TINY, "float32"], strict=True):
        whole = dense_logits(prompt + list(found.new_tokens[:-1]))
        expected = whole[[position - 1 for position in found.positions]]
        np.testing.assert_allclose(found.logits, expected, atol=1e-4 * np.abs(expected).max())


def test_new_tokens_are_the_likeliest(computed: Computed) -> None:
    for found in computed[TINY, "float32"]:
        assert found.logits[-NUM_NEW_TOKENS:].argmax(axis=1).tolist() == list(found.new_tokens)
        assert len(set(found.new_tokens)) > 1


@pytest.mark.usefixtures("tiny_models")
def test_new_tokens_may_be_those_of_another_run(computed: Computed) -> None:
    others = [tuple((token + 1) % 256 for token in found.new_tokens) for found in computed[TINY, "float32"]]
    forced = prompt_logits(TINY, dtype="float32", precise=True, new_tokens=others)
    for free, bound, other in zip(computed[TINY, "float32"], forced, others, strict=True):
        assert bound.new_tokens == other
        at = len(free.positions) - NUM_NEW_TOKENS + 1
        np.testing.assert_array_equal(bound.logits[:at], free.logits[:at])
        assert (bound.logits[at:] != free.logits[at:]).any(axis=1).all()


def test_positions_are_the_ends_of_chunks_and_then_every_token() -> None:
    assert logit_positions(33) == (16, 32, 33, *range(34, 45))
    assert [len(logit_positions(length)) for length in PROMPT_LENGTHS] == [12, 12, 14, 17]
