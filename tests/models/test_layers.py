"""The shared layers, each against numpy or PyTorch in float32."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

from lamps_jax.models.layers import Embedding, LayerNorm, Linear, RMSNorm, quantize_int8, rotate_interleaved

RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_multiplies_by_the_transposed_weight(bias: bool) -> None:
    layer = Linear(24, 10, bias=bias, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x, offset = random(2, 3, 24), random(10) if bias else np.zeros(10, np.float32)
    if bias:
        layer.bias.set_value(jnp.asarray(offset))
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ np.asarray(layer.weight[...]).T + offset, atol=1e-6)


def test_bfloat16_linear_accumulates_in_float32() -> None:
    layer = Linear(4096, 1, bias=False, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    layer.weight.set_value(jnp.ones((1, 4096), jnp.bfloat16))
    y = layer(jnp.ones((1, 4096), jnp.float32))
    assert y.dtype == jnp.float32
    assert y.item() == 4096  # a sum kept in bfloat16 stops growing at 256


def test_embedding_looks_rows_up_in_float32() -> None:
    layer = Embedding(7, 5, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    rows = layer(jnp.array([[6, 0], [3, 3]], jnp.int32))
    assert rows.dtype == jnp.float32
    np.testing.assert_array_equal(rows, np.asarray(layer.weight[...], np.float32)[[[6, 0], [3, 3]]])


def test_layer_norm_is_that_of_pytorch() -> None:
    layer, x, weight, bias = LayerNorm(33, eps=1e-3), 5 + 3 * random(2, 4, 33), random(33), random(33)
    layer.weight.set_value(jnp.asarray(weight))
    layer.bias.set_value(jnp.asarray(bias))
    expected = torch.nn.functional.layer_norm(*map(torch.from_numpy, (x,)), (33,), *map(torch.from_numpy, (weight, bias)), 1e-3)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(("head_dim", "rotary_dim"), [(16, 8), (16, 16), (64, 32), (256, 64)])
def test_rotation_is_that_of_transformers_and_leaves_the_other_dimensions_alone(head_dim: int, rotary_dim: int) -> None:
    x, positions = random(2, 5, 3, head_dim), RNG.integers(0, 2048, (2, 5)).astype(np.int32)
    sin, cos = create_sinusoidal_positions(2048, rotary_dim)[torch.from_numpy(positions).long()].chunk(2, dim=-1)
    expected = x.copy()
    expected[..., :rotary_dim] = apply_rotary_pos_emb(torch.from_numpy(x[..., :rotary_dim]), sin, cos).numpy()
    ours = np.asarray(rotate_interleaved(jnp.asarray(x), jnp.asarray(positions), rotary_dim))
    # At angles up to 2048 a frequency's last bit is worth 1e-4.
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    np.testing.assert_array_equal(ours[..., rotary_dim:], x[..., rotary_dim:])


def test_rotation_makes_scores_depend_on_distance_only() -> None:
    q, k = jnp.asarray(random(1, 1, 1, 16)), jnp.asarray(random(1, 1, 1, 16))

    def score(query_position: int, key_position: int) -> float:
        at = [jnp.array([[position]], jnp.int32) for position in (query_position, key_position)]
        return jnp.sum(rotate_interleaved(q, at[0], 16) * rotate_interleaved(k, at[1], 16)).item()

    assert score(107, 100) == pytest.approx(score(7, 0), abs=1e-4)
    assert score(107, 100) != pytest.approx(score(100, 107), abs=1e-2)


@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e3])
def test_a_quantised_weight_is_off_by_at_most_half_a_step_of_its_row(spread: float) -> None:
    weight = np.random.default_rng(0).normal(size=(32, 48)).astype(np.float32) * np.geomspace(spread, 1, 32)[:, None]
    quantized, scale = quantize_int8(jnp.asarray(weight, jnp.float32))
    assert quantized.dtype == jnp.int8 and scale.dtype == jnp.float32
    error = np.abs(np.asarray(quantized, np.float32) * np.asarray(scale)[:, None] - weight)
    assert (error <= 0.5001 * np.abs(weight).max(axis=1, keepdims=True) / 127).all()


def test_a_row_of_zeros_stays_zero_when_quantised() -> None:
    quantized, scale = quantize_int8(jnp.zeros((2, 8)))
    assert not quantized.any() and np.isfinite(scale).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_quantised_linear_is_near_the_one_it_was_made_from(dtype: str) -> None:
    plain, quantised = (
        Linear(256, 64, bias=True, dtype=dtype, quantize=quantize, rngs=nnx.Rngs(0)) for quantize in (None, "int8")
    )
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 256)), jnp.float32)
    exact = np.asarray(plain(x))
    assert np.linalg.norm(np.asarray(quantised(x)) - exact) / np.linalg.norm(exact) < 1e-2
    assert quantised.weight[...].nbytes * jnp.dtype(dtype).itemsize == plain.weight[...].nbytes


def test_an_unknown_quantisation_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match="quantize must be int8, got 'int4'"):
        Linear(4, 4, bias=False, dtype="float32", quantize="int4", rngs=nnx.Rngs(0))


def test_rms_norm_is_that_of_pytorch() -> None:
    x, weight = (np.random.default_rng(2).normal(size=size).astype(np.float32) for size in ((3, 5, 16), (16,)))
    norm = RMSNorm(16, eps=1e-5)
    norm.weight[...] = jnp.asarray(weight)
    theirs = torch.nn.functional.rms_norm(torch.from_numpy(x), (16,), torch.from_numpy(weight), eps=1e-5)
    np.testing.assert_allclose(norm(jnp.asarray(x)), theirs.numpy(), atol=1e-5)


def test_scores_of_an_embedding_are_products_with_its_rows() -> None:
    embedding = Embedding(11, 8, dtype="float32", rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 8)), jnp.float32)
    np.testing.assert_allclose(embedding.scores(x), x @ embedding.weight[...].T, atol=1e-6)
