"""The frequencies are those of transformers for every known scaling, and unknown ones are refused with their name."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from lamps_jax.models.rope import Rope
from tests.properties import examples


def theirs(config: LlamaConfig, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1, 1), torch.from_numpy(positions))
    half = cos.shape[-1] // 2
    return cos[..., :half].numpy(), sin[..., :half].numpy()


SCALINGS = st.one_of(
    st.just({"rope_type": "default"}),
    st.builds(lambda factor: {"rope_type": "linear", "factor": factor}, st.floats(1, 8)),
    st.builds(lambda factor: {"rope_type": "dynamic", "factor": factor}, st.floats(1, 8)),
    st.builds(
        lambda factor, low, high, trained: {
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": low + high,
            "original_max_position_embeddings": trained,
        },
        st.floats(1, 8), st.floats(0.5, 2), st.floats(0.5, 4), st.integers(16, 512),
    ),
    st.builds(
        lambda factor, fast, slow, trained, truncate: {
            "rope_type": "yarn", "factor": factor, "beta_fast": fast, "beta_slow": slow,
            "original_max_position_embeddings": trained, "truncate": truncate,
        },
        st.floats(1, 8), st.floats(16, 64), st.floats(0.5, 2), st.integers(64, 512), st.booleans(),
    ),
)  # fmt: skip


LENGTHS = (1, 33, 512, 513, 700)
"""Few, since each has its own compilations; dynamic scaling begins behind 512."""


@settings(max_examples=examples(60), deadline=None)
@given(scaling=SCALINGS, theta=st.sampled_from([1e4, 5e5]), dim=st.sampled_from([8, 64, 128]), length=st.sampled_from(LENGTHS))
def test_angles_are_those_of_transformers(scaling: dict[str, Any], theta: float, dim: int, length: int) -> None:
    config = LlamaConfig(
        hidden_size=2 * dim, num_attention_heads=2, max_position_embeddings=512, rope_parameters=scaling | {"rope_theta": theta}
    )
    positions = np.arange(length)[None]
    rope = Rope.from_hf(config.to_dict(), dim=dim)
    angles = rope.angles(jnp.asarray(positions))
    cos, sin = theirs(config, positions)
    np.testing.assert_allclose(jnp.cos(angles) * rope.magnitude, cos, atol=3e-4)
    np.testing.assert_allclose(jnp.sin(angles) * rope.magnitude, sin, atol=3e-4)


def test_the_keys_of_older_configurations_mean_the_same() -> None:
    scaling = {"type": "linear", "factor": 4.0}
    old = {"rope_theta": 5e5, "rope_scaling": scaling, "max_position_embeddings": 64}
    new = {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}, "max_position_embeddings": 64}
    assert Rope.from_hf(old, dim=8) == Rope.from_hf(new, dim=8)


def test_stretching_reaches_further_than_training_did() -> None:
    for kind in ("linear", "dynamic"):
        config = {"rope_scaling": {"type": kind, "factor": 4.0}, "max_position_embeddings": 4096}
        assert Rope.from_hf(config, dim=8).longest == 16384
    assert Rope.from_hf({"max_position_embeddings": 4096}, dim=8).longest == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"rope_scaling": {"type": "longrope", "factor": 4.0}},
            "rope_type 'longrope' is not supported; known are default, linear",
        ),
        ({"rope_scaling": {"type": "linear"}}, "the rope scaling linear lacks the key 'factor'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic scaling needs"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is not supported"),
        ({"rope_theta": -1}, "rope_theta and the scaling factor must be positive, got -1"),
    ],
)
def test_what_is_not_known_is_refused_with_its_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rope.from_hf(config, dim=8)
