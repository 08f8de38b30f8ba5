"""Dense attention against a loop in numpy, and against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lamps_jax.models.attention.reference import attend_within, causal_mask, dense_attention, paged_attention
from tests.models.attention.paged_case import Case


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def attention_in_a_loop(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    out = np.zeros(q.shape)
    group = q.shape[2] // k.shape[2]
    for batch, query, head in np.ndindex(*q.shape[:3]):
        seen = mask[batch, query]
        scores = k[batch, seen, head // group].astype(np.float64) @ q[batch, query, head] / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max())
        out[batch, query, head] = weights @ v[batch, seen, head // group] / weights.sum()
    return out


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(4, 4, 16), (4, 2, 64), (6, 1, 8)])
def test_dense_attention_is_softmax_over_the_visible_keys(heads: int, kv_heads: int, head_dim: int) -> None:
    q, k, v = random(2, 5, heads, head_dim), random(2, 9, kv_heads, head_dim, seed=1), random(2, 9, kv_heads, head_dim, seed=2)
    mask = np.random.default_rng(3).random((2, 5, 9)) < 0.5
    mask[..., 0] = True
    ours = dense_attention(*map(jnp.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(ours, attention_in_a_loop(q, k, v, mask), atol=1e-5)


def test_causal_attention_is_that_of_pytorch() -> None:
    q, k, v = (random(2, 12, 3, 16, seed=seed) for seed in range(3))
    ours, kv = attend_within(causal_mask(2, 12))(*map(jnp.asarray, (q, k, v)), None)
    swapped = [torch.from_numpy(x).transpose(1, 2) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*swapped, is_causal=True).transpose(1, 2)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)
    assert kv is None


@pytest.mark.parametrize(("window", "storage"), [(None, "float32"), (6, "float32"), (None, "uint16")])
def test_paged_attention_is_that_over_the_same_tokens_in_one_piece(window: int | None, storage: str) -> None:
    dtype = "bfloat16" if storage == "uint16" else storage
    case = Case.random(
        [17, 4], queries=3, block_size=4, kv_heads=2, group=2, head_dim=8, seed=0, max_length=20, dtype=dtype, storage=storage
    )
    np.testing.assert_allclose(case.paged(paged_attention, window), case.dense(window), atol=1e-5)


def test_large_scores_stay_finite() -> None:
    q, k, v = (1e3 * random(1, 6, 2, 16, seed=seed) for seed in range(3))
    ours = dense_attention(*map(jnp.asarray, (q, k, v, np.asarray(causal_mask(1, 6)))))
    np.testing.assert_allclose(ours, attention_in_a_loop(q, k, v, np.asarray(causal_mask(1, 6))), rtol=1e-4)


def test_row_that_sees_nothing_is_finite() -> None:
    q, k, v = (random(1, 4, 2, 16, seed=seed) for seed in range(3))
    assert np.isfinite(dense_attention(*map(jnp.asarray, (q, k, v, np.zeros((1, 4, 4), bool))))).all()


def test_gradients_are_those_of_pytorch() -> None:
    q, k, v = (random(1, 7, 2, 8, seed=seed) for seed in range(3))
    mask = causal_mask(1, 7)
    ours = jax.grad(lambda *x: jnp.sum(jnp.sin(dense_attention(*x, mask))), argnums=(0, 1, 2))(*map(jnp.asarray, (q, k, v)))
    leaves = [torch.from_numpy(x).requires_grad_() for x in (q, k, v)]
    swapped = [leaf.transpose(1, 2) for leaf in leaves]
    torch.nn.functional.scaled_dot_product_attention(*swapped, is_causal=True).sin().sum().backward()
    for gradient, leaf in zip(ours, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), atol=1e-5)
